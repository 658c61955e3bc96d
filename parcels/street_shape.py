"""Lots that look like a street: long, thin, and beside dozens of other lots.

Some layers give rights of way ids like those of lots. What gives them away is their shape, and that
the lots along them touch them. A long lot alone (a farm strip, a driveway) has few neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from shapely import MultiPolygon, Point, Polygon

from parcels.measure import local_scale_m
from parcels.not_a_lot import not_a_lot_reason
from parcels.parcel_source import ParcelRow

# Perimeter² / (4 π area): 1 for a circle, 1.6 for a lot of 20 x 50 m, 4 for a flag lot, and 5 for
# 15 x 200 m of street.
_MIN_ELONGATION = 4.5
# In degrees the ratio differs by up to the ratio of a degree's sides.
_MIN_ELONGATION_DEGREES = 2.0
# 2 x area / perimeter; golf courses and parks between houses are wider.
_MAX_MEAN_WIDTH_M = 30.0
# A shorter polygon cannot have so many neighbours.
_MIN_PERIMETER_M = 250.0
# A street of 15 x 200 m with lots of 20 m has about 20.
_MIN_NEIGHBOURS = 12
_TOUCHING_DEGREES = 2e-5  # about 2 m
# Neighbours are looked up around this many points of the boundary, within this distance.
_PLACES = 4
NEIGHBOUR_RADIUS_M = 60.0


# The widest place of a street, a cul-de-sac, by its mean width; a flag lot's house is wider.
_MAX_WIDEST = 2.8
# A hole of a street is a block of several lots; one of a condominium's land is a building.
_MIN_LOTS_IN_BLOCK = 3


@dataclass(frozen=True, slots=True)
class Elongated:
    """A long and thin part of a lot, and points of its outline around which neighbours are.

    Attributes:
        part: in EPSG:4326.
        mean_width_m: twice the area by the perimeter.
    """

    part: Polygon
    mean_width_m: float
    places: tuple[Point, ...]


def elongated(
    geometries: Sequence[MultiPolygon], points: Sequence[Point] | None = None
) -> list[Elongated | None]:
    """For each EPSG:4326 lot, whether it is as long and thin as a street; None if not.

    Args:
        points: for each lot, where it was found: the polygon there is judged; else the largest.
    """
    found: list[Elongated | None] = [None] * len(geometries)
    multipart = np.array(geometries, dtype=object)
    parts = shapely.get_geometry(multipart, 0)
    for i in np.flatnonzero(shapely.get_num_geometries(multipart) > 1).tolist():
        polygons = np.array(geometries[i].geoms, dtype=object)
        best = shapely.area(polygons) if points is None else -shapely.distance(polygons, points[i])
        parts[i] = polygons[best.argmax()]
    perimeters, areas = shapely.length(parts), shapely.area(parts)
    suspects = np.flatnonzero(perimeters**2 >= 4 * np.pi * areas * _MIN_ELONGATION_DEGREES)
    for i in suspects.tolist():
        found[i] = _elongated(parts[i])
    return found


def street_reason(lot: Elongated, rows: Sequence[ParcelRow]) -> str:
    """Why the lot is a street, as the end of "… was not taken, as …"; empty if it is a lot.

    Args:
        rows: those within `NEIGHBOUR_RADIUS_M` of its `places`.
    """
    inside = lot.part.representative_point()
    # The flats of a stack share one geometry.
    others = {
        shapely.to_wkb(row.geometry): row.geometry
        for row in rows
        if row.geometry is not None
        and not not_a_lot_reason(row)
        and row.geometry.dwithin(lot.part, _TOUCHING_DEGREES)
        and not row.geometry.contains(inside)
    }
    count = _neighbours(lot.part, list(others.values()))
    if count < _MIN_NEIGHBOURS:
        return ""
    return (
        f"it is long and thin ({lot.mean_width_m:.0f} m wide on average) and touches at least "
        f"{count} lots, like a street"
    )


def _neighbours(part: Polygon, lots: Sequence[MultiPolygon]) -> int:
    """The number of lots outside of a polygon, and in those of its holes that are blocks."""
    holes = [Polygon(ring) for ring in part.interiors]
    if not holes:
        return len(lots)
    inside = shapely.point_on_surface(np.array(lots, dtype=object))
    lot, hole = shapely.STRtree(holes).query(inside, predicate="within")
    in_hole = np.bincount(hole, minlength=len(holes))
    return len(lots) - len(lot) + int(in_hole[in_hole >= _MIN_LOTS_IN_BLOCK].sum())


def _elongated(part: Polygon) -> Elongated | None:
    center = part.representative_point()
    scale_m = np.array(local_scale_m(center.x, center.y))
    local = shapely.transform(part, lambda degrees: degrees * scale_m)
    perimeter_m, area_m2 = local.length, local.area
    mean_width_m = 2 * area_m2 / perimeter_m
    is_long = perimeter_m**2 >= 4 * np.pi * area_m2 * _MIN_ELONGATION
    if not is_long or perimeter_m < _MIN_PERIMETER_M or mean_width_m > _MAX_MEAN_WIDTH_M:
        return None
    widest_m = 2 * shapely.maximum_inscribed_circle(local, tolerance=1.0).length
    if widest_m > _MAX_WIDEST * mean_width_m:
        return None
    steps = (np.arange(_PLACES) + 0.5) / _PLACES
    places = shapely.line_interpolate_point(part.exterior, steps, normalized=True)
    return Elongated(part, mean_width_m, tuple(places))
