"""At the edge of the imagery the segmenter sees a chip that lies inside, as elsewhere.

A chip may lie mostly beyond the imagery: then the segmenter would see a strip, and do worse than
inside. It sees a *view* instead, the chip moved inwards, and its masks are moved back. The view
shows every pixel of the chip that has imagery.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from detection.chip_plan import OVERLAP_SHARES
from detection.imagery.pixel_grid import PixelWindow
from detection.segmenters.interface import Mask


def view_window(window: PixelWindow, extent: PixelWindow) -> PixelWindow:
    """The chip's window moved inwards, so that little of it lies beyond the imagery.

    It is moved by multiples of a chip's overlap, so that cells of masks coincide.

    Args:
        window: of the chip; its sides are multiples of `OVERLAP_SHARES`.
        extent: of the imagery around it.
    """
    column = _moved_start(window.column, window.width, extent.column, extent.width)
    row = _moved_start(window.row, window.height, extent.row, extent.height)
    return replace(window, column=column, row=row)


def _moved_start(start: int, side: int, extent_start: int, extent_side: int) -> int:
    """Move towards imagery that a side misses, as far as the other one lies beyond imagery."""
    step = side // OVERLAP_SHARES
    beyond_start = max(0, extent_start - start)
    beyond_end = max(0, start + side - extent_start - extent_side)
    missed_before = max(0, start - extent_start)
    missed_after = max(0, extent_start + extent_side - start - side)
    forwards = min(beyond_start // step, -(-missed_after // step))
    backwards = min(beyond_end // step, -(-missed_before // step))
    return start + (forwards - backwards) * step


def masks_on_chip(masks: Sequence[Mask], view: PixelWindow, window: PixelWindow) -> list[Mask]:
    """The masks of a view on the grid of its chip; objects beside the chip are left out.

    Where the view ends, the imagery does: a mask of the whole view continues there with its last
    cells, and is cut where pixels are not valid.

    Raises:
        ValueError: masks on a grid that does not fit the overlap.
    """
    moved = (_on_chip(mask, view, window) for mask in masks)
    return [mask for mask in moved if mask is not None]


def _on_chip(mask: Mask, view: PixelWindow, window: PixelWindow) -> Mask | None:
    (rows, columns), (height, width) = mask.cells, mask.field.shape
    if height > rows or width > columns:
        return mask  # it is refused, with its reason, where lots are measured
    if rows % OVERLAP_SHARES or columns % OVERLAP_SHARES:
        raise ValueError(
            f"the mask of {mask.label.name} is on a grid of {mask.cells}: its sides should be "
            f"multiples of {OVERLAP_SHARES}"
        )
    # Exact: a view is moved by multiples of the overlap.
    down = (view.row - window.row) * rows // window.height
    right = (view.column - window.column) * columns // window.width
    if mask.field.shape == mask.cells:
        cells = np.ix_(
            np.clip(np.arange(rows) - down, 0, rows - 1),
            np.clip(np.arange(columns) - right, 0, columns - 1),
        )
        return replace(mask, field=mask.field[cells], confidence=mask.confidence[cells])
    row, column = mask.row + down, mask.column + right
    part = (
        slice(max(0, -row), max(0, min(height, rows - row))),
        slice(max(0, -column), max(0, min(width, columns - column))),
    )
    field = mask.field[part]
    if not field.size or not field.max() > 0:
        return None
    return replace(
        mask, field=field, confidence=mask.confidence[part], row=max(0, row), column=max(0, column)
    )
