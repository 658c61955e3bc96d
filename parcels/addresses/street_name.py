"""The name of a street, taken apart by the abbreviations of the US Postal Service."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import IntEnum
from functools import cache, lru_cache

_ONES = ("FIRST", "SECOND", "THIRD", "FOURTH", "FIFTH", "SIXTH", "SEVENTH", "EIGHTH", "NINTH")
_TEENS = (
    "TENTH", "ELEVENTH", "TWELFTH", "THIRTEENTH", "FOURTEENTH", "FIFTEENTH", "SIXTEENTH",
    "SEVENTEENTH", "EIGHTEENTH", "NINETEENTH",
)  # fmt: skip
_TENS = ("TWENT", "THIRT", "FORT", "FIFT", "SIXT", "SEVENT", "EIGHT", "NINET")
_ROAD = r"(?:HWY|HIGHWAY|RTE|ROUTE|RT|RD|ROAD)"
# Numbered roads: what counties and people write -> one way. The number follows.
_NUMBERED_ROADS = (
    (re.compile(r"(?:I|IH|INTERSTATE(?: HWY| HIGHWAY)?) (?=\d)"), "I "),
    (re.compile(rf"(?:US|U S|UNITED STATES)(?: {_ROAD})? (?=\d)"), "US HWY "),
    (re.compile(rf"(?:SR|SH|(?:STATE|ST) {_ROAD}) (?=\d)"), "STATE HWY "),
    (re.compile(rf"(?:CR|(?:COUNTY|CO|CTY) {_ROAD}) (?=\d)"), "COUNTY RD "),
    (re.compile(r"(?:FM|FARM (?:TO )?MARKET)(?: RD| ROAD)? (?=\d)"), "FM "),
    (re.compile(r"(?:HWY|HIGHWAY|RTE|ROUTE|RT) (?=\d)"), "HWY "),
)
_STATE_ROAD = re.compile(rf"([A-Z]{{2}})(?: {_ROAD})? (?=\d)")
_KING = re.compile(r"(?:DR )?(?:REV )?(?:MARTIN LUTHER KING|M L KING|ML KING|MLK)(?: JR)?")


class Agreement(IntEnum):
    """How well two streets agree; LOOSE where one says less than the other."""

    NONE = 0
    LOOSE = 1
    EXACT = 2


@dataclass(frozen=True, slots=True)
class StreetName:
    """A street in capitals: "N", "MAIN", "ST", "" for North Main Street."""

    before: str
    name: str
    suffix: str
    after: str

    @property
    def text(self) -> str:
        """Direction, name, suffix and direction, as they are written on an envelope."""
        return " ".join(filter(None, (self.before, self.name, self.suffix, self.after)))

    def compare(self, other: StreetName) -> Agreement:
        """Names must be the same; a suffix or a direction may be missing on one side."""
        agreement = min(_suffixes(self, other), _directions(self, other))
        if _same_name(self.name, other.name):
            return agreement
        # "CEDAR CREEK", without its DR, reads as though it were a creek.
        for one, two in ((self, other), (other, self)):
            if _same_name(f"{one.name} {one.suffix}", two.name):
                return min(Agreement.LOOSE, _directions(one, two))
        return Agreement.NONE


def normalize_words(text: str) -> str:
    """Capitals, digits and single spaces: no accents, no apostrophes, no other signs."""
    plain = unicodedata.normalize("NFKD", text.upper())
    kept = re.sub(r"[\u0300-\u036f\u2018\u2019.'`]", "", plain)
    return " ".join(re.sub(r"[^A-Z0-9/]+", " ", kept).split())


def filter_letters(name: str) -> str | None:
    """Letters that every spelling of a street's name holds, for a first sieve; None for none.

    They are the end of its longest word, where no apostrophe is left out ("O'BRIEN", "MARY'S"),
    and no word that is abbreviated or has digits in another spelling.
    """
    if _KING.search(name):
        return None
    sure = [word for word in name.split() if word.isalpha() and word not in _unsure()]
    longest = max(sure, key=len, default="").rstrip("S")
    return longest[-3:] if len(longest) >= 3 else None


@cache
def _unsure() -> frozenset[str]:
    """Words that are written in more than one way."""
    ways = suffixes()
    return frozenset((*ways, *ways.values(), *_directions_table(), "SAINT", "STATE", "COUNTY"))


@lru_cache(maxsize=16_384)
def read_street(text: str) -> StreetName | None:
    """A street without its house number; None where nothing is written."""
    tokens = _one_way(normalize_words(text).split())
    if not tokens:
        return None
    before, tokens = _direction_before(tokens)
    tokens, after = _direction_after(_numbered_road(tokens))
    suffix = ""
    if len(tokens) > 1 and tokens[-1] in suffixes():
        suffix = suffixes()[tokens[-1]]
        tokens = tokens[:-1]
    if tokens[0] == "ST" and len(tokens) + bool(suffix) > 1:
        tokens[0] = "SAINT"
    if len(tokens) == 1 and tokens[0] in _directions_table():
        tokens[0] = _directions_table()[tokens[0]]
    return StreetName(before, " ".join(tokens), suffix, after)


@cache
def suffixes() -> dict[str, str]:
    """STREET -> ST, and so on: single words, as the Postal Service abbreviates them."""
    from scourgify.address_constants import STREET_TYPE_ABBREVIATIONS

    return {long: short for long, short in STREET_TYPE_ABBREVIATIONS.items() if " " not in long}


@cache
def _directions_table() -> dict[str, str]:
    from scourgify.address_constants import DIRECTIONAL_REPLACEMENTS

    short = dict(DIRECTIONAL_REPLACEMENTS)
    return {**short, **{direction: direction for direction in short.values()}}


@cache
def _ordinals() -> dict[str, str]:
    return {word: _ordinal(number) for number, word in enumerate((*_ONES, *_TEENS), start=1)} | {
        f"{ten}IETH": _ordinal(20 + 10 * i) for i, ten in enumerate(_TENS)
    }


def _ordinal(number: int) -> str:
    if 10 <= number % 100 <= 20:
        return f"{number}TH"
    return f"{number}{({1: 'ST', 2: 'ND', 3: 'RD'}).get(number % 10, 'TH')}"


def _one_way(tokens: list[str]) -> list[str]:
    """Ordinals as digits (TWENTY FIRST -> 21ST), directions in one word (NORTH WEST -> NW)."""
    tens = {f"{ten}Y": 20 + 10 * i for i, ten in enumerate(_TENS)}
    done: list[str] = []
    for token in tokens:
        last = done[-1] if done else ""
        if token in _ONES and last in tens:
            done[-1] = _ordinal(tens[last] + 1 + _ONES.index(token))
        elif token in _ordinals():
            done.append(_ordinals()[token])
        elif last in ("N", "S", "NORTH", "SOUTH") and token in ("E", "W", "EAST", "WEST"):
            done[-1] = last[0] + token[0]
        else:
            done.append(token)
    return done


def _direction_before(tokens: list[str]) -> tuple[str, list[str]]:
    direction = _directions_table().get(tokens[0])
    rest = tokens[1:]
    # In "E ST" and "NORTH AVE" the direction is the name.
    if direction is None or not rest or (len(rest) == 1 and rest[0] in suffixes()):
        return "", tokens
    if len(rest) == 2 and rest[0] in suffixes() and rest[1] in _directions_table():
        return "", tokens
    return direction, rest


def _direction_after(tokens: list[str]) -> tuple[list[str], str]:
    direction = _directions_table().get(tokens[-1])
    rest = tokens[:-1]
    # In "AVENUE E" the letter is the name.
    if direction is None or not rest or (len(rest) == 1 and rest[0] in suffixes()):
        return tokens, ""
    return rest, direction


def _numbered_road(tokens: list[str]) -> list[str]:
    """With the road and its number as one word ("US HWY 51"), where it is a numbered one."""
    text = " ".join(tokens)
    for pattern, written in (*_NUMBERED_ROADS, (_STATE_ROAD, "STATE HWY ")):
        match = pattern.match(text)
        if match and (pattern is not _STATE_ROAD or match[1] in _states()):
            number, *rest = text[match.end() :].split()
            return [written + number, *rest]
    return tokens


@cache
def _states() -> frozenset[str]:
    from scourgify.address_constants import STATE_ABBREVIATIONS

    return frozenset(STATE_ABBREVIATIONS.values())


def _same_name(one: str, two: str) -> bool:
    # "DE SOTO" is "DESOTO"; "CENTER HILL" is "CTR HILL".
    if one.replace(" ", "") == two.replace(" ", "") or _key(one) == _key(two):
        return True
    roads = sorted((one, two), key=len)
    return roads[0].startswith("HWY ") and roads[1].endswith(f" {roads[0]}")


@lru_cache(maxsize=16_384)
def _key(name: str) -> str:
    """The name with every word abbreviated, and ordinals without their ending."""
    short = [suffixes().get(word, word) for word in _KING.sub("MLK", name).split()]
    return " ".join(re.sub(r"^(\d+)(?:ST|ND|RD|TH)$", r"\1", word) for word in short)


def _suffixes(one: StreetName, two: StreetName) -> Agreement:
    if one.suffix == two.suffix:
        return Agreement.EXACT
    return Agreement.NONE if one.suffix and two.suffix else Agreement.LOOSE


def _directions(one: StreetName, two: StreetName) -> Agreement:
    a, b = (one.before, one.after), (two.before, two.after)
    if a == b:
        return Agreement.EXACT
    if all(x == y or not x or not y for x, y in zip(a, b, strict=True)) and (
        not any(a) or not any(b) or any(x and x == y for x, y in zip(a, b, strict=True))
    ):
        return Agreement.LOOSE
    # "N MAIN ST" and "MAIN ST N".
    alone = [[direction for direction in pair if direction] for pair in (a, b)]
    return Agreement.LOOSE if len(alone[0]) == 1 and alone[0] == alone[1] else Agreement.NONE
