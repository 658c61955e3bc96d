"""Parses a US street address line into normalized parts, so that spellings can be compared."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from parcels.addresses.address_line import UNIT, AddressParts, split_line
from parcels.addresses.house_number import parse_house_number, split_house_number
from parcels.addresses.street_name import parse_street
from parcels.addresses.street_words import normalize_words, suffixes
from parcels.errors import PropertyError

_MAX_LENGTH = 500
_BOX = re.compile(r"\b(?:P\.? ?O\.? ?BOX|POB|POST OFFICE BOX)\b")
_BOX_AFTER = re.compile(r"[, ]+P\.? ?O\.? ?BOX \w+")
_COUNTRY = re.compile(r"(?:[, ]+(?:USA|U\.S\.A\.?|UNITED STATES(?: OF AMERICA)?)|(?<=\d)[, ]+US)$")
_CROSSING = re.compile(r"&|@|/| AND | AT ")
_NUMBER = r"\d+(?:\.0*)?(?:-?[A-Z])?(?: ?[½¼¾]| \d/\d)?|\d+ ?- ?\d+"
# Tennessee's assessors write MAIN ST 123; the text before the number must be a street.
_STREET_FIRST = re.compile(
    rf"(?P<street>(?:\d+(?:ST|ND|RD|TH)|[A-Z])[^,#]*?) (?P<number>{_NUMBER})"
    rf"(?P<rest>(?: (?:{UNIT}) ?[A-Z0-9-]+)?(?:,.*|[A-Z .]* [A-Z]{{2}}[ ,]+\d{{5}}(?:-\d{{4}})?)?)"
)
# Words with a number of their own: HIGHWAY 76 has no house number.
_NUMBERED = re.compile(
    r"(?:HWY|HIGHWAY|ROUTE|RTE|RT|ROAD|RD|INTERSTATE|FM|RM|RR|LOOP|SPUR|SR|CR|US|AVENUE|AVE|STREET"
    r"|BOX|LOT|APT|UNIT|STE|SUITE|NO|DISTRICT)\.?"
)
_QUALIFIERS = ("STATE", "ST", "US", "U", "S", "COUNTY", "CO", "N", "E", "W", "OLD")


@dataclass(frozen=True, slots=True)
class StreetAddress:
    """A street address in capitals, with USPS abbreviations and without punctuation.

    Attributes:
        house_number: "123", "123A", "12-34"; without leading zeros.
        street: direction, name and suffix: "N MAIN ST".
        street_name: the name alone: "MAIN"; used in server queries.
        other: a less likely reading of the same line, which a lot may have too.
    """

    house_number: str
    street: str
    street_name: str
    unit: str | None = None
    city: str | None = None
    state: str | None = None
    postcode: str | None = None
    other: StreetAddress | None = None

    @property
    def line(self) -> str:
        """On one line for a geocoder; without the unit, which makes many of them fail."""
        end = " ".join(filter(None, (self.state, self.postcode)))
        return ", ".join(filter(None, (f"{self.house_number} {self.street}", self.city, end)))


def try_parse_address(text: str) -> StreetAddress | None:
    """As `parse_address`, but None instead of an error."""
    try:
        return parse_address(text)
    except PropertyError:
        return None


@lru_cache(maxsize=16_384)
def parse_address(text: str) -> StreetAddress:
    """Parse an address into number, street, unit, city, state and ZIP code.

    Street-first addresses ("MAIN ST 123") work too.

    Raises:
        PropertyError: a PO box, an intersection, or without a house number or street.
    """
    if len(text) > _MAX_LENGTH:
        raise _unreadable(text, "is too long: write it like 123 N Main St, City, ST 12345")
    line = _COUNTRY.sub("", " ".join(text.replace("\n", ", ").upper().split())).lstrip("# ")
    if _BOX.match(line):
        raise _unreadable(text, "is a PO box, which has no location: give the street address")
    parts = split_line(_number_first(_BOX_AFTER.sub("", line)))
    address = _address(parts)
    if isinstance(address, StreetAddress):
        other = _address(parts.other) if parts.other is not None else None
        return replace(address, other=other) if isinstance(other, StreetAddress) else address
    if address == "number" and not line[:1].isdigit() and _CROSSING.search(line):
        raise _unreadable(text, "is an intersection: give the address of a house")
    missing = "no house number" if address == "number" else "no street"
    raise _unreadable(text, f"has {missing}: write it like 123 N Main St, City, ST 12345")


def _address(parts: AddressParts) -> StreetAddress | Literal["number", "street"]:
    """The normalized parts, or which one is missing."""
    number = parse_house_number(parts.number.strip(", "))
    street = parse_street(parts.street)
    if number is None:
        return "number"
    if street is None:
        return "street"
    postcode = re.search(r"\d{5}", parts.postcode)
    return StreetAddress(
        house_number=number.text,
        street=street.text,
        street_name=street.name,
        unit=unit_text(parts.unit),
        city=city_text(parts.city),
        state=_state(parts.state),
        postcode=postcode[0] if postcode else None,
    )


def unit_text(unit: str | None) -> str | None:
    """A unit without its designator: "4B" for "Apt. 4b" and "# 04B"."""
    if unit is None:
        return None
    bare = re.sub(rf"^(?:{UNIT}) *", "", normalize_words(unit))
    return bare.replace(" ", "").lstrip("0") or None


def city_text(city: str | None) -> str | None:
    """A city in capitals, with SAINT, MOUNT and FORT spelled out."""
    if city is None:
        return None
    spelled_out = {"ST": "SAINT", "STE": "SAINTE", "MT": "MOUNT", "FT": "FORT"}
    return " ".join(spelled_out.get(word, word) for word in normalize_words(city).split()) or None


def _unreadable(text: str, problem: str) -> PropertyError:
    shown = text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}…"
    return PropertyError(f"address {shown!r} {problem}")


def _number_first(line: str) -> str:
    """The line with the house number first."""
    match = _STREET_FIRST.fullmatch(line)
    if match is None or split_house_number(line) is not None:
        return line
    if _is_road_number(match["street"].split()):
        return line
    return f"{match['number']} {match['street']}{match['rest']}"


def _is_road_number(before: list[str]) -> bool:
    """Whether the number after these words is the road's: HIGHWAY 76, but not MAIN RD 76."""
    if not _NUMBERED.fullmatch(before[-1]):
        return False
    names = [word for word in before[:-1] if word not in _QUALIFIERS]
    return not names or before[-1].strip(".") not in suffixes()


def _state(state: str | None) -> str | None:
    """The postal code of a state name or code; None if it is not a state."""
    from scourgify.address_constants import STATE_ABBREVIATIONS

    name = normalize_words(state or "")
    short: str | None = STATE_ABBREVIATIONS.get(name)
    return name if short is None and name in STATE_ABBREVIATIONS.values() else short
