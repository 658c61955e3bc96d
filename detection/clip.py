"""Clips objects to lots: belongs, shared or trimmed.

The rule follows the parcel mode of Nearmap's AI features. Discrete objects are cut only where two
lots really share them, so that a lot line that is 1 m off does not cut a strip from a roof;
continuous ones (lawns, pavement) end at the lot line.
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

# A smaller part of a continuous object on a lot is an artefact of the lot line's inaccuracy.
MIN_PART_M2 = 0.5
# An object whose area outside a lot is below its perimeter times this counts as inside.
_INSIDE_TOLERANCE_M = 1e-5

_Array = NDArray[Any]
_Geometries = NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class LotLines:
    """How well a county's lot lines fit its imagery.

    Attributes:
        offset_m: (east, north) shift that aligns the lots with the imagery.
        tolerance_m: remaining inaccuracy of the lines; a discrete object that crosses one by at
            most this is not shared.
    """

    offset_m: tuple[float, float] = (0.0, 0.0)
    tolerance_m: float = 1.5

    def shift(self, lots: _Geometries, unit_m: float = 1.0) -> _Geometries:
        """Lots (n,) shifted by `offset_m`, in a projected CRS whose unit is `unit_m` metres."""
        step = np.array(self.offset_m) / unit_m
        return cast(_Geometries, shapely.transform(lots, lambda xy: xy + step))

    def align_to_imagery(
        self, boundaries: Sequence[Boundary], shapes: _Geometries, unit_m: float = 1.0
    ) -> _Geometries:
        """The shapes (n,) of boundaries in a projected CRS, with the lots among them shifted.

        The buffer around a point is not shifted: it does not come from the county's lot lines.
        """
        if self.offset_m == (0.0, 0.0):
            return shapes
        lots = np.array([boundary.source == "lot" for boundary in boundaries], dtype=bool)
        aligned = shapes.copy()
        aligned[lots] = self.shift(shapes[lots], unit_m)
        return aligned


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """The parts of objects that count for their lots: n parts, in the objects' CRS.

    Attributes:
        objects: (n,) the index of each part's object.
        relations: (n,) of the object to the lot.
        measured: (n,) the complete object if it belongs to the lot, else the part inside.
        inside: (n,) the part inside the lot.
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

    An object inside its lot belongs to it; any other is trimmed.

    Args:
        objects: (n,) valid polygons, in a projected CRS.
        lots: (m,) valid multipolygons in the same CRS.
        of_lot: (n,) the index of each object's lot. An object on several lots occurs several
            times.
        unit_m: metres per unit of that CRS.
    """
    near, covered, clipped = _clip(objects, lots, of_lot, unit_m)
    pieces, of_piece = shapely.get_parts(clipped, return_index=True)
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
    """Discrete objects that belong to their lots or are shared; arguments as `continuous_parts`.

    An object belongs to a lot if it crosses the line outwards by at most `tolerance_m`, is the
    neighbour's if it crosses it inwards by at most that, and is shared otherwise.
    """
    near, covered, inside = _clip(objects, lots, of_lot, unit_m)
    complete, lot = objects[near], of_lot[near]
    outer = shapely.buffer(lots, tolerance_m / unit_m)
    core = shapely.buffer(lots, -tolerance_m / unit_m)
    shapely.prepare(outer)
    shapely.prepare(core)
    belongs = covered | shapely.covers(outer[lot], complete)
    counts = shapely.intersects(core[lot], complete) & ~shapely.touches(core[lot], complete)
    # An object thinner than the tolerance reaches no lot's core: the lot with most of it has it.
    counts |= shapely.area(inside) > shapely.area(complete) / 2
    kept = np.flatnonzero(counts & ~shapely.is_empty(inside))
    relations: list[Relation] = ["belongs" if belongs[i] else "shared" for i in kept]
    measured = np.where(belongs, complete, inside)
    return Parts(near[kept], relations, measured[kept], inside[kept])


def _clip(
    objects: _Geometries, lots: _Geometries, of_lot: _Array, unit_m: float
) -> tuple[NDArray[np.intp], NDArray[np.bool_], _Geometries]:
    """The objects (by index) that meet their lots, whether each is inside, and its part inside."""
    shapely.prepare(lots)
    near = np.flatnonzero(shapely.intersects(lots[of_lot], objects))
    complete, lot = objects[near], lots[of_lot[near]]
    covered = shapely.covers(lot, complete)
    clipped = complete.copy()
    clipped[~covered] = _polygonal(shapely.intersection(complete[~covered], lot[~covered]))
    outside_area = shapely.area(complete) - shapely.area(clipped)
    covered |= outside_area <= shapely.length(complete) * _INSIDE_TOLERANCE_M / unit_m
    return near, covered, np.where(covered, complete, clipped)


def _polygonal(geometries: _Geometries) -> _Geometries:
    """Intersections without the points and lines where two outlines only touch."""
    kinds = shapely.get_type_id(geometries)
    result = geometries.copy()
    for i in np.flatnonzero(kinds == GeometryType.GEOMETRYCOLLECTION):
        pieces = shapely.get_parts(shapely.get_parts(geometries[i]))
        pieces = pieces[shapely.get_type_id(pieces) == GeometryType.POLYGON]
        result[i] = shapely.multipolygons(pieces) if len(pieces) > 1 else (*pieces, Polygon())[0]
    not_areal = (kinds < GeometryType.POLYGON) | np.isin(
        kinds, (GeometryType.MULTIPOINT, GeometryType.MULTILINESTRING)
    )
    result[not_areal] = Polygon()
    return result
