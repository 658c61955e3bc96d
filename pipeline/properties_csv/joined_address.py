"""Joins an address whose street, unit, city, state and ZIP code are columns of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from parcels.registry.us_states import STATES
from pipeline.properties_csv.header_names import Role
from pipeline.properties_csv.problems import RowProblem, quoted

# Their ZIP codes begin with 0, which a spreadsheet drops.
_ZERO_STATES = {"CT", "MA", "ME", "NH", "NJ", "PR", "RI", "VI", "VT", "AE"}
_SHORT_ZIP = re.compile(r"(\d{3,4})(?:\.0+|-(\d{4}))?", re.ASCII)
_LONG_ZIP = re.compile(r"(\d{3,5})(\d{4})(?:\.0+)?", re.ASCII)
_ZIP_AT_END = re.compile(r"\b([A-Z]{2})[ ,]+(\d{5})(?:-\d{4})?$", re.ASCII | re.IGNORECASE)
_ZEROS_AT_END = re.compile(r"(\d+)\.0+", re.ASCII)
_PLAIN_UNIT = re.compile(r"(?:#|no\.?)? ?([\w-]{1,8})", re.IGNORECASE)


def join_address(cells: Mapping[Role, str]) -> str:
    """One line from the parts; empty without a street.

    A line that ends with the city or the ZIP code already gets no second one.

    Raises:
        RowProblem: the line ends with another ZIP code than that of its own column.
    """
    line = cells.get("address") or _street_line(cells)
    if not line:
        return ""
    state, postcode = cells.get("state", ""), cells.get("zip", "")
    postcode = restore_zip(postcode, state)
    at_end = _ZIP_AT_END.search(line)
    is_known = at_end is not None and at_end[1].upper() in STATES and postcode[:5].isdecimal()
    if at_end is not None and is_known and at_end[2] != postcode[:5]:
        raise RowProblem(f"the address {quoted(line)} and the ZIP code {quoted(postcode)} disagree")
    town = [part for part in (cells.get("city", ""), state, postcode) if part]
    missing = _missing(line, town)
    line = _with_unit(line, cells.get("unit", ""), is_full=len(missing) < len(town))
    if state in missing and postcode in missing and state and postcode:
        missing = [*missing[:-2], f"{state} {postcode}"]
    return ", ".join([line, *missing])


def restore_zip(postcode: str, state: str = "") -> str:
    """A ZIP code with the leading zeros that a spreadsheet dropped: 2139 is 02139 in MA."""
    postcode = _without_decimals(postcode)
    code = state.strip().upper()
    if code in STATES and code not in _ZERO_STATES:
        return postcode
    if (short := _SHORT_ZIP.fullmatch(postcode)) is not None:
        return short[1].zfill(5) + (f"-{short[2]}" if short[2] else "")
    if (long := _LONG_ZIP.fullmatch(postcode)) is not None:
        return f"{long[1].zfill(5)}-{long[2]}"
    return postcode


def _street_line(cells: Mapping[Role, str]) -> str:
    street = cells.get("street", "")
    if not street:
        return ""
    number = _without_decimals(cells.get("house_number", ""))
    suffix = cells.get("number_suffix", "")
    if street.split()[0] == number:
        number = suffix = ""
    parts = (
        number,
        suffix if number else "",
        cells.get("pre_direction"),
        street,
        cells.get("street_type"),
        cells.get("post_direction"),
    )
    return " ".join(filter(None, parts))


def _without_decimals(number: str) -> str:
    match = _ZEROS_AT_END.fullmatch(number)
    return number if match is None else match[1]


def _with_unit(line: str, unit: str, *, is_full: bool) -> str:
    """The line with the unit behind the street, if it does not end with it already."""
    plain = _PLAIN_UNIT.fullmatch(_without_decimals(unit))
    words = _words(plain[1] if plain else unit)
    street, comma, rest = line.partition(",") if is_full else (line, "", "")
    if not words or _words(street)[1:][-len(words) :] == words:
        return line
    return f"{street} {f'Unit {plain[1]}' if plain else unit}{comma}{rest}"


def _missing(line: str, town: Sequence[str]) -> list[str]:
    """The parts of the town that the line does not end with."""
    words = _words(line)
    for start in range(len(town)):
        for end in range(len(town), start, -1):
            part = [word for each in town[start:end] for word in _words(each)]
            is_sure = end - start > 1 or part[-1][:5].isdecimal() or _ends_in_city(line, part)
            if is_sure and words[-len(part) :] == part and len(words) > len(part):
                return list(town[end:])
    return list(town)


def _ends_in_city(line: str, part: Sequence[str]) -> bool:
    """Whether a comma separates the last words: the town, and not a street that is called so."""
    return "," in line and _words(line.rpartition(",")[2]) == list(part)


def _words(text: str) -> list[str]:
    """Words without case and commas; of a ZIP code its first five digits."""
    words = re.findall(r"[^\s,#.]+", text.casefold())
    return [re.sub(r"^(\d{5})-\d{4}$", r"\1", word) for word in words]
