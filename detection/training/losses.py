"""Training losses: predictions and truth -> weighted loss terms.

The terms are SAM3's (L1, GIoU, class, presence, masks, semantic map). Their weights suit training
from scratch, and the matching is greedy, which is enough for queries on a grid.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from transformers import Sam3Model

from detection.sample.chip_truth import ChipTruth
from detection.segmenters.sam3.forward import (
    DecoderOutput,
    Pyramid,
    box_corners,
    decode_queries,
    fuse_prompt,
    predict_masks,
)
from detection.segmenters.sam3.postprocess import inside_boxes

# Masks per prompt and step; if a chip has more things, each step takes a random sample.
_MAX_MASKS = 24


def map_loss(
    model: Sam3Model, features: Pyramid, prompt: Tensor, valid: Tensor, truths: list[ChipTruth]
) -> dict[str, Tensor]:
    """The loss of the semantic map only, which learns fastest. One row per prompt of one chip."""
    rows = features.repeat_rows(len(truths))
    memory = fuse_prompt(model, rows, prompt, valid)
    _, semantic = predict_masks(model, rows, prompt[:, :1], memory, prompt, valid)
    return {"semantic": _map_loss(semantic, truths)}


def chip_loss(
    model: Sam3Model, features: Pyramid, prompt: Tensor, valid: Tensor, truths: list[ChipTruth]
) -> dict[str, Tensor]:
    """All loss terms, weighted. One row per prompt of one chip."""
    rows = features.repeat_rows(len(truths))
    memory = fuse_prompt(model, rows, prompt, valid)
    # The decoder's early gradients are noise and would undo what the semantic map has learnt.
    decoded = decode_queries(model, _scale_gradient(memory), features.position, prompt, valid)
    pairs = [match_queries(decoded, row, truth.boxes) for row, truth in enumerate(truths)]
    terms = _decoded_terms(decoded, truths, pairs)
    sampled = [_sample_pairs(pair) for pair in pairs]
    chosen = torch.zeros(len(truths), _MAX_MASKS, dtype=torch.long)
    for row, (queries, _) in enumerate(sampled):
        chosen[row, : len(queries)] = queries
    last = decoded.queries[-1]
    queries = last.gather(1, chosen[..., None].expand(-1, -1, last.shape[-1]))
    masks, semantic = predict_masks(model, rows, queries, memory, prompt, valid)
    predicted = torch.cat([masks[row, : len(things)] for row, (_, things) in enumerate(sampled)])
    target = torch.cat([truths[row].masks[things] for row, (_, things) in enumerate(sampled)])
    boxes = torch.cat([truths[row].boxes[things] for row, (_, things) in enumerate(sampled)])
    if len(target):
        # Only inside its box: the adapter crops masks to their boxes.
        near = inside_boxes(box_corners(boxes), masks.shape[-1]).float()
        terms["masks"] = 0.5 * _mask_loss(predicted, target, near)
    return terms | {"semantic": _map_loss(semantic, truths)}


def _scale_gradient(tensor: Tensor) -> Tensor:
    """The same values with a tenth of the gradient."""
    return tensor.detach() * 0.9 + tensor * 0.1


def _map_loss(semantic: Tensor, truths: list[ChipTruth]) -> Tensor:
    target = torch.stack([truth.semantic for truth in truths])
    return 2 * _mask_loss(semantic, target, torch.stack([truth.weight for truth in truths]))


@torch.no_grad()
def match_queries(decoded: DecoderOutput, row: int, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """(queries, things): greedily matched pairs of the last layer, lowest cost first."""
    if not len(boxes):
        none = torch.zeros(0, dtype=torch.long)
        return none, none
    predicted = decoded.boxes[-1, row]
    cost = 10 * torch.cdist(predicted, boxes, p=1) - 2 * _giou(predicted, boxes)
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
    """Presence, class and box losses of every decoder layer."""
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
        true_boxes = truths[row].boxes[matched]
        predicted = decoded.boxes[:, row, queries]
        box_loss = box_loss + 10 * (predicted - true_boxes).abs().sum() / layers
        giou = torch.stack([_giou(layer, true_boxes).diagonal() for layer in predicted])
        box_loss = box_loss + (1 - giou).sum() / layers
        # A query's target score is the GIoU of its box: poor boxes leave it to the semantic map.
        target[:, row, queries] = giou.detach().clamp(0, 1)
        things += len(queries)
    classes = functional.binary_cross_entropy_with_logits(decoded.logits, target)
    return {
        "presence": 2 * presence,
        "class": 5 * classes,
        "boxes": 0.5 * box_loss / max(1, things),
    }


def _sample_pairs(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    order = torch.randperm(len(pair[0]))[:_MAX_MASKS]
    return pair[0][order], pair[1][order]


def _mask_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Cross entropy, plus a quarter of it inside and outside the target each, plus Dice.

    All are (n, side, side). Dice counts only for rows with a target.
    """
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    inside, outside = weight * target, weight * (1 - target)
    overall, *sides = (
        (entropy * part).sum((1, 2)) / part.sum((1, 2)).clamp(min=16)
        for part in (weight, inside, outside)
    )
    predicted = logits.sigmoid() * weight
    overlap = (predicted * target).sum((1, 2))
    dice = 1 - (2 * overlap + 1) / (predicted.sum((1, 2)) + inside.sum((1, 2)) + 1)
    has_target = (inside.sum((1, 2)) > 1).float()
    return (overall + 0.25 * sum(sides) + dice * has_target).mean()


def _giou(predicted: Tensor, true: Tensor) -> Tensor:
    """(n, k): generalised IoU (Rezatofighi et al., 2019) of boxes as centre and size."""
    a, b = box_corners(predicted)[:, None], box_corners(true)[None]
    overlap = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    shared = overlap.clamp(min=0).prod(-1)
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - shared
    return shared / union.clamp(min=1e-9) - (hull - union) / hull.clamp(min=1e-9)
