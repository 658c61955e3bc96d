"""The parts of a parcel row's site address, from its columns and its line."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from parcels.addresses.house_number import HouseNumber, parse_house_number
from parcels.addresses.site import SiteAddress
from parcels.addresses.street_address import StreetAddress, city_text, try_parse_address, unit_text
from parcels.addresses.street_name import StreetName, parse_street

_GRID_PART = re.compile(r"[NSEW] ?\d+", re.ASCII)


@dataclass(frozen=True, slots=True)
class ParsedSite:
    """The parts of a site address, normalized; `other` is a less likely reading of its line."""

    number: HouseNumber | None
    street: StreetName | None
    unit: str | None
    city: str | None
    postcode: str | None
    other: ParsedSite | None = None


@lru_cache(maxsize=16_384)
def parse_site(site: SiteAddress) -> ParsedSite:
    """The parts of a site address.

    The street in the full address is preferred: the street column often lacks the suffix.
    """
    number = parse_house_number(site.house_number)
    unit, city, postcode = unit_text(site.unit), city_text(site.city), _postcode(site.postcode)
    line = (site.line or "").strip()
    if not line and number is not None and _GRID_PART.match((site.street or "").strip().upper()):
        line = site.street or ""  # W156 in one column, N8480 PILGRIM RD in the other
    parsed = try_parse_address(line)
    if parsed is None and number is not None and line:
        parsed = try_parse_address(f"{number.text} {line}")
    if parsed is None:
        return ParsedSite(number, parse_street(site.street or ""), unit, city, postcode)
    read = _of_columns(number, unit, city, postcode, parsed)
    if parsed.other is None:
        return read
    return replace(read, other=_of_columns(number, unit, city, postcode, parsed.other))


def _of_columns(
    number: HouseNumber | None,
    unit: str | None,
    city: str | None,
    postcode: str | None,
    parsed: StreetAddress,
) -> ParsedSite:
    """The parts of the columns, and for those that are missing the parts of the line."""
    # Without state and ZIP code, the last word of the street may be parsed as a city.
    city_in_line = parsed.city if parsed.state or parsed.postcode else None
    return ParsedSite(
        _number_of(number, parse_house_number(parsed.house_number)),
        parse_street(parsed.street),
        unit or parsed.unit,
        city or city_in_line,
        postcode or parsed.postcode,
    )


def _number_of(column: HouseNumber | None, in_line: HouseNumber | None) -> HouseNumber | None:
    """The number of the column, with what only the line has: the W of W6428, the A of 123A."""
    if column is None or in_line is None:
        return column or in_line
    if _GRID_PART.fullmatch(column.text) and _GRID_PART.fullmatch(in_line.text):
        return column if column == in_line else parse_house_number(column.text + in_line.text)
    has_more = in_line.low is None or bool(in_line.prefix or in_line.rest)
    return in_line if has_more and column.text in in_line.text else column


def _postcode(text: str | None) -> str | None:
    """Five digits; numeric columns lose leading zeros, and some hold ZIP+4."""
    digits = re.match(r"\d+", (text or "").strip(), re.ASCII)
    if digits is None or not digits[0].strip("0"):
        return None
    return digits[0].zfill(9 if len(digits[0]) > 5 else 5)[:5]
