"""Reads coordinates as people and spreadsheets write them: 35.15, -89,97, 35°08'58" N, two in one.

A value that can mean two places is refused, never guessed.
"""

from __future__ import annotations

import re
from typing import Literal

from pipeline.properties_csv.excel_values import spreadsheet_error
from pipeline.properties_csv.problems import RowProblem, quoted

Axis = Literal["longitude", "latitude"]
# The order in a column with both; "unknown" for names such as Coordinates.
PairOrder = Literal["latitude first", "longitude first", "unknown"]

_MINUS_SIGNS = dict.fromkeys(map(ord, "\u2212\u2013\u2014\u2010\u2011\ufe63\uff0d"), "-")
_SPACES = dict.fromkeys(map(ord, "\u00a0\u2007\u2009\u202f\u200b\ufeff"), " ")
_PRIMES = dict.fromkeys(map(ord, "\u2032\u2019\u2018\u00b4"), "'")
_DOUBLE_PRIMES = dict.fromkeys(map(ord, "\u2033\u201d\u201c"), '"')
_AS_TYPED = {**_MINUS_SIGNS, **_SPACES, **_PRIMES, **_DOUBLE_PRIMES}

_DECIMAL = re.compile(r"[+-]?(?:\d+[.,]?\d*|[.,]\d+)", re.ASCII)
_EXPONENT = re.compile(r"[+-]?\d+(?:[.,](\d*))?[eE]([+-]?\d{1,9})", re.ASCII)
_NO_NUMBER = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_GROUPS = re.compile(
    r"[+-]?\d{1,3}([.,' ])\d{3}(?:\1\d{3})+(?:[.,]\d*)?|[+-]?\d+(?:[.,]\d+){2,}", re.ASCII
)
_ANGLE = re.compile(
    r"""(?P<before>[NSEW])?\ ?(?P<sign>[+-])?\ ?
    (?P<degrees>\d+(?:[.,]\d*)?)\ ?(?P<mark>[°º˚d]|deg\.?|degrees)?\ ?
    (?:(?P<minutes>\d+(?:[.,]\d*)?)\ ?(?:'|m|min\.?)?\ ?
    (?:(?P<seconds>\d+(?:[.,]\d*)?)\ ?(?:"|''|s|sec\.?)?)?)?
    \ ?(?P<after>[NSEW]|north|south|east|west)?""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_AXES: dict[str, Axis] = {"N": "latitude", "S": "latitude", "E": "longitude", "W": "longitude"}
# A number with an exponent has lost the digits that say which lot it is, if its last digit is worth
# more than this power of ten, in degrees.
_LAST_DIGIT = -4

_WKT_POINT = re.compile(r"(?:SRID=4326;)?\s*POINT\s*\(\s*(\S+)\s+(\S+)\s*\)", re.IGNORECASE)
_DIRECTION = re.compile(r"(?<![A-Za-z])[NSEW]", re.IGNORECASE)
# Between the two values of a pair, the most certain first.
_BETWEEN = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\s*[;|/]\s*",
        r",\s+",
        r"(?<=[NSEW])[\s,]+",
        r"[\s,]+(?=[NSEW]\s*\d)",
        r"\s+",
        r",",
    )
)


def parse_degrees(text: str, axis: Axis, name: str) -> float:
    """The degrees in a cell; nan and infinity are numbers here, and on no place on Earth.

    Args:
        name: of the column, for the message.

    Raises:
        RowProblem: it is not a number, it lost digits, or it belongs to the other axis.
    """
    if _DECIMAL.fullmatch(text):
        return float(text.replace(",", "."))
    typed = text.translate(_AS_TYPED).strip()
    if _DECIMAL.fullmatch(typed):
        return float(typed.replace(",", "."))
    if _NO_NUMBER.fullmatch(typed):
        return float(typed)
    if (exponent := _EXPONENT.fullmatch(typed)) is not None:
        decimals = len(exponent[1] or "")
        if int(exponent[2]) - decimals > _LAST_DIGIT:
            raise RowProblem(
                f"{name} is {quoted(text)}, which has lost its digits; format the column as a "
                "number with 6 decimals and save again"
            )
        return float(typed.replace(",", "."))
    if spreadsheet_error(typed):
        raise RowProblem(f"{name} is {spreadsheet_error(typed)}")
    if _GROUPS.fullmatch(typed):
        raise RowProblem(
            f"{name} is {quoted(text)}: the decimal point became a thousands separator, so its "
            "place is lost; take the value from the source again"
        )
    degrees = _parse_angle(typed, axis, name, text)
    if degrees is None:
        raise RowProblem(
            f"{name} is {quoted(text)}, not a number; use decimal degrees such as -89.97"
        )
    return degrees


def _parse_angle(typed: str, axis: Axis, name: str, text: str) -> float | None:
    """Degrees with a sign, minutes, seconds or a direction; None if it is not an angle."""
    match = _ANGLE.fullmatch(" ".join(typed.split()))
    if match is None:
        return None
    before, after = match["before"] or "", (match["after"] or "")[:1]
    direction = (before or after).upper()
    if not (match["mark"] or direction) or (before and after):
        return None
    given = [part for part in match.group("degrees", "minutes", "seconds") if part]
    if not all(part.isdecimal() for part in given[:-1]):  # only the last one has decimals
        return None
    degrees, minutes, seconds = (float(part.replace(",", ".")) for part in [*given, "0", "0"][:3])
    if minutes >= 60 or seconds >= 60:
        return None
    if direction and _AXES[direction] != axis:
        raise RowProblem(
            f"{name} is {quoted(text)}, which is a {_AXES[direction]}; the columns look swapped"
        )
    if direction and match["sign"]:
        raise RowProblem(f"{name} is {quoted(text)}: give the sign or {direction}, not both")
    size = degrees + minutes / 60 + seconds / 3600
    return -size if match["sign"] == "-" or direction in ("S", "W") else size


def parse_pair(text: str, order: PairOrder, name: str) -> tuple[float, float]:
    """Longitude and latitude of a cell with both, such as "35.15, -90.05" or "POINT (-90 35)".

    Raises:
        RowProblem: it is not two numbers, or their order is unclear.
    """
    typed = text.translate(_AS_TYPED).strip()
    if (point := _WKT_POINT.fullmatch(typed)) is not None:
        first, second, order = point[1], point[2], "longitude first"
    else:
        halves = _halves(typed.strip("()[]{} "))
        if halves is None:
            raise RowProblem(
                f"{name} is {quoted(text)}, not two numbers; use columns longitude and latitude"
            )
        first, second = halves
    if order == "unknown":
        order = _order_of(first, second, name, text)
    if order == "latitude first":
        first, second = second, first
    return parse_degrees(first, "longitude", name), parse_degrees(second, "latitude", name)


def _halves(typed: str) -> tuple[str, str] | None:
    """The two values of a pair; None if it is not certain where the first one ends."""
    for pattern in _BETWEEN:
        parts = pattern.split(typed)
        if len(parts) == 2 and all(parts):
            return parts[0], parts[1]
        if len(parts) > 2 and not _DIRECTION.search(typed):
            return None
    return None


def _order_of(first: str, second: str, name: str, text: str) -> PairOrder:
    """The order of a pair in a column whose name does not say it: latitude first by convention."""
    for value, axis in ((first, "latitude"), (second, "longitude")):
        if (match := _DIRECTION.search(value)) is not None:
            is_usual = _AXES[match[0].upper()] == axis
            return "latitude first" if is_usual else "longitude first"
    one, two = parse_degrees(first, "latitude", name), parse_degrees(second, "longitude", name)
    if abs(one) > 90:
        return "longitude first"
    if one < 0 < two:
        raise RowProblem(
            f"{name} is {quoted(text)}: it is unclear which is the longitude; name the column "
            "LngLat or LatLng"
        )
    return "latitude first"
