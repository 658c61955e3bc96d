"""Compares a lot's site address with the wanted address."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

from parcels.addresses.house_number import HouseNumber, parse_house_number
from parcels.addresses.site import SiteAddress
from parcels.addresses.street_address import StreetAddress, city_text, try_parse_address, unit_text
from parcels.addresses.street_agreement import Agreement
from parcels.addresses.street_name import StreetName, parse_street
from parcels.untrusted import sanitize_text

_GRID_PART = re.compile(r"[NSEW] ?\d+", re.ASCII)


def matches(site: SiteAddress | None, wanted: StreetAddress) -> bool:
    """Whether house number and street match; a missing direction or suffix is no difference.

    City and ZIP code are not compared: see `is_other_city`.
    """
    return match_rank(site, wanted) is not None


def match_rank(site: SiteAddress | None, wanted: StreetAddress) -> tuple[int, int, int] | None:
    """How well the addresses match, higher is better; None if they do not match.

    The rank is (agreement, number, unit): how well number and street agree, the number is equal
    and not only in a range, the unit is equal.
    """
    parsed = _parse_site(site) if site is not None else None
    if parsed is None or parsed.street is None:
        return None
    agreement = _agreement(parsed, parsed.street, wanted)
    if agreement is Agreement.NONE:
        return None
    if parsed.number is not None and parsed.number.text == wanted.house_number:
        return agreement, 1, int(parsed.unit == wanted.unit)
    is_lettered = _is_lettered(parsed, wanted)
    return agreement, int(is_lettered), int(is_lettered)


def may_match(site: SiteAddress | None, wanted: StreetAddress) -> bool:
    """Whether the house number matches, and the street if the layer has one."""
    parsed = _parse_site(site) if site is not None else None
    if parsed is None:
        return False
    if parsed.street is not None:
        return matches(site, wanted)
    return any(_compare_numbers(parsed, each) > Agreement.NONE for each in _readings(wanted))


def is_namesake(site: SiteAddress | None, wanted: StreetAddress) -> bool:
    """Whether the house number is equal and the street is another one."""
    parsed = _parse_site(site) if site is not None else None
    if parsed is None or parsed.street is None or matches(site, wanted):
        return False
    return _compare_numbers(parsed, wanted) > Agreement.NONE


def address_key(site: SiteAddress | None) -> tuple[str | None, ...]:
    """The parts of an address in one spelling: two lots with one key have the same address."""
    if site is None:
        return ()
    parsed = _parse_site(site)
    number = parsed.number.text if parsed.number is not None else None
    street = parsed.street.key if parsed.street is not None else None
    return number, street, parsed.unit, parsed.city, parsed.postcode


def is_other_unit(sites: Collection[SiteAddress | None], wanted: StreetAddress) -> bool:
    """Whether the matching rows of one geometry belong to a single unit that is not the wanted one.

    Rows of several units are a building, where units may be missing from the layer.
    """
    units = {_parse_site(site).unit for site in sites if site is not None}
    return wanted.unit is not None and len(units) == 1 and units.isdisjoint({wanted.unit, None})


def has_house_number(site: SiteAddress | None) -> bool:
    """Whether the site address has a house number."""
    return site is not None and _parse_site(site).number is not None


def is_other_city(site: SiteAddress | None, wanted: StreetAddress) -> bool:
    """Whether ZIP code or city show that it is a street of the same name elsewhere.

    The ZIP code decides if both addresses have one, else the city if both have one.
    """
    if site is None:
        return False
    parsed = _parse_site(site)
    if parsed.postcode is not None and wanted.postcode is not None:
        return parsed.postcode != wanted.postcode
    cities = [city_text(each.city) for each in _readings(wanted)]
    return parsed.city is not None and None not in cities and parsed.city not in cities


def city_and_postcode(site: SiteAddress | None) -> tuple[str | None, str | None]:
    """City and ZIP code of the site address, normalized; None if missing."""
    if site is None:
        return None, None
    parsed = _parse_site(site)
    return parsed.city, parsed.postcode


def format_site(site: SiteAddress | None) -> str:
    """The address as written by the county, sanitized for display."""
    if site is None:
        return ""
    street = site.line or " ".join(filter(None, (site.house_number, site.street, site.unit)))
    return sanitize_text(", ".join(filter(None, (street, site.city, site.postcode))))


@dataclass(frozen=True, slots=True)
class _ParsedSite:
    number: HouseNumber | None
    street: StreetName | None
    unit: str | None
    city: str | None
    postcode: str | None


@lru_cache(maxsize=16_384)
def _parse_site(site: SiteAddress) -> _ParsedSite:
    """The street in the full address is preferred: the street column often lacks the suffix."""
    number = parse_house_number(site.house_number)
    unit, city, postcode = unit_text(site.unit), city_text(site.city), _postcode(site.postcode)
    line = (site.line or "").strip()
    if not line and number is not None and _GRID_PART.match((site.street or "").strip().upper()):
        line = site.street or ""  # W156 in one column, N8480 PILGRIM RD in the other
    parsed = try_parse_address(line)
    if parsed is None and number is not None and line:
        parsed = try_parse_address(f"{number.text} {line}")
    if parsed is None:
        return _ParsedSite(number, parse_street(site.street or ""), unit, city, postcode)
    # Without state and ZIP code, the last word of the street may be parsed as a city.
    city_in_line = parsed.city if parsed.state or parsed.postcode else None
    return _ParsedSite(
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


def _readings(wanted: StreetAddress) -> tuple[StreetAddress, ...]:
    return (wanted,) if wanted.other is None else (wanted, wanted.other)


def _agreement(site: _ParsedSite, street: StreetName, wanted: StreetAddress) -> Agreement:
    """The agreement of the best reading; what leaves something out must contradict no reading."""
    readings = _readings(wanted)
    in_city = [r for r in readings if wanted.other and site.city and r.city == site.city]
    found: list[Agreement] = []
    for reading in in_city or readings:
        number = _compare_numbers(site, reading)
        if number is Agreement.NONE:
            continue
        wanted_street = parse_street(reading.street)
        if wanted_street is None:
            continue
        best = Agreement.EXACT if in_city else _best_of_reading(reading, wanted)
        if number is Agreement.LOOSE and _is_other_quarter(site, street, reading, wanted_street):
            best = Agreement.NONE
        found.append(min(best, number, street.compare(wanted_street)))
    agreement = max(found, default=Agreement.NONE)
    is_contradicted = agreement is Agreement.LOOSE and Agreement.NONE in found
    return Agreement.NONE if is_contradicted else agreement


def _best_of_reading(reading: StreetAddress, wanted: StreetAddress) -> Agreement:
    """The best agreement of a reading of the line.

    MAIN ST NORTH BEND is as likely MAIN ST N, but HWY 6 NORTH HOUSTON is hardly HWY 6.
    """
    if wanted.other is None:
        return Agreement.EXACT
    if wanted.other.house_number != wanted.house_number:
        return Agreement.EXACT if reading is wanted else Agreement.SAME
    if len(wanted.other.street) > len(wanted.street):
        return Agreement.SAME
    return Agreement.EXACT if reading is wanted else Agreement.LOOSE


def _compare_numbers(site: _ParsedSite, wanted: StreetAddress) -> Agreement:
    number = parse_house_number(wanted.house_number)
    if site.number is None or number is None:
        return Agreement.NONE
    if site.number.matches(number):
        return Agreement.EXACT
    if _is_lettered(site, wanted):
        return Agreement.EXACT
    return Agreement.LOOSE if site.number.lacks_prefix(number) else Agreement.NONE


def _is_other_quarter(
    site: _ParsedSite, street: StreetName, wanted: StreetAddress, wanted_street: StreetName
) -> bool:
    """Whether 6428 N CHICAGO AVE contradicts W6428 CHICAGO AVE."""
    one, two = site.number, parse_house_number(wanted.house_number)
    if one is None or two is None:
        return False
    prefix, before = (
        (one.prefix, wanted_street.before) if one.prefix else (two.prefix, street.before)
    )
    return prefix in ("N", "S", "E", "W") and before not in ("", prefix)


def _is_lettered(site: _ParsedSite, wanted: StreetAddress) -> bool:
    """Whether 123A is unit A of 123."""
    number = parse_house_number(wanted.house_number)
    if site.number is None or number is None or (site.unit, wanted.unit) == (None, None):
        return False
    return _with_letter(site.number, site.unit) == _with_letter(number, wanted.unit)


def _with_letter(number: HouseNumber, unit: str | None) -> str:
    """Unit A of 123 as 123A, as some write it; but unit 3 of 12 is not 123."""
    return number.text + unit if unit is not None and unit.isalpha() else number.text
