"""Rejects points that are far outside the county."""

from __future__ import annotations

from pyproj import Geod
from shapely import Point

from parcels.errors import ParcelsError
from parcels.parcel_source import Extent, ParcelSource
from parcels.registry.county import County

_GEOD = Geod(ellps="WGS84")


class ExtentCheck:
    """Checks points against the county's extent.

    The `extent` of the registry entry is a hard limit. Without it the extent of the parcels is
    used, with a tolerance, as the edge of a county may have no parcels.
    """

    def __init__(self, county: County, source: ParcelSource) -> None:
        self._county = county
        self._source = source
        self._parcel_extent: Extent | None = None

    def problem(self, point: Point, tolerance_m: float) -> str | None:
        """The error text for an EPSG:4326 point outside the county; None for a point inside.

        `tolerance_m` applies to the extent of the parcels. None if no extent is known.
        """
        extent, limit_m = self._county.extent, 0.0
        if extent is None:
            extent, limit_m = self._extent_of_parcels(), tolerance_m
        distance_m = 0.0 if extent is None else _distance_m(point, extent)
        if distance_m <= limit_m:
            return None
        return (
            f"longitude {point.x}, latitude {point.y} is {distance_m / 1000:,.1f} km outside "
            f"{self._county.name}"
        )

    def _extent_of_parcels(self) -> Extent | None:
        if self._parcel_extent is None:
            try:
                self._parcel_extent = self._source.extent()
            except ParcelsError:
                return None
        return self._parcel_extent


def _distance_m(point: Point, extent: Extent) -> float:
    """The geodesic distance from a point to a bounding box; 0 inside.

    West is more than east in a box across longitude 180.
    """
    west, south, east, north = extent
    nearest_y = min(max(point.y, south), north)
    if west <= east:
        nearest = [min(max(point.x, west), east)]
    elif point.x >= west or point.x <= east:
        nearest = [point.x]
    else:
        nearest = [west, east]
    return min(float(_GEOD.inv(point.x, point.y, x, nearest_y)[2]) for x in nearest)
