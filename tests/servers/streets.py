"""Synthetic streets with lots on both sides, for parcel layers, GeocodeServers and TIGER data.

No such streets exist. Lots are 27 m wide and 44 m deep; the street between them is 20 m wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import geopandas as gpd
import shapely
from shapely import Point, Polygon

WIDTH, DEPTH, STREET = 0.0003, 0.0004, 0.00018


@dataclass(frozen=True)
class Street:
    """A street from west to east: even numbers on its north side, odd ones on its south side.

    `lots` is the number of lots on each side, starting at `first` (an even number). `range_to` is
    the last number that the street could have, by which points are interpolated along it.
    """

    name: str
    city: str = "SAMPLEVILLE"
    postcode: str = "38001"
    west: float = -90.0
    y: float = 35.1
    first: int = 100
    lots: int = 10
    range_to: int | None = None

    @property
    def numbers(self) -> list[int]:
        return list(range(self.first, self.first + 2 * self.lots))

    def lot(self, number: int) -> Polygon:
        i, is_odd = divmod(number - self.first, 2)
        x = self.west + i * WIDTH
        y = self.y - STREET / 2 - DEPTH if is_odd else self.y + STREET / 2
        return shapely.box(x, y, x + WIDTH, y + DEPTH)

    def has(self, number: int) -> bool:
        return self.first <= number <= self._last

    def along(self, number: int) -> Point:
        """The interpolated point of a number, in the middle of the street."""
        share = (number - self.first + 1) / (self._last - self.first + 1)
        return Point(self.west + share * self.lots * WIDTH, self.y)

    def at_the_door(self, number: int) -> Point:
        return Point(self.lot(number).centroid)

    def address(self, number: int) -> str:
        return f"{number} {self.name}, {self.city}, TN, {self.postcode}"

    @property
    def _last(self) -> int:
        return self.range_to or self.numbers[-1]


def county_lots(streets: Sequence[Street]) -> gpd.GeoDataFrame:
    """The lots in EPSG:4326, with the columns APN, NO (a float), STREET, ADDR, CITY and ZIP."""
    rows = [(street, number) for street in streets for number in street.numbers]
    return gpd.GeoDataFrame(
        {
            "APN": [f"{i:04d}  {number:05d}" for i, (_, number) in enumerate(rows)],
            "NO": [float(number) for _, number in rows],
            "STREET": [street.name for street, _ in rows],
            # Street first, as in Tennessee's tax rolls.
            "ADDR": [f"{street.name} {number}" for street, number in rows],
            "CITY": [street.city for street, _ in rows],
            "ZIP": [street.postcode for street, _ in rows],
        },
        geometry=[street.lot(number) for street, number in rows],
        crs="EPSG:4326",
    )
