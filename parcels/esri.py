"""Esri JSON polygons and spatial references -> shapely in EPSG:4326.

Esri's rings say neither which hole is in which shell nor, reliably, what is a hole; servers
send them in any order and winding. Even-odd over all rings does not need to know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError
from shapely import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from parcels.crs import horizontal, to_wgs84
from parcels.errors import GeometryError
from parcels.source import lot_geometry

_CLOSED_TRIANGLE = 4  # points of the smallest ring


def polygon_from_esri(
    geometry: Mapping[str, Any] | None, spatial_reference: Mapping[str, Any] | None = None
) -> MultiPolygon | None:
    """A valid, normalised EPSG:4326 polygon of an Esri JSON geometry; None for an empty one.

    Args:
        geometry: `{"rings": [...]}`; its own `spatialReference`, if any, goes first.
        spatial_reference: that of the answer that it came in.

    Raises:
        GeometryError: no spatial reference, no polygon, or nothing with an area is left.
    """
    if not geometry or ("rings" in geometry and not geometry["rings"]):
        return None
    if "rings" not in geometry:
        kinds = ", ".join(geometry)
        raise GeometryError(f"an Esri geometry with {kinds} is no polygon with straight rings")
    crs = crs_from_esri(geometry.get("spatialReference") or spatial_reference)
    even_odd = _even_odd([_coordinates(ring) for ring in geometry["rings"]])
    lot = lot_geometry(to_wgs84(np.asarray([even_odd], dtype=object), crs)[0])
    if lot is None:
        raise GeometryError("an Esri polygon has no ring with an area")
    return lot


def crs_from_esri(spatial_reference: Mapping[str, Any] | None) -> CRS:
    """The horizontal CRS: EPSG of latestWkid, EPSG of wkid, ESRI of wkid, or the WKT.

    Raises:
        GeometryError: none is given, or none of them is known.
    """
    if not spatial_reference:
        raise GeometryError("the server says no spatial reference for its geometry")
    return _crs(json.dumps(dict(spatial_reference), sort_keys=True))


@lru_cache(maxsize=64)
def _crs(spatial_reference: str) -> CRS:
    given = json.loads(spatial_reference)
    wkid, latest = given.get("wkid"), given.get("latestWkid")
    candidates = [f"EPSG:{latest}"] if latest else []
    candidates += [f"EPSG:{wkid}", f"ESRI:{wkid}"] if wkid else []
    for text in (given.get("wkt2"), given.get("wkt")):
        candidates += [text, _first_node(text)] if text else []
    for candidate in candidates:
        try:
            return horizontal(CRS.from_user_input(candidate))
        except CRSError:
            continue
    raise GeometryError(f"unknown spatial reference {spatial_reference}")


def _first_node(wkt: str) -> str:
    """The first of the nodes in `PROJCS[...],VERTCS[...]`, as Esri writes a compound CRS."""
    depth = 0
    for i, character in enumerate(wkt):
        depth += (character == "[") - (character == "]")
        if character == "]" and depth == 0:
            return wkt[: i + 1]
    return wkt


def _coordinates(ring: Sequence[Sequence[Any]]) -> list[tuple[float, float]]:
    """The ring closed, x and y only.

    Raises:
        GeometryError: coordinates that are not finite numbers.
    """
    try:
        points = [(float(point[0]), float(point[1])) for point in ring]
    except (TypeError, ValueError, IndexError) as error:
        raise GeometryError(f"a ring with a point that is no pair of numbers: {error}") from error
    if not np.isfinite(points).all():
        raise GeometryError("a ring with coordinates that are not finite numbers")
    return points if not points or points[0] == points[-1] else [*points, points[0]]


def _even_odd(rings: list[list[tuple[float, float]]]) -> BaseGeometry:
    """What lies inside an odd number of the rings."""
    polygons = [Polygon(ring) for ring in rings if len(ring) >= _CLOSED_TRIANGLE]
    if not polygons:
        return Polygon()
    polygons.sort(key=lambda polygon: polygon.area, reverse=True)
    # Nearly every lot: one shell, and holes inside it that do not meet. That is quick to see.
    simple = Polygon(polygons[0].exterior, [polygon.exterior for polygon in polygons[1:]])
    if simple.is_valid:
        return simple
    # "linework" reads a ring that crosses itself as even-odd too.
    parts = list(shapely.make_valid(np.asarray(polygons, dtype=object), method="linework"))
    while len(parts) > 1:
        pairs = zip(parts[::2], parts[1::2], strict=False)
        odd = parts[-1:] if len(parts) % 2 else []
        parts = [shapely.symmetric_difference(a, b) for a, b in pairs] + odd
    whole: BaseGeometry = parts[0]
    return whole
