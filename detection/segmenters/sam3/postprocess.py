"""SAM3's answer for one chip and prompt -> objects and cover, on the mask's own grid.

A discrete label has objects: queries that score, one for each thing, and what the semantic map
is sure of and no query claims. A continuous one has cover:
the objects and the semantic map together, since an amorphous lawn is seldom one object, and
either head finds what the other misses (arXiv 2512.08730).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from detection.segmenters.sam3.forward import Output

# What a query must score, as in Meta's own processor.
LEAST_SCORE = 0.5
# Two masks that share this much are one thing seen twice,
SAME_IOU = 0.5
# and one that lies this far inside a better one is a part of it.
SAME_INSIDE = 0.8
# Below this presence, the semantic map is not believed,
LEAST_PRESENCE = 0.5
# unless it is nearly certain (logit 4 is 0.982) of at least a token's worth of pixels.
CERTAIN_LOGIT = 4.0
CERTAIN_PX = 16
# A mask ends where its box does, give or take this share of the box, and a pixel.
BOX_MARGIN = 0.1
# What no query claims must be this sure (logit 2 is 0.88) somewhere.
SURE_LOGIT = 2.0
# Beyond this a logit says no more, and a larger one would shift the edges between pixels.
_MOST_LOGIT = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """Things found, best first.

    Attributes:
        scores: (k,) in 0..1.
        boxes: (k, 4) left, top, right, bottom in 0..1 of the chip.
        masks: (k, h, w) logits, float32; above 0 is inside.
    """

    scores: Tensor
    boxes: Tensor
    masks: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """Something to outline: logits (h, w) whose edge is at 0, and a confidence (h, w) in 0..1."""

    logits: Tensor
    confidence: Tensor


def objects(output: Output, row: int, least_score: float = LEAST_SCORE) -> Objects:
    """The things that a prompt found on a chip, each once."""
    scores = output.scores[row]
    order = scores.argsort(descending=True)
    order = order[scores[order] >= least_score]
    boxes = output.boxes[row][order]
    masks = output.masks[row][order].float().clamp(-_MOST_LOGIT, _MOST_LOGIT)
    # Specks of a mask far from its box are of other things that look the same.
    masks = masks.masked_fill(~in_boxes(boxes, masks.shape[-1]), -_MOST_LOGIT)
    kept = _distinct(masks > 0)
    order = order[kept]
    return Objects(scores[order], boxes[kept], masks[kept])


def unclaimed(output: Output, row: int, found: Objects) -> Layer | None:
    """What the semantic map is sure of and no object touches, or None.

    There are 200 queries, and a chip may show more roofs than that.
    """
    semantic = _believed(output, row)
    inside = semantic > 0
    claimed = _grown((found.masks > 0).any(0) & inside, inside)
    free = _grown((semantic >= SURE_LOGIT) & ~claimed, inside) & ~claimed
    if not free.any():
        return None
    logits = torch.where(free, semantic, semantic.clamp(max=0) - 1e-3)
    return Layer(logits, semantic.sigmoid())


def cover(output: Output, row: int, found: Objects) -> Layer:
    """Where a continuous label is: the objects' masks and the semantic map, whichever says more."""
    believed = _believed(output, row)
    logits = torch.cat([believed[None], found.masks]).amax(0)
    confidence = torch.cat(
        [believed.sigmoid()[None], found.masks.sigmoid() * found.scores[:, None, None]]
    ).amax(0)
    return Layer(logits, confidence)


def layers(found: Objects) -> list[Layer]:
    """The objects in as few layers as keep neighbours apart, so that each stays its own outline.

    A layer an object would be right, and half a gigabyte for a chip full of roofs.
    """
    if not len(found.scores):
        return []
    inside = found.masks > 0
    # What a mask's edge can reach when it is drawn finer.
    reach = functional.max_pool2d(inside.float(), 3, stride=1, padding=1) > 0
    made: list[tuple[Layer, Tensor]] = []
    for score, mask, mine, near in zip(found.scores, found.masks, inside, reach, strict=True):
        free = (number for number, (_, taken) in enumerate(made) if not (taken & near).any())
        number = next(free, None)
        if number is None:
            number = len(made)
            empty = Layer(torch.full_like(mask, -_MOST_LOGIT), torch.zeros_like(mask))
            made.append((empty, torch.zeros_like(near)))
        layer, taken = made[number]
        logits = torch.where(near, mask, layer.logits)
        confidence = torch.where(near, score, layer.confidence)
        made[number] = (Layer(logits, confidence), taken | mine)
    return [layer for layer, _ in made]


def in_boxes(boxes: Tensor, side: int) -> Tensor:
    """(k, side, side): whether the middle of a cell is in a box (k, 4), or close to it.

    Boxes are left, top, right, bottom in 0..1.
    """
    middle = (torch.arange(side, device=boxes.device) + 0.5) / side
    extent = (boxes[:, 2:] - boxes[:, :2]) * BOX_MARGIN + 1 / side
    low, high = boxes[:, :2] - extent, boxes[:, 2:] + extent
    across, down = (
        (middle >= low[:, axis, None]) & (middle <= high[:, axis, None]) for axis in (0, 1)
    )
    return down[:, :, None] & across[:, None, :]


def on_grid(layer: Layer, height: int, width: int) -> Layer:
    """A layer in other pixels: logits between them, confidence as the nearest has it."""
    logits = functional.interpolate(layer.logits[None, None], (height, width), mode="bilinear")
    near = functional.interpolate(layer.confidence[None, None], (height, width))
    return Layer(logits[0, 0], near[0, 0])


def _believed(output: Output, row: int) -> Tensor:
    """The semantic map (h, w), gated by presence.

    But presence is one number for the whole chip, and has vetoed lawns that the map was certain
    of, so a certain map speaks all the same.
    """
    semantic = output.semantic[row].float().clamp(-_MOST_LOGIT, _MOST_LOGIT)
    certain = (semantic >= CERTAIN_LOGIT).sum() >= CERTAIN_PX
    present = output.presence[row] >= LEAST_PRESENCE
    return torch.where(present | certain, semantic, torch.full_like(semantic, -_MOST_LOGIT))


def _grown(seeds: Tensor, inside: Tensor) -> Tensor:
    """The connected parts (h, w) of `inside` that have a seed in them."""
    while True:
        wider = functional.max_pool2d(seeds[None].float(), 3, stride=1, padding=1)[0] > 0
        wider &= inside
        if torch.equal(wider, seeds):
            return seeds
        seeds = wider


def _distinct(inside: Tensor) -> Tensor:
    """Indexes of masks (k, h, w), best first, that show no better one's thing again."""
    flat = inside.flatten(1).float()
    area = flat.sum(1)
    shared = flat @ flat.T
    iou = shared / (area[:, None] + area[None] - shared).clamp(min=1)
    within = shared / torch.minimum(area[:, None], area[None]).clamp(min=1)
    same = ((iou >= SAME_IOU) | (within >= SAME_INSIDE)).cpu()
    kept: list[int] = []
    for number in range(len(inside)):
        if area[number] > 0 and not any(same[number, better] for better in kept):
            kept.append(number)
    return torch.tensor(kept, dtype=torch.long, device=inside.device)
