"""Esri JSON polygons -> shapely MultiPolygons in EPSG:4326, many at a time."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from shapely import MultiPolygon
from shapely.geometry.base import BaseGeometry

from parcels.crs import to_wgs84
from parcels.errors import GeometryError
from parcels.esri.curves import MAX_POINTS, chord_tolerance, curves_to_points, has_curves
from parcels.esri.rings import even_odd
from parcels.esri.spatial_reference import crs_from_esri
from parcels.measure import on_earth, polygonal

_EsriJson = Mapping[str, Any]
# A hundred times the Earth's circumference in feet; squares of larger values overflow.
_MAX_COORDINATE = 1e10
_POLYGON, _MULTIPOLYGON = 3, 6  # shapely's type ids


def polygon_from_esri(
    geometry: _EsriJson | None, spatial_reference: _EsriJson | None = None
) -> MultiPolygon | None:
    """The valid, normalised EPSG:4326 polygon of an Esri JSON geometry; None if it is empty.

    Args:
        geometry: `{"rings": [...]}` or `{"curveRings": [...]}`; its own `spatialReference`, if
            any, takes precedence.
        spatial_reference: that of the response.

    Raises:
        GeometryError: no spatial reference, not a polygon, or no area after the repair.
    """
    [lot] = polygons_from_esri([geometry], spatial_reference)
    if isinstance(lot, GeometryError):
        raise lot
    return lot


def polygons_from_esri(
    geometries: Sequence[_EsriJson | None], spatial_reference: _EsriJson | None = None
) -> list[MultiPolygon | GeometryError | None]:
    """`polygon_from_esri` for all geometries of a response.

    Returns for each the polygon, its error, or None if it is empty.

    Raises:
        GeometryError: a geometry needs the response's spatial reference, which is missing or
            unknown.
    """
    lots: list[MultiPolygon | GeometryError | None] = [None] * len(geometries)
    by_reference: dict[str, list[int]] = defaultdict(list)
    for i, geometry in enumerate(geometries):
        if geometry and not isinstance(geometry, Mapping):
            lots[i] = GeometryError(f"{geometry!r:.40} is not an Esri geometry")
        elif geometry and not _is_empty(geometry):
            own = geometry.get("spatialReference")
            by_reference[json.dumps(own, sort_keys=True) if own else ""].append(i)
    for text, rows in by_reference.items():
        own = json.loads(text) if text else None
        try:
            crs = crs_from_esri(own or spatial_reference)
            converted = _convert([geometries[i] or {} for i in rows], crs)
        except GeometryError as error:
            if not own:
                raise
            converted = [error] * len(rows)
        for i, lot in zip(rows, converted, strict=True):
            lots[i] = lot
    return lots


def _is_empty(geometry: _EsriJson) -> bool:
    """No rings. Other geometry types are not empty but an error."""
    ring_lists = [geometry[key] for key in ("rings", "curveRings") if key in geometry]
    return bool(ring_lists) and not any(ring_lists)


def _convert(geometries: list[_EsriJson], crs: CRS) -> list[MultiPolygon | GeometryError | None]:
    """A polygon or an error for each geometry.

    Raises:
        GeometryError: no accurate transformation from the CRS to EPSG:4326.
    """
    polygons, errors = _even_odd_polygons(geometries, chord_tolerance(crs))
    lots = _lots(to_wgs84(polygons, crs), crs)
    return [errors.get(i, lot) for i, lot in enumerate(lots)]


def polygons_in_own_crs(
    geometries: Sequence[_EsriJson | None], tolerance: float
) -> NDArray[np.object_]:
    """The valid polygons (n,) of Esri JSON geometries, not transformed; None for empty or bad ones.

    Their own spatial references are ignored.

    Args:
        tolerance: maximum distance of a chord from its curve; see `chord_tolerance`.
    """
    usable = [each if isinstance(each, Mapping) else {"rings": []} for each in geometries]
    return _even_odd_polygons(usable, tolerance)[0]


def _even_odd_polygons(
    geometries: Sequence[_EsriJson], tolerance: float
) -> tuple[NDArray[np.object_], dict[int, GeometryError]]:
    """The polygons (n,) in their own CRS, and errors by geometry."""
    errors: dict[int, GeometryError] = {}
    rings: dict[int, list[Sequence[Any]]] = {}
    for i, geometry in enumerate(geometries):
        try:
            rings[i] = _rings(geometry, tolerance)
        except GeometryError as error:
            errors[i] = error
    try:
        xy = _coordinates(chain.from_iterable(rings.values()))
    except GeometryError:
        # At least one is bad: find out which, one by one.
        checked = {i: _coordinates_or_error(of_one) for i, of_one in rings.items()}
        errors |= {i: bad for i, bad in checked.items() if isinstance(bad, GeometryError)}
        rings = {i: of_one for i, of_one in rings.items() if i not in errors}
        xy = _coordinates(chain.from_iterable(rings.values()))
    points = np.array([len(ring) for of_one in rings.values() for ring in of_one], dtype=int)
    owners = np.repeat(np.fromiter(rings, int), [len(of_one) for of_one in rings.values()])
    polygons, ring_errors = even_odd(xy, points, owners, len(geometries))
    return polygons, errors | ring_errors


def _rings(geometry: _EsriJson, tolerance: float) -> list[Sequence[Any]]:
    """The rings, with curves as points.

    A geometry has "rings" or "curveRings". If a server sends both, "rings" is the same without
    curves.
    """
    rings = geometry.get("curveRings") or geometry.get("rings")
    if rings is None:
        raise GeometryError(f"an Esri geometry with {', '.join(geometry)} is not a polygon")
    if not isinstance(rings, list) or not all(isinstance(ring, (list, tuple)) for ring in rings):
        raise GeometryError("the rings of a polygon are not lists of points")
    straight: list[Sequence[Any]] = []
    points_left = MAX_POINTS
    for ring in rings:
        if not has_curves(ring):
            straight.append(ring)
            continue
        straight.append(curves_to_points(ring, tolerance, points_left))
        points_left -= len(straight[-1])
    return straight


def _coordinates(rings: Iterable[Sequence[Any]]) -> NDArray[np.float64]:
    """The coordinates (n, 2) of all points of the rings.

    Raises:
        GeometryError: a point is not a pair of finite numbers.
    """
    points = list(chain.from_iterable(rings))
    try:
        # Two flat lists: a tuple for each point triggers the garbage collector.
        x = np.array([point[0] for point in points], dtype=float)
        y = np.array([point[1] for point in points], dtype=float)
        xy = np.column_stack([x, y]).reshape(len(points), 2)
    except (TypeError, ValueError, LookupError, ArithmeticError) as error:
        raise GeometryError(f"a point of a ring is not a pair of numbers: {error}") from error
    # Also catches NaN and infinity, which compare as False.
    if not (np.abs(xy) < _MAX_COORDINATE).all():
        raise GeometryError("a ring has coordinates that are not finite numbers, or too large")
    return xy


def _coordinates_or_error(
    rings: Iterable[Sequence[Any]],
) -> NDArray[np.float64] | GeometryError:
    try:
        return _coordinates(rings)
    except GeometryError as error:
        return error


def _lots(polygons: NDArray[np.object_], crs: CRS) -> list[MultiPolygon | GeometryError]:
    """The polygons (n,) in EPSG:4326 as lots: valid ones together, the others repaired singly."""
    off_earth = ~shapely.is_empty(polygons) & ~on_earth(polygons)
    types = shapely.get_type_id(polygons)
    good = ~off_earth & np.isin(types, (_POLYGON, _MULTIPOLYGON))
    good[good] = shapely.is_valid(polygons[good]) & (shapely.area(polygons[good]) > 0)
    multi = polygons.copy()
    multi[~good] = None
    single = good & (types == _POLYGON)
    multi[single] = shapely.multipolygons(polygons[single], indices=np.arange(single.sum()))
    multi = shapely.normalize(multi)
    return [
        lot if lot is not None else _repair(polygon, crs, off_earth=bool(off))
        for lot, polygon, off in zip(multi, polygons, off_earth, strict=True)
    ]


def _repair(
    polygon: BaseGeometry | None, crs: CRS, *, off_earth: bool
) -> MultiPolygon | GeometryError:
    if polygon is None:
        return GeometryError("an Esri polygon has no ring with an area")
    if off_earth:
        return GeometryError(
            f"an Esri polygon has coordinates outside of {crs.name}: the server reports the "
            "wrong spatial reference, or the rings are damaged"
        )
    try:
        return shapely.normalize(polygonal(polygon))
    except GeometryError:
        return GeometryError("an Esri polygon has no ring with an area")
