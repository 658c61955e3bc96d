"""What a batch of views and prompts should find, on the device."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


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
