"""Splits an address line into number, street, unit, city, state and ZIP code.

Street and city often have no comma between them. The street ends with its suffix, for which the
tables are more reliable than a statistical parser: usaddress takes the CIR of 9250 SW 136TH ST CIR
MIAMI and the NORTH of HWY 6 NORTH HOUSTON for the city. It splits only what has no suffix.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cache

from parcels.addresses.house_number import split_house_number
from parcels.addresses.numbered_road import numbered_road
from parcels.addresses.street_end import ends_street, has_street, road_end, split_street
from parcels.addresses.street_words import (
    KING,
    directions,
    is_core_suffix,
    is_street_suffix,
    normalize_ordinals,
    normalize_words,
    suffixes,
)

UNIT = r"(?:APT|APARTMENT|UNIT|STE|SUITE|BLDG|BUILDING|FL|FLOOR|RM|ROOM|TRLR|SPC|LOT)\b\.?|#"
_UNITS = re.compile(
    rf" (?P<kind>{UNIT}|NO\b\.?(?= ?\d))"
    # Not the suffix of a street: PARKING LOT LN.
    r" ?(?P<unit>#? ?(?:[A-Z]?-?\d+[A-Z0-9-]*|(?!ST|RD|DR|LN|CT|PL|CV|SQ)[A-Z]{1,2}))(?= |$)"
)
_POSTCODE = re.compile(r"[ ,]+(\d{5})(?:-?\d{4})?$", re.ASCII)
# After these words five digits are a road: CO RD 45300.
_ROAD_BEFORE = re.compile(
    r"\b(?:RD|ROAD|HWY|HIGHWAY|ROUTE|RTE|RT|CR|CTH|SR|SH|FM|RM|RR|MARKET|US|U\.S|I|IH|INTERSTATE"
    r"|LOOP|SPUR)\.?$"
)
_POSTCODES_OF = {
    "CT": "0", "PR": "0", "AL": "3", "FL": "3", "KY": "4", "MT": "5", "NE": "6", "LA": "7",
    "CO": "8",
}  # fmt: skip
_LABELS = {
    "AddressNumberPrefix": "number",
    "AddressNumber": "number",
    "AddressNumberSuffix": "number",
    "OccupancyIdentifier": "unit",
    "SubaddressIdentifier": "building",
    "PlaceName": "city",
    "StateName": "state",
    "ZipCode": "postcode",
}


@dataclass(frozen=True, slots=True)
class AddressParts:
    """The parts of a line as written, "" for a missing one.

    Attributes:
        other: a less likely reading: 123 MAIN ST NORTH BEND is MAIN ST in North Bend, or MAIN ST N
            in Bend.
    """

    number: str
    street: str
    unit: str = ""
    city: str = ""
    state: str = ""
    postcode: str = ""
    other: AddressParts | None = None


def split_line(line: str) -> AddressParts:
    """The parts of a line in capitals with single spaces, which starts with its house number."""
    rest, postcode = _pop_postcode(re.sub(r" ?\([^)]*\)", "", line))
    rest, state = _pop_state(rest, postcode)
    segments = [segment.strip(" .") for segment in rest.split(",")]
    segments = sorted((segment for segment in segments if segment), key=_is_unit)
    numbered = split_house_number(segments[0]) if segments else None
    if numbered is None:
        return _label_parts(line)
    number, text = numbered
    cities = [segment for segment in segments[1:] if not _is_unit(segment)]
    # APT 5 MEMPHIS
    units_before_city = _UNITS.findall(f" {cities[0]}") if cities else []
    text, unit = _pop_units(" ".join((text, *segments[1 + len(cities) :])))
    if units_before_city:
        unit = unit or units_before_city[0][1]
        cities[0] = _UNITS.sub("", f" {cities[0]}").strip()
    if cities and normalize_words(cities[0]) in directions():
        text, cities = f"{text} {cities[0]}", cities[1:]
    words = normalize_ordinals(normalize_words(text).split())
    if not words:
        return _label_parts(line)
    number, words, other_number = _letter(number, words)
    parts = AddressParts(number, "", unit, state=state, postcode=postcode)
    if cities:
        street, unit_after = _pop_trailing_unit(words, len(words))
        parts = replace(parts, street=street, unit=unit or unit_after, city=cities[0])
    else:
        split = split_street(words, has_end=bool(state or postcode))
        if split is None:
            return _label_parts(line)
        parts = _with_split(parts, words, *split)
    if other_number is not None:
        other = replace(
            parts, number=other_number[0], street=f"{other_number[1]} {parts.street}", other=None
        )
        return replace(parts, other=other)
    return parts


def _with_split(parts: AddressParts, words: list[str], end: int, other: int) -> AddressParts:
    street, unit = _pop_trailing_unit(words, end)
    other_street, _ = _pop_trailing_unit(words, other)
    rest = words[end:]
    if rest and rest[0].isdigit():
        unit, rest = unit or rest[0], rest[1:]
    read = replace(parts, street=street, unit=parts.unit or unit, city=" ".join(rest))
    if other == end:
        return read
    less_likely = replace(read, street=other_street, city=" ".join(words[other:]))
    return replace(read, other=less_likely)


def _pop_postcode(line: str) -> tuple[str, str]:
    match = _POSTCODE.search(line)
    if match is None or _ROAD_BEFORE.search(line[: match.start()]):
        return line, ""
    return line[: match.start()].rstrip(" ,"), match[1]


def _pop_state(line: str, postcode: str) -> tuple[str, str]:
    """The line without its state, and the state as written; words of the street are no state."""
    head, comma, last = line.rpartition(",")
    name = normalize_words(last)
    if comma and name in _state_names() and (name not in directions() or "," in head):
        return head, name
    words = last.split()
    for count in (2, 1):
        name = normalize_words(" ".join(words[-count:]))
        before = [word.strip(".") for word in words[:-count]]
        if name not in _state_names() or len(before) < (1 if comma else 2):
            continue
        follows_street = bool(comma) or has_street(before, is_suffix=name in suffixes())
        if name in directions() and not postcode and ends_street(before):
            continue  # MILL RUN XING NE is not in Nebraska
        belongs = not postcode or postcode[0] == _POSTCODES_OF.get(name, postcode[0])
        if belongs and (follows_street or (postcode and len(name) == 2)):
            return f"{head}{comma}{' '.join(words[:-count])}", name
    return line, ""


@cache
def _state_names() -> frozenset[str]:
    from scourgify.address_constants import STATE_ABBREVIATIONS

    return frozenset((*STATE_ABBREVIATIONS, *STATE_ABBREVIATIONS.values(), "PR", "PUERTO RICO"))


def _is_unit(segment: str) -> bool:
    return _UNITS.match(f" {segment}") is not None and not _UNITS.sub("", f" {segment}").strip()


def _pop_units(text: str) -> tuple[str, str]:
    """The text without its units, and the first unit; a building only if nothing else is there."""
    units: list[str] = []
    buildings: list[str] = []
    kept, end = "", 0
    padded = f" {text}"
    for match in _UNITS.finditer(padded):
        street = [word for word in padded[: match.start()].split() if word not in directions()]
        if not street:
            continue  # RM 620 is Ranch to Market Road 620
        kept, end = kept + padded[end : match.start()], match.end()
        (buildings if match["kind"].startswith("B") else units).append(match["unit"])
    return (kept + padded[end:]).strip(), [*units, *buildings, ""][0]


def _letter(number: str, words: list[str]) -> tuple[str, list[str], tuple[str, str] | None]:
    """A letter after the number belongs to it, unless it is the street: 123 A OAK LN, 123 A ST.

    The less likely reading comes third: 1200 J CLYDE MORRIS BLVD may be named for a person, and
    123E MAIN ST may be 123 E MAIN ST.
    """
    first, rest = words[0], words[1:]
    if number.isdigit() and len(first) == 1 and first.isalpha() and first not in directions():
        is_name = not rest or is_street_suffix(rest[0]) or (rest[0] in suffixes() and not rest[1:])
        is_road = numbered_road(words) is not None or KING.match(" ".join(words)) is not None
        if not (is_name or is_road or "/" in rest[0]):
            return number + first, rest, (number, first)
    if number[:-1].isdigit() and number[-1:] in directions():
        return number, words, (number[:-1], number[-1])
    return number, words, None


def _pop_trailing_unit(words: list[str], end: int) -> tuple[str, str]:
    """The street of the first words, and the unit that ends it without a designator."""
    street = words[:end]
    named = [word for word in street if word not in directions()]
    last = street[-1]
    is_unit = last.isdigit() or (len(last) == 1 and last.isalpha() and last not in directions())
    follows = (
        len(named) > 2 and is_core_suffix(named[-2]) and street[-2] in (named[-2], *directions())
    )
    if is_unit and follows and not road_end(street):
        return " ".join(street[:-1]), last
    return " ".join(street), ""


def _label_parts(line: str) -> AddressParts:
    """The parts by usaddress, a statistical parser; commas are kept.

    If a label occurs twice ("FL 2 APT 5"), only its first words count.
    """
    import usaddress

    found: dict[str, list[str]] = defaultdict(list)
    last = ""
    for word, label in usaddress.parse(line):
        part = _LABELS.get(label) or ("street" if label.startswith("StreetName") else "")
        if part == last or part not in found:
            found[part].append(word)
        last = part
    text = {part: " ".join(words) for part, words in found.items()}
    return AddressParts(
        text.get("number", "").strip(", "),
        text.get("street", ""),
        text.get("unit") or text.get("building", ""),
        text.get("city", "").split(",")[0],
        text.get("state", ""),
        text.get("postcode", ""),
    )
