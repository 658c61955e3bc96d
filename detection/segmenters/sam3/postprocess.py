"""SAM3's answer -> masks, on the network's own grid and as small as what they show.

A discrete label has objects: queries that score, each thing once, and what the semantic map is
sure of and no query claims. A continuous one has cover: the objects and the semantic map
together, since an amorphous lawn is seldom one object, and either head finds what the other
misses (arXiv 2512.08730).

What is dense stays on the device; scores, boxes and cut-out windows are all that leave it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import logit
from torch import Tensor

from detection.errors import SegmenterError
from detection.labels import Label
from detection.segmenters.interface import Mask
from detection.segmenters.sam3.fast.compilation import tf32_matmul
from detection.segmenters.sam3.forward import Sam3Output

# Two masks that share this much are one thing seen twice,
SAME_IOU = 0.5
# and one that lies this far inside a better one is a part of it.
SAME_INSIDE = 0.8
# Where a prompt's presence is too low, the semantic map is believed only if it is nearly certain
# (logit 4 is 0.982) of at least a token's worth of cells.
CERTAIN_LOGIT = 4.0
CERTAIN_CELLS = 16
# A mask ends where its box does, give or take this share of the box, and a cell.
BOX_MARGIN = 0.1
# What no query claims must be this sure (logit 2 is 0.88) somewhere, and as its label asks.
SURE_LOGIT = 2.0
# Beyond this a logit says no more, and a larger one would shift the edges between cells.
_MOST_LOGIT = 20.0
_TOUCHING = np.ones((3, 3), np.int8)


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """The best queries of n rows, best first, on the device.

    Attributes:
        scores: (n, k) in 0..1.
        masks: (n, k, h, w) logits, float32, above 0 inside; nowhere above 0 where not `kept`.
        kept: (n, k) bool on the host: it scores, and shows no better one's thing again.
    """

    scores: Tensor
    masks: Tensor
    kept: NDArray[np.bool_]


def masks_from_output(output: Sam3Output, labels: Sequence[Label]) -> list[list[Mask]]:
    """The masks of n rows, of which each is about its own label.

    Raises:
        SegmenterError: scores, boxes or maps that are no numbers: nothing is no answer.
    """
    said = (output.scores, output.presence, output.boxes, output.masks, output.semantic)
    # One number back from the device for all of them: a sum is finite where its terms are.
    if not bool(torch.stack([part.sum(dtype=torch.float32) for part in said]).isfinite().all()):
        raise SegmenterError(
            "sam3 answered with what is no number: its weights are broken, or their numbers too "
            "large for this precision"
        )
    least = torch.tensor([label.score_threshold for label in labels], device=output.scores.device)
    found = distinct_objects(output, least)
    semantic = gated_semantic(output, least)
    masks: list[list[Mask]] = [[] for _ in labels]
    of_kind: dict[str, list[int]] = {"continuous": [], "discrete": []}
    for row, label in enumerate(labels):
        of_kind[label.kind].append(row)
    for row, mask in zip(
        of_kind["continuous"], _covers(found, semantic, of_kind["continuous"], labels), strict=True
    ):
        masks[row].append(mask)
    for row, mask in _things(found, of_kind["discrete"], labels):
        masks[row].append(mask)
    for row, mask in _unclaimed(found, semantic, of_kind["discrete"], labels):
        masks[row].append(mask)
    return masks


def distinct_objects(output: Sam3Output, least: Tensor) -> Objects:
    """The things that n prompts found, each once; `least` (n,) is what a query must score."""
    scores, order = output.scores.sort(descending=True, stable=True)
    most = int((scores >= least[:, None]).sum(1).amax())
    scores, order = scores[:, :most], order[:, :most]
    boxes = output.boxes.take_along_dim(order[..., None], 1)
    rows = torch.arange(len(order), device=order.device)[:, None]
    masks = output.masks[rows, order].float().clamp_(-_MOST_LOGIT, _MOST_LOGIT)
    # Specks of a mask far from its box are of other things that look the same.
    masks.masked_fill_(~inside_boxes(boxes, masks.shape[-1]), -_MOST_LOGIT)
    inside = (masks > 0).flatten(2)
    real = (scores >= least[:, None]) & inside.any(-1)
    kept = _distinct(_same(inside).cpu().numpy(), real.cpu().numpy())
    masks.masked_fill_(~torch.from_numpy(kept).to(masks.device)[..., None, None], -_MOST_LOGIT)
    return Objects(scores, masks, kept)


def gated_semantic(output: Sam3Output, least: Tensor) -> Tensor:
    """The semantic maps (n, h, w), float32, each gated by presence.

    But presence is one number for the whole chip, and has vetoed lawns that the map was certain
    of, so a certain map speaks all the same.
    """
    semantic = output.semantic.float().clamp(-_MOST_LOGIT, _MOST_LOGIT)
    certain = (semantic >= CERTAIN_LOGIT).sum((1, 2)) >= CERTAIN_CELLS
    speaks = (output.presence >= least) | certain
    return semantic.masked_fill(~speaks[:, None, None], -_MOST_LOGIT)


def inside_boxes(boxes: Tensor, side: int) -> Tensor:
    """(..., side, side): whether the middle of a cell is in a box (..., 4), or close to it.

    Boxes are left, top, right, bottom in 0..1.
    """
    middle = (torch.arange(side, device=boxes.device) + 0.5) / side
    extent = (boxes[..., 2:] - boxes[..., :2]) * BOX_MARGIN + 1 / side
    low, high = (boxes[..., :2] - extent)[..., None], (boxes[..., 2:] + extent)[..., None]
    across, down = (
        (middle >= low[..., axis, :]) & (middle <= high[..., axis, :]) for axis in (0, 1)
    )
    return down[..., :, None] & across[..., None, :]


def _same(inside: Tensor) -> Tensor:
    """(n, k, k): whether two masks of (n, k, cells) show one thing."""
    area = inside.sum(-1).float()
    flat = inside.float()
    with tf32_matmul():  # exact for zeros and ones
        shared = flat @ flat.transpose(1, 2)
    iou = shared / (area[:, :, None] + area[:, None] - shared).clamp(min=1)
    within = shared / torch.minimum(area[:, :, None], area[:, None]).clamp(min=1)
    return (iou >= SAME_IOU) | (within >= SAME_INSIDE)


def _distinct(same: NDArray[np.bool_], real: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n, k): those of `real`, best first, that are not the `same` (n, k, k) as a better one."""
    kept = np.zeros_like(real)
    for number in range(real.shape[1]):
        again = (same[:, number] & kept).any(1)
        kept[:, number] = real[:, number] & ~again
    return kept


