"""Lot boundaries and their areas. This package knows nothing of images, models or databases.

    from parcels import ParcelBoundaryService, Property, load_registry

    service = ParcelBoundaryService(load_registry().county("shelby"))
    [boundary] = service.boundaries([Property("a", longitude=-90.05, latitude=35.15)])
    print(boundary.source, boundary.area_m2)      # a Boundary, or a NoBoundary with the reason

Coordinates are EPSG:4326 degrees, x = longitude and y = latitude. Areas are square metres.
"""

from parcels.boundary import (
    Boundary,
    Located,
    Lot,
    NoBoundary,
    NoLot,
    NotLocated,
    Property,
    Unavailable,
)
from parcels.errors import ParcelsError
from parcels.registry.county import County
from parcels.registry.load import Registry, load_registry
from parcels.service import ParcelBoundaryService

__all__ = [
    "Boundary",
    "County",
    "Located",
    "Lot",
    "NoBoundary",
    "NoLot",
    "NotLocated",
    "ParcelBoundaryService",
    "ParcelsError",
    "Property",
    "Registry",
    "Unavailable",
    "load_registry",
]
