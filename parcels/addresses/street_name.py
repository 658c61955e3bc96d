"""Parses and compares street names, with the abbreviations of the US Postal Service."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import takewhile

from parcels.addresses.numbered_road import NumberedRoad, compare_roads, numbered_road
from parcels.addresses.street_agreement import Agreement
from parcels.addresses.street_words import (
    CORE_SUFFIXES,
    KING,
    directions,
    is_same_suffix,
    normalize_ordinals,
    normalize_words,
    short_word,
    stable_words,
    suffixes,
)

_ORDINAL = re.compile(r"\d+(?:ST|ND|RD|TH)")
_DIGITS = re.compile(r"\d+(?:\.\d+)?")
# The type comes first, so nothing is missing at the end: VIA CHRISTINA is not VIA CHRISTINA CT.
_SPANISH_TYPE = re.compile(
    r"(?:LA |EL )?(?:AVENIDA|CALLE|CALLEJON|CAMINO|CAMINITO|PASEO|VIA|VEREDA)\b"
)
_ROAD_KINDS = ("HWY", "HIGHWAY", "FM", "RM", "CR", "SR", "SH")
_ARTICLES = ("DE", "DEL", "LA", "LAS", "LOS", "EL")


@dataclass(frozen=True, slots=True)
class StreetName:
    """A street in capitals: "N", "MAIN", "ST", "" for North Main Street.

    Of two suffixes the first belongs to the name: "SW", "136TH ST", "CIR".
    """

    before: str
    name: str
    suffix: str
    after: str

    @property
    def text(self) -> str:
        """Direction, name, suffix and direction, as written on an envelope."""
        return " ".join(filter(None, (self.before, self.name, self.suffix, self.after)))

    @property
    def key(self) -> str:
        """In one spelling: equal for MARTIN LUTHER KING BLVD and MLK BLVD."""
        return " ".join(filter(None, (self.before, _key(self.name), self.suffix, self.after)))

    def compare(self, other: StreetName) -> Agreement:
        """Compare: the names must be equal; a suffix or direction may be missing on one side."""
        agreement = _compare(self, other)
        if agreement is Agreement.NONE:
            for one, two in ((self, other), (other, self)):
                lettered = _lettered_avenue(one)
                if lettered is not None:
                    agreement = max(agreement, _compare(lettered, two))
        if agreement is Agreement.NONE and self._split_directions == other._split_directions:
            return Agreement.SAME if self._split_directions else Agreement.NONE
        return agreement

    @property
    def _split_directions(self) -> str:
        """N W END AVE for both NW END AVE and N WEST END AVE; empty for another street."""
        words = f"{self.before} {self.name}".split()
        leading = [directions()[word] for word in takewhile(directions().__contains__, words)]
        rest = words[len(leading) :]
        if len("".join(leading)) < 2 or not rest:
            return ""
        return " ".join((*"".join(leading), *rest, self.suffix, self.after))


@lru_cache(maxsize=16_384)
def parse_street(text: str) -> StreetName | None:
    """Parse a street without its house number; None for an empty text."""
    words = _join_directions(normalize_ordinals(normalize_words(text).split()))
    if not words:
        return None
    before, words = _direction_before(words)
    if len(words) > 1 and words[0].isdigit() and words[1] in _ROAD_KINDS:
        words[:2] = words[1], words[0]  # name and suffix in columns of their own: 6 HWY
    road = numbered_road(words)
    if road is not None:
        return _numbered_street(before, road, words[road.length :])
    if _is_grid(words):
        return _grid_street(before, words)
    words, after = _direction_after(words)
    suffix = ""
    if len(words) > 1 and words[-1] in suffixes():
        suffix = suffixes()[words[-1]]
        words = words[:-1]
        if len(words) > 1 and suffixes().get(words[-1]) in CORE_SUFFIXES:
            words[-1] = suffixes()[words[-1]]
            if words[-1] == suffix:
                words = words[:-1]  # MAIN ST in the column of the name, and ST in the next
    if words[0] == "ST" and len(words) + bool(suffix) > 1:
        words[0] = "SAINT"
    if len(words) > 1 and words[0] in ("AVE", "AV") and words[1] in _ARTICLES:
        words[0] = "AVENIDA"
    return StreetName(before, " ".join(words), suffix, after)


def filter_letters(name: str) -> str | None:
    """Letters that occur in every spelling of a street name, as a prefilter; None without any.

    They are the end of its longest word: apostrophes are near the start ("O'BRIEN") or before the
    final S ("MARY'S"). Words that have an abbreviation or a spelling with digits are skipped.
    """
    longest = max(stable_words(name), key=len, default="").rstrip("S")
    return longest[-3:] if len(longest) >= 3 else None


def _join_directions(words: list[str]) -> list[str]:
    """NORTH WEST as NW, but N EAST ST is the north of East Street."""
    joined: list[str] = []
    for i, word in enumerate(words):
        last = joined[-1] if joined else ""
        is_pair = (last in ("N", "S") and word in ("E", "W")) or (
            last in ("NORTH", "SOUTH") and word in ("EAST", "WEST")
        )
        is_name = len(joined) == 1 and all(each in suffixes() for each in words[i + 1 :])
        if is_pair and not is_name:
            joined[-1] = last[0] + word[0]
        else:
            joined.append(word)
    return joined


def _direction_before(words: list[str]) -> tuple[str, list[str]]:
    direction = directions().get(words[0])
    rest = words[1:]
    # In "E ST" and "NORTH AVE" the direction is the name.
    if direction is None or not rest or (len(rest) == 1 and rest[0] in suffixes()):
        return "", words
    if len(rest) == 2 and rest[0] in suffixes() and rest[1] in directions():
        return "", words
    if len(rest) == 2 and rest[0] in ("ST", "STREET") and suffixes().get(rest[1]) in CORE_SUFFIXES:
        return "", words
    return direction, rest


def _direction_after(words: list[str]) -> tuple[list[str], str]:
    direction = directions().get(words[-1])
    rest = words[:-1]
    # In "AVENUE E" the letter is the name.
    if direction is None or not rest or (len(rest) == 1 and rest[0] in suffixes()):
        return words, ""
    return rest, direction


def _numbered_street(before: str, road: NumberedRoad, rest: list[str]) -> StreetName:
    before = before or road.before
    if not rest:
        return StreetName(before, road.name, road.suffix, road.after)
    words = [*filter(None, (road.name, road.suffix)), *rest]
    words, after = (words, road.after) if road.after else _direction_after(words)
    return StreetName(before, " ".join(words), "", after)


def _is_grid(words: list[str]) -> bool:
    """Whether they are 900 N, 900 NORTH ST or 294TH EAST AVE."""
    if len(words) < 2 or words[1] not in directions():
        return False
    is_ordinal = len(words) == 3 and words[2] in suffixes() and _ORDINAL.fullmatch(words[0])
    return _DIGITS.fullmatch(words[0]) is not None or bool(is_ordinal)


def _grid_street(before: str, words: list[str]) -> StreetName:
    """Utah's 900 N, also written 900 NORTH STREET; the suffix says nothing there."""
    suffix = suffixes().get(words[2], "") if len(words) == 3 else ""
    rest = [] if suffix else words[2:]
    if suffix == "ST" and words[0].isdigit():
        suffix = ""
    return StreetName(before, " ".join((words[0], *rest)), suffix, directions()[words[1]])


