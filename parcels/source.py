"""What a source of parcels is: ids or points in, the county's polygons out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import shapely
from shapely import MultiPolygon, Point
from shapely.geometry.base import BaseGeometry

from parcels.errors import GeometryError, ParcelsError
from parcels.measure import polygonal

Extent = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Hit:
    """One row of a parcel layer.

    Attributes:
        parcel_id: exactly as the county writes it; None where it has none.
        geometry: EPSG:4326, valid and normalised, so that the same lot twice is equal byte for
            byte; None where it cannot be repaired.
    """

    parcel_id: str | None
    geometry: MultiPolygon | None


@dataclass(frozen=True, slots=True)
class Found:
    """The rows that a source has for one question (none is an answer too), and its address."""

    hits: tuple[Hit, ...]
    origin: str


class ParcelSource(Protocol):
    """Answers in the order of the questions; a question that failed has its error instead."""

    def check(self) -> None:
        """Open the source.

        Raises:
            SourceUnavailable: it does not answer now.
            SourceMisconfigured, GeometryError: its registry entry must be mended.
        """
        ...

    def with_ids(self, parcel_ids: Sequence[str]) -> list[Found | ParcelsError]:
        """The rows with exactly these parcel ids."""
        ...

    def at_points(self, points: Sequence[Point]) -> list[Found | ParcelsError]:
        """The rows that contain or touch these EPSG:4326 points."""
        ...

    def extent(self) -> Extent | None:
        """(west, south, east, north) in degrees of all its parcels; None where it is not known.

        Raises:
            ParcelsError: as `check`.
        """
        ...


def lot_geometry(geometry: BaseGeometry | None) -> MultiPolygon | None:
    """The geometry as a `Hit` holds it; None where nothing with an area is left of it."""
    if geometry is None:
        return None
    try:
        return shapely.normalize(polygonal(geometry))
    except GeometryError:
        return None
