"""Stitches the masks of overlapping chips into masks of their mosaic, without visible seams.

Adjacent chips overlap, and the cells of their masks coincide there. Where two chips cover a cell,
their values are feather-blended: each is weighted by the distance to its own chip's edge, where
the segmenter sees least. An object drawn by both chips in the overlap becomes one object.
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

# Within the overlap, two masks are one object if their IoU is at least this,
_SAME_IOU = 0.5
# or if at least this share of one is inside the other,
_SAME_INSIDE = 0.8
# unless that part is a sliver of the object: neighbours may each reach a little into the other.
_SLIVER_SHARE = 0.1

_Floats = NDArray[np.float32]
# Windows in cells of the mosaic's grid, not in pixels.
_Cells = PixelWindow


def stitch(
    masks_by_chip: Mapping[PixelWindow, Sequence[Mask]],
    labels: Sequence[Label],
    window: PixelWindow,
    needed: PixelWindow,
) -> Iterator[Mask]:
    """The masks of a mosaic, label by label, on one grid of cells over all of it.

    Args:
        masks_by_chip: the masks of each chip, by its window of the pixel grid.
        window: the mosaic's; it contains the adjacent chips.
        needed: the part of the mosaic for which continuous labels are needed.

    Raises:
        ValueError: masks on different grids, or on one that does not fit the overlap.
    """
    for label in labels:
        placed = [
            _place(mask, chip, window)
            for chip, masks in masks_by_chip.items()
            for mask in masks
            if mask.label == label
        ]
        if len({(each.mask.cells, each.mosaic_cells) for each in placed}) > 1:
            raise ValueError(f"the masks of {label.name} are on different grids")
        if label.kind == "discrete":
            for group in _group_same_objects(placed):
                yield _merge_parts([placed[index] for index in group])
        elif placed:
            # An outline is simplified as one line: cropped, it would depend on the other lots.
            part = window if label.simplify_share else needed
            yield _feather_blend(placed, _cells_of(part, window, placed[0].mosaic_cells))


@dataclass(frozen=True, slots=True, eq=False)
class _PlacedMask:
    """A chip's mask, positioned on the mosaic's grid.

    Attributes:
        mosaic_cells: rows and columns of that grid.
        chip, extent: the cells of the chip, and of the mask's field.
    """

    mask: Mask
    mosaic_cells: tuple[int, int]
    chip: _Cells
    extent: _Cells

    def field(self, cells: _Cells) -> _Floats:
        """The field on some of its cells."""
        return self.mask.field[cells.slices_in(self.extent)]

    def count_inside(self, cells: _Cells) -> int:
        """How many of these cells are inside the mask."""
        common = self.extent.intersection(cells)
        return int(np.count_nonzero(self.field(common) > 0)) if common else 0


def _place(mask: Mask, chip: PixelWindow, window: PixelWindow) -> _PlacedMask:
    rows, columns = mask.cells
    if rows % OVERLAP_SHARES or columns % OVERLAP_SHARES:
        raise ValueError(
            f"the mask of {mask.label.name} is on a grid of {mask.cells}; cells of overlapping "
            f"chips only coincide if its sides are multiples of {OVERLAP_SHARES}"
        )
    # Exact: chips are a multiple of the overlap apart, and the overlap is a multiple of a cell.
    row = (chip.row - window.row) * rows // chip.height
    column = (chip.column - window.column) * columns // chip.width
    height, width = mask.field.shape
    return _PlacedMask(
        mask,
        (window.height * rows // chip.height, window.width * columns // chip.width),
        _Cells(column, row, columns, rows),
        _Cells(column + mask.column, row + mask.row, width, height),
    )


def _cells_of(part: PixelWindow, window: PixelWindow, mosaic_cells: tuple[int, int]) -> _Cells:
    """The mosaic's cells of a part of it, plus two on each side for edges between cells."""
    rows, columns = mosaic_cells
    down, right = rows / window.height, columns / window.width
    top, left = (part.row - window.row) * down, (part.column - window.column) * right
    row, column = max(0, math.floor(top) - 2), max(0, math.floor(left) - 2)
    bottom = min(rows, math.ceil(top + part.height * down) + 2)
    end = min(columns, math.ceil(left + part.width * right) + 2)
    return _Cells(column, row, end - column, bottom - row)


