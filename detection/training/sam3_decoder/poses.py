"""The fixed views of a chip: the chip as detection sees it, then turned, shifted and scaled ones.

They are fixed so that the frozen encoder sees each only once. Every other one of the changed views
shows the lot alone, the rest grey as beyond the imagery's edge: there a label that the lot does not
have is absent from the whole view, so that its presence can be trained.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A view is moved by up to this share of its side.
_SHIFT = 0.15
# Sides of a chip and of the network's view that differ by so few pixels are the same.
_SAME_PX = 2


@dataclass(frozen=True, slots=True)
class ViewPose:
    """A square window of a chip, turned.

    Attributes:
        left, top, side_px: of the window, in pixels of the chip; it may reach beyond the chip.
        turns: quarter turns, after which it may be mirrored.
        alone: whether only the lot is shown.
        colours: the seed of changed colours; None for those of the imagery.
    """

    left: int
    top: int
    side_px: int
    turns: int = 0
    mirrored: bool = False
    alone: bool = False
    colours: int | None = None

    def cut(self, plane: NDArray[Any]) -> NDArray[Any]:
        """(..., side, side) of (..., height, width); 0 beyond the chip."""
        height, width = plane.shape[-2:]
        cut = np.zeros((*plane.shape[:-2], self.side_px, self.side_px), plane.dtype)
        rows = slice(max(0, self.top), min(height, self.top + self.side_px))
        columns = slice(max(0, self.left), min(width, self.left + self.side_px))
        if rows.stop > rows.start and columns.stop > columns.start:
            cut[
                ...,
                rows.start - self.top : rows.stop - self.top,
                columns.start - self.left : columns.stop - self.left,
            ] = plane[..., rows, columns]
        turned = np.rot90(cut, self.turns, (-2, -1))
        return np.ascontiguousarray(turned[..., ::-1] if self.mirrored else turned)


def fixed_poses(
    name: str, lot: NDArray[np.bool_], side_px: int, count: int, scale: float, seed: int
) -> list[ViewPose]:
    """The views of a chip; the first is what detection sees.

    Args:
        name: of the chip.
        lot: (height, width), on which changed views stay.
        side_px: what detection sees, in pixels of the chip.
        scale: changed views are up to this factor larger or smaller.
    """
    height, width = lot.shape
    if height == width and abs(width - side_px) <= _SAME_PX:
        side_px = width
    # A larger chip than detection's: around the lot, as no detection sees all of it.
    rows, columns = np.flatnonzero(lot.any(1)), np.flatnonzero(lot.any(0))
    row = (int(rows[0]) + int(rows[-1]) + 1) / 2 if len(rows) else height / 2
    column = (int(columns[0]) + int(columns[-1]) + 1) / 2 if len(columns) else width / 2
    first = ViewPose(_start(column, side_px, width), _start(row, side_px, height), side_px)
    poses = [first]
    for number in range(1, count):
        rng = random.Random(f"{seed} {name} {number}")  # noqa: S311  not cryptography
        side = max(8, round(side_px * scale ** rng.uniform(-1, 1)))
        left = _shifted(columns, rng.uniform(-_SHIFT, _SHIFT), side, first.left, side_px)
        top = _shifted(rows, rng.uniform(-_SHIFT, _SHIFT), side, first.top, side_px)
        poses.append(
            ViewPose(
                left, top, side, rng.randrange(4), rng.random() < 0.5, number % 2 == 1,
                rng.randrange(2**31),
            )
        )  # fmt: skip
    return poses


def _start(middle: float, side_px: int, length: int) -> int:
    """The window's first pixel: around the middle, but not needlessly beyond the chip."""
    if length <= side_px:
        return (length - side_px) // 2
    return min(max(0, round(middle - side_px / 2)), length - side_px)


def _shifted(judged: NDArray[np.intp], share: float, side: int, first: int, first_side: int) -> int:
    """The start of a window near the first one, moved so that it keeps the lot if that fits."""
    start = round(first + first_side / 2 + share * side - side / 2)
    if len(judged):
        low, high = int(judged[-1]) + 1 - side, int(judged[0])
        start = min(max(start, low), high) if low <= high else round((low + high) / 2)
    return start
