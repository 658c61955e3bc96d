"""Vectorizes masks: signed fields -> polygons with holes, in the mosaic's CRS.

Marching squares (contourpy) interpolate the zero contour between cell centres, with subcell
accuracy. At the edge of a mask, its objects end exactly at the edge of the outer cells.
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

# Field values are clamped to this range of magnitudes. So each vertex is strictly between two cell
# centres: outlines never touch themselves, and the cell of a vertex is known.
_MIN_FIELD, _MAX_FIELD = 1e-6, 1e3
_ON_ROW_TOLERANCE = 1e-11
# Coordinates of grids up to this size (SAM3 has 288 cells a side) are kept. Those of one
# block of a large image would take 64 MB, and blocks have several sizes.
_MAX_CACHED_CELLS = 300 * 300

_Floats = NDArray[np.float64]
_Indexes = NDArray[np.intp]
# contourpy's result for one chunk: vertices, offsets of rings, offsets of polygons.
_Filled = tuple[list[_Floats], list[NDArray[Any]], list[NDArray[Any]]]


@dataclass(frozen=True, eq=False)
class Outlines:
    """The connected objects of several masks, vectorized.

    Attributes:
        polygons: (n,) valid, in the mosaic's CRS.
        scores: (n,) in 0..1, the mean confidence of the cells inside.
        masks: (n,) the index of each one's mask.
    """

    polygons: NDArray[np.object_]
    scores: _Floats
    masks: _Indexes

    def __getitem__(self, chosen: NDArray[Any]) -> Outlines:
        """A selection, by indexes or by a boolean mask."""
        return Outlines(self.polygons[chosen], self.scores[chosen], self.masks[chosen])

    def __len__(self) -> int:
        return len(self.polygons)


def crop_mask(mask: Mask, mosaic: Mosaic, bounds: _Floats) -> list[Mask | None]:
    """Crop the mask to the cells that determine its outlines within each CRS bounds (n, 4).

    Within the bounds (left, bottom, right, top), the outlines are those of the full mask. None
    where the mask has nothing inside.

    Raises:
        ValueError: as `vectorize_masks`.
    """
    _check(mask)
    width, height = _cell_size(mask, mosaic)
    transform = mosaic.transform
    # Half a cell more, because an edge is interpolated between two cell centres.
    left = np.floor((bounds[:, 0] - transform.c) / width - 0.5) - mask.column
    top = np.floor((transform.f - bounds[:, 3]) / height - 0.5) - mask.row
    right = np.ceil((bounds[:, 2] - transform.c) / width + 0.5) - mask.column
    bottom = np.ceil((transform.f - bounds[:, 1]) / height + 0.5) - mask.row
    edges = np.maximum(np.stack([left, top, right, bottom], axis=1), 0).astype(int).tolist()
    return [_crop(mask, slice(edge[1], edge[3]), slice(edge[0], edge[2])) for edge in edges]


def _crop(mask: Mask, rows: slice, columns: slice) -> Mask | None:
    field = mask.field[rows, columns]
    if not field.size or not field.max() > 0:
        return None
    confidence = mask.confidence[rows, columns]
    row, column = mask.row + rows.start, mask.column + columns.start
    return Mask(mask.label, field, confidence, mask.cells, row, column)


def vectorize_masks(masks: Sequence[Mask], mosaic: Mosaic) -> Outlines:
    """The objects of all masks on a mosaic, with every hole; one pass is much faster than many.

    Invalid pixels of the mosaic are cut out along their edges. Objects below their label's
    `min_area_m2` are dropped. Where the label allows it, outlines are simplified before they are
    clipped, so that the parts on both sides of any line still add up. A NaN confidence counts as
    0 in the score.

    Raises:
        ValueError: a mask that does not fit its grid, or a field that is not finite.
    """
    for mask in masks:
        _check(mask)
    found = _trace_masks(masks, mosaic)
    unit_m = mosaic.grid.unit_m
    found = _drop_small(found, masks, unit_m)
    max_change = np.array([mask.label.simplify_share for mask in masks])[found.masks]
    tolerance = np.array([min(_cell_size(mask, mosaic)) for mask in masks])[found.masks]
    i = np.flatnonzero(max_change)
    found.polygons[i] = simplify_polygons(
        found.polygons[i], max_change[i], tolerance[i], found.masks[i]
    )
    shown = _without_gaps(found, mosaic)
    return found if shown is found else _drop_small(shown, masks, unit_m)


def _check(mask: Mask) -> None:
    (rows, columns), (height, width) = mask.cells, mask.field.shape
    fits = 0 <= mask.row <= rows - height and 0 <= mask.column <= columns - width
    if not fits or mask.confidence.shape != mask.field.shape:
        raise ValueError(
            f"the mask of {mask.label.name} does not fit its grid of {mask.cells}: field "
            f"{mask.field.shape} at row {mask.row}, column {mask.column}, confidence "
            f"{mask.confidence.shape}"
        )
    if not np.isfinite(mask.field).all():
        raise ValueError(f"the mask of {mask.label.name} has a field that is not finite")


def _cell_size(mask: Mask, mosaic: Mosaic) -> tuple[float, float]:
    """Width and height of a mask's cell in units of the CRS."""
    rows, columns = mask.cells
    pixel_size = mosaic.grid.pixel_size
    return (
        mosaic.window.width * pixel_size / columns,
        mosaic.window.height * pixel_size / rows,
    )


