"""Boxes given by centre and size: overlap and generalised overlap."""

from __future__ import annotations

import torch
from torch import Tensor

from detection.segmenters.sam3.forward import box_corners

_TINY = 1e-7


def pairwise_giou(first: Tensor, second: Tensor) -> Tensor:
    """(..., n, k): the generalised IoU of each of (..., n, 4) with each of (..., k, 4)."""
    return iou_and_giou(first[..., :, None, :], second[..., None, :, :])[1]


def iou_and_giou(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU (Rezatofighi et al., 2019) of boxes (..., 4) that broadcast.

    Boxes are centre x, centre y, width, height.
    """
    a, b = box_corners(first), box_corners(second)
    shared = _area(torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:]))
    hull = _area(torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:]))
    union = _area(a[..., :2], a[..., 2:]) + _area(b[..., :2], b[..., 2:]) - shared
    iou = shared / union.clamp(min=_TINY)
    return iou, iou - (hull - union) / hull.clamp(min=_TINY)


def _area(low: Tensor, high: Tensor) -> Tensor:
    size = (high - low).clamp(min=0)
    return size[..., 0] * size[..., 1]
