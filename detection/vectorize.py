"""Masks -> polygons with their holes, in the mosaic's CRS.

Marching squares (contourpy) on the signed field put an edge between the middles of two cells, to
a small part of a cell. Where a mask ends, its objects end exactly at the outer cells' edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import numpy as np
import shapely
from contourpy import FillType, LineType, SerialContourGenerator, ZInterp
from numpy.typing import NDArray
from rasterio.features import shapes
from shapely import GeometryType, STRtree

from detection.mosaic import Mosaic
from detection.segmenters.interface import Mask
from detection.simplify import simplify_polygons

# A field is kept this far from 0 and no further, so that each corner of an outline lies clearly
# between two middles: outlines never touch themselves, and a corner's cell can be told.
_LEAST, _MOST = 1e-6, 1e3
_CLEARLY = 1e-11

_Floats = NDArray[np.float64]
_Indexes = NDArray[np.intp]
# What contourpy answers in one chunk: corners, where rings begin, where polygons begin.
_Filled = tuple[list[_Floats], list[NDArray[Any]], list[NDArray[Any]]]


@dataclass(frozen=True, eq=False)
class Outlines:
    """Connected objects of several masks.

    Attributes:
        polygons: (n,) valid ones, in the mosaic's CRS.
        scores: (n,) in 0..1, the mean confidence of the cells inside.
        masks: (n,) the index of each one's mask.
    """

    polygons: NDArray[np.object_]
    scores: _Floats
    masks: _Indexes

    def __getitem__(self, chosen: NDArray[Any]) -> Outlines:
        """Some of them, by their indexes or by a flag for each."""
        return Outlines(self.polygons[chosen], self.scores[chosen], self.masks[chosen])

    def __len__(self) -> int:
        return len(self.polygons)


def crop_mask(mask: Mask, mosaic: Mosaic, bounds: _Floats) -> list[Mask | None]:
    """The mask's cells that decide its outlines within CRS bounds (n, 4), for each of them.

    Within the bounds (left, bottom, right, top), the outlines are those of the whole mask. None
    where nothing is inside.

    Raises:
        ValueError: as `vectorize_masks`.
    """
    _check(mask)
    width, height = _cell(mask, mosaic)
    transform = mosaic.transform
    # Half a cell further, as an edge is drawn between two middles.
    left = np.floor((bounds[:, 0] - transform.c) / width - 0.5) - mask.column
    top = np.floor((transform.f - bounds[:, 3]) / height - 0.5) - mask.row
    right = np.ceil((bounds[:, 2] - transform.c) / width + 0.5) - mask.column
    bottom = np.ceil((transform.f - bounds[:, 1]) / height + 0.5) - mask.row
    edges = np.maximum(np.stack([left, top, right, bottom], axis=1), 0).astype(int).tolist()
    return [_window(mask, slice(edge[1], edge[3]), slice(edge[0], edge[2])) for edge in edges]


def _window(mask: Mask, rows: slice, columns: slice) -> Mask | None:
    field = mask.field[rows, columns]
    if not field.size or not field.max() > 0:
        return None
    confidence = mask.confidence[rows, columns]
    row, column = mask.row + rows.start, mask.column + columns.start
    return Mask(mask.label, field, confidence, mask.cells, row, column)


def vectorize_masks(masks: Sequence[Mask], mosaic: Mosaic) -> Outlines:
    """The objects of masks on a mosaic's grid, every hole kept; all at once, which is far quicker.

    What the mosaic does not show is cut out, along its pixels' edges. Objects under their label's
    `min_area_m2` are left out. Where the label allows it, outlines lose corners, before they
    are cut: what lies on both sides of any line still adds up. A confidence that is
    no number counts 0 towards the score.

    Raises:
        ValueError: a mask that does not fit its grid, or a field that is not finite.
    """
    for mask in masks:
        _check(mask)
    found = _traced(masks, mosaic)
    unit_m = mosaic.grid.unit_m
    found = _large(found, masks, unit_m)
    share = np.array([mask.label.simplify_share for mask in masks])[found.masks]
    furthest = np.array([min(_cell(mask, mosaic)) for mask in masks])[found.masks]
    less = np.flatnonzero(share)
    found.polygons[less] = simplify_polygons(
        found.polygons[less], share[less], furthest[less], found.masks[less]
    )
    shown = _without_gaps(found, mosaic)
    return found if shown is found else _large(shown, masks, unit_m)


def _check(mask: Mask) -> None:
    (rows, columns), (height, width) = mask.cells, mask.field.shape
    fits = 0 <= mask.row <= rows - height and 0 <= mask.column <= columns - width
    if not fits or mask.confidence.shape != mask.field.shape:
        raise ValueError(
            f"the mask of {mask.label.name} is {mask.field.shape} at row {mask.row}, column "
            f"{mask.column}, with confidence {mask.confidence.shape}, on a grid of {mask.cells}"
        )
    if not np.isfinite(mask.field).all():
        raise ValueError(f"the mask of {mask.label.name} has a field that is not finite")


def _cell(mask: Mask, mosaic: Mosaic) -> tuple[float, float]:
    """Width and height of a cell in units of the CRS."""
    rows, columns = mask.cells
    pixel = mosaic.grid.pixel_size
    return mosaic.window.width * pixel / columns, mosaic.window.height * pixel / rows


def _traced(masks: Sequence[Mask], mosaic: Mosaic) -> Outlines:
    sizes = np.array([mask.field.size for mask in masks], dtype=np.intp)
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp)
    field = _joined([mask.field for mask in masks])
    size = np.clip(np.abs(field), _LEAST, _MOST)
    field = np.where(field > 0, size, -size)
    traces = []
    for number, mask in enumerate(masks):
        mine = field[starts[number] : starts[number + 1]].reshape(mask.field.shape)
        if mine.size and mine.max() > 0:
            traces.append((number, *_trace(mine)))
    if not traces:
        return Outlines(np.empty(0, object), np.empty(0), np.empty(0, np.intp))
    numbers = np.array([trace[0] for trace in traces], dtype=np.intp)
    points = np.concatenate([trace[1] for trace in traces])
    rings = _chained([trace[2] for trace in traces])
    polygons = _chained([trace[3] for trace in traces])
    of_polygon = np.repeat(numbers, [len(trace[3]) - 1 for trace in traces])
    of_point = np.repeat(numbers, [len(trace[1]) for trace in traces])

    scores = _scores(points, of_point, rings, polygons, masks, field, starts)
    transform = mosaic.transform
    cell = np.array([_cell(mask, mosaic) for mask in masks])
    corner = np.array([(mask.column, mask.row) for mask in masks])
    xy = (points + corner[of_point]) * cell[of_point] * (1, -1) + (transform.c, transform.f)
    made = shapely.from_ragged_array(GeometryType.POLYGON, xy, (rings, polygons))
    return Outlines(np.asarray(made, dtype=object), scores, of_polygon)


def _joined(arrays: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    nothing = np.empty(0, np.float32)
    return np.concatenate([nothing, *(array.ravel() for array in arrays)], dtype=np.float32)


def _chained(offsets: Sequence[NDArray[Any]]) -> _Indexes:
    """Offsets of several ragged arrays as those of the arrays one after the other."""
    steps = np.concatenate([np.diff(each.astype(np.intp)) for each in offsets])
    return np.concatenate([[0], np.cumsum(steps)]).astype(np.intp)


def _trace(field: NDArray[np.float32]) -> tuple[_Floats, NDArray[Any], NDArray[Any]]:
    """Corners (k, 2) as column, row in cells, the first of each ring, the first ring of each."""
    height, width = field.shape
    # The outer cells reach to their own edge, and just there lies their opposite: the outline
    # runs along the edge exactly, corners included.
    z = np.empty((height + 4, width + 4))
    z[2:-2, 2:-2] = field
    z[1, 2:-2], z[-2, 2:-2] = field[0], field[-1]
    z[1:-1, 1], z[1:-1, -2] = z[1:-1, 2], z[1:-1, -3]
    z[0, 1:-1], z[-1, 1:-1] = -np.abs(z[1, 1:-1]), -np.abs(z[-2, 1:-1])
    z[:, 0], z[:, -1] = -np.abs(z[:, 1]), -np.abs(z[:, -2])
    columns, rows = _middles(height, width)
    # Not by `contour_generator`, which looks for masked values for longer than this takes.
    generator = SerialContourGenerator(
        columns,
        rows,
        z,
        None,  # type: ignore[arg-type]  # the stub forgets it; contour_generator gives it too
        corner_mask=False,
        line_type=LineType.SeparateCode,
        fill_type=FillType.ChunkCombinedOffsetOffset,
        quad_as_tri=False,
        z_interp=ZInterp.Linear,
    )
    points, rings, polygons = cast(_Filled, generator.filled(0.0, np.inf))
    return points[0], rings[0], polygons[0]


@lru_cache(maxsize=256)
def _middles(height: int, width: int) -> tuple[_Floats, _Floats]:
    """Columns and rows of the cells' middles, and twice of the edges."""
    columns, rows = (
        np.concatenate([[0.0, 0.0], np.arange(side) + 0.5, [side, side]])
        for side in (width, height)
    )
    x, y = np.meshgrid(columns, rows)
    return x, y


