"""Belongs, shared or trimmed: what of an object counts for a lot.

The rule follows the parcel mode of Nearmap's AI features: things with a shape of their own
are cut only where two lots truly share them, so that a lot line that is a metre off does not
shave a roof; things without one (lawns, pavement) end at the lot line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from detection.labels import Kind
from detection.results import Relation

# How far lot lines and imagery may disagree before a discrete object counts as shared.
LINE_TOLERANCE_M = 1.5
# What is left of a continuous object on a lot below this is the line's own inaccuracy.
MIN_PART_M2 = 0.5
# Cuts are rounded to a hundredth of a millimetre. Without it, a lot line that runs along an
# object's edge leaves needles so thin that they cross themselves in another CRS.
_GRID_M = 1e-5

_Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Part:
    """What of an object counts for a lot, in the objects' CRS.

    `measured` is the whole object where it belongs, else `inside`, the part within the lot.
    """

    index: int
    relation: Relation
    measured: BaseGeometry
    inside: BaseGeometry


def parts_on_lot(
    objects: Sequence[Polygon] | NDArray[np.object_],
    lot: MultiPolygon,
    kind: Kind,
    unit_m: float = 1.0,
) -> list[Part]:
    """The objects that lie on a lot, each with its relation to it.

    Discrete objects belong to the lot when they stick out of it by no more than
    `LINE_TOLERANCE_M`, are somebody else's when they reach into it by no more than that, and
    are shared otherwise. Continuous ones belong when they lie inside, else they are trimmed.

    Args:
        objects: valid polygons, in the same projected CRS as `lot`.
        lot: a valid multipolygon.
        kind: of the objects.
        unit_m: metres in a unit of that CRS.
    """
    whole = np.asarray(objects, dtype=object)
    shapely.prepare(lot)
    touching = np.flatnonzero(shapely.intersects(lot, whole))
    if not touching.size:
        return []
    whole = whole[touching]
    inside = _cut(whole, lot, _GRID_M / unit_m)
    judge = _discrete if kind == "discrete" else _continuous
    return judge(touching, whole, inside, lot, unit_m)


def _cut(whole: _Array, lot: MultiPolygon, grid: float) -> _Array:
    """The part of each object inside a lot: the object itself where it sticks out nowhere."""
    inside = whole.copy()
    out = np.flatnonzero(~shapely.covers(lot, whole))
    cut = _polygonal(shapely.intersection(whole[out], lot))
    # Rounded afterwards: cutting on a grid would first put all of a large object on it.
    cut = _polygonal(shapely.set_precision(cut, grid))
    sticks_out = shapely.area(whole[out]) - shapely.area(cut)
    counts = sticks_out > shapely.length(whole[out]) * grid
    inside[out[counts]] = cut[counts]
    return inside


def _continuous(
    indexes: _Array, whole: _Array, inside: _Array, _lot: MultiPolygon, unit_m: float
) -> list[Part]:
    contained = inside == whole
    counts = contained | (shapely.area(inside) * unit_m**2 >= MIN_PART_M2)
    return [
        Part(int(indexes[i]), "belongs" if contained[i] else "trimmed", inside[i], inside[i])
        for i in np.flatnonzero(counts)
    ]


def _discrete(
    indexes: _Array, whole: _Array, inside: _Array, lot: MultiPolygon, unit_m: float
) -> list[Part]:
    tolerance = LINE_TOLERANCE_M / unit_m
    belongs = shapely.covered_by(whole, lot.buffer(tolerance))
    core = lot.buffer(-tolerance)
    reaches_in = shapely.intersects(whole, core) & ~shapely.touches(whole, core)
    # A thing thinner than the tolerance never reaches deep into any lot: most of it decides.
    reaches_in |= shapely.area(inside) > shapely.area(whole) / 2
    return [
        Part(
            int(indexes[i]),
            "belongs" if belongs[i] else "shared",
            whole[i] if belongs[i] else inside[i],
            inside[i],
        )
        for i in np.flatnonzero(reaches_in & ~shapely.is_empty(inside))
    ]


def _polygonal(geometries: _Array) -> _Array:
    """Intersections without the points and lines where two outlines only touch."""
    kinds = shapely.get_type_id(geometries)
    mixed = kinds == shapely.GeometryType.GEOMETRYCOLLECTION
    result = geometries.copy()
    for i in np.flatnonzero(mixed):
        pieces = [g for g in geometries[i].geoms if isinstance(g, Polygon | MultiPolygon)]
        result[i] = shapely.union_all(pieces) if pieces else Polygon()
    flat = ~mixed & (kinds < shapely.GeometryType.POLYGON)
    result[flat] = Polygon()
    return result
