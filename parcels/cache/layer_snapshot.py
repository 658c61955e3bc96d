"""LayerSnapshot: a complete copy of a layer. A query without rows there has no rows at all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from shapely import Point
from shapely.geometry.base import BaseGeometry

from parcels.addresses.house_number import numbers_in
from parcels.addresses.matching import may_match
from parcels.addresses.site import SiteAddress
from parcels.addresses.street_address import StreetAddress
from parcels.addresses.street_name import filter_letters
from parcels.addresses.street_words import normalize_words
from parcels.lot_selection import circle_around, distances_m
from parcels.parcel_source import Extent, ParcelRow, QueryResult

# A buffer polygon is slightly inside the true circle.
_BUFFER_MARGIN = 1.002
# The maximum of a database integer; larger numbers are not house numbers.
_MAX_NUMBER = 2**31 - 1


@dataclass(frozen=True, slots=True)
class AddressFilter:
    """What every row with an address has: one of the numbers, and the letters."""

    numbers: tuple[int, ...]
    letters: str


class LayerSnapshot(ABC):
    """The queries of `ParcelSource`, over rows that a subclass finds.

    Attributes:
        fetched_at: when the download began.
        rows: number of rows of the layer.
        has_addresses: whether address columns were mapped.
    """

    origin: str
    fetched_at: datetime
    rows: int
    has_addresses: bool

    def with_ids(self, parcel_ids: Sequence[str]) -> list[QueryResult]:
        """The rows with exactly these ids."""
        return [self._result(rows) for rows in self.rows_with_ids(parcel_ids)]

    def at_points(self, points: Sequence[Point]) -> list[QueryResult]:
        """The rows that contain or touch these EPSG:4326 points."""
        return [self._result(rows) for rows in self.rows_intersecting(points)]

    def near_points(self, points: Sequence[Point], distance_m: float) -> list[QueryResult]:
        """The rows within `distance_m` metres of these EPSG:4326 points."""
        candidates = self.rows_intersecting(
            [circle_around(point, distance_m * _BUFFER_MARGIN) for point in points]
        )
        return [
            self._result(_within(point, rows, distance_m))
            for point, rows in zip(points, candidates, strict=True)
        ]

    def with_addresses(self, addresses: Sequence[StreetAddress]) -> list[QueryResult]:
        """Rows that may have these addresses."""
        filters = [
            AddressFilter(_numbers(each.house_number), filter_letters(each.street_name) or "")
            for each in addresses
        ]
        return [
            self._result([row for row in rows if may_match(row.site, wanted)])
            for wanted, rows in zip(addresses, self.rows_with_addresses(filters), strict=True)
        ]

    @abstractmethod
    def extent(self) -> Extent | None:
        """(west, south, east, north) in degrees of all parcels."""

    @abstractmethod
    def all_rows(self) -> Iterator[ParcelRow]:
        """Every row, one at a time, by object id."""

    @abstractmethod
    def rows_with_ids(self, parcel_ids: Sequence[str]) -> list[list[ParcelRow]]:
        """For each id, the rows with exactly this id."""

    @abstractmethod
    def rows_intersecting(self, places: Sequence[BaseGeometry]) -> list[list[ParcelRow]]:
        """For each EPSG:4326 geometry, the rows that intersect it."""

    @abstractmethod
    def rows_with_addresses(self, filters: Sequence[AddressFilter]) -> list[list[ParcelRow]]:
        """For each filter, the rows with one of its numbers and its letters in the address."""

    def _result(self, rows: Sequence[ParcelRow]) -> QueryResult:
        return QueryResult(tuple(rows), self.origin, self.fetched_at)


def site_numbers(site: SiteAddress | None) -> tuple[int, ...]:
    """Every number in the address that may be the house number, without duplicates."""
    return () if site is None else _numbers(f"{site.house_number or ''} {site.line or ''}")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(sorted({number for number in numbers_in(text) if number <= _MAX_NUMBER}))


def site_search_text(site: SiteAddress | None) -> str:
    """The letters and digits of the address without spaces, for `AddressFilter.letters`."""
    if site is None:
        return ""
    return normalize_words(f"{site.line or ''} {site.street or ''}").replace(" ", "")


def _within(point: Point, rows: Sequence[ParcelRow], max_distance_m: float) -> list[ParcelRow]:
    drawn = [(row, row.geometry) for row in rows if row.geometry is not None]
    all_m = distances_m(point, [geometry for _, geometry in drawn])
    return [row for (row, _), away_m in zip(drawn, all_m, strict=True) if away_m <= max_distance_m]
