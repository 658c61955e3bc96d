"""The CRS of geometry in queries and responses: the layer's own, if PROJ knows it.

So no server chooses a datum transformation (many apply none); `parcels.crs` does it explicitly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from shapely import Point
from shapely.geometry.base import BaseGeometry

from parcels.crs import WGS84, from_wgs84
from parcels.errors import GeometryError
from parcels.esri import crs_from_esri


@dataclass(frozen=True, slots=True)
class GeometryCrs:
    """The CRS of geometry in queries and responses.

    Attributes:
        crs: the CRS of query geometry.
        esri: the same as an Esri spatial reference, for responses that have none.
        in_sr: the query parameters for the CRS of query geometry; empty for the server's own.
        out_sr: the query parameters for the CRS of response geometry; empty for the server's own.
    """

    crs: CRS
    esri: Mapping[str, Any]
    in_sr: Mapping[str, str]
    out_sr: Mapping[str, str]

    def xy(self, points: Sequence[Point]) -> NDArray[np.float64]:
        """EPSG:4326 points as coordinates (n, 2) in the CRS; infinite outside of the CRS.

        Raises:
            GeometryError: PROJ has no accurate operation to the CRS.
        """
        xy: NDArray[np.float64] = shapely.get_coordinates(self._convert(points))
        return xy

    def rings(self, area: BaseGeometry) -> list[list[list[float]]]:
        """A polygonal EPSG:4326 geometry as Esri rings: shells clockwise, holes counter-clockwise.

        Raises:
            GeometryError: PROJ has no accurate operation to the CRS.
        """
        turned = shapely.orient_polygons(self._convert([area]), exterior_cw=True)
        rings = shapely.get_rings(shapely.get_parts(turned))
        return [shapely.get_coordinates(ring).tolist() for ring in rings]

    def _convert(self, geometries: Sequence[BaseGeometry]) -> NDArray[np.object_]:
        array = np.empty(len(geometries), dtype=object)
        array[:] = geometries
        return from_wgs84(array, self.crs)


_DEGREES = GeometryCrs(WGS84, {"wkid": 4326}, {"inSR": "4326"}, {"outSR": "4326"})


def parse_geometry_crs(layer: Mapping[str, Any]) -> GeometryCrs:
    """The CRS from the metadata of `<layer>?f=json`; EPSG:4326 if PROJ does not know it."""
    response_sr = (layer.get("extent") or {}).get("spatialReference") or {}
    # A map service may send another CRS than the one in which the data is stored.
    storage_sr = layer.get("sourceSpatialReference") or response_sr
    try:
        crs = crs_from_esri(storage_sr)
    except GeometryError:
        return _DEGREES
    wkid = storage_sr.get("wkid") or storage_sr.get("latestWkid")
    if not wkid:
        # Not every server reads WKT; all use their own CRS by default.
        return GeometryCrs(crs, storage_sr, {}, {}) if storage_sr == response_sr else _DEGREES
    is_default = wkid in (response_sr.get("wkid"), response_sr.get("latestWkid"))
    out_sr = {} if is_default else {"outSR": str(wkid)}
    return GeometryCrs(crs, storage_sr, {"inSR": str(wkid)}, out_sr)
