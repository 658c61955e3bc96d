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
from parcels.addresses.street_words import (
    KING,
    SAINTS,
    directions,
    is_core_suffix,
    normalize_ordinals,
    normalize_words,
    suffixes,
)

UNIT = r"(?:APT|APARTMENT|UNIT|STE|SUITE|BLDG|BUILDING|FL|FLOOR|RM|ROOM|TRLR|SPC|LOT)\b\.?|#"
_UNITS = re.compile(
    rf" (?P<kind>{UNIT}|NO\b\.?(?= ?\d))"
    r" ?(?P<unit>#? ?(?:[A-Z]?-?\d+[A-Z0-9-]*|[A-Z]{1,2}))(?= |$)"
)
_POSTCODE = re.compile(r"[ ,]+(\d{5})(?:-?\d{4})?$", re.ASCII)
# After these words five digits are a road: CO RD 45300.
_ROAD_BEFORE = re.compile(r"\b(?:RD|ROAD|HWY|HIGHWAY|ROUTE|RTE|RT|CR|SR|FM)\.?$")
_POSTCODES_OF = {
    "CT": "0", "PR": "0", "AL": "3", "FL": "3", "KY": "4", "MT": "5", "LA": "7", "CO": "8",
}  # fmt: skip
# Suffixes that are hardly ever inside a name, as LANE is in MILL LANE CREEK CT.
_ENDINGS = {"ST", "AVE", "RD", "DR", "BLVD"}
# Cities that begin like a suffix, or contain one.
_CITY_STARTS = frozenset((
    ("CIRCLE", "PINES"), ("PASS", "CHRISTIAN"), ("PIKE", "ROAD"), ("TERRACE", "PARK"),
    ("LANE", "CITY"), ("PLAZA", "CITY"), ("SQUARE", "BUTTE"),
))  # fmt: skip
_CITIES_WITH_SUFFIX = frozenset((
    "FEDERAL WAY", "UNIVERSITY PLACE", "TEMPLE TERRACE", "MOUNTLAKE TERRACE", "GRAND TERRACE",
    "CITY TERRACE", "KENNETT SQUARE", "NEWTOWN SQUARE", "PIKE ROAD", "CIRCLE PINES",
))  # fmt: skip
# Words before ST that are no name of a street: RUE ST LOUIS.
_BEFORE_SAINT = frozenset((
    "AVENIDA", "BAYOU", "CALLE", "CAMINO", "FORT", "FT", "LAKE", "MOUNT", "MT", "OLD", "PASEO",
    "PORT", "RUE", "VIA",
))  # fmt: skip
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
    if cities and cities[0] in directions():
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
        split = _split_city(words, has_end=bool(state or postcode))
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
    if comma and name in _state_names():
        return head, name
    words = last.split()
    for count in (2, 1):
        name = normalize_words(" ".join(words[-count:]))
        before = [word.strip(".") for word in words[:-count]]
        if name not in _state_names() or len(before) < (1 if comma else 2):
            continue
        has_street = bool(comma) or _has_street(before, is_suffix=name in suffixes())
        belongs = not postcode or postcode[0] == _POSTCODES_OF.get(name, postcode[0])
        if belongs and (has_street or (postcode and len(name) == 2)):
            return f"{head}{comma}{' '.join(words[:-count])}", name
    return line, ""


def _has_street(words: list[str], *, is_suffix: bool) -> bool:
    """Whether a number, a street and a city come before a state; CT and LA may be its suffix."""
    street = normalize_words(" ".join(words[1:])).split()
    found = {suffixes()[street[i]] for i in range(1, len(street) - 1) if _is_suffix_at(street, i)}
    return bool(found & _ENDINGS if is_suffix else found) or _road_end(street) > 0


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
        is_name = not rest or is_core_suffix(rest[0]) or (rest[0] in suffixes() and not rest[1:])
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
    if is_unit and follows and not _road_end(street):
        return " ".join(street[:-1]), last
    return " ".join(street), ""


def _split_city(words: list[str], *, has_end: bool) -> tuple[int, int] | None:
    """Where the street ends, and where in a less likely reading; None if nothing shows it.

    `has_end`: a state or a ZIP code follows, so a city is likely; otherwise the line may be a
    street alone.
    """
    if not has_end and _ends_street(words[-1]):
        return len(words), len(words)
    if end := _road_end(words):
        return end, _without_direction(words, end)
    start = 1 if len(words) > 1 and words[0] in directions() else 0
    end = _grid_end(words, start) or _lettered_end(words, start) or _suffix_end(words, start)
    if end:
        return _with_direction(words, end)
    return None if has_end and len(words) > 1 else (len(words), len(words))


