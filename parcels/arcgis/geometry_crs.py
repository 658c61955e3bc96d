"""In which CRS geometry is sent to a layer, and comes back.

In the layer's own, wherever PROJ knows it: then no server chooses a datum step, which many take
for nothing, and some not; `parcels.crs` takes it on purpose.
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
    """The CRS of the geometry in questions and answers.

    Attributes:
        crs: what questions are asked in.
        esri: the same as Esri writes it; answers that name no CRS are in it.
        sent: what a query says of the geometry that it brings; nothing for the server's own CRS.
        wanted: what it says of the geometry that it asks for; the same.
    """

    crs: CRS
    esri: Mapping[str, Any]
    sent: Mapping[str, str]
    wanted: Mapping[str, str]

    def xy(self, points: Sequence[Point]) -> NDArray[np.float64]:
        """EPSG:4326 points as coordinates (n, 2); infinite where the CRS has no place for one.

        Raises:
            GeometryError: PROJ has no good datum step to the CRS.
        """
        xy: NDArray[np.float64] = shapely.get_coordinates(self._converted(points))
        return xy

    def rings(self, area: BaseGeometry) -> list[list[list[float]]]:
        """A polygonal EPSG:4326 geometry as Esri's rings: shells clockwise, holes the other way.

        Raises:
            GeometryError: PROJ has no good datum step to the CRS.
        """
        turned = shapely.orient_polygons(self._converted([area]), exterior_cw=True)
        rings = shapely.get_rings(shapely.get_parts(turned))
        return [shapely.get_coordinates(ring).tolist() for ring in rings]

    def _converted(self, geometries: Sequence[BaseGeometry]) -> NDArray[np.object_]:
        array = np.empty(len(geometries), dtype=object)
        array[:] = geometries
        return from_wgs84(array, self.crs)


_DEGREES = GeometryCrs(WGS84, {"wkid": 4326}, {"inSR": "4326"}, {"outSR": "4326"})


def parse_geometry_crs(layer: Mapping[str, Any]) -> GeometryCrs:
    """The reference in the answer of `<layer>?f=json`; EPSG:4326 where PROJ does not know it."""
    of_answers = (layer.get("extent") or {}).get("spatialReference") or {}
    # A map may show a layer in another CRS than that in which it is kept.
    kept_in = layer.get("sourceSpatialReference") or of_answers
    try:
        crs = crs_from_esri(kept_in)
    except GeometryError:
        return _DEGREES
    wkid = kept_in.get("wkid") or kept_in.get("latestWkid")
    if not wkid:
        # Not every server reads WKT, and all take what is not said for their own CRS.
        return GeometryCrs(crs, kept_in, {}, {}) if kept_in == of_answers else _DEGREES
    as_it_is = wkid in (of_answers.get("wkid"), of_answers.get("latestWkid"))
    wanted = {} if as_it_is else {"outSR": str(wkid)}
    return GeometryCrs(crs, kept_in, {"inSR": str(wkid)}, wanted)
