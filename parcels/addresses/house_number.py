"""House numbers in one spelling for comparison: ranges, letters, fractions, floats of databases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from parcels.addresses.street_words import directions, is_core_suffix, suffixes

_FRACTIONS = {"½": " 1/2", "¼": " 1/4", "¾": " 3/4"}
# Longer numbers are not house numbers, and would not fit a 64-bit index.
_DIGITS = r"\d{1,12}"
# W6428 and G1075 of Wisconsin and Michigan begin with the quarter or the township.
_SINGLE = re.compile(
    rf"(?:(?P<prefix>[A-Z])[ -]?)?(?P<digits>{_DIGITS})"
    r"(?:\.0*|[ -]?(?P<letter>[A-Z])|[ -](?P<fraction>\d/\d))?",
    re.ASCII,
)
_RANGE = re.compile(rf"({_DIGITS}) ?(?:[-\u2013\u2014&]|TO|AND) ?({_DIGITS})([A-Z])?", re.ASCII)
# "N6W23001" and "W156 N8480" in Wisconsin, "39W123" in Illinois.
_GRID = re.compile(r"([NSEW]) ?-?(\d+) ?-?([NSEW]) ?(\d+)|(\d+) ?([NSEW]) ?(\d+)", re.ASCII)
_WITH_PREFIX = re.compile(rf"([A-Z])(?: |-)?({_DIGITS})", re.ASCII)

_NUMBERS = re.compile(rf"(?<!\d){_DIGITS}(?!\d)(?: ?- ?{_DIGITS}(?!\d))?", re.ASCII)
# Width of a block. A wider "range" is a single number: 91-1001 is one house in Honolulu.
_MAX_RANGE = 100

# The number at the start of a line. Of the grid numbers, those with spaces look like streets
# (39 W 123 ST), so the word after them must be a name.
_LEADING_GRID = re.compile(
    r"([NSEW]-?\d+[ -]?[NSEW] ?\d+(?= [A-Z\d])|(?:\d+[NSEW]\d+|[A-HJ-Z]-?\d{2,})(?= [A-Z])) (.*)",
    re.ASCII,
)
_SPACED_GRID = re.compile(
    r"([NSEW] \d+ [NSEW] ?\d+|\d{1,2} ?[NSEW] ?\d{3,}|[NSEW] \d{4,}) ([A-Z]{3,}\b.*)", re.ASCII
)
_LEADING_RANGE = re.compile(
    rf"({_DIGITS} ?(?:[-\u2013\u2014&]|\bTO\b|\bAND\b) ?{_DIGITS}[A-Z]?) (\S.*)", re.ASCII
)
_LEADING = re.compile(
    rf"({_DIGITS}(?:\.0*)?(?:-?[A-Z](?= )|[ -]\d/\d(?= )| ?[½¼¾])?) (\S.*)", re.ASCII
)


@dataclass(frozen=True, slots=True)
class HouseNumber:
    """A house number, or a range of numbers on one side of the street.

    Attributes:
        text: normalized: "123", "123A", "123 1/2", "101-105", "W156N8480".
        low, high: the first and the last number; None if the text is not numeric.
        rest: the letter or the fraction after the number.
        prefix: the letter before the number.
    """

    text: str
    low: int | None = None
    high: int | None = None
    rest: str = ""
    prefix: str = ""

    def matches(self, other: HouseNumber) -> bool:
        """Whether both can be the same house; a range contains the numbers of its parity.

        Two ranges must be equal: "12-34" and "12-36" are neighbours in Queens, New York.
        """
        if self.text == other.text:
            return True
        if self.low is None or self.high is None or other.low is None or other.high is None:
            return False
        if self.low < self.high and other.low < other.high:
            return False
        if (self.prefix, self.rest) != (other.prefix, other.rest) or self.low % 2 != other.low % 2:
            return False
        return self.low <= other.high and other.low <= self.high

    def lacks_prefix(self, other: HouseNumber) -> bool:
        """Whether only one of two equal numbers has a letter before it: 6428 and W6428."""
        return bool(self.prefix) != bool(other.prefix) and (
            self.low is not None and (self.low, self.rest) == (other.low, other.rest)
        )

    def numbers(self) -> range:
        """Its numbers, for an index; empty if the text is not numeric."""
        if self.low is None or self.high is None:
            return range(0)
        return range(self.low, self.high + 1, 2)


@lru_cache(maxsize=16_384)
def parse_house_number(text: str | None) -> HouseNumber | None:
    """The house number that is the complete text; None for another text, or for 0 (no number)."""
    if text is None:
        return None
    for symbol, digits in _FRACTIONS.items():
        text = text.replace(symbol, digits)
    text = " ".join(text.upper().replace("#", " ").split())
    if of_range := _RANGE.fullmatch(text):
        return _range(of_range[1].lstrip("0"), of_range[2], of_range[3] or "")
    if grid := _GRID.fullmatch(text):
        return HouseNumber("".join(part for part in grid.groups() if part))
    single = _SINGLE.fullmatch(text)
    if single is None:
        return None
    rest = single["letter"] or (f" {single['fraction']}" if single["fraction"] else "")
    return _number(int(single["digits"]), rest, single["prefix"] or "")


def split_house_number(line: str) -> tuple[str, str] | None:
    """The number at the start of a line in capitals, and the street after it; None: no number."""
    if match := _LEADING_GRID.fullmatch(line):
        return match[1], match[2]
    if match := _SPACED_GRID.fullmatch(line):
        words = match[2].replace(".", "").split()
        is_name = words[0] not in suffixes() and words[0] not in directions()
        if is_name and (match[1][0].isalpha() or any(map(is_core_suffix, words))):
            return match[1], match[2]
    match = _LEADING_RANGE.fullmatch(line) or _LEADING.fullmatch(line)
    return None if match is None else (match[1], match[2])


def is_range(text: str) -> bool:
    """Whether it is a range of house numbers, and not one number with a dash."""
    number = parse_house_number(text)
    return number is not None and len(number.numbers()) > 1


def numbers_in(text: str) -> Iterator[int]:
    """Every number in a text and in its ranges: a superset of the possible house numbers."""
    for match in _NUMBERS.finditer(text):
        number = parse_house_number(match[0])
        inside = number.numbers() if number is not None else range(0)
        yield from inside or (int(digits) for digits in re.findall(r"\d+", match[0], re.ASCII))


def _number(number: int, rest: str = "", prefix: str = "") -> HouseNumber | None:
    return HouseNumber(f"{prefix}{number}{rest}", number, number, rest, prefix) if number else None


def _range(first: str, last: str, letter: str) -> HouseNumber | None:
    if not first:
        return None
    # "1201-05" is short for 1201-1205; "120-05" is one number in Queens, New York.
    full_last = first[: -len(last)] + last if len(last) < len(first) else last.lstrip("0")
    low, high = int(first), int(full_last or 0)
    if 0 < high - low <= _MAX_RANGE and low % 2 == high % 2 and not letter:
        return HouseNumber(f"{low}-{high}", low, high)
    return HouseNumber(f"{first}-{last}{letter}")
