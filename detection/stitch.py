"""Masks of overlapping chips -> masks of the mosaic that they make, as if there were no seam.

Chips side by side overlap, and their masks lie there cell on cell. Where two chips have an
opinion on the same cell, each has a say that shrinks towards its own edge, where it sees least.
A thing that both have drawn in the overlap is one thing, with one outline over the seam.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import STRtree

from detection.chip_plan import OVERLAP_SHARES
from detection.imagery.pixel_grid import PixelWindow, union
from detection.labels import Label
from detection.segmenters.interface import Mask

# Two things that share this much of what they cover in the overlap are one,
_SAME_IOU = 0.5
# and so are those of which one lies this far inside the other there,
_SAME_INSIDE = 0.8
# unless it is but a sliver of the thing: neighbours may each reach a little into the other.
_SLIVER_SHARE = 0.1

_Floats = NDArray[np.float32]
# Windows of cells of the mosaic's grid, not of pixels.
_Cells = PixelWindow


def stitch(
    seen: Mapping[PixelWindow, Sequence[Mask]],
    labels: Sequence[Label],
    window: PixelWindow,
    within: PixelWindow,
) -> Iterator[Mask]:
    """The masks of a mosaic, label by label, on one grid over all of it.

    Args:
        seen: the masks of each chip, by its window of the grid.
        window: the mosaic's; it holds the chips, which lie side by side in it.
        within: the part of the mosaic that is needed of continuous things.

    Raises:
        ValueError: masks of different grids, or of one that does not go with the overlap.
    """
    for label in labels:
        drawn = [
            _placed(mask, chip, window)
            for chip, masks in seen.items()
            for mask in masks
            if mask.label == label
        ]
        if len({(each.mask.cells, each.mosaic_cells) for each in drawn}) > 1:
            raise ValueError(f"the masks of {label.name} lie on different grids")
        if label.kind == "discrete":
            for one in _same_things(drawn):
                yield _whole([drawn[number] for number in one])
        elif drawn:
            # A line is simplified as a whole: cut to what some lots need, it would depend on which.
            part = window if label.simplify_share else within
            yield _blended(drawn, _cells_of(part, window, drawn[0].mosaic_cells))


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """A chip's mask on the mosaic's grid.

    Attributes:
        mosaic: rows and columns of that grid.
        chip, place: the cells of the chip, and of the mask's field.
    """

    mask: Mask
    mosaic_cells: tuple[int, int]
    chip: _Cells
    place: _Cells

    def field(self, cells: _Cells) -> _Floats:
        """The field on some of its cells."""
        return self.mask.field[cells.slices_in(self.place)]

    def count_inside(self, cells: _Cells) -> int:
        """How many of some cells lie inside."""
        known = self.place.intersection(cells)
        return int(np.count_nonzero(self.field(known) > 0)) if known else 0


def _placed(mask: Mask, chip: PixelWindow, window: PixelWindow) -> _Placed:
    rows, columns = mask.cells
    if rows % OVERLAP_SHARES or columns % OVERLAP_SHARES:
        raise ValueError(
            f"the mask of {mask.label.name} is on a grid of {mask.cells}; chips only lie cell on "
            f"cell where its sides are multiples of {OVERLAP_SHARES}"
        )
    # Exact: chips are whole numbers of margins apart, and a margin is a whole number of cells.
    row = (chip.row - window.row) * rows // chip.height
    column = (chip.column - window.column) * columns // chip.width
    height, width = mask.field.shape
    return _Placed(
        mask,
        (window.height * rows // chip.height, window.width * columns // chip.width),
        _Cells(column, row, columns, rows),
        _Cells(column + mask.column, row + mask.row, width, height),
    )


def _cells_of(part: PixelWindow, window: PixelWindow, mosaic_cells: tuple[int, int]) -> _Cells:
    """The mosaic's cells that show a part of it, and two more for the edges between cells."""
    rows, columns = mosaic_cells
    down, right = rows / window.height, columns / window.width
    top, left = (part.row - window.row) * down, (part.column - window.column) * right
    row, column = max(0, math.floor(top) - 2), max(0, math.floor(left) - 2)
    bottom = min(rows, math.ceil(top + part.height * down) + 2)
    end = min(columns, math.ceil(left + part.width * right) + 2)
    return _Cells(column, row, end - column, bottom - row)


