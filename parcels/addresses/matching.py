"""Whether what a layer says of a lot's address is the address that was asked for."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

from parcels.addresses.house_number import HouseNumber, read_house_number
from parcels.addresses.site import SiteAddress
from parcels.addresses.street_address import StreetAddress, city_text, parse_address, unit_text
from parcels.addresses.street_name import Agreement, StreetName, read_street
from parcels.untrusted import sanitize_text


def matches(site: SiteAddress | None, wanted: StreetAddress) -> bool:
    """Whether number and street are the same, as far as both sides write them.

    A direction or a suffix that one side leaves out is no difference. City and ZIP code are not
    looked at: see `is_other_city`.
    """
    return match_rank(site, wanted) is not None


def match_rank(site: SiteAddress | None, wanted: StreetAddress) -> tuple[int, int, int] | None:
    """How well they agree: the street, then the number, then the unit; None where they do not.

    Higher is better: in every word of the street, in the very number and not a range about it,
    in the unit.
    """
    read = _read(site) if site is not None else None
    street = read_street(wanted.street)
    if read is None or read.street is None or street is None or not _same_number(read, wanted):
        return None
    by_street = read.street.compare(street)
    if by_street is Agreement.NONE:
        return None
    very_number = read.number is not None and read.number.text == wanted.house_number
    return by_street, int(very_number), int(read.unit == wanted.unit)


def may_match(site: SiteAddress | None, wanted: StreetAddress) -> bool:
    """Whether the number agrees, and the street too where the layer says one."""
    read = _read(site) if site is not None else None
    if read is None or not _same_number(read, wanted):
        return False
    return read.street is None or matches(site, wanted)


def is_other_unit(sites: Collection[SiteAddress | None], wanted: StreetAddress) -> bool:
    """Whether the rows of one place, whose address agrees, are those of one unit, not the wanted.

    Rows of several units are a building; which of them are missing says nothing.
    """
    units = {_read(site).unit for site in sites if site is not None}
    return wanted.unit is not None and len(units) == 1 and units.isdisjoint({wanted.unit, None})


def has_house_number(site: SiteAddress | None) -> bool:
    """Whether the layer says a house number of the lot."""
    return site is not None and _read(site).number is not None


def is_other_city(site: SiteAddress | None, wanted: StreetAddress) -> bool:
    """Whether ZIP code or city say that it is another street of that name.

    The ZIP code decides where both sides have one; else the city, where both have one.
    """
    if site is None:
        return False
    read = _read(site)
    if read.postcode is not None and wanted.postcode is not None:
        return read.postcode != wanted.postcode
    wanted_city = city_text(wanted.city)
    return read.city is not None and wanted_city is not None and read.city != wanted_city


def city_and_postcode(site: SiteAddress | None) -> tuple[str | None, str | None]:
    """City and ZIP code, as far as the layer says them, written one way."""
    if site is None:
        return None, None
    read = _read(site)
    return read.city, read.postcode


def format_site(site: SiteAddress | None) -> str:
    """The address as the county writes it, for people to read."""
    if site is None:
        return ""
    street = site.line or " ".join(filter(None, (site.house_number, site.street, site.unit)))
    return sanitize_text(", ".join(filter(None, (street, site.city, site.postcode))))


@dataclass(frozen=True, slots=True)
class _Read:
    number: HouseNumber | None
    street: StreetName | None
    unit: str | None
    city: str | None
    postcode: str | None


@lru_cache(maxsize=16_384)
def _read(site: SiteAddress) -> _Read:
    """The street of the whole line goes before its column, which often lacks the suffix."""
    number = read_house_number(site.house_number)
    unit, city, postcode = unit_text(site.unit), city_text(site.city), _postcode(site.postcode)
    line = (site.line or "").strip()
    whole = parse_address(line)
    if whole is None and number is not None and line:
        whole = parse_address(f"{number.text} {line}")
    if whole is None:
        return _Read(number, read_street(site.street or ""), unit, city, postcode)
    # Of a line without state and ZIP code, the last word of the street may be taken for a city.
    said_city = whole.city if whole.state or whole.postcode else None
    return _Read(
        number or read_house_number(whole.house_number),
        read_street(whole.street),
        unit or whole.unit,
        city or said_city,
        postcode or whole.postcode,
    )


def _postcode(text: str | None) -> str | None:
    """Five digits; columns of numbers lose the zeros in front, and some hold ZIP+4."""
    digits = re.match(r"\d+", (text or "").strip(), re.ASCII)
    if digits is None or not digits[0].strip("0"):
        return None
    return digits[0].zfill(9 if len(digits[0]) > 5 else 5)[:5]


def _same_number(read: _Read, wanted: StreetAddress) -> bool:
    number = read_house_number(wanted.house_number)
    if read.number is None or number is None:
        return False
    if read.number.matches(number):
        return True
    return _with_letter(read.number, read.unit) == _with_letter(number, wanted.unit)


def _with_letter(number: HouseNumber, unit: str | None) -> str:
    """123A is unit A of 123, where one side writes it so; but 123 is not unit 3 of 12."""
    return number.text + unit if unit is not None and unit.isalpha() else number.text