def _scores(
    points: _Floats,
    of_point: _Indexes,
    rings: _Indexes,
    polygons: _Indexes,
    masks: Sequence[Mask],
    field: NDArray[np.float32],
    starts: _Indexes,
) -> _Floats:
    """The mean confidence of the cells whose middles are inside, for each polygon.

    By Green's theorem on the grid: along a row of middles, what is inside is the running sum
    where the outline leaves the inside, less that where it enters.
    """
    # A model in half precision can overflow to NaN, which would spoil a whole object's mean.
    confidence = np.nan_to_num(
        _joined([mask.confidence for mask in masks]), nan=0.0, posinf=1.0, neginf=0.0
    )
    sums = np.concatenate([[0.0], np.cumsum(confidence, dtype=np.float64)])
    column, row = points[:, 0], np.floor(points[:, 1])
    crosses = np.abs(points[:, 1] - row - 0.5) < _CLEARLY
    crosses[rings[1:] - 1] = False  # a ring ends where it began
    at = np.flatnonzero(crosses)
    widths = np.array([mask.field.shape[1] for mask in masks], dtype=np.intp)[of_point[at]]
    left_of = np.floor(column[at] + 0.5).astype(np.intp)  # how many middles lie left of it
    cell = starts[of_point[at]] + row[at].astype(np.intp) * widths + left_of
    leaves = (left_of > 0) & (field[cell - 1] > 0)
    sign = np.where(leaves, 1.0, -1.0)
    of_corner = np.repeat(np.arange(len(polygons) - 1), np.diff(rings[polygons]))[at]
    total = np.bincount(of_corner, sign * sums[cell], len(polygons) - 1)
    count = np.bincount(of_corner, sign * cell, len(polygons) - 1)
    return np.clip(total / np.maximum(count, 1), 0.0, 1.0)


