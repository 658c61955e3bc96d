"""Where a street ends in a line without commas, and its city begins."""

from __future__ import annotations

from parcels.addresses.numbered_road import numbered_road
from parcels.addresses.street_words import (
    SAINTS,
    directions,
    is_core_suffix,
    is_street_suffix,
    normalize_words,
    suffixes,
)

# Suffixes that are hardly ever inside a name, as LANE is in MILL LANE CREEK CT.
_ENDINGS = {"ST", "AVE", "RD", "DR", "BLVD"}
# Cities that begin like a suffix, or contain one.
_CITY_STARTS = frozenset((
    ("CIRCLE", "PINES"), ("PASS", "CHRISTIAN"), ("PIKE", "ROAD"), ("TERRACE", "PARK"),
    ("LANE", "CITY"), ("COVE", "CITY"), ("TRAIL", "CREEK"), ("PLAZA", "CITY"), ("SQUARE", "BUTTE"),
))  # fmt: skip
_CITIES_WITH_SUFFIX = frozenset((
    "BAY TERRACE", "BULL RUN", "CIRCLE PINES", "CITY TERRACE", "COLLEGE PLACE", "COUNTRY WALK",
    "CROSS LANES", "DRY RUN", "FEDERAL WAY", "GLEN COVE", "GRAND TERRACE", "INDIAN TRAIL",
    "KENNETT SQUARE", "MEADOWS PLACE", "MOUNTLAKE TERRACE", "NEWTOWN SQUARE", "PASS CHRISTIAN",
    "PIKE ROAD", "TEMPLE TERRACE", "UNIVERSITY PLACE", "WALNUT COVE",
))  # fmt: skip
# They make another street of the one before them, and begin no city: RIDGE RD CUTOFF.
_ANOTHER_STREET = frozenset((
    "ACCESS", "BYPASS", "CONN", "CONNECTOR", "CTF", "CUTOFF", "DETOUR", "EXTENSION", "FEEDER",
    "FRONTAGE", "FRTG", "OVERPASS", "RAMP", "SERVICE", "SVC", "TURNAROUND", "UNDERPASS",
))  # fmt: skip
# Words before ST that are no name of a street: RUE ST LOUIS.
_BEFORE_SAINT = frozenset((
    "AVENIDA", "BAYOU", "CALLE", "CAMINO", "FORT", "FT", "LAKE", "MOUNT", "MT", "OLD", "PASEO",
    "PORT", "RUE", "VIA",
))  # fmt: skip


def has_street(words: list[str], *, is_suffix: bool) -> bool:
    """Whether a number, a street and a city come before a state; CT and LA may be its suffix."""
    street = normalize_words(" ".join(words[1:])).split()
    start = 1 if street and street[0] in directions() else 0
    places = range(start + 1, len(street) - 1)
    found = {suffixes()[street[i]] for i in places if _is_suffix_at(street, i)}
    return bool(found & _ENDINGS if is_suffix else found) or road_end(street) > 0


def split_street(words: list[str], *, has_end: bool) -> tuple[int, int] | None:
    """Where the street ends, and where in a less likely reading; None if nothing shows it.

    `has_end`: a state or a ZIP code follows, so a city is likely; otherwise the line may be a
    street alone.
    """
    if not has_end and _ends_street(words[-1]):
        return len(words), len(words)
    if end := road_end(words):
        if (longer := _with_another_street(words, end, has_end=has_end)) > end:
            return _with_direction(words, longer)
        return _with_road_direction(words, end)
    start = 1 if len(words) > 1 and words[0] in directions() else 0
    end = _grid_end(words, start) or _lettered_end(words, start) or _suffix_end(words, start)
    if end:
        return _with_direction(words, _with_another_street(words, end, has_end=has_end))
    return None if has_end and len(words) > 1 else (len(words), len(words))


def _with_another_street(words: list[str], end: int, *, has_end: bool) -> int:
    """The end with the words that make another street of it: RIDGE RD CUTOFF, HWY 290 SERVICE RD.

    CUT OFF and OLD are among them only at the end of the line: Cut Off and Old Bridge are cities.
    """
    if not has_end and words[end:] in (["CUT", "OFF"], ["OLD"]):
        return len(words)
    at = end + (words[end : end + 1] != [] and words[end] in directions())
    if at >= len(words) or words[at] not in _ANOTHER_STREET:
        return end
    at += 1
    return at + (at < len(words) and is_core_suffix(words[at]))


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