def _covers(
    found: Objects, semantic: Tensor, rows: list[int], labels: Sequence[Label]
) -> list[Mask]:
    """Of each row, where its label is: objects and semantic map, whichever says more."""
    fields, confidences = semantic[rows], semantic[rows].sigmoid()
    if found.masks.shape[1]:
        masks = found.masks[rows]
        fields = torch.maximum(fields, masks.amax(1))
        scored = masks.sigmoid() * found.scores[rows][..., None, None]
        confidences = torch.maximum(confidences, scored.amax(1))
    both = torch.stack([fields, confidences], 1).cpu().numpy()
    return [
        Mask(labels[row], field, confidence, field.shape)
        for row, (field, confidence) in zip(rows, both, strict=True)
    ]


def _things(found: Objects, rows: list[int], labels: Sequence[Label]) -> list[tuple[int, Mask]]:
    """(row, mask) of each object of the rows, cut out with a cell around it."""
    owner, query = (index.tolist() for index in np.nonzero(found.kept[rows]))
    if not owner:
        return []
    owner = [rows[number] for number in owner]
    masks = found.masks[owner, query]
    inside = masks > 0
    ends = torch.cat([_ends(inside.any(2)), _ends(inside.any(1))], 1).cpu().tolist()
    scores = found.scores[owner, query].cpu().tolist()
    cells = (masks.shape[1], masks.shape[2])
    windows = [
        (slice(max(0, top - 1), bottom + 2), slice(max(0, left - 1), right + 2))
        for top, bottom, left, right in ends
    ]
    # One copy for all of them.
    parts = [mask[window].flatten() for mask, window in zip(masks, windows, strict=True)]
    flat = torch.cat(parts).cpu().numpy()
    cuts = np.cumsum([part.numel() for part in parts])[:-1]
    things = []
    for row, score, window, values in zip(
        owner, scores, windows, np.split(flat, cuts), strict=True
    ):
        height = min(window[0].stop, cells[0]) - window[0].start
        field = values.reshape(height, -1)
        sure = np.full_like(field, score)
        things.append(
            (row, Mask(labels[row], field, sure, cells, window[0].start, window[1].start))
        )
    return things


def _ends(inside: Tensor) -> Tensor:
    """(k, 2): the first and the last that is true of each row of (k, n)."""
    places = inside.to(torch.int8)
    last = inside.shape[1] - 1 - places.flip(1).argmax(1)
    return torch.stack([places.argmax(1), last], 1)


def _unclaimed(
    found: Objects, semantic: Tensor, rows: list[int], labels: Sequence[Label]
) -> list[tuple[int, Mask]]:
    """(row, mask) of each thing that the semantic map is sure of and no object touches.

    There are 200 queries, and a chip may show more roofs than that.
    """
    if not rows:
        return []
    claimed = (found.masks[rows] > 0).any(1)
    maps = semantic[rows]
    sure = [_sure_logit(labels[row]) for row in rows]
    limits = torch.tensor(sure, device=maps.device)[:, None, None]
    asked = ((maps >= limits) & ~claimed).flatten(1).any(1).cpu().tolist()
    chosen = [number for number, ask in enumerate(asked) if ask]
    if not chosen:
        return []
    loose = zip(chosen, maps[chosen].cpu().numpy(), claimed[chosen].cpu().numpy(), strict=True)
    return [
        (rows[number], mask)
        for number, field, taken in loose
        for mask in _loose(field, taken, labels[rows[number]])
    ]


def _sure_logit(label: Label) -> float:
    """What the semantic map must say somewhere of a thing that no query claims."""
    return max(SURE_LOGIT, float(logit(label.score_threshold)))


def _loose(semantic: NDArray[np.float32], claimed: NDArray[np.bool_], label: Label) -> list[Mask]:
    """The connected parts of a map (h, w) that are sure somewhere and claimed nowhere."""
    parts, count = ndimage.label(semantic > 0, _TOUCHING)
    sure = np.bincount(parts[semantic >= _sure_logit(label)], minlength=count + 1) > 0
    sure[parts[claimed]] = False
    masks = []
    for number, (down, across) in enumerate(ndimage.find_objects(parts), 1):
        if not sure[number]:
            continue
        row, column = max(0, down.start - 1), max(0, across.start - 1)
        window = (slice(row, down.stop + 1), slice(column, across.stop + 1))
        others = np.minimum(semantic[window], -1e-3)
        field = np.where(parts[window] == number, semantic[window], others).astype(np.float32)
        confidence = (1 / (1 + np.exp(-field))).astype(np.float32)
        masks.append(Mask(label, field, confidence, semantic.shape, row, column))
    return masks
