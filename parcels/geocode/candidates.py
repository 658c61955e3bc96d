"""The candidates of an ArcGIS geocoder: which one is the house with the address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shapely import Point

from parcels.addresses.street_address import StreetAddress
from parcels.addresses.street_agreement import Agreement
from parcels.ambiguity import ambiguous_address, joined
from parcels.boundary import Located
from parcels.geocode.geocode_result import (
    AddressUnknown,
    GeocodeResult,
    match_rating,
    parse_lon_lat,
)
from parcels.lot_selection import distances_m
from parcels.untrusted import mapping, sanitize_text

_MIN_SCORE = 80.0
_MAX_SCORE = 1_000.0
# Esri's Addr_type of houses. Other types (streets, towns, ZIP codes) are rejected. Older locators
# send none, and most of those interpolate along streets.
_HOUSE_TYPES = ("PointAddress", "Subaddress", "Parcel")
_INTERPOLATED_TYPES = ("StreetAddress", "StreetAddressExt", "")
# Candidates this close are the same house: its door, parcel or mail box.
_SAME_HOUSE_M = 40.0


@dataclass(frozen=True, slots=True)
class _Match:
    """A candidate with the house number and street of the address."""

    located: Located
    rating: tuple[int, int, int]

    @property
    def agreement(self) -> tuple[tuple[int, int, int], float]:
        return self.rating, self.located.confidence

    @property
    def rank(self) -> tuple[bool, tuple[int, int, int], float]:
        return not self.located.interpolated, *self.agreement

    def rivals(self, best: _Match) -> bool:
        """Whether it agrees as well; a score does not decide between N and S of a street."""
        are_loose = self.rating[0] == best.rating[0] == Agreement.LOOSE
        is_other = self.located.matched != best.located.matched
        return (are_loose and is_other) or self.agreement >= best.agreement

    def is_elsewhere(self, best: _Match) -> bool:
        """Whether it is another place than the best match."""
        one, two = self.located, best.located
        if one.interpolated and not two.interpolated and one.matched == two.matched:
            return False  # the same house, also interpolated along its street
        here, there = Point(one.longitude, one.latitude), Point(two.longitude, two.latitude)
        return bool(distances_m(here, [there])[0] > _SAME_HOUSE_M)


def candidate_attributes(candidate: Mapping[str, Any]) -> Mapping[str, Any]:
    """The attributes of a candidate."""
    return mapping(candidate.get("attributes"))


def best_match(wanted: StreetAddress, candidates: Sequence[Mapping[str, Any]]) -> GeocodeResult:
    """The best candidate that is a house with the address's number and street.

    Esri's score is 100 for a perfect match; candidates below 80 are rejected. A second candidate
    elsewhere that agrees as well or better makes the address ambiguous, as do two that leave out
    something different.
    """
    matches = [match for c in candidates if (match := _match(wanted, c)) is not None]
    if not matches:
        others = [text for c in candidates if (text := _matched(c)) and _score(c) > 0]
        return AddressUnknown(f"nearest match: {others[0]}" if others else "")
    best = max(matches, key=lambda match: match.rank)
    rivals = [match for match in matches if match.rivals(best) and match.is_elsewhere(best)]
    if rivals:
        places = joined({match.located.matched for match in (best, *rivals)})
        return ambiguous_address(
            wanted, f"the county's GeocodeServer finds several places: {places}"
        )
    return best.located


def _match(wanted: StreetAddress, candidate: Mapping[str, Any]) -> _Match | None:
    kind = sanitize_text(candidate_attributes(candidate).get("Addr_type") or "")
    score, matched = _score(candidate), _matched(candidate)
    point = _point(candidate.get("location"))
    if score < _MIN_SCORE or point is None or kind not in (*_HOUSE_TYPES, *_INTERPOLATED_TYPES):
        return None
    rating = match_rating(matched, wanted)
    if rating is None:
        return None
    interpolated = kind not in _HOUSE_TYPES
    located = Located(*point, "geocode_server", min(score / 100, 1.0), interpolated, matched)
    return _Match(located, rating)


def _score(candidate: Mapping[str, Any]) -> float:
    score = candidate.get("score", candidate_attributes(candidate).get("Score"))
    return float(score) if isinstance(score, int | float) and 0 <= score <= _MAX_SCORE else 0.0


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
