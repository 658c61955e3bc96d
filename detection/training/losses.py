"""What a network answered, and what it should have -> one number to make smaller.

The terms are SAM3's (L1, GIoU, class, presence, masks, semantic map); their weights are for a
network that has seen nothing before, and the matching is greedy, which a grid of queries allows.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from transformers import Sam3Model

from detection.segmenters.sam3.forward import (
    DecoderOutput,
    Pyramid,
    box_corners,
    decode_queries,
    fuse_prompt,
    predict_masks,
)
from detection.segmenters.sam3.postprocess import inside_boxes
from detection.training.truth import ChipTruth

# Queries drawn of a row in a step; more things than this share the steps by chance.
_DRAWN = 24


def map_loss(
    model: Sam3Model, seen: Pyramid, prompt: Tensor, valid: Tensor, truths: list[ChipTruth]
) -> dict[str, Tensor]:
    """The semantic map's alone, of the rows of one chip: what is quickest to learn."""
    rows = seen.repeat_rows(len(truths))
    memory = fuse_prompt(model, rows, prompt, valid)
    _, semantic = predict_masks(model, rows, prompt[:, :1], memory, prompt, valid)
    return {"semantic": _map_loss(semantic, truths)}


def chip_loss(
    model: Sam3Model, seen: Pyramid, prompt: Tensor, valid: Tensor, truths: list[ChipTruth]
) -> dict[str, Tensor]:
    """All the terms, weighted, of the rows of one chip."""
    rows = seen.repeat_rows(len(truths))
    memory = fuse_prompt(model, rows, prompt, valid)
    # The decoder's gradients are all noise at first, and would undo what the map has learnt.
    decoded = decode_queries(model, _calmed(memory), seen.position, prompt, valid)
    pairs = [match(decoded, row, truth.boxes) for row, truth in enumerate(truths)]
    terms = _decoded_terms(decoded, truths, pairs)
    some = [_some(pair) for pair in pairs]
    chosen = torch.zeros(len(truths), _DRAWN, dtype=torch.long)
    for row, (queries, _) in enumerate(some):
        chosen[row, : len(queries)] = queries
    last = decoded.queries[-1]
    queries = last.gather(1, chosen[..., None].expand(-1, -1, last.shape[-1]))
    masks, semantic = predict_masks(model, rows, queries, memory, prompt, valid)
    drawn = torch.cat([masks[row, : len(things)] for row, (_, things) in enumerate(some)])
    wanted = torch.cat([truths[row].masks[things] for row, (_, things) in enumerate(some)])
    boxes = torch.cat([truths[row].boxes[things] for row, (_, things) in enumerate(some)])
    if len(wanted):
        # Beyond its box a mask says nothing: that is where the adapter cuts it.
        near = inside_boxes(box_corners(boxes), masks.shape[-1]).float()
        terms["masks"] = 0.5 * _mask_loss(drawn, wanted, near)
    return terms | {"semantic": _map_loss(semantic, truths)}


def _calmed(tensor: Tensor) -> Tensor:
    """The same, with a tenth of the gradient."""
    return tensor.detach() * 0.9 + tensor * 0.1


def _map_loss(semantic: Tensor, truths: list[ChipTruth]) -> Tensor:
    wanted = torch.stack([truth.semantic for truth in truths])
    return 2 * _mask_loss(semantic, wanted, torch.stack([truth.weight for truth in truths]))


@torch.no_grad()
def match(decoded: DecoderOutput, row: int, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """(queries, things): pairs of least cost, the cheapest first, after the last layer."""
    if not len(boxes):
        none = torch.zeros(0, dtype=torch.long)
        return none, none
    found = decoded.boxes[-1, row]
    cost = 10 * torch.cdist(found, boxes, p=1) - 2 * _giou(found, boxes)
    cost = cost - decoded.logits[-1, row].sigmoid()[:, None]
    queries, things = [], []
    for _ in range(min(cost.shape)):
        query, thing = divmod(int(cost.argmin()), len(boxes))
        queries.append(query)
        things.append(thing)
        cost[query] = torch.inf
        cost[:, thing] = torch.inf
    return torch.tensor(queries), torch.tensor(things)


def _decoded_terms(
    decoded: DecoderOutput, truths: list[ChipTruth], pairs: list[tuple[Tensor, Tensor]]
) -> dict[str, Tensor]:
    """Presence, class and boxes after every layer of the decoder."""
    layers = len(decoded.logits)
    present = torch.tensor([float((truth.semantic > 0.5).any()) for truth in truths])
    presence = functional.binary_cross_entropy_with_logits(
        decoded.presence, present.expand(layers, -1)
    )
    target = torch.zeros_like(decoded.logits)
    box_loss, things = decoded.boxes.sum() * 0, 0
    for row, (queries, matched) in enumerate(pairs):
        if not len(queries):
            continue
        wanted = truths[row].boxes[matched]
        found = decoded.boxes[:, row, queries]
        box_loss = box_loss + 10 * (found - wanted).abs().sum() / layers
        giou = torch.stack([_giou(layer, wanted).diagonal() for layer in found])
        box_loss = box_loss + (1 - giou).sum() / layers
        # A query is worth what its box is: one that is off leaves its thing to the map.
        target[:, row, queries] = giou.detach().clamp(0, 1)
        things += len(queries)
    classes = functional.binary_cross_entropy_with_logits(decoded.logits, target)
    return {
        "presence": 2 * presence,
        "class": 5 * classes,
        "boxes": 0.5 * box_loss / max(1, things),
    }


def _some(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    order = torch.randperm(len(pair[0]))[:_DRAWN]
    return pair[0][order], pair[1][order]


def _mask_loss(logits: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
    """Cross entropy, a quarter of it for each side of the edge alone, plus Dice.

    All are (n, side, side). Where nothing is wanted, Dice gives way to how much was found: a few
    pools' worth of pixels are next to nothing to the cross entropy.
    """
    entropy = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    inside, outside = weight * wanted, weight * (1 - wanted)
    whole, *sides = (
        (entropy * part).sum((1, 2)) / part.sum((1, 2)).clamp(min=16)
        for part in (weight, inside, outside)
    )
    found = logits.sigmoid() * weight
    dice = 1 - (2 * (found * wanted).sum((1, 2)) + 1) / (found.sum((1, 2)) + inside.sum((1, 2)) + 1)
    any_wanted = (inside.sum((1, 2)) > 1).float()
    return (whole + 0.25 * sum(sides) + dice * any_wanted).mean()


def _giou(found: Tensor, wanted: Tensor) -> Tensor:
    """(n, k): generalised IoU (Rezatofighi et al., 2019) of boxes given by centre and size."""
    a, b = box_corners(found)[:, None], box_corners(wanted)[None]
    overlap = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    shared = overlap.clamp(min=0).prod(-1)
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - shared
    return shared / union.clamp(min=1e-9) - (hull - union) / hull.clamp(min=1e-9)
