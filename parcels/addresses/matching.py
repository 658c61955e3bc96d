"""Compares a lot's site address with the wanted address."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

from parcels.addresses.house_number import HouseNumber, parse_house_number
from parcels.addresses.site import SiteAddress
from parcels.addresses.street_address import StreetAddress, city_text, try_parse_address, unit_text
from parcels.addresses.street_name import Agreement, StreetName, parse_street
from parcels.untrusted import sanitize_text


def matches(site: SiteAddress | None, wanted: StreetAddress) -> bool:
    """Whether house number and street match; a missing direction or suffix is no difference.

    City and ZIP code are not compared: see `is_other_city`.
    """
    return match_rank(site, wanted) is not None


def match_rank(site: SiteAddress | None, wanted: StreetAddress) -> tuple[int, int, int] | None:
    """How well the addresses match, higher is better; None if they do not match.

    The rank is (street, number, unit): every word of the street agrees, the number is equal and
    not only in a range, the unit is equal.
    """
    parsed = _parse_site(site) if site is not None else None
    street = parse_street(wanted.street)
    if (
        parsed is None
        or parsed.street is None
        or street is None
        or not _same_number(parsed, wanted)
    ):
        return None
    street_agreement = parsed.street.compare(street)
    if street_agreement is Agreement.NONE:
        return None
    exact_number = parsed.number is not None and parsed.number.text == wanted.house_number
    return street_agreement, int(exact_number), int(parsed.unit == wanted.unit)


def may_match(site: SiteAddress | None, wanted: StreetAddress) -> bool:
    """Whether the house number matches, and the street if the layer has one."""
    parsed = _parse_site(site) if site is not None else None
    if parsed is None or not _same_number(parsed, wanted):
        return False
    return parsed.street is None or matches(site, wanted)


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
    wanted_city = city_text(wanted.city)
    return parsed.city is not None and wanted_city is not None and parsed.city != wanted_city


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
    parsed = try_parse_address(line)
    if parsed is None and number is not None and line:
        parsed = try_parse_address(f"{number.text} {line}")
    if parsed is None:
        return _ParsedSite(number, parse_street(site.street or ""), unit, city, postcode)
    # Without state and ZIP code, the last word of the street may be parsed as a city.
    city_in_line = parsed.city if parsed.state or parsed.postcode else None
    return _ParsedSite(
        number or parse_house_number(parsed.house_number),
        parse_street(parsed.street),
        unit or parsed.unit,
        city or city_in_line,
        postcode or parsed.postcode,
    )


def _postcode(text: str | None) -> str | None:
    """Five digits; numeric columns lose leading zeros, and some hold ZIP+4."""
    digits = re.match(r"\d+", (text or "").strip(), re.ASCII)
    if digits is None or not digits[0].strip("0"):
        return None
    return digits[0].zfill(9 if len(digits[0]) > 5 else 5)[:5]


def _same_number(parsed: _ParsedSite, wanted: StreetAddress) -> bool:
    number = parse_house_number(wanted.house_number)
    if parsed.number is None or number is None:
        return False
    if parsed.number.matches(number):
        return True
    return _with_letter(parsed.number, parsed.unit) == _with_letter(number, wanted.unit)


def _with_letter(number: HouseNumber, unit: str | None) -> str:
    """Unit A of 123 as 123A, as some write it; but unit 3 of 12 is not 123."""
    return number.text + unit if unit is not None and unit.isalpha() else number.text
