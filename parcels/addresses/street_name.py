"""Parses and compares street names, with the abbreviations of the US Postal Service."""

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
    """How well two streets agree; LOOSE if one leaves out a direction or the suffix."""

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
        """Direction, name, suffix and direction, as written on an envelope."""
        return " ".join(filter(None, (self.before, self.name, self.suffix, self.after)))

    def compare(self, other: StreetName) -> Agreement:
        """Compare: the names must be equal; a suffix or direction may be missing on one side."""
        agreement = min(_suffixes(self, other), _directions(self, other))
        if _same_name(self.name, other.name):
            return agreement
        # In "CEDAR CREEK" (without DR) CREEK was parsed as the suffix.
        for one, two in ((self, other), (other, self)):
            if _same_name(f"{one.name} {one.suffix}", two.name):
                return min(Agreement.LOOSE, _directions(one, two))
        return Agreement.NONE


def normalize_words(text: str) -> str:
    """The text in capitals, digits and single spaces; accents and punctuation are removed."""
    plain = unicodedata.normalize("NFKD", text.upper())
    letters = re.sub(r"[\u0300-\u036f\u2018\u2019.'`]", "", plain)
    return " ".join(re.sub(r"[^A-Z0-9/]+", " ", letters).split())


def filter_letters(name: str) -> str | None:
    """Letters that occur in every spelling of a street name, as a prefilter; None without any.

    They are the end of its longest word: apostrophes are near the start ("O'BRIEN") or before the
    final S ("MARY'S"). Words that have an abbreviation or a spelling with digits are skipped.
    """
    if _KING.search(name):
        return None
    stable = [word for word in name.split() if word.isalpha() and word not in _variable_words()]
    longest = max(stable, key=len, default="").rstrip("S")
    return longest[-3:] if len(longest) >= 3 else None


@cache
def _variable_words() -> frozenset[str]:
    """Words with more than one spelling."""
    abbreviations = suffixes()
    return frozenset(
        (*abbreviations, *abbreviations.values(), *_directions_table(), "SAINT", "STATE", "COUNTY")
    )


@lru_cache(maxsize=16_384)
def parse_street(text: str) -> StreetName | None:
    """Parse a street without its house number; None for an empty text."""
    tokens = _normalize_tokens(normalize_words(text).split())
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
    """STREET -> ST and so on: the single-word suffix abbreviations of the Postal Service."""
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


def _normalize_tokens(tokens: list[str]) -> list[str]:
    """Ordinals as digits (TWENTY FIRST -> 21ST), directions as one word (NORTH WEST -> NW)."""
    tens = {f"{ten}Y": 20 + 10 * i for i, ten in enumerate(_TENS)}
    normalized: list[str] = []
    for token in tokens:
        last = normalized[-1] if normalized else ""
        if token in _ONES and last in tens:
            normalized[-1] = _ordinal(tens[last] + 1 + _ONES.index(token))
        elif token in _ordinals():
            normalized.append(_ordinals()[token])
        elif last in ("N", "S", "NORTH", "SOUTH") and token in ("E", "W", "EAST", "WEST"):
            normalized[-1] = last[0] + token[0]
        else:
            normalized.append(token)
    return normalized


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
    """The tokens with a numbered road as one token ("US HWY 51")."""
    text = " ".join(tokens)
    for pattern, prefix in (*_NUMBERED_ROADS, (_STATE_ROAD, "STATE HWY ")):
        match = pattern.match(text)
        if match and (pattern is not _STATE_ROAD or match[1] in _states()):
            number, *rest = text[match.end() :].split()
            return [prefix + number, *rest]
    return tokens


@cache
def _states() -> frozenset[str]:
    from scourgify.address_constants import STATE_ABBREVIATIONS

    return frozenset(STATE_ABBREVIATIONS.values())


def _same_name(one: str, two: str) -> bool:
    # "DE SOTO" equals "DESOTO", and "CENTER HILL" equals "CTR HILL".
    if one.replace(" ", "") == two.replace(" ", "") or _key(one) == _key(two):
        return True
    roads = sorted((one, two), key=len)
    return roads[0].startswith("HWY ") and roads[1].endswith(f" {roads[0]}")


@lru_cache(maxsize=16_384)
def _key(name: str) -> str:
    """The name with abbreviated words, and ordinals without their ending."""
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
    single = [[direction for direction in pair if direction] for pair in (a, b)]
    return Agreement.LOOSE if len(single[0]) == 1 and single[0] == single[1] else Agreement.NONE