def _lettered_avenue(street: StreetName) -> StreetName | None:
    """S AVE N read as the south of Avenue N, as in Chicago; None for another street."""
    if street.name not in directions() or street.suffix != "AVE" or len(street.after) != 1:
        return None
    return StreetName(directions()[street.name], f"AVENUE {street.after}", "", "")


def _compare(one: StreetName, two: StreetName) -> Agreement:
    agreement = min(_suffixes(one, two), _directions(one, two))
    names = _names(one, two)
    if names is not Agreement.NONE:
        return min(agreement, names)
    # In "CEDAR CREEK" (without DR) CREEK was parsed as the suffix; 136TH ST is not 136TH ST CIR.
    for a, b in ((one, two), (two, one)):
        if a.suffix and a.suffix not in CORE_SUFFIXES and not a.name[:1].isdigit():
            joined = replace(a, name=f"{a.name} {a.suffix}", suffix="")
            if _names(joined, b) is not Agreement.NONE:
                return min(Agreement.LOOSE, _directions(joined, b))
    return Agreement.NONE


def _names(one: StreetName, two: StreetName) -> Agreement:
    a, b = one.name, two.name
    if a == b:
        return Agreement.EXACT
    roads = compare_roads(a, b)
    if roads is not None:
        return roads
    # Indiana's E 300 N is E COUNTY RD 300 N.
    if one.after and two.after and {a, b} in ({a, f"COUNTY RD {a}"}, {b, f"COUNTY RD {b}"}):
        return Agreement.LOOSE
    if a in directions() and b in directions():
        if directions()[a] != directions()[b]:
            return Agreement.NONE
        # N ST may be a letter: only NORTH AVE E is surely N AVE E.
        return Agreement.SAME if one.after and two.after else Agreement.LOOSE
    return _plain_names(a, b)