def road_end(words: list[str]) -> int:
    """The end of a numbered road: HWY 6 N, E STATE HWY D, ANDERSON COUNTY RD 312; 0 without one."""
    for i in range(min(3, len(words))):
        road = numbered_road(words[i:])
        is_first = all(word in directions() for word in words[:i])
        # In PACIFIC COAST HWY 21 and MAIN RD 76 the number is the unit.
        if road is not None and (is_first or not road.name.startswith(("HWY ", "RD "))):
            return i + road.length
    return 0


def ends_street(words: list[str]) -> bool:
    """Whether a house number and a street have no city after them yet."""
    street = normalize_words(" ".join(words[1:])).split()
    if not street:
        return False
    return is_street_suffix(street[-1]) or road_end(street) == len(street)


def _ends_street(word: str) -> bool:
    return word in suffixes() or word in directions() or word.isdigit()


def _with_road_direction(words: list[str], end: int) -> tuple[int, int]:
    """The end of a numbered road; its direction may also begin the city.

    HWY 6 NORTH HOUSTON is hardly in North Houston, but N HWY 67 WEST MEMPHIS is in West Memphis.
    """
    last = words[end - 1]
    if end == len(words) or last not in ("NORTH", "SOUTH", "EAST", "WEST"):
        return end, end
    return (end - 1, end) if words[0] in directions() else (end, end - 1)


def _grid_end(words: list[str], start: int) -> int:
    """The end of 900 N, 900 NORTH ST or 294TH EAST AVE; 0 for another street."""
    if len(words) < start + 2 or words[start + 1] not in directions():
        return 0
    has_suffix = len(words) > start + 2 and _is_suffix_at(words, start + 2)
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
    words = _without_known_city(words)
    ends = [
        i + 1
        for i in range(start + 1, len(words))
        if _is_suffix_at(words, i) and not _begins_city(words, i, start)
    ]
    if start and _is_named_direction(words, bool(ends)):
        # N ST, NORTH AVE
        ends = [2, *ends]
    if not ends:
        return start + 2 if words[start] in ("ST", "SAINT") and _is_saint(words, start + 1) else 0
    core = [end for end in ends if is_core_suffix(words[end - 1])]
    end = (core or ends)[0]
    while end < len(words) and end + 1 in ends and tuple(words[end : end + 2]) not in _CITY_STARTS:
        end += 1
    # A suffix in the rest belongs to a longer name: MILL LANE CREEK DR.
    return max([end, *core])


def _without_known_city(words: list[str]) -> list[str]:
    for i in range(2, len(words)):
        if " ".join(words[i:]) in _CITIES_WITH_SUFFIX:
            return words[:i]
    return words


def _is_named_direction(words: list[str], has_later: bool) -> bool:
    """Whether the first of the words, a direction, is the name: N ST, but not N COURT ST."""
    if len(words) < 2 or not _is_suffix_at(words, 1):
        return False
    if suffixes()[words[1]] == "ST":
        return True
    return not (len(words) > 2 and _is_suffix_at(words, 2)) and (
        suffixes()[words[1]] == "AVE" or not has_later
    )


def _begins_city(words: list[str], i: int, start: int) -> bool:
    """Whether a suffix after the street's own begins a city, or is inside its name.

    MAIN ST PORT ST LUCIE, BEACH DR N ST PETERSBURG, CLARK AVE AVENUE (in Maryland).
    """
    last = words[i - 1]
    if not any(map(is_street_suffix, words[start + 1 : i])):
        return False
    if suffixes()[words[i]] == suffixes().get(last):
        return i + 1 == len(words) or words[i] == "ST"
    follows_street = last in directions() or is_core_suffix(last)
    return words[i] == "ST" and (_is_saint(words, i + 1) or (follows_street and i + 1 < len(words)))


def _is_saint(words: list[str], i: int) -> bool:
    return i < len(words) and words[i] in SAINTS


def _is_suffix_at(words: list[str], i: int) -> bool:
    """Whether a core suffix is there; ST before a saint's name is SAINT if the street goes on."""
    if not is_street_suffix(words[i]) or (words[i] == "LA" and i + 1 < len(words)):
        return False
    if words[i] != "ST" or not _is_saint(words, i + 1):
        return True
    last = words[i - 1] if i else ""
    is_first = not last or last in directions() or is_street_suffix(last) or last in _BEFORE_SAINT
    goes_on = any(is_core_suffix(word) for word in words[i + 2 :])
    return not (is_first or goes_on)
