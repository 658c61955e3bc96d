"""Numbered and lettered roads in one spelling: SR 76, TN-76 and STATE ROUTE 76; CTH DD."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from parcels.addresses.street_agreement import Agreement
from parcels.addresses.street_words import directions, suffixes

_WAY = r"(?:TRUNK )?(?:HWY|HIGHWAY|HIWAY|RTE|ROUTE|RT|RD|ROAD)"
# What counties and people write -> one way. A number follows, or for some a letter.
_RANCH_OR_FARM = r"(?:TO )?MARKET|(?:RD|ROAD)"
_ROADS = (
    (re.compile(rf"(?:I|IH|INTERSTATE(?: {_WAY})?) "), "I", False),
    (re.compile(rf"(?:US|U S|UNITED STATES)(?: {_WAY})? "), "US HWY", False),
    (re.compile(r"(?:STATE )?(?:LOOP|LP) "), "LOOP", False),
    (re.compile(r"(?:STATE )?SPUR "), "SPUR", False),
    (re.compile(rf"(?:STATE|ST) {_WAY}(?: [MK])? "), "STATE HWY", True),
    (re.compile(r"(?:SR|SH|STH|CARR|CARRETERA) "), "STATE HWY", True),
    (re.compile(rf"(?:CR|CTH|CSAH|(?:COUNTY|CNTY|CO|CTY) {_WAY}) "), "COUNTY RD", True),
    (re.compile(rf"(?:FM|F M|FARM (?:{_RANCH_OR_FARM}))(?: {_WAY})? "), "FM", False),
    (re.compile(rf"(?:RM|RR|R M|RANCH (?:{_RANCH_OR_FARM}))(?: {_WAY})? "), "RM", False),
    (re.compile(rf"(?:PRIVATE|PVT|PRIV) {_WAY} "), "PRIVATE RD", False),
    (re.compile(rf"PR(?: {_WAY})? "), "PR", False),
    (re.compile(rf"(?:(?:TWP|TOWNSHIP) {_WAY}|TR) "), "TWP RD", False),
    (re.compile(rf"(?:(?:NATIONAL )?FOREST(?: SERVICE)?|FS|NF) {_WAY} "), "FOREST RD", False),
    (re.compile(r"(?:HWY|HIGHWAY|HIWAY|RTE|ROUTE|RT) "), "HWY", True),
    (re.compile(r"(?:RD|ROAD) "), "RD", False),
    (re.compile(r"[MK] "), "STATE HWY", False),
)
_STATE_CODE = re.compile(rf"([A-Z]{{2}})(?: {_WAY})? ")
_GLUED = re.compile(r"(US|SR|SH|FM|RM|RR|CR|CTH|I|IH|HWY|M|K|PR|RT|RTE)(\d+[A-Z]?)")
_NUMBER = re.compile(r"\d+(?:\.\d+)?[A-Z]?|[A-Z]\d+[A-Z]?")
_FRACTION = re.compile(r"\d/\d")
_MODIFIERS = {
    "BUS": "BUS", "BUSN": "BUS", "BUSINESS": "BUS", "BYP": "BYP", "BYPASS": "BYP", "ALT": "ALT",
    "ALTERNATE": "ALT", "TRK": "TRUCK", "TRUCK": "TRUCK", "LOOP": "LOOP", "SPUR": "SPUR",
}  # fmt: skip
_BEFORE = {
    **{word: short for word, short in _MODIFIERS.items() if short not in ("LOOP", "SPUR")},
    "OLD": "OLD", "NEW": "NEW",
}  # fmt: skip
_SIDE_ROADS = {
    "FRONTAGE": "FRONTAGE", "FRTG": "FRONTAGE", "SERVICE": "SERVICE", "SVC": "SERVICE",
    "ACCESS": "ACCESS", "FEEDER": "FEEDER",
}  # fmt: skip
_KINDS = re.compile(
    r"(OLD |NEW )?(I|US HWY|STATE HWY|COUNTY RD|FM|RM|PRIVATE RD|PR|TWP RD|FOREST RD|HWY|RD) (.+)"
)
# Kinds that may be one road: somebody left out whose highway it is, or used an abbreviation of two.
_MAY_BE_ONE = {
    frozenset(("HWY", "US HWY")): Agreement.LOOSE,
    frozenset(("HWY", "STATE HWY")): Agreement.LOOSE,
    frozenset(("RD", "COUNTY RD")): Agreement.LOOSE,
    frozenset(("FM", "RM")): Agreement.LOOSE,
    frozenset(("PR", "PRIVATE RD")): Agreement.SAME,
    frozenset(("PR", "STATE HWY")): Agreement.SAME,
}


@dataclass(frozen=True, slots=True)
class NumberedRoad:
    """A road with a number or a letter for a name.

    Attributes:
        name: kind, number and modifiers: "US HWY 1 BUS", "OLD HWY 51", "I 45 FRONTAGE".
        suffix: of a road beside it: "RD" for I 45 FRONTAGE RD.
        before: the direction of I-35W S, which belongs before the road.
        after: the direction after the number.
        length: how many words it has.
    """

    name: str
    suffix: str
    before: str
    after: str
    length: int


def numbered_road(words: list[str]) -> NumberedRoad | None:
    """The numbered road that the words begin with, and its direction and modifiers."""
    start = 0
    modifiers: list[str] = []
    while start < len(words) and words[start] in _BEFORE:
        modifiers.append(_BEFORE[words[start]])
        start += 1
    head = _split_glued(words[start:])
    found = _kind_and_number(head)
    if found is None:
        return None
    kind, number, after, rest = found
    suffix, before, is_glued = "", "", bool(after)
    while rest:
        word = rest[0]
        if word in directions() and not after:
            after = directions()[word]
        elif word in directions() and is_glued and not before:
            before = directions()[word]
        elif word in _MODIFIERS and not suffix:
            modifiers.append(_MODIFIERS[word])
        elif word in _SIDE_ROADS and len(rest) > 1 and suffixes().get(rest[1]) == "RD":
            modifiers.append(_SIDE_ROADS[word])
            suffix = "RD"
            rest = rest[1:]
        elif suffixes().get(word) in ("RD", "HWY") and not suffix:
            suffix = suffixes()[word]
        else:
            break
        rest = rest[1:]
    # FM 1960 RD, K-10 HWY
    if not modifiers and (suffix == "HWY" or kind in ("FM", "RM", "COUNTY RD")):
        suffix = ""
    age = [each for each in modifiers if each in ("OLD", "NEW")]
    others = sorted(each for each in modifiers if each not in ("OLD", "NEW"))
    name = " ".join((*age, kind, number, *others))
    return NumberedRoad(name, suffix, before, after, len(words) - len(rest))


def compare_roads(one: str, two: str) -> Agreement | None:
    """How well the names of two numbered roads agree; None if they are not both numbered roads."""
    a, b = _KINDS.fullmatch(one), _KINDS.fullmatch(two)
    if a is None or b is None:
        return None
    if (a[1], a[3]) != (b[1], b[3]):
        return Agreement.NONE
    if a[2] == b[2]:
        return Agreement.EXACT
    return _MAY_BE_ONE.get(frozenset((a[2], b[2])), Agreement.NONE)


def _split_glued(words: list[str]) -> list[str]:
    glued = _GLUED.fullmatch(words[0]) if words else None
    return [glued[1], glued[2], *words[1:]] if glued else words


def _kind_and_number(words: list[str]) -> tuple[str, str, str, list[str]] | None:
    """Kind, number, direction glued to the number ("35W"), and the words after it."""
    text = " ".join(words)
    for pattern, kind, lettered in _ROADS:
        match = pattern.match(text)
        if match is not None:
            found = _number(text[match.end() :].split(), lettered=lettered)
            if found is not None:
                return kind, *found
    match = _STATE_CODE.match(text)
    if match is not None and match[1] in _states() and match[1] not in directions():
        found = _number(text[match.end() :].split(), lettered=False)
        if found is not None:
            return "STATE HWY", *found
    return None


def _number(words: list[str], *, lettered: bool) -> tuple[str, str, list[str]] | None:
    if not words:
        return None
    first, rest = words[0], words[1:]
    if lettered and _is_letter_name(first):
        return first, "", rest
    if not _NUMBER.fullmatch(first):
        return None
    after = ""
    if first[-1] in ("N", "S", "E", "W") and first[:-1].isdigit():
        first, after = first[:-1], first[-1]
    # US 15-501 has two numbers, COUNTY RD 12 1/2 a fraction, and CR 12-A a letter.
    while rest and not after and (rest[0].isdigit() or _FRACTION.fullmatch(rest[0])):
        first, rest = f"{first} {rest[0]}", rest[1:]
    is_letter = bool(rest) and len(rest[0]) == 1 and rest[0].isalpha()
    if is_letter and first.isdigit() and rest[0] not in directions():
        first, rest = first + rest[0], rest[1:]
    return first, after, rest


def _is_letter_name(word: str) -> bool:
    """Whether a county or state highway can be called so: D, DD, TT, ZZZ."""
    if not word.isalpha() or len(word) > 3:
        return False
    if len(word) == 2:
        return (
            word not in suffixes() and word not in directions() and word not in ("LA", "EL", "DE")
        )
    return len(set(word)) == 1


@cache
def _states() -> frozenset[str]:
    from scourgify.address_constants import STATE_ABBREVIATIONS

    return frozenset(STATE_ABBREVIATIONS.values())