def _with_direction(words: list[str], end: int) -> tuple[int, int]:
    """The end of the street after its suffix; a direction there may also begin the city."""
    rest = words[end:]
    if not rest or rest[0] not in directions():
        return end, end
    if len(rest) == 1 or rest[1].isdigit():
        return end + 1, end + 1
    # MAIN ST NORTH BEND, but GAULT AVE N FT PAYNE.
    is_city = rest[0] in ("NORTH", "SOUTH", "EAST", "WEST")
    return (end, end + 1) if is_city else (end + 1, end)


def _road_end(words: list[str]) -> int:
    """The end of a numbered road: HWY 6 N, E STATE HWY D, ANDERSON COUNTY RD 312; 0 without one."""
    for i in range(min(3, len(words))):
        road = numbered_road(words[i:])
        is_first = all(word in directions() for word in words[:i])
        # In PACIFIC COAST HWY 21 and MAIN RD 76 the number is the unit.
        if road is not None and (is_first or not road.name.startswith(("HWY ", "RD "))):
            return i + road.length
    return 0


def _ends_street(word: str) -> bool:
    return word in suffixes() or word in directions() or word.isdigit()


def _without_direction(words: list[str], end: int) -> int:
    """The end of a numbered road without its direction, if a city may begin with it."""
    if end < len(words) and words[end - 1] in directions() and len(words[end - 1]) > 2:
        return end - 1
    return end


def _grid_end(words: list[str], start: int) -> int:
    """The end of 900 N, 900 NORTH ST or 294TH EAST AVE; 0 for another street."""
    if len(words) < start + 2 or words[start + 1] not in directions():
        return 0
    has_suffix = len(words) > start + 2 and is_core_suffix(words[start + 2])
    if not words[start].isdigit() and not (has_suffix and words[start][:1].isdigit()):
        return 0
    return start + 2 + has_suffix


def _lettered_end(words: list[str], start: int) -> int:
    """The end of AVENUE D, AVENUE 12 or AVENUE OF THE STARS; 0 for another street."""
    if words[start] not in ("AVE", "AVENUE", "AV") or len(words) < start + 2:
        return 0
    if len(words[start + 1]) == 1 or words[start + 1][0].isdigit():
        return start + 2
    if words[start + 1] == "OF":
        return min(len(words), start + 3 + (words[start + 2 : start + 3] == ["THE"]))
    return 0


def _suffix_end(words: list[str], start: int) -> int:
    """The end of the street's suffix, and of a second one; 0 without a suffix."""
    first = start + 1
    # In N ST and NORTH AVE the direction is the name.
    if start and _is_suffix_at(words, 1):
        first = 1
    ends: list[int] = []
    for i in range(first, len(words)):
        if _is_suffix_at(words, i) and not (ends and _begins_city(words, i)):
            ends.append(i + 1)
    if not ends:
        return start + 2 if words[start] in ("ST", "SAINT") and _is_saint(words, start + 1) else 0
    end = ends[0]
    while end < len(words) and end + 1 in ends and tuple(words[end : end + 2]) not in _CITY_STARTS:
        end += 1
    # A suffix in the rest belongs to a longer name (MILL LANE CREEK DR), unless it is a city's.
    if ends[-1] > end and " ".join(words[end:]) not in _CITIES_WITH_SUFFIX:
        return ends[-1]
    return end


def _begins_city(words: list[str], i: int) -> bool:
    """Whether a suffix after the street's own begins a city, or is inside its name.

    MAIN ST PORT ST LUCIE, BEACH DR N ST PETERSBURG, CLARK AVE AVENUE (in Maryland).
    """
    last = words[i - 1]
    if suffixes()[words[i]] == suffixes().get(last):
        return i + 1 == len(words) or words[i] == "ST"
    follows_street = last in directions() or is_core_suffix(last)
    return words[i] == "ST" and (_is_saint(words, i + 1) or (follows_street and i + 1 < len(words)))


def _is_saint(words: list[str], i: int) -> bool:
    return i < len(words) and words[i] in SAINTS


def _is_suffix_at(words: list[str], i: int) -> bool:
    """Whether a core suffix is there; ST before a saint's name is SAINT if the street goes on."""
    if not is_core_suffix(words[i]):
        return False
    if words[i] != "ST" or not _is_saint(words, i + 1):
        return True
    last = words[i - 1] if i else ""
    is_first = not last or last in directions() or is_core_suffix(last) or last in _BEFORE_SAINT
    goes_on = any(is_core_suffix(word) for word in words[i + 2 :])
    return not (is_first or goes_on)


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
