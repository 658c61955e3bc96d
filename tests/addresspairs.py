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

from parcels import County, Located, NotLocated, ParcelBoundaryService, Property
from parcels.addresses.matching import is_other_unit, match_rank
from parcels.addresses.site import SiteAddress
from parcels.addresses.street_address import StreetAddress, parse_address
from parcels.addresses.street_agreement import Agreement
from parcels.boundary import LookupResult
from parcels.errors import ParcelsError
from parcels.geocode import Geocoder
from parcels.lot_selection import distances_m
from parcels.parcel_source import Extent, ParcelRow, QueryResult, lot_geometry
from parcels.registry.county import ParcelFields

TABLE = Path(__file__).parent / "unit" / "address_pairs.csv"
STREET_POINT = Point(-95.6, 29.9)
FIELDS = ParcelFields(parcel_id="APN", address="LINE", house_number="NO", street=("ST",))
_COUNTY = County(key="here", name="Here County", path="here.gpkg", census=False, fields=FIELDS)
_ALONG_THE_STREET = Located(STREET_POINT.x, STREET_POINT.y, "census", 0.8, interpolated=True)
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


def with_verdict(pairs: Sequence[AddressPair], *verdicts: str) -> list[AddressPair]:
    return [pair for pair in pairs if pair.verdict in verdicts]


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


class StreetGeocoder(Geocoder):
    """Interpolates every address at the street point."""

    def __init__(self) -> None:
        """No stages."""

    def locate_many(
        self, addresses: Sequence[StreetAddress]
    ) -> list[Located | NotLocated | ParcelsError]:
        return [_ALONG_THE_STREET] * len(addresses)


def look_up(pairs: Sequence[AddressPair], wanted: str) -> dict[str, LookupResult]:
    """What the service finds at a given street point, at a geocoded one, and by address alone."""
    source = RowsSource(rows_around(pairs))
    given = Property("a", STREET_POINT.x, STREET_POINT.y, address=wanted)
    by_address = Property("a", address=wanted)
    return {
        "given": ParcelBoundaryService(_COUNTY, source).look_up(given),
        "geocoded": ParcelBoundaryService(_COUNTY, source, StreetGeocoder()).look_up(by_address),
        "address": ParcelBoundaryService(_COUNTY, source).look_up(by_address),
    }


def _result(rows: Sequence[ParcelRow]) -> QueryResult:
    return QueryResult(tuple(rows), "rows")
