"""Whether a point lies in the county at all."""

from __future__ import annotations

from pyproj import Geod
from shapely import Point

from parcels.errors import ParcelsError
from parcels.parcel_source import Extent, ParcelSource
from parcels.registry.county import County

_GEOD = Geod(ellps="WGS84")


class ExtentCheck:
    """How far beyond the county's extent a point is.

    The extent is the entry's, which is sharp; else that of its parcels, beyond which a point may
    lie a little: a county's edge need not be built up.
    """

    def __init__(self, county: County, source: ParcelSource) -> None:
        self._county = county
        self._source = source
        self._of_the_parcels: Extent | None = None

    def detail(self, point: Point, tolerance_m: float) -> str | None:
        """What is wrong with an EPSG:4326 point that lies outside; None for one that does not.

        `tolerance_m` is how far beyond the parcels it may lie. Where nobody can say how far they
        reach, nothing is wrong.
        """
        extent, limit_m = self._county.extent, 0.0
        if extent is None:
            extent, limit_m = self._reach(), tolerance_m
        distance_m = 0.0 if extent is None else _distance_m(point, extent)
        if distance_m <= limit_m:
            return None
        return (
            f"longitude {point.x}, latitude {point.y} lies {distance_m / 1000:,.1f} km outside "
            f"{self._county.name}"
        )

    def _reach(self) -> Extent | None:
        if self._of_the_parcels is None:
            try:
                self._of_the_parcels = self._source.extent()
            except ParcelsError:
                return None
        return self._of_the_parcels


def _distance_m(point: Point, extent: Extent) -> float:
    """The geodesic distance from a point to a box; 0 inside it."""
    west, south, east, north = extent
    nearest_x, nearest_y = min(max(point.x, west), east), min(max(point.y, south), north)
    return float(_GEOD.inv(point.x, point.y, nearest_x, nearest_y)[2])