def _plain_names(a: str, b: str) -> Agreement:
    # "DE SOTO" equals "DESOTO", and "CENTER HILL" equals "CTR HILL".
    if _unspaced(a) == _unspaced(b) or _key(a) == _key(b):
        return Agreement.EXACT
    # THE ESPLANADE, AVENUE OF THE AMERICAS
    return Agreement.LOOSE if _without_the(a) == _without_the(b) != "" else Agreement.NONE


def _without_the(name: str) -> str:
    return " ".join(word for word in _key(name).split() if word != "THE")


def _unspaced(name: str) -> str:
    """Without spaces, except between numbers: HWY 1 11 is not HWY 11 1."""
    return re.sub(r"(?<!\d) | (?!\d)", "", name)


@lru_cache(maxsize=16_384)
def _key(name: str) -> str:
    """The name with abbreviated words, and ordinals without their ending."""
    return " ".join(short_word(word) for word in KING.sub("MLK", name).split())


def _suffixes(one: StreetName, two: StreetName) -> Agreement:
    if one.suffix == two.suffix:
        return Agreement.EXACT
    if one.suffix and two.suffix and not is_same_suffix(one.suffix, two.suffix):
        return Agreement.NONE
    if one.name.isdigit() and one.after and two.after:
        # Utah's 1000 W CIR is not 1000 W, where only ST says nothing.
        return Agreement.SAME if {one.suffix, two.suffix} == {"", "ST"} else Agreement.NONE
    if _SPANISH_TYPE.match(one.name) or _SPANISH_TYPE.match(two.name):
        return Agreement.NONE
    return Agreement.LOOSE


def _directions(one: StreetName, two: StreetName) -> Agreement:
    a, b = (one.before, one.after), (two.before, two.after)
    if a == b:
        return Agreement.EXACT
    # "N MAIN ST" and "MAIN ST N".
    single = [[direction for direction in pair if direction] for pair in (a, b)]
    if len(single[0]) == 1 and single[0] == single[1]:
        return Agreement.SAME
    if sorted(single[0]) == sorted(single[1]) or any(
        x and y and x != y for x, y in zip(a, b, strict=True)
    ):
        return Agreement.NONE
    is_subset = set(single[0]) <= set(single[1]) or set(single[1]) <= set(single[0])
    return Agreement.LOOSE if is_subset else Agreement.NONE
