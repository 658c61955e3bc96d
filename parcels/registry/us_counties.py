"""The counties of the US: FIPS codes, names and bounding boxes.

`parcels/data/us_counties.csv` is the Census Bureau's cartographic county boundaries of 2017
(public domain), reduced to bounding boxes by `scripts/us_counties.py`.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from parcels.registry.county_names import compact
from parcels.registry.us_states import STATES

# (west, south, east, north) in degrees.
_Box = tuple[float, float, float, float]
_TABLE = Path(__file__).resolve().parent.parent / "data" / "us_counties.csv"
# Virginia's cities, Baltimore, St. Louis and Carson City belong to no county.
_INDEPENDENT_CITY = 510
# The source lines are simplified, so islands and piers can be outside the boxes.
_MARGIN_DEGREES = 0.1

_STATE_OF = {fips: state for state, (fips, _) in STATES.items()}


@dataclass(frozen=True, slots=True)
class UsCounty:
    """A county or its equivalent: a parish, a borough, an independent city.

    Attributes:
        box: (west, south, east, north) in degrees; a county on both sides of the date line has
            -180 to 180.
    """

    fips: str
    state: str
    name: str
    box: _Box

    @property
    def independent_city(self) -> bool:
        """Whether it is a city that belongs to no county."""
        territory = self.state in ("AS", "GU", "MP", "PR", "VI")
        return int(self.fips[2:]) >= _INDEPENDENT_CITY and not territory

    @property
    def full_name(self) -> str:
        """The name with its kind ("Travis County"); without in Alaska, which has several kinds."""
        kind = {"LA": " Parish", "AK": "", "DC": "", "PR": " Municipio"}.get(self.state, " County")
        return self.name if self.independent_city else self.name + kind

    @property
    def shares_its_name(self) -> bool:
        """Whether it is a city in a state that also has a county of this name."""
        return self.independent_city and any(
            other.fips != self.fips
            for other in _by_state_and_name().get((self.state, compact(self.name)), ())
        )


@cache
def us_counties() -> dict[str, UsCounty]:
    """Every county of the US by its five-digit FIPS code."""
    with _TABLE.open(encoding="utf-8", newline="") as file:
        return {
            row["fips"]: UsCounty(
                row["fips"],
                _STATE_OF[row["fips"][:2]],
                row["name"],
                (float(row["west"]), float(row["south"]), float(row["east"]), float(row["north"])),
            )
            for row in csv.DictReader(file)
        }


def county_named(state: str, name: str, *, city: bool = False) -> UsCounty | None:
    """The county of this name in any spelling; with `city`, the independent city."""
    places = _by_state_and_name().get((state, compact(name)), ())
    same_kind = [place for place in places if place.independent_city == city]
    if same_kind:
        return same_kind[0]
    return places[0] if places and not city else None


def box_of(state: str | None, fips: str | None) -> _Box | None:
    """The bounding box of a county, else of its state; None if neither is known."""
    place = us_counties().get(fips or "")
    if place is not None:
        return place.box
    boxes = [place.box for place in us_counties().values() if place.state == state]
    if not boxes:
        return None
    wests, souths, easts, norths = zip(*boxes, strict=True)
    return (min(wests), min(souths), max(easts), max(norths))


def boxes_intersect(a: _Box, b: _Box) -> bool:
    """Whether two boxes in degrees intersect, with a margin of 0.1°."""
    gap_x = max(a[0], b[0]) - min(a[2], b[2])
    gap_y = max(a[1], b[1]) - min(a[3], b[3])
    return max(gap_x, gap_y) <= _MARGIN_DEGREES


@cache
def _by_state_and_name() -> dict[tuple[str, str], list[UsCounty]]:
    named: dict[tuple[str, str], list[UsCounty]] = {}
    for place in us_counties().values():
        named.setdefault((place.state, compact(place.name)), []).append(place)
    return named