def _group_same_objects(placed: Sequence[_PlacedMask]) -> list[list[int]]:
    """Groups (of indexes) of discrete masks that are parts of one object."""
    by_chip: dict[_Cells, list[int]] = defaultdict(list)
    for index, each in enumerate(placed):
        by_chip[each.chip].append(index)
    corners = [
        (at.column, at.row, at.column + at.width, at.row + at.height)
        for at in (each.extent for each in placed)
    ]
    boxes = shapely.box(*np.array(corners, float).reshape(-1, 4).T)
    same = []
    for (one, in_one), (other, in_other) in combinations(by_chip.items(), 2):
        if overlap := one.intersection(other):
            # A chip may have thousands of objects: an R-tree limits the pairs to compare.
            near = STRtree(boxes[in_one]).query(boxes[in_other], predicate="intersects")
            pairs = ((in_one[a], in_other[b]) for b, a in near.T)
            same += [(a, b) for a, b in pairs if _is_same_object(placed[a], placed[b], overlap)]
    return _connected_groups(len(placed), same)


def _is_same_object(one: _PlacedMask, other: _PlacedMask, overlap: _Cells) -> bool:
    common = one.extent.intersection(other.extent)
    if common is None or (common := common.intersection(overlap)) is None:
        return False
    shared = int(np.count_nonzero((one.field(common) > 0) & (other.field(common) > 0)))
    if not shared:
        return False
    in_one, in_other = one.count_inside(overlap), other.count_inside(overlap)
    if shared >= _SAME_IOU * (in_one + in_other - shared):
        return True
    smaller = min(one.count_inside(one.extent), other.count_inside(other.extent))
    return shared >= _SAME_INSIDE * min(in_one, in_other) and shared >= _SLIVER_SHARE * smaller


def _connected_groups(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
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


def _merge_parts(parts: Sequence[_PlacedMask]) -> Mask:
    """One mask of an object, from all masks that cover a part of it."""
    if len(parts) > 1:
        return _feather_blend(parts, union(part.extent for part in parts))
    [part] = parts
    return replace(
        part.mask, cells=part.mosaic_cells, row=part.extent.row, column=part.extent.column
    )


def _feather_blend(placed: Sequence[_PlacedMask], cells: _Cells) -> Mask:
    """One mask on these cells: the weighted mean of the chips' masks."""
    by_chip: dict[_Cells, list[_PlacedMask]] = defaultdict(list)
    for each in placed:
        by_chip[each.chip].append(each)
    # A chip's cells without a mask are outside, as surely as the drawn ones are inside: then the
    # edge is where the chips that drew the object outweigh the others.
    outside = -max(abs(float(each.mask.field.max())) for each in placed)
    shape = (cells.height, cells.width)
    field, confidence, weights = (np.zeros(shape, np.float32) for _ in range(3))
    for chip, of_chip in by_chip.items():
        if shown := chip.intersection(cells):
            at = shown.slices_in(cells)
            weight = _feather_weight(chip)[shown.slices_in(chip)]
            chip_field, chip_confidence = _flatten(of_chip, shown, outside)
            field[at] += weight * chip_field
            confidence[at] += weight * chip_confidence
            weights[at] += weight
    covered = weights > 0
    np.divide(field, weights, out=field, where=covered)
    np.divide(confidence, weights, out=confidence, where=covered)
    field[~covered] = outside
    first = placed[0]
    return Mask(first.mask.label, field, confidence, first.mosaic_cells, cells.row, cells.column)


def _flatten(
    of_chip: Sequence[_PlacedMask], shown: _Cells, outside: float
) -> tuple[_Floats, _Floats]:
    """Field and confidence of one chip on these cells: the maximum over its masks."""
    shape = (shown.height, shown.width)
    field, confidence = np.full(shape, -np.inf, np.float32), np.zeros(shape, np.float32)
    for each in of_chip:
        if common := each.extent.intersection(shown):
            at = common.slices_in(shown)
            higher = each.field(common) > field[at]
            mask_confidence = each.mask.confidence[common.slices_in(each.extent)]
            field[at] = np.where(higher, each.field(common), field[at])
            confidence[at] = np.where(higher, mask_confidence, confidence[at])
    field[np.isneginf(field)] = outside
    return field, confidence


def _feather_weight(chip: _Cells) -> _Floats:
    """The weight of each of a chip's cells: 1 in the middle, falling to its edge in the overlap."""
    rows, columns = (
        np.minimum(1.0, (np.minimum(np.arange(side), np.arange(side)[::-1]) + 0.5) / overlap)
        for side, overlap in (
            (chip.height, 2 * chip.height // OVERLAP_SHARES),
            (chip.width, 2 * chip.width // OVERLAP_SHARES),
        )
    )
    return np.outer(rows, columns).astype(np.float32)
