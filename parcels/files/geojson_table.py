"""GeoJsonTable: GeoJSON, also newline-delimited, and with an old "crs" member."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from parcels.files.json_stream import Members
from parcels.files.json_table import JsonTable
from parcels.files.ring_arrays import PolygonRings, Ring, polygons_of_rings

_LON_LAT = "OGC:CRS84"
_MAX_DEPTH = 16


class GeoJsonTable(JsonTable):
    """See `JsonTable`."""

    @staticmethod
    def _attributes(feature: Members) -> Members:
        properties = feature.get("properties")
        if not isinstance(properties, dict):
            properties = {}
        if "id" in feature and "id" not in properties:
            return {**properties, "id": feature["id"]}
        return properties

    @staticmethod
    def _shape(geometry: Any) -> list[PolygonRings] | None:  # noqa: ANN401
        try:
            return list(_polygons(geometry))
        except (TypeError, ValueError, LookupError, OverflowError):
            return None

    def _geometries(self, shapes: Sequence[Any], crs: CRS) -> NDArray[np.object_]:  # noqa: ARG002
        return polygons_of_rings(shapes)

    def _declared_crs(self, other: Members) -> object | None:
        if "crs" not in other:
            return _LON_LAT
        crs = other["crs"]
        properties = crs.get("properties") if isinstance(crs, dict) else crs
        for key in ("name", "code", "wkt"):
            if isinstance(properties, dict) and properties.get(key):
                name = str(properties[key])
                return f"EPSG:{name}" if name.isdecimal() else name
        return properties if isinstance(properties, str) and properties else None


def _polygons(geometry: Any, depth: int = 0) -> Iterator[PolygonRings]:  # noqa: ANN401
    kind = geometry["type"] if geometry else None
    if kind == "Polygon":
        yield [_ring(ring) for ring in geometry["coordinates"]]
    elif kind == "MultiPolygon":
        for polygon in geometry["coordinates"]:
            yield [_ring(ring) for ring in polygon]
    elif kind == "GeometryCollection" and depth < _MAX_DEPTH:
        for each in geometry["geometries"] or ():  # GDAL writes null for none
            yield from _polygons(each, depth + 1)


def _ring(points: list[Any]) -> Ring:
    try:
        return np.array(points, dtype=np.float64).reshape(len(points), -1)[:, :2]
    except ValueError:  # points with and without a height
        return np.array([point[:2] for point in points], dtype=np.float64).reshape(-1, 2)