def _same_things(drawn: Sequence[_Placed]) -> list[list[int]]:
    """Which masks of discrete things are of one and the same: groups of their indexes."""
    of_chip: dict[_Cells, list[int]] = defaultdict(list)
    for number, each in enumerate(drawn):
        of_chip[each.chip].append(number)
    corners = [
        (at.column, at.row, at.column + at.width, at.row + at.height)
        for at in (each.place for each in drawn)
    ]
    boxes = shapely.box(*np.array(corners, float).reshape(-1, 4).T)
    same = []
    for (one, mine), (other, theirs) in combinations(of_chip.items(), 2):
        if overlap := one.intersection(other):
            # Chips may show thousands of things: only those that can meet are compared.
            near = STRtree(boxes[mine]).query(boxes[theirs], predicate="intersects")
            pairs = ((mine[a], theirs[b]) for b, a in near.T)
            same += [(a, b) for a, b in pairs if _are_one(drawn[a], drawn[b], overlap)]
    return _joined(len(drawn), same)


def _are_one(one: _Placed, other: _Placed, overlap: _Cells) -> bool:
    common = one.place.intersection(other.place)
    if common is None or (common := common.intersection(overlap)) is None:
        return False
    shared = int(np.count_nonzero((one.field(common) > 0) & (other.field(common) > 0)))
    if not shared:
        return False
    mine, theirs = one.count_inside(overlap), other.count_inside(overlap)
    if shared >= _SAME_IOU * (mine + theirs - shared):
        return True
    smaller = min(one.count_inside(one.place), other.count_inside(other.place))
    return shared >= _SAME_INSIDE * min(mine, theirs) and shared >= _SLIVER_SHARE * smaller


def _joined(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The connected groups of 0..count-1, each in order (union-find)."""
    leader = list(range(count))

    def find(number: int) -> int:
        while leader[number] != number:
            leader[number] = leader[leader[number]]
            number = leader[number]
        return number

    for a, b in pairs:
        first, last = sorted((find(a), find(b)))
        leader[last] = first
    groups: dict[int, list[int]] = defaultdict(list)
    for number in range(count):
        groups[find(number)].append(number)
    return list(groups.values())


def _whole(parts: Sequence[_Placed]) -> Mask:
    """One thing, of all the masks that show a part of it."""
    if len(parts) > 1:
        return _blended(parts, union(part.place for part in parts))
    [part] = parts
    return replace(part.mask, cells=part.mosaic_cells, row=part.place.row, column=part.place.column)


def _blended(drawn: Sequence[_Placed], cells: _Cells) -> Mask:
    """One mask on these cells, of all that chips say of them."""
    of_chip: dict[_Cells, list[_Placed]] = defaultdict(list)
    for each in drawn:
        of_chip[each.chip].append(each)
    # What a chip has not drawn it holds to be outside, as surely as drawn things are inside: then
    # the edge lies where those have the greater say who drew it.
    outside = -max(abs(float(each.mask.field.max())) for each in drawn)
    shape = (cells.height, cells.width)
    field, confidence, says = (np.zeros(shape, np.float32) for _ in range(3))
    for chip, mine in of_chip.items():
        if shown := chip.intersection(cells):
            at = shown.slices_in(cells)
            say = _say(chip)[shown.slices_in(chip)]
            its_field, its_confidence = _flattened(mine, shown, outside)
            field[at] += say * its_field
            confidence[at] += say * its_confidence
            says[at] += say
    seen = says > 0
    np.divide(field, says, out=field, where=seen)
    np.divide(confidence, says, out=confidence, where=seen)
    field[~seen] = outside
    first = drawn[0]
    return Mask(first.mask.label, field, confidence, first.mosaic_cells, cells.row, cells.column)


def _flattened(mine: Sequence[_Placed], shown: _Cells, outside: float) -> tuple[_Floats, _Floats]:
    """Field and confidence of what one chip has drawn on some of its cells."""
    shape = (shown.height, shown.width)
    field, confidence = np.full(shape, -np.inf, np.float32), np.zeros(shape, np.float32)
    for each in mine:
        if known := each.place.intersection(shown):
            at = known.slices_in(shown)
            higher = each.field(known) > field[at]
            its_confidence = each.mask.confidence[known.slices_in(each.place)]
            field[at] = np.where(higher, each.field(known), field[at])
            confidence[at] = np.where(higher, its_confidence, confidence[at])
    field[np.isneginf(field)] = outside
    return field, confidence


def _say(chip: _Cells) -> _Floats:
    """A chip's say in each of its cells: full in the middle, less and less in the overlaps."""
    rows, columns = (
        np.minimum(1.0, (np.minimum(np.arange(side), np.arange(side)[::-1]) + 0.5) / overlap)
        for side, overlap in (
            (chip.height, 2 * chip.height // OVERLAP_SHARES),
            (chip.width, 2 * chip.width // OVERLAP_SHARES),
        )
    )
    return np.outer(rows, columns).astype(np.float32)
