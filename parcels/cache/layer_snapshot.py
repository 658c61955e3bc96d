"""A copy of a whole layer: a question that it has no rows for has none."""

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
from parcels.addresses.street_name import filter_letters, normalize_words
from parcels.lot_selection import circle_around, distances_m
from parcels.parcel_source import Extent, ParcelRow, QueryResult

# A buffer's sides lie a little inside of its circle.
_ROUND = 1.002
# What an integer of a database holds; longer "numbers" are telephone numbers and the like.
_LARGEST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class AddressFilter:
    """What rows with an address surely have: one of the numbers, and the letters."""

    numbers: tuple[int, ...]
    letters: str


class LayerSnapshot(ABC):
    """Answers as `ParcelSource` does, of rows that a subclass finds.

    Attributes:
        fetched_at: when the copying began.
        rows: how many rows the layer had.
        has_addresses: whether columns of addresses were mapped.
    """

    origin: str
    fetched_at: datetime
    rows: int
    has_addresses: bool

    def with_ids(self, parcel_ids: Sequence[str]) -> list[QueryResult]:
        """The rows with exactly these ids."""
        return [self._found(hits) for hits in self.rows_with_ids(parcel_ids)]

    def at_points(self, points: Sequence[Point]) -> list[QueryResult]:
        """The rows that contain or touch these EPSG:4326 points."""
        return [self._found(hits) for hits in self.rows_intersecting(points)]

    def near_points(self, points: Sequence[Point], distance_m: float) -> list[QueryResult]:
        """The rows within `distance_m` metres of these EPSG:4326 points."""
        about = self.rows_intersecting(
            [circle_around(point, distance_m * _ROUND) for point in points]
        )
        return [
            self._found(_within(point, hits, distance_m))
            for point, hits in zip(points, about, strict=True)
        ]

    def with_addresses(self, addresses: Sequence[StreetAddress]) -> list[QueryResult]:
        """Rows that may have these addresses."""
        sought = [
            AddressFilter(_numbers(each.house_number), filter_letters(each.street_name) or "")
            for each in addresses
        ]
        return [
            self._found([hit for hit in hits if may_match(hit.site, wanted)])
            for wanted, hits in zip(addresses, self.rows_with_addresses(sought), strict=True)
        ]

    @abstractmethod
    def extent(self) -> Extent | None:
        """(west, south, east, north) in degrees of all parcels."""

    @abstractmethod
    def all_rows(self) -> Iterator[ParcelRow]:
        """Every row, one at a time."""

    @abstractmethod
    def rows_with_ids(self, parcel_ids: Sequence[str]) -> list[list[ParcelRow]]:
        """For each id, the rows with exactly that."""

    @abstractmethod
    def rows_intersecting(self, places: Sequence[BaseGeometry]) -> list[list[ParcelRow]]:
        """For each EPSG:4326 geometry, the rows that intersect it."""

    @abstractmethod
    def rows_with_addresses(self, sought: Sequence[AddressFilter]) -> list[list[ParcelRow]]:
        """For each, the rows with one of the numbers and the letters in their addresses."""

    def _found(self, hits: Sequence[ParcelRow]) -> QueryResult:
        return QueryResult(tuple(hits), self.origin, self.fetched_at)


def site_numbers(site: SiteAddress | None) -> tuple[int, ...]:
    """Every number in a row's address that may be its house number, once."""
    return () if site is None else _numbers(f"{site.house_number or ''} {site.line or ''}")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(sorted({number for number in numbers_in(text) if number <= _LARGEST}))


def site_letters(site: SiteAddress | None) -> str:
    """The letters and digits of a row's address, one after the other."""
    if site is None:
        return ""
    return normalize_words(f"{site.line or ''} {site.street or ''}").replace(" ", "")


def _within(point: Point, hits: Sequence[ParcelRow], distance_m: float) -> list[ParcelRow]:
    whole = [(hit, hit.geometry) for hit in hits if hit.geometry is not None]
    far_m = distances_m(point, [geometry for _, geometry in whole])
    return [hit for (hit, _), away_m in zip(whole, far_m, strict=True) if away_m <= distance_m]
