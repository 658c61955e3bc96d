"""Parses a US street address line into normalized parts, so that spellings can be compared."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache

from parcels.addresses.house_number import parse_house_number
from parcels.addresses.street_name import normalize_words, parse_street, suffixes
from parcels.errors import PropertyError

_MAX_LENGTH = 500
_BOX = re.compile(r"\b(?:P\.? ?O\.? ?BOX|POB|POST OFFICE BOX)\b")
_COUNTRY = re.compile(r"[, ]+(?:USA|U\.S\.A\.?|UNITED STATES(?: OF AMERICA)?)$")
_CROSSING = re.compile(r"&|@|/| AND | AT ")
_UNIT = r"(?:APT|APARTMENT|UNIT|STE|SUITE|BLDG|BUILDING|FL|FLOOR|RM|ROOM|TRLR|SPC|LOT)\b\.?|#"
_NUMBER = r"\d+(?:\.0*)?(?:-?[A-Z])?(?: ?[½¼¾]| \d/\d)?|\d+ ?- ?\d+"
# Tennessee's assessors write MAIN ST 123; the text before the number must be a street.
_STREET_FIRST = re.compile(
    rf"(?P<street>(?:\d+(?:ST|ND|RD|TH)|[A-Z])[^,#]*?) (?P<number>{_NUMBER})"
    rf"(?P<rest>(?: (?:{_UNIT}) ?[A-Z0-9-]+)?(?:,.*|[A-Z .]* [A-Z]{{2}}[ ,]+\d{{5}}(?:-\d{{4}})?)?)"
)
# 12 N ST CLAIR is Saint Clair, and not N Street in a town called Clair.
_SAINT = re.compile(
    rf"^({_NUMBER})( (?:[NSEW]|NORTH|SOUTH|EAST|WEST))? ST\.? "
    rf"(?!(?:{_UNIT}|[NS](?:ORTH|OUTH)|EAST|WEST))(?=[A-Z]{{3}})"
)
_TWO_NUMBERS = re.compile(r"^(\d+) ?(?:-|&|AND|TO) ?(\d+) ")
_PARTS = {
    "AddressNumberPrefix": "number",
    "AddressNumber": "number",
    "AddressNumberSuffix": "number",
    "OccupancyIdentifier": "unit",
    "SubaddressIdentifier": "building",
    "PlaceName": "city",
    "StateName": "state",
    "ZipCode": "zip",
}
# Words with a number of their own: HIGHWAY 76 has no house number.
_NUMBERED = re.compile(
    r"(?:HWY|HIGHWAY|ROUTE|RTE|RT|ROAD|RD|INTERSTATE|FM|SR|CR|US|AVENUE|AVE|STREET|BOX|LOT|APT"
    r"|UNIT|STE|SUITE|NO|DISTRICT)\.?"
)
_QUALIFIERS = ("STATE", "ST", "US", "U", "S", "COUNTY", "CO", "N", "E", "W", "OLD")


@dataclass(frozen=True, slots=True)
class StreetAddress:
    """A street address in capitals, with USPS abbreviations and without punctuation.

    Attributes:
        house_number: "123", "123A", "12-34"; without leading zeros.
        street: direction, name and suffix: "N MAIN ST".
        street_name: the name alone: "MAIN"; used in server queries.
    """

    house_number: str
    street: str
    street_name: str
    unit: str | None = None
    city: str | None = None
    state: str | None = None
    postcode: str | None = None

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
    numbered = _number_first(line)
    parts = _label_parts(numbered)
    number = parse_house_number(parts.get("number", "").strip(", "))
    street = parse_street(parts.get("street", ""))
    if number is None and not line[:1].isdigit() and _CROSSING.search(line):
        raise _unreadable(text, "is an intersection: give the address of a house")
    if number is None:
        raise _unreadable(text, "has no house number: write it like 123 N Main St, City, ST 12345")
    if street is None:
        raise _unreadable(text, "has no street: write it like 123 N Main St, City, ST 12345")
    postcode = re.search(r"\d{5}", parts.get("zip", ""))
    return StreetAddress(
        house_number=number.text,
        street=street.text,
        street_name=street.name,
        unit=unit_text(parts.get("unit") or parts.get("building")),
        # "MEMPHIS, SHELBY COUNTY": the town comes first.
        city=city_text(parts.get("city", "").split(",")[0]),
        state=_state(parts.get("state")),
        postcode=postcode[0] if postcode else None,
    )


def unit_text(unit: str | None) -> str | None:
    """A unit without its designator: "4B" for "Apt. 4b" and "# 04B"."""
    if unit is None:
        return None
    bare = re.sub(rf"^(?:{_UNIT}) *", "", normalize_words(unit))
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
    """The line with the house number first, and a range without spaces."""
    line = _TWO_NUMBERS.sub(r"\1-\2 ", line)
    match = _STREET_FIRST.fullmatch(line)
    if match is not None and not _is_road_number(match["street"].split()):
        line = f"{match['number']} {match['street']}{match['rest']}"
    return _SAINT.sub(r"\1\2 SAINT ", line)


def _is_road_number(before: list[str]) -> bool:
    """Whether the number after these words is the road's: HIGHWAY 76, but not MAIN RD 76."""
    if not _NUMBERED.fullmatch(before[-1]):
        return False
    names = [word for word in before[:-1] if word not in _QUALIFIERS]
    return not names or before[-1].strip(".") not in suffixes()


def _label_parts(line: str) -> dict[str, str]:
    """The labelled parts of a line that starts with its house number; commas are kept.

    If a label occurs twice ("FL 2 APT 5"), only its first words count.
    """
    import usaddress

    parts: dict[str, list[str]] = defaultdict(list)
    last = ""
    for word, label in usaddress.parse(line):
        part = _PARTS.get(label) or ("street" if label.startswith("StreetName") else "")
        if part == last or part not in parts:
            parts[part].append(word)
        last = part
    return {part: " ".join(found) for part, found in parts.items()}


def _state(state: str | None) -> str | None:
    """The postal code of a state name or code; None if it is not a state."""
    from scourgify.address_constants import STATE_ABBREVIATIONS

    name = normalize_words(state or "")
    short: str | None = STATE_ABBREVIATIONS.get(name)
    return name if short is None and name in STATE_ABBREVIATIONS.values() else short
