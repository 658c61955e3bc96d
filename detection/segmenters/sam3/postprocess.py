"""SAM3's output -> masks, on the network's grid and cropped to their objects.

A discrete label gets object masks: queries above the score threshold after mask NMS, plus confident
parts of the semantic map that no query covers. A continuous label gets one cover mask: the maximum
of objects and semantic map, because an amorphous lawn is seldom one object, and either head finds
what the other misses (arXiv 2512.08730).

Dense tensors stay on the device; only scores, boxes and crops are copied to the host.
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

# Mask NMS: a mask is a duplicate of a better one from this IoU,
SAME_IOU = 0.5
# or if this fraction of the smaller mask is inside the other.
SAME_INSIDE = 0.8
# If a prompt's presence is too low, the semantic map counts only if at least one token's worth of
# cells is nearly certain (logit 4 is 0.982).
CERTAIN_LOGIT = 4.0
CERTAIN_CELLS = 16
# A mask is cropped to its box, extended by this fraction of the box and one cell.
BOX_PADDING = 0.1
# A part that no query covers must reach this logit (0.88) and its label's threshold somewhere.
CONFIDENT_LOGIT = 2.0
# Logits are clamped: larger ones carry no information, and would shift interpolated edges.
_MAX_LOGIT = 20.0
_EIGHT_CONNECTED = np.ones((3, 3), np.int8)


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """The best queries of n rows, best first, on the device.

    Attributes:
        scores: (n, k) in 0..1.
        masks: (n, k, h, w) logits, float32, above 0 inside; nowhere above 0 if not `kept`.
        kept: (n, k) bool on the host: above the threshold, and not a duplicate of a better one.
    """

    scores: Tensor
    masks: Tensor
    kept: NDArray[np.bool_]


def masks_from_output(output: Sam3Output, labels: Sequence[Label]) -> list[list[Mask]]:
    """The masks of n rows, each with its own label.

    Raises:
        SegmenterError: scores, boxes or maps with NaN or infinite values.
    """
    parts = (output.scores, output.presence, output.boxes, output.masks, output.semantic)
    # A single sync for all of them: a sum is finite only if its terms are.
    if not bool(torch.stack([part.sum(dtype=torch.float32) for part in parts]).isfinite().all()):
        raise SegmenterError(
            "sam3 returned NaN or infinite values: its weights are damaged, or overflow in this "
            "precision. Check the weights, or use float32"
        )
    thresholds = torch.tensor(
        [label.score_threshold for label in labels], device=output.scores.device
    )
    found = distinct_objects(output, thresholds)
    semantic = gated_semantic(output, thresholds)
    masks: list[list[Mask]] = [[] for _ in labels]
    rows_of_kind: dict[str, list[int]] = {"continuous": [], "discrete": []}
    for row, label in enumerate(labels):
        rows_of_kind[label.kind].append(row)
    continuous, discrete = rows_of_kind["continuous"], rows_of_kind["discrete"]
    for row, mask in zip(
        continuous, _cover_masks(found, semantic, continuous, labels), strict=True
    ):
        masks[row].append(mask)
    for row, mask in _object_masks(found, discrete, labels):
        masks[row].append(mask)
    for row, mask in _uncovered_masks(found, semantic, discrete, labels):
        masks[row].append(mask)
    return masks


def distinct_objects(output: Sam3Output, thresholds: Tensor) -> Objects:
    """The objects of n prompts after mask NMS; `thresholds` (n,) are for the scores."""
    scores, order = output.scores.sort(descending=True, stable=True)
    count = int((scores >= thresholds[:, None]).sum(1).amax())
    scores, order = scores[:, :count], order[:, :count]
    boxes = output.boxes.take_along_dim(order[..., None], 1)
    rows = torch.arange(len(order), device=order.device)[:, None]
    masks = output.masks[rows, order].float().clamp_(-_MAX_LOGIT, _MAX_LOGIT)
    # Specks of a mask far from its box belong to other, similar objects.
    masks.masked_fill_(~inside_boxes(boxes, masks.shape[-1]), -_MAX_LOGIT)
    inside = (masks > 0).flatten(2)
    candidates = (scores >= thresholds[:, None]) & inside.any(-1)
    kept = _mask_nms(_duplicates(inside).cpu().numpy(), candidates.cpu().numpy())
    masks.masked_fill_(~torch.from_numpy(kept).to(masks.device)[..., None, None], -_MAX_LOGIT)
    return Objects(scores, masks, kept)


def gated_semantic(output: Sam3Output, thresholds: Tensor) -> Tensor:
    """The semantic maps (n, h, w), float32, each gated by presence.

    Presence is one number for the full chip, and has suppressed lawns that the map was certain of;
    so a nearly certain map passes the gate too.
    """
    semantic = output.semantic.float().clamp(-_MAX_LOGIT, _MAX_LOGIT)
    certain = (semantic >= CERTAIN_LOGIT).sum((1, 2)) >= CERTAIN_CELLS
    passes = (output.presence >= thresholds) | certain
    return semantic.masked_fill(~passes[:, None, None], -_MAX_LOGIT)


def inside_boxes(boxes: Tensor, side: int) -> Tensor:
    """(..., side, side): whether a cell's centre is in a box (..., 4) extended by `BOX_PADDING`.

    Boxes are left, top, right, bottom in 0..1.
    """
    centre = (torch.arange(side, device=boxes.device) + 0.5) / side
    padding = (boxes[..., 2:] - boxes[..., :2]) * BOX_PADDING + 1 / side
    low, high = (boxes[..., :2] - padding)[..., None], (boxes[..., 2:] + padding)[..., None]
    across, down = (
        (centre >= low[..., axis, :]) & (centre <= high[..., axis, :]) for axis in (0, 1)
    )
    return down[..., :, None] & across[..., None, :]


def _duplicates(inside: Tensor) -> Tensor:
    """(n, k, k): whether two masks of (n, k, cells) are of one object."""
    area = inside.sum(-1).float()
    flat = inside.float()
    with tf32_matmul():  # exact for zeros and ones
        shared = flat @ flat.transpose(1, 2)
    iou = shared / (area[:, :, None] + area[:, None] - shared).clamp(min=1)
    within = shared / torch.minimum(area[:, :, None], area[:, None]).clamp(min=1)
    return (iou >= SAME_IOU) | (within >= SAME_INSIDE)


def _mask_nms(duplicates: NDArray[np.bool_], candidates: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n, k): the candidates, best first, that do not duplicate (n, k, k) a kept better one."""
    kept = np.zeros_like(candidates)
    for i in range(candidates.shape[1]):
        suppressed = (duplicates[:, i] & kept).any(1)
        kept[:, i] = candidates[:, i] & ~suppressed
    return kept


