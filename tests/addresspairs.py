"""Pairs of a wanted address and a county's site address, with the verdict of a person.

same: the text says that it is one address. different: it says that it is not. ambiguous: one of
them leaves out what the other has, so it may be another address.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import shapely
from shapely import Point

from parcels.addresses.matching import is_other_unit, match_rank
from parcels.addresses.site import SiteAddress
from parcels.addresses.street_address import StreetAddress, parse_address
from parcels.addresses.street_agreement import Agreement
from parcels.errors import ParcelsError
from parcels.lot_selection import distances_m
from parcels.parcel_source import Extent, ParcelRow, QueryResult, lot_geometry

TABLE = Path(__file__).parent / "unit" / "address_pairs.csv"
STREET_POINT = Point(-95.6, 29.9)
_METRE = 1 / 111_000


@dataclass(frozen=True)
class AddressPair:
    """One row of the table."""

    group: str
    state: str
    wanted: str
    site: SiteAddress
    verdict: str
    source: str


def address_pairs() -> list[AddressPair]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return [
            AddressPair(
                row["group"],
                row["state"],
                row["wanted"],
                SiteAddress(house_number=row["site_number"], street=row["site"])
                if row["site_number"]
                else SiteAddress(line=row["site"]),
                row["verdict"],
                row["source"],
            )
            for row in csv.DictReader(file)
        ]


def by_wanted(pairs: Sequence[AddressPair]) -> dict[str, list[AddressPair]]:
    found: dict[str, list[AddressPair]] = defaultdict(list)
    for pair in pairs:
        found[pair.wanted].append(pair)
    return found


def matching_verdict(pair: AddressPair) -> str:
    """The verdict of `parcels.addresses.matching`."""
    wanted = parse_address(pair.wanted)
    rank = match_rank(pair.site, wanted)
    if rank is None or is_other_unit([pair.site], wanted):
        return "different"
    return "ambiguous" if rank[0] == Agreement.LOOSE else "same"


def rows_around(pairs: Sequence[AddressPair]) -> list[ParcelRow]:
    """A lot for each pair, within 40 m of `STREET_POINT`; the first is the nearest.

    Its id is its position. The lots lie on both sides of the street, 3 m wide.
    """
    rows: list[ParcelRow] = []
    for i, pair in enumerate(pairs):
        x = STREET_POINT.x + (-1 if i % 2 else 1) * (1 + i * 2) * _METRE
        y = STREET_POINT.y + (3 + i * 0.1) * _METRE
        lot = shapely.box(x, y, x + 1.5 * _METRE, y + 20 * _METRE)
        rows.append(ParcelRow(str(i), lot_geometry(lot), site=pair.site))
    return rows


@dataclass
class RowsSource:
    """A `ParcelSource` of a few rows."""

    rows: Sequence[ParcelRow]

    def check(self) -> None:
        """Nothing to open."""

    def extent(self) -> Extent | None:
        return None

    def with_ids(self, parcel_ids: Sequence[str]) -> list[QueryResult | ParcelsError]:
        return [_result([row for row in self.rows if row.parcel_id == i]) for i in parcel_ids]

    def at_points(self, points: Sequence[Point]) -> list[QueryResult | ParcelsError]:
        return self.near_points(points, 0.0)

    def near_points(
        self, points: Sequence[Point], distance_m: float
    ) -> list[QueryResult | ParcelsError]:
        return [
            _result([
                row
                for row in self.rows
                if row.geometry is not None
                and distances_m(point, [row.geometry])[0] <= distance_m
            ])
            for point in points
        ]  # fmt: skip

    def with_addresses(
        self, addresses: Sequence[StreetAddress]
    ) -> list[QueryResult | ParcelsError]:
        return [_result(self.rows) for _ in addresses]


def _result(rows: Sequence[ParcelRow]) -> QueryResult:
    return QueryResult(tuple(rows), "rows")
