"""SAM3's output for a click or a box -> the mask of one object.

The prompt is the label's phrase with an exemplar: the click as a point where the weights have an
encoder for points, else as a small box; a box as itself. Of the queries, the one whose mask is
there and whose score is best is the object; it need not reach the label's score threshold, because
a person says that something is there. If its mask does not reach the click, its outline is moved
out as far as the click, within limits.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from detection.chip import Chip
from detection.labels import Label
from detection.segmenters.interface import BoxPrompt, ClickPrompt, Mask
from detection.segmenters.sam3.exemplars import BoxExemplar, Exemplar, PointExemplar
from detection.segmenters.sam3.forward import Sam3Output
from detection.segmenters.sam3.postprocess import inside_boxes

# The side of the box that stands for a click.
_CLICK_M = 3.0
# A mask whose logit at the click is less (0.05) says that the object is not there.
_LEAST_LOGIT = -3.0
# A query whose mask and box agree less with a drawn box is another object.
_LEAST_BOX_IOU = 0.1
# How far inside its outline the click is, in logits.
_INSIDE = 1e-3
_MAX_LOGIT = 20.0
_EIGHT_CONNECTED = np.ones((3, 3), np.int8)


def exemplar_of(prompt: ClickPrompt | BoxPrompt, chip: Chip, *, points: bool) -> Exemplar:
    """The exemplar that a prompt is to the network, in 0..1 of the chip.

    Args:
        points: whether the weights can encode points.
    """
    exemplar: Exemplar
    if isinstance(prompt, BoxPrompt):
        exemplar = BoxExemplar(prompt.left, prompt.top, prompt.right, prompt.bottom)
    elif points:
        exemplar = PointExemplar(prompt.x, prompt.y)
    else:
        half = _CLICK_M / chip.gsd_m / 2
        exemplar = BoxExemplar(prompt.x - half, prompt.y - half, prompt.x + half, prompt.y + half)
    return exemplar.normalized(chip.width, chip.height)


def mask_at(
    output: Sam3Output, label: Label, prompt: ClickPrompt | BoxPrompt, chip: Chip
) -> Mask | None:
    """The mask of the object at a prompt, from the output for one chip and phrase."""
    masks, semantic, scores = output.masks[0], output.semantic[0], output.scores[0].float()
    if isinstance(prompt, BoxPrompt):
        box = _normalized(prompt, chip).to(masks.device)
        return _in_box(masks, semantic, scores, label, box)
    side = masks.shape[-1]
    row = min(side - 1, max(0, int(prompt.y / chip.height * side)))
    column = min(side - 1, max(0, int(prompt.x / chip.width * side)))
    at_click = masks[:, row, column].float()
    best = int((scores * at_click.sigmoid()).argmax())
    field, score = masks[best], scores[best]
    if at_click[best] < semantic[row, column] and at_click[best] <= 0:
        # No query is there: a chip may have more objects than queries.
        field, score = semantic, semantic[row, column].sigmoid()
    return _around(_on_host(field), float(score), label, row, column)


def _around(
    field: NDArray[np.float32], score: float, label: Label, row: int, column: int
) -> Mask | None:
    """The connected part of a field (h, w) around a cell, whose outline is moved to contain it."""
    if not field[row, column] >= _LEAST_LOGIT:
        return None
    moved = field - min(0.0, float(field[row, column]) - _INSIDE)
    parts, _ = ndimage.label(moved > 0, _EIGHT_CONNECTED)
    part = parts == parts[row, column]
    alone = np.where(part, moved, np.minimum(moved, -_INSIDE)).astype(np.float32)
    return Mask(label, alone, np.full_like(alone, np.clip(score, 0, 1)), alone.shape)


def _in_box(
    masks: Tensor, semantic: Tensor, scores: Tensor, label: Label, box: Tensor
) -> Mask | None:
    """The object whose mask agrees best with a box (4,) in 0..1, and of it what the box has."""
    window = inside_boxes(box, masks.shape[-1])
    fields = torch.cat([masks, semantic.masked_fill(~window, -_MAX_LOGIT)[None]])
    inside = (fields > 0).flatten(1)
    extents = _extents(fields > 0)
    overlap = _box_iou(extents, box)
    # The semantic map has no score of its own.
    whole = torch.cat([scores, semantic[window].amax().sigmoid()[None] / 2])
    value = torch.where(inside.any(1), whole * overlap, -torch.inf)
    best = int(value.argmax())
    if not float(overlap[best]) >= _LEAST_BOX_IOU or not bool(inside[best].any()):
        return None
    field = _on_host(fields[best].masked_fill(~window, -_MAX_LOGIT))
    if not (field > 0).any():
        return None
    score = float(whole[best])
    return Mask(label, field, np.full_like(field, np.clip(score, 0, 1)), field.shape)


def _on_host(field: Tensor) -> NDArray[np.float32]:
    """One field (h, w), clamped: larger logits would shift interpolated edges."""
    clamped = field.float().clamp(-_MAX_LOGIT, _MAX_LOGIT)
    return np.asarray(clamped.cpu().numpy(), dtype=np.float32)


def _extents(inside: Tensor) -> Tensor:
    """(n, 4): left, top, right, bottom of masks (n, s, s) bool in 0..1; 0 where one is empty."""
    side = inside.shape[-1]
    down, across = inside.any(2).int(), inside.any(1).int()
    first = torch.stack([across.argmax(1), down.argmax(1)], 1)
    last = side - torch.stack([across.flip(1).argmax(1), down.flip(1).argmax(1)], 1)
    found = torch.cat([first, last], 1) / side
    return found * inside.flatten(1).any(1)[:, None]


def _box_iou(boxes: Tensor, box: Tensor) -> Tensor:
    """(n,): intersection over union of boxes (n, 4) with one (4,)."""
    low = torch.maximum(boxes[:, :2], box[:2])
    high = torch.minimum(boxes[:, 2:], box[2:])
    shared = (high - low).clamp(min=0).prod(1)
    sizes = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (box[2:] - box[:2]).prod()
    return shared / (sizes - shared).clamp(min=1e-9)


def _normalized(prompt: BoxPrompt, chip: Chip) -> Tensor:
    scaled = (
        prompt.left / chip.width, prompt.top / chip.height,
        prompt.right / chip.width, prompt.bottom / chip.height,
    )  # fmt: skip
    return torch.tensor(scaled).clamp(0, 1)