def _cover_masks(
    found: Objects, semantic: Tensor, rows: list[int], labels: Sequence[Label]
) -> list[Mask]:
    """The cover mask of each row: the maximum of its objects and its semantic map."""
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


def _object_masks(
    found: Objects, rows: list[int], labels: Sequence[Label]
) -> list[tuple[int, Mask]]:
    """(row, mask) of each object of the rows, cropped with one cell around it."""
    owner, query = (index.tolist() for index in np.nonzero(found.kept[rows]))
    if not owner:
        return []
    owner = [rows[number] for number in owner]
    masks = found.masks[owner, query]
    inside = masks > 0
    ends = torch.cat([_first_last(inside.any(2)), _first_last(inside.any(1))], 1).cpu().tolist()
    scores = found.scores[owner, query].cpu().tolist()
    cells = (masks.shape[1], masks.shape[2])
    windows = [
        (slice(max(0, top - 1), bottom + 2), slice(max(0, left - 1), right + 2))
        for top, bottom, left, right in ends
    ]
    # One copy to the host for all of them.
    parts = [mask[window].flatten() for mask, window in zip(masks, windows, strict=True)]
    flat = torch.cat(parts).cpu().numpy()
    cuts = np.cumsum([part.numel() for part in parts])[:-1]
    object_masks = []
    for row, score, window, values in zip(
        owner, scores, windows, np.split(flat, cuts), strict=True
    ):
        height = min(window[0].stop, cells[0]) - window[0].start
        field = values.reshape(height, -1)
        confidence = np.full_like(field, score)
        object_masks.append(
            (row, Mask(labels[row], field, confidence, cells, window[0].start, window[1].start))
        )
    return object_masks


def _first_last(inside: Tensor) -> Tensor:
    """(k, 2): the first and the last True index of each row of (k, n)."""
    ones = inside.to(torch.int8)
    last = inside.shape[1] - 1 - ones.flip(1).argmax(1)
    return torch.stack([ones.argmax(1), last], 1)


def _uncovered_masks(
    found: Objects, semantic: Tensor, rows: list[int], labels: Sequence[Label]
) -> list[tuple[int, Mask]]:
    """(row, mask) of each confident part of the semantic map that no object touches.

    A chip may have more roofs than the 200 queries.
    """
    if not rows:
        return []
    covered = (found.masks[rows] > 0).any(1)
    maps = semantic[rows]
    logits = [_confident_logit(labels[row]) for row in rows]
    limits = torch.tensor(logits, device=maps.device)[:, None, None]
    has_parts = ((maps >= limits) & ~covered).flatten(1).any(1).cpu().tolist()
    chosen = [i for i, has in enumerate(has_parts) if has]
    if not chosen:
        return []
    on_host = zip(chosen, maps[chosen].cpu().numpy(), covered[chosen].cpu().numpy(), strict=True)
    return [
        (rows[i], mask)
        for i, map_, covered_ in on_host
        for mask in _confident_parts(map_, covered_, labels[rows[i]])
    ]


def _confident_logit(label: Label) -> float:
    """The logit that a part which no query covers must reach somewhere."""
    return max(CONFIDENT_LOGIT, float(logit(label.score_threshold)))


def _confident_parts(
    semantic: NDArray[np.float32], covered: NDArray[np.bool_], label: Label
) -> list[Mask]:
    """The connected parts of a map (h, w) that are confident somewhere and covered nowhere."""
    parts, count = ndimage.label(semantic > 0, _EIGHT_CONNECTED)
    confident = np.bincount(parts[semantic >= _confident_logit(label)], minlength=count + 1) > 0
    confident[parts[covered]] = False
    masks = []
    for number, (down, across) in enumerate(ndimage.find_objects(parts), 1):
        if not confident[number]:
            continue
        row, column = max(0, down.start - 1), max(0, across.start - 1)
        window = (slice(row, down.stop + 1), slice(column, across.stop + 1))
        others = np.minimum(semantic[window], -1e-3)
        field = np.where(parts[window] == number, semantic[window], others).astype(np.float32)
        confidence = (1 / (1 + np.exp(-field))).astype(np.float32)
        masks.append(Mask(label, field, confidence, semantic.shape, row, column))
    return masks