def _large(found: Outlines, masks: Sequence[Mask], unit_m: float) -> Outlines:
    least_m2 = np.array([mask.label.min_area_m2 for mask in masks])
    area_m2 = shapely.area(found.polygons) * unit_m**2
    return found[area_m2 >= least_m2[found.masks]]


def _without_gaps(found: Outlines, mosaic: Mosaic) -> Outlines:
    """The outlines less the pixels that the mosaic does not show."""
    if not len(found) or mosaic.valid.all():
        return found
    hidden = (~mosaic.valid).astype(np.uint8)
    gaps = [
        shapely.Polygon(geometry["coordinates"][0], geometry["coordinates"][1:])
        for geometry, _ in shapes(hidden, mask=hidden, connectivity=4, transform=mosaic.transform)
    ]
    tree = STRtree(gaps)
    touching, gap = tree.query(found.polygons, predicate="intersects")
    if not touching.size:
        return found
    torn, number = np.unique(touching, return_inverse=True)
    # Gaps touch each other by their corners at most, so together they are valid.
    holes = shapely.multipolygons(tree.geometries[gap], indices=number)
    polygons = found.polygons.copy()
    polygons[torn] = shapely.difference(polygons[torn], holes)
    pieces, of = shapely.get_parts(polygons, return_index=True)
    solid = shapely.get_type_id(pieces) == GeometryType.POLYGON
    return Outlines(pieces, found.scores[of], found.masks[of])[solid & (shapely.area(pieces) > 0)]
