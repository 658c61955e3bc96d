"""The answers of an ArcGIS geocoder: which of them is the house that was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shapely import Point

from parcels.addresses.street_address import StreetAddress
from parcels.boundary import Located
from parcels.geocode.geocode_result import (
    AddressUnknown,
    GeocodeResult,
    ambiguous_address,
    match_rating,
    parse_lon_lat,
)
from parcels.lot_selection import distances_m
from parcels.untrusted import mapping, sanitize_text

_LOWEST_SCORE = 80.0
_MOST_SCORE = 1_000.0
# What a match is, in Esri's words. Any other (a street, a town, a ZIP code) is no house; older
# locators do not say it, and most of them are of streets with ranges of numbers.
_HOUSES = ("PointAddress", "Subaddress", "Parcel")
_ALONG_THE_STREET = ("StreetAddress", "StreetAddressExt", "")
# Candidates so close are one house: its door, its parcel, its mail box.
_ONE_HOUSE_M = 40.0


@dataclass(frozen=True, slots=True)
class _Match:
    """A candidate that is a house with the wanted number and street."""

    located: Located
    rating: tuple[int, int, int]

    @property
    def agreement(self) -> tuple[tuple[int, int, int], float]:
        return self.rating, self.located.confidence

    @property
    def rank(self) -> tuple[bool, tuple[int, int, int], float]:
        return not self.located.interpolated, *self.agreement

    def is_elsewhere(self, house: _Match) -> bool:
        """Whether it is another place than the house, which goes before it."""
        one, two = self.located, house.located
        if one.interpolated and not two.interpolated and one.matched == two.matched:
            return False  # the same house, reckoned along its street as well
        here, there = Point(one.longitude, one.latitude), Point(two.longitude, two.latitude)
        return bool(distances_m(here, [there])[0] > _ONE_HOUSE_M)


def candidate_attributes(candidate: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the locator says of a match, by field."""
    return mapping(candidate.get("attributes"))


def best_match(wanted: StreetAddress, candidates: Sequence[Mapping[str, Any]]) -> GeocodeResult:
    """The best of the candidates that are a house with the wanted number and street.

    A score of 100 is Esri's for a perfect match; below 80 nothing is believed. Another
    one, as good or better by its words and elsewhere, makes the address ambiguous.
    """
    matches = [match for c in candidates if (match := _match(wanted, c)) is not None]
    if not matches:
        others = [text for c in candidates if (text := _matched(c)) and _score(c) > 0]
        return AddressUnknown(f"it finds {others[0]} instead" if others else "")
    first = max(matches, key=lambda match: match.rank)
    if any(m.agreement >= first.agreement and m.is_elsewhere(first) for m in matches):
        return ambiguous_address(wanted, "the county's GeocodeServer has several places for it")
    return first.located


def _match(wanted: StreetAddress, candidate: Mapping[str, Any]) -> _Match | None:
    kind = sanitize_text(candidate_attributes(candidate).get("Addr_type") or "")
    score, matched = _score(candidate), _matched(candidate)
    point = _point(candidate.get("location"))
    if score < _LOWEST_SCORE or point is None or kind not in (*_HOUSES, *_ALONG_THE_STREET):
        return None
    rated = match_rating(matched, wanted)
    if rated is None:
        return None
    interpolated = kind not in _HOUSES
    located = Located(*point, "geocode_server", min(score / 100, 1.0), interpolated, matched)
    return _Match(located, rated)


def _score(candidate: Mapping[str, Any]) -> float:
    score = candidate.get("score", candidate_attributes(candidate).get("Score"))
    return float(score) if isinstance(score, int | float) and 0 <= score <= _MOST_SCORE else 0.0


def _matched(candidate: Mapping[str, Any]) -> str:
    return sanitize_text(
        candidate_attributes(candidate).get("Match_addr") or candidate.get("address") or ""
    )


def _point(location: object) -> tuple[float, float] | None:
    if not isinstance(location, dict):
        return None
    try:
        return parse_lon_lat(location.get("x"), location.get("y"))
    except ValueError:
        return None