def _trace_masks(masks: Sequence[Mask], mosaic: Mosaic) -> Outlines:
    sizes = np.array([mask.field.size for mask in masks], dtype=np.intp)
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp)
    field = _concatenate([mask.field for mask in masks])
    size = np.clip(np.abs(field), _MIN_FIELD, _MAX_FIELD)
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
    rings = _concatenate_offsets([trace[2] for trace in traces])
    polygons = _concatenate_offsets([trace[3] for trace in traces])
    of_polygon = np.repeat(numbers, [len(trace[3]) - 1 for trace in traces])
    of_point = np.repeat(numbers, [len(trace[1]) for trace in traces])

    scores = _scores(points, of_point, rings, polygons, masks, field, starts)
    transform = mosaic.transform
    cell = np.array([_cell_size(mask, mosaic) for mask in masks])
    corner = np.array([(mask.column, mask.row) for mask in masks])
    xy = (points + corner[of_point]) * cell[of_point] * (1, -1) + (transform.c, transform.f)
    made = shapely.from_ragged_array(GeometryType.POLYGON, xy, (rings, polygons))
    return Outlines(np.asarray(made, dtype=object), scores, of_polygon)


def _concatenate(arrays: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    nothing = np.empty(0, np.float32)
    return np.concatenate([nothing, *(array.ravel() for array in arrays)], dtype=np.float32)


def _concatenate_offsets(offsets: Sequence[NDArray[Any]]) -> _Indexes:
    """The offsets of several ragged arrays, for their concatenation."""
    steps = np.concatenate([np.diff(each.astype(np.intp)) for each in offsets])
    return np.concatenate([[0], np.cumsum(steps)]).astype(np.intp)


def _trace(field: NDArray[np.float32]) -> tuple[_Floats, NDArray[Any], NDArray[Any]]:
    """Vertices (k, 2) as (column, row) in cells, offsets of rings, offsets of polygons."""
    height, width = field.shape
    # The outer cells are extended to their edge, with the opposite sign exactly there: so the
    # outline follows the edge exactly, corners included.
    z = np.empty((height + 4, width + 4))
    z[2:-2, 2:-2] = field
    z[1, 2:-2], z[-2, 2:-2] = field[0], field[-1]
    z[1:-1, 1], z[1:-1, -2] = z[1:-1, 2], z[1:-1, -3]
    z[0, 1:-1], z[-1, 1:-1] = -np.abs(z[1, 1:-1]), -np.abs(z[-2, 1:-1])
    z[:, 0], z[:, -1] = -np.abs(z[:, 1]), -np.abs(z[:, -2])
    columns, rows = _cell_centres(height, width)
    # Not `contour_generator`: its search for masked values takes longer than the contouring.
    generator = SerialContourGenerator(
        columns,
        rows,
        z,
        None,  # type: ignore[arg-type]  # the stub lacks None; contour_generator passes it too
        corner_mask=False,
        line_type=LineType.SeparateCode,
        fill_type=FillType.ChunkCombinedOffsetOffset,
        quad_as_tri=False,
        z_interp=ZInterp.Linear,
    )
    points, rings, polygons = cast(_Filled, generator.filled(0.0, np.inf))
    return points[0], rings[0], polygons[0]


def _cell_centres(height: int, width: int) -> tuple[_Floats, _Floats]:
    """Columns and rows of the cell centres, and each outer edge twice."""
    if height * width <= _MAX_CACHED_CELLS:
        return _cached_cell_centres(height, width)
    return _new_cell_centres(height, width)


@lru_cache(maxsize=256)
def _cached_cell_centres(height: int, width: int) -> tuple[_Floats, _Floats]:
    return _new_cell_centres(height, width)


def _new_cell_centres(height: int, width: int) -> tuple[_Floats, _Floats]:
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
    """The mean confidence of the cells whose centres are inside, for each polygon.

    Green's theorem on the grid: along a row of cell centres, the sum inside is the cumulative sum
    where the outline leaves the polygon minus that where it enters.
    """
    # A model in half precision can overflow to NaN, which would spoil the mean of an object.
    confidence = np.nan_to_num(
        _concatenate([mask.confidence for mask in masks]), nan=0.0, posinf=1.0, neginf=0.0
    )
    sums = np.concatenate([[0.0], np.cumsum(confidence, dtype=np.float64)])
    column, row = points[:, 0], np.floor(points[:, 1])
    crosses = np.abs(points[:, 1] - row - 0.5) < _ON_ROW_TOLERANCE
    crosses[rings[1:] - 1] = False  # a ring's last vertex repeats its first
    at = np.flatnonzero(crosses)
    widths = np.array([mask.field.shape[1] for mask in masks], dtype=np.intp)[of_point[at]]
    left_of = np.floor(column[at] + 0.5).astype(np.intp)  # number of cell centres to the left
    cell = starts[of_point[at]] + row[at].astype(np.intp) * widths + left_of
    leaves = (left_of > 0) & (field[cell - 1] > 0)
    sign = np.where(leaves, 1.0, -1.0)
    of_corner = np.repeat(np.arange(len(polygons) - 1), np.diff(rings[polygons]))[at]
    total = np.bincount(of_corner, sign * sums[cell], len(polygons) - 1)
    count = np.bincount(of_corner, sign * cell, len(polygons) - 1)
    return np.clip(total / np.maximum(count, 1), 0.0, 1.0)


def _drop_small(found: Outlines, masks: Sequence[Mask], unit_m: float) -> Outlines:
    min_area_m2 = np.array([mask.label.min_area_m2 for mask in masks])
    area_m2 = shapely.area(found.polygons) * unit_m**2
    return found[area_m2 >= min_area_m2[found.masks]]


def _without_gaps(found: Outlines, mosaic: Mosaic) -> Outlines:
    """The outlines minus the mosaic's invalid pixels."""
    if not len(found) or mosaic.valid.all():
        return found
    invalid = (~mosaic.valid).astype(np.uint8)
    gaps = [
        shapely.Polygon(geometry["coordinates"][0], geometry["coordinates"][1:])
        for geometry, _ in shapes(invalid, mask=invalid, connectivity=4, transform=mosaic.transform)
    ]
    tree = STRtree(gaps)
    touching, gap = tree.query(found.polygons, predicate="intersects")
    if not touching.size:
        return found
    cut, number = np.unique(touching, return_inverse=True)
    # Gaps touch each other at corners at most, so the multipolygon is valid.
    holes = shapely.multipolygons(tree.geometries[gap], indices=number)
    polygons = found.polygons.copy()
    polygons[cut] = shapely.difference(polygons[cut], holes)
    pieces, of = shapely.get_parts(polygons, return_index=True)
    areal = shapely.get_type_id(pieces) == GeometryType.POLYGON
    return Outlines(pieces, found.scores[of], found.masks[of])[areal & (shapely.area(pieces) > 0)]
