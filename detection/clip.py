"""Belongs, shared or trimmed: what of an object counts for a lot.

The rule follows the parcel mode of Nearmap's AI features: things with a shape of their own
are cut only where two lots truly share them, so that a lot line that is a metre off does not
shave a roof; things without one (lawns, pavement) end at the lot line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import GeometryType, Polygon

from detection.results import Relation
from parcels.boundary import Boundary

# What is left of a continuous object on a lot below this is the line's own inaccuracy.
MIN_PART_M2 = 0.5
# An outline that leaves a lot by less than this along its length does not leave it.
_HAIR_M = 1e-5

_Array = NDArray[Any]
_Geometries = NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class LotLines:
    """How a county's lot lines lie on its imagery.

    Attributes:
        offset_m: east and north; how far the lots must be moved to lie on the imagery.
        tolerance_m: how far their lines may still be off before a discrete object counts as shared.
    """

    offset_m: tuple[float, float] = (0.0, 0.0)
    tolerance_m: float = 1.5

    def shift(self, lots: _Geometries, unit_m: float = 1.0) -> _Geometries:
        """Lots (n,) moved onto the imagery, in a projected CRS whose unit is `unit_m` metres."""
        step = np.array(self.offset_m) / unit_m
        return cast(_Geometries, shapely.transform(lots, lambda xy: xy + step))

    def align_to_imagery(
        self, boundaries: Sequence[Boundary], shapes: _Geometries, unit_m: float = 1.0
    ) -> _Geometries:
        """The shapes (n,) of boundaries in a projected CRS, with the lots among them moved.

        A circle round a point stays: no line of the county's has part in it.
        """
        if self.offset_m == (0.0, 0.0):
            return shapes
        lots = np.array([boundary.source == "lot" for boundary in boundaries], dtype=bool)
        placed = shapes.copy()
        placed[lots] = self.shift(shapes[lots], unit_m)
        return placed


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What of objects counts for their lots: n parts, in the objects' CRS.

    Attributes:
        objects: (n,) the index of the object that each is a part of.
        relations: (n,) how the object lies to the lot.
        measured: (n,) the whole object where it belongs, else the part inside.
        inside: (n,) the part within the lot.
    """

    objects: NDArray[np.intp]
    relations: list[Relation]
    measured: _Geometries
    inside: _Geometries

    def __len__(self) -> int:
        return len(self.objects)


def continuous_parts(
    objects: _Geometries, lots: _Geometries, of_lot: _Array, unit_m: float = 1.0
) -> Parts:
    """The connected parts of continuous objects inside their lots.

    An object that lies inside its lot belongs to it, any other is trimmed.

    Args:
        objects: (n,) valid polygons, in a projected CRS.
        lots: (m,) valid multipolygons in the same CRS.
        of_lot: (n,) the index of the lot that each object is taken to. An object that lies on
            several lots is given several times.
        unit_m: metres in a unit of that CRS.
    """
    near, covered, cut = _cut(objects, lots, of_lot, unit_m)
    pieces, of_piece = shapely.get_parts(cut, return_index=True)
    counts = covered[of_piece] | (shapely.area(pieces) * unit_m**2 >= MIN_PART_M2)
    pieces, of_piece = pieces[counts], of_piece[counts]
    relations: list[Relation] = ["belongs" if covered[i] else "trimmed" for i in of_piece]
    return Parts(near[of_piece], relations, pieces, pieces)


def discrete_parts(
    objects: _Geometries,
    lots: _Geometries,
    of_lot: _Array,
    tolerance_m: float,
    unit_m: float = 1.0,
) -> Parts:
    """Discrete objects that are their lots', whole or shared; arguments as `continuous_parts`.

    They belong to a lot when they stick out of it by no more than `tolerance_m`, are somebody
    else's when they reach into it by no more than that, and are shared otherwise.
    """
    near, covered, inside = _cut(objects, lots, of_lot, unit_m)
    whole, lot = objects[near], of_lot[near]
    wide = shapely.buffer(lots, tolerance_m / unit_m)
    core = shapely.buffer(lots, -tolerance_m / unit_m)
    shapely.prepare(wide)
    shapely.prepare(core)
    belongs = covered | shapely.covers(wide[lot], whole)
    reaches_in = shapely.intersects(core[lot], whole) & ~shapely.touches(core[lot], whole)
    # A thing thinner than the tolerance never reaches deep into any lot: most of it decides.
    reaches_in |= shapely.area(inside) > shapely.area(whole) / 2
    mine = np.flatnonzero(reaches_in & ~shapely.is_empty(inside))
    relations: list[Relation] = ["belongs" if belongs[i] else "shared" for i in mine]
    measured = np.where(belongs, whole, inside)
    return Parts(near[mine], relations, measured[mine], inside[mine])


def _cut(
    objects: _Geometries, lots: _Geometries, of_lot: _Array, unit_m: float
) -> tuple[NDArray[np.intp], NDArray[np.bool_], _Geometries]:
    """The objects (by index) that meet their lots, whether they lie inside, and what does."""
    shapely.prepare(lots)
    near = np.flatnonzero(shapely.intersects(lots[of_lot], objects))
    whole, lot = objects[near], lots[of_lot[near]]
    covered = shapely.covers(lot, whole)
    cut = whole.copy()
    cut[~covered] = _polygonal(shapely.intersection(whole[~covered], lot[~covered]))
    sticks_out = shapely.area(whole) - shapely.area(cut)
    covered |= sticks_out <= shapely.length(whole) * _HAIR_M / unit_m
    return near, covered, np.where(covered, whole, cut)


def _polygonal(geometries: _Geometries) -> _Geometries:
    """Intersections without the points and lines where two outlines only touch."""
    kinds = shapely.get_type_id(geometries)
    result = geometries.copy()
    for i in np.flatnonzero(kinds == GeometryType.GEOMETRYCOLLECTION):
        pieces = shapely.get_parts(shapely.get_parts(geometries[i]))
        pieces = pieces[shapely.get_type_id(pieces) == GeometryType.POLYGON]
        result[i] = shapely.multipolygons(pieces) if len(pieces) > 1 else (*pieces, Polygon())[0]
    flat = (kinds < GeometryType.POLYGON) | np.isin(
        kinds, (GeometryType.MULTIPOINT, GeometryType.MULTILINESTRING)
    )
    result[flat] = Polygon()
    return result
