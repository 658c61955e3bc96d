"""What a batch of views and prompts should find, on the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from detection.segmenters.sam3.forward import box_corners


@dataclass(frozen=True, slots=True, eq=False)
class KnownGround:
    """Where something is known of n rows, if only a lot was judged.

    Attributes:
        negatives: (n, s, s) 1 where a query whose box has its centre there, and that no object
            is matched with, is wrong; others teach nothing.
        masks: (n, s, s) 1 where the masks of objects are known.
        window: (n, 4) left, top, right, bottom in 0..1: boxes are compared inside it, because what
            was judged of an object ends at the lot.
    """

    negatives: Tensor
    masks: Tensor
    window: Tensor

    def clip(self, boxes: Tensor, rows: Tensor) -> Tensor:
        """Boxes (layers, r, q, 4), by centre and size, of some rows: what is in the window."""
        corners = box_corners(boxes)
        window = self.window[rows][:, None]
        low, high = window[..., :2], window[..., 2:]
        start = torch.minimum(torch.maximum(corners[..., :2], low), high)
        end = torch.minimum(torch.maximum(corners[..., 2:], low), high)
        return torch.cat([(start + end) / 2, end - start], -1)

    @torch.no_grad()
    def wrong_at(self, boxes: Tensor) -> Tensor:
        """(layers, n, q) bool: whether each box has its centre where a query is wrong."""
        side = self.negatives.shape[-1]
        cells = (boxes[..., :2].nan_to_num() * side).long().clamp(0, side - 1)
        index = (cells[..., 1] * side + cells[..., 0]).transpose(0, 1)
        flat = self.negatives.flatten(1)[:, None].expand(-1, index.shape[1], -1)
        return flat.gather(2, index).transpose(0, 1) > 0


@dataclass(frozen=True, slots=True, eq=False)
class RowTargets:
    """The truth of n rows (views x prompts, view by view) on the grid of the masks.

    Only some rows have objects: those of the labels of which instances are known. They are the
    rows `object_rows`, in whose order the last three attributes are.

    Attributes:
        semantic: (n, s, s) in 0..1, the probability, or the share of a cell, of the prompt's label.
        weight: (n, s, s), at least 0; 0 where the truth is unknown.
        present: (n,) 1 where the view has the label, else 0.
        present_weight: (n,) 0 where this is uncertain, else 1.
        scored: (n,) 1 for rows whose queries are scored: those with objects, and present labels
            that are never objects, of which no query may claim to be one.
        object_rows: (r,) int64, the rows that may have objects.
        counts: (r,) int64, the number of objects.
        boxes: (r, k, 4), centre x, centre y, width, height in 0..1; the first `counts` are objects.
        masks: (r, k, s, s) in 0..1, the share of each cell that is of the object.
        known: None if all of each view is known, but for cells of weight 0.
    """

    semantic: Tensor
    weight: Tensor
    present: Tensor
    present_weight: Tensor
    scored: Tensor
    object_rows: Tensor
    counts: Tensor
    boxes: Tensor
    masks: Tensor
    known: KnownGround | None = None
