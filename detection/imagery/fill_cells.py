"""Counts the pixels of a colour by cells of a file, from its edges inwards."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from detection.imagery.fill_colours import FillColour
from detection.imagery.fill_view import FillView
from detection.imagery.masks import matches

# JPEG's noise around fill: how far from its colour.
SOFT_TOLERANCE = 40.0
_CELL_PX, _MAX_CELLS_A_SIDE = 8, 512
# What is read at once: of tiled files about this square, of others as many full rows.
_PART_PX, _PART_PIXELS = 1024, 4_000_000
_MAX_READ_PIXELS = 1_000_000_000
_NOISY_LINE = 0.75

_Sides = tuple[NDArray[np.bool_], ...]


@dataclass(frozen=True, slots=True)
class FillCells:
    """Counts of one colour, in cells of a view; 0 where no fill leads to from the edge.

    Attributes:
        counts: (rows, columns): pixels with the colour.
        sizes: (rows, columns): pixels.
        sides: the edge pixels with the colour: top, bottom, left, right.
        noisy_sides: those that have it with JPEG's noise; as `sides` if there is none.
        line_share: how much of a cell's line on a side has to.
        side_px: the side of a cell in pixels of the view.
    """

    colour: FillColour
    counts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    sides: _Sides
    noisy_sides: _Sides
    line_share: float
    side_px: int

    @property
    def full(self) -> NDArray[np.bool_]:
        """Cells that have the colour everywhere."""
        return np.asarray(self.counts == self.sizes)

    @classmethod
    def empty(cls, view: FillView, colour: FillColour) -> FillCells:
        """Before anything is counted."""
        side = max(-(-_CELL_PX // view.step), 1)
        while side * _MAX_CELLS_A_SIDE < max(view.width, view.height):
            side *= 2
        heights, widths = (
            np.diff(np.append(np.arange(0, length, side), length))
            for length in (view.height, view.width)
        )
        sizes = np.outer(heights, widths)
        share = _NOISY_LINE if _is_noisy(view, colour) else 1.0
        sides = (_no_sides(view), _no_sides(view))
        return cls(colour, np.zeros_like(sizes), sizes, *sides, share, side)

    def add(self, view: FillView, part: _Tile, pixels: NDArray[np.generic], shown: _Shown) -> None:
        """Count a part of the view."""
        near = matches(pixels, self.colour.values, self.colour.tolerance) & shown
        rows, columns = (np.arange(0, length, self.side_px) for length in near.shape)
        by_rows = np.add.reduceat(near, rows, axis=0, dtype=np.int64)
        top, left = part.top // self.side_px, part.left // self.side_px
        self.counts[top : top + len(rows), left : left + len(columns)] = np.add.reduceat(
            by_rows, columns, axis=1
        )
        _keep_edges(self.sides, near, part)
        if _is_noisy(view, self.colour):
            near = matches(pixels, self.colour.values, SOFT_TOLERANCE) & shown
        _keep_edges(self.noisy_sides, near, part)


_Shown = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Tile:
    """A rectangle of a view."""

    top: int
    left: int
    height: int
    width: int


def count_cells(view: FillView, colours: list[FillColour]) -> list[FillCells]:
    """The cells of each colour.

    Read are the parts of the view along its edges, and those that full cells lead to, up to a
    number that only views of billions of pixels reach. Parts that cannot be read count 0: whoever
    needs their pixels gets the error.
    """
    found = [FillCells.empty(view, colour) for colour in colours]
    side = found[0].side_px
    height, width = _part_size(view, side)
    rows, columns = -(-view.height // height), -(-view.width // width)
    waiting = [
        (row, column)
        for row in range(rows)
        for column in range(columns)
        if row in (0, rows - 1) or column in (0, columns - 1)
    ]
    heapify(waiting)  # in the order of the file, so that its blocks are decoded once
    known = set(waiting)
    for _ in range(max(_MAX_READ_PIXELS // (height * width), 4)):
        if not waiting:
            break
        row, column = heappop(waiting)
        top, left = row * height, column * width
        part = _Tile(top, left, min(height, view.height - top), min(width, view.width - left))
        with suppress(RasterioError):
            pixels, shown = view.read(part.top, part.left, part.height, part.width)
            for cells in found:
                cells.add(view, part, pixels, shown)
        for step in _leads_to(found, part):
            beside = (row + step[0], column + step[1])
            inside = 0 <= beside[0] < rows and 0 <= beside[1] < columns
            if inside and beside not in known:
                known.add(beside)
                heappush(waiting, beside)
    return found


def _part_size(view: FillView, side: int) -> tuple[int, int]:
    """(height, width) of parts: multiples of a cell's side."""
    wide = int(view.dataset.block_shapes[0][1])
    if wide >= view.width or view.width <= _PART_PX:
        return side * max(1, _PART_PIXELS // (view.width * side)), side * -(-view.width // side)
    length = side * max(1, _PART_PX // side)
    return length, length


def _leads_to(found: list[FillCells], part: _Tile) -> list[tuple[int, int]]:
    """The (row, column) steps to the parts beside one that its full cells touch."""
    steps: set[tuple[int, int]] = set()
    for cells in found:
        side = cells.side_px
        top, left = part.top // side, part.left // side
        bottom, right = top + -(-part.height // side), left + -(-part.width // side)
        full = cells.counts[top:bottom, left:right] == cells.sizes[top:bottom, left:right]
        steps |= {(-1, 0)} if full[0].any() else set()
        steps |= {(1, 0)} if full[-1].any() else set()
        steps |= {(0, -1)} if full[:, 0].any() else set()
        steps |= {(0, 1)} if full[:, -1].any() else set()
    return sorted(steps)


def _is_noisy(view: FillView, colour: FillColour) -> bool:
    return view.step == 1 and colour.pure and (view.lossy or colour.tolerance > 0)


def _no_sides(view: FillView) -> _Sides:
    return tuple(np.zeros(n, bool) for n in (view.width, view.width, view.height, view.height))


def _keep_edges(sides: _Sides, near: NDArray[np.bool_], part: _Tile) -> None:
    """Copy the edge pixels of a part to the sides of its view."""
    above, below, left, right = sides
    rows, columns = (
        slice(part.top, part.top + part.height),
        slice(part.left, part.left + part.width),
    )
    if part.top == 0:
        above[columns] = near[0]
    if rows.stop == len(left):
        below[columns] = near[-1]
    if part.left == 0:
        left[rows] = near[:, 0]
    if columns.stop == len(above):
        right[rows] = near[:, -1]
