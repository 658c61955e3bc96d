"""Compares a lot's site address with the wanted address."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from parcels.addresses.house_number import HouseNumber, parse_house_number
from parcels.addresses.parsed_site import ParsedSite, parse_site
from parcels.addresses.site import SiteAddress
from parcels.addresses.street_address import StreetAddress
from parcels.addresses.street_agreement import Agreement
from parcels.addresses.street_name import StreetName, parse_street
from parcels.untrusted import sanitize_text


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
    parsed = parse_site(site) if site is not None else None
    if parsed is None or parsed.street is None:
        return None
    agreement = _agreement(parsed, wanted)
    if agreement is Agreement.NONE:
        return None
    if parsed.number is not None and parsed.number.text == wanted.house_number:
        return agreement, 1, int(parsed.unit == wanted.unit)
    is_lettered = _is_lettered(parsed, wanted)
    return agreement, int(is_lettered), int(is_lettered)


def may_match(site: SiteAddress | None, wanted: StreetAddress) -> bool:
    """Whether the house number matches, and the street if the layer has one."""
    parsed = parse_site(site) if site is not None else None
    if parsed is None:
        return False
    if parsed.street is not None:
        return matches(site, wanted)
    return _has_number(parsed, wanted)


def is_namesake(site: SiteAddress | None, wanted: StreetAddress) -> bool:
    """Whether the house number is equal and the street is another one."""
    parsed = parse_site(site) if site is not None else None
    if parsed is None or parsed.street is None or matches(site, wanted):
        return False
    return _has_number(parsed, wanted)


def address_key(site: SiteAddress | None) -> tuple[str | None, ...]:
    """The parts of an address in one spelling: two lots with one key have the same address."""
    if site is None:
        return ()
    parsed = parse_site(site)
    number = parsed.number.text if parsed.number is not None else None
    street = parsed.street.key if parsed.street is not None else None
    return number, street, parsed.unit, parsed.city, parsed.postcode


def is_other_unit(sites: Collection[SiteAddress | None], wanted: StreetAddress) -> bool:
    """Whether the matching rows of one geometry belong to a single unit that is not the wanted one.

    Rows of several units are a building, where units may be missing from the layer.
    """
    units = {parse_site(site).unit for site in sites if site is not None}
    return wanted.unit is not None and len(units) == 1 and units.isdisjoint({wanted.unit, None})


def has_house_number(site: SiteAddress | None) -> bool:
    """Whether the site address has a house number."""
    return site is not None and parse_site(site).number is not None


def is_other_city(site: SiteAddress | None, wanted: StreetAddress) -> bool:
    """Whether ZIP code or city show that it is a street of the same name elsewhere.

    The ZIP code decides if both addresses have one, else the city if both have one.
    """
    if site is None:
        return False
    parsed = parse_site(site)
    if parsed.postcode is not None and wanted.postcode is not None:
        return parsed.postcode != wanted.postcode
    cities = {wanted.city, wanted.other.city if wanted.other is not None else wanted.city}
    site_cities = {parsed.city, parsed.other.city if parsed.other is not None else parsed.city}
    return None not in cities | site_cities and cities.isdisjoint(site_cities)


def city_and_postcode(site: SiteAddress | None) -> tuple[str | None, str | None]:
    """City and ZIP code of the site address, normalized; None if missing."""
    if site is None:
        return None, None
    parsed = parse_site(site)
    return parsed.city, parsed.postcode


def format_site(site: SiteAddress | None) -> str:
    """The address as written by the county, sanitized for display."""
    if site is None:
        return ""
    street = site.line or " ".join(filter(None, (site.house_number, site.street, site.unit)))
    return sanitize_text(", ".join(filter(None, (street, site.city, site.postcode))))


@dataclass(frozen=True, slots=True)
class _Reading:
    """One way to read both addresses, and the best agreement that it can have."""

    site: ParsedSite
    wanted: StreetAddress
    best: Agreement


def _readings(site: ParsedSite, wanted: StreetAddress) -> list[_Reading]:
    """Every way to read the two; those with one city if there are any."""
    if site.other is None and wanted.other is None:
        return [_Reading(site, wanted, Agreement.EXACT)]
    sites, wanteds = _with_best_of_site(site), _with_best_of_wanted(wanted)
    found = [_Reading(s, w, min(one, two)) for s, one in sites for w, two in wanteds]
    in_city = [each for each in found if each.site.city and each.site.city == each.wanted.city]
    if in_city:
        return [replace(each, best=Agreement.EXACT) for each in in_city]
    if all(each.site.city and each.wanted.city for each in found):
        return [replace(each, best=min(each.best, Agreement.LOOSE)) for each in found]
    return found


def _with_best_of_site(site: ParsedSite) -> list[tuple[ParsedSite, Agreement]]:
    if site.other is None or site.street is None or site.other.street is None:
        return [(site, Agreement.EXACT)]
    adds = len(site.other.street.text) > len(site.street.text)
    first, second = _best_of_readings(site.number == site.other.number, adds)
    return [(site, first), (site.other, second)]


def _with_best_of_wanted(wanted: StreetAddress) -> list[tuple[StreetAddress, Agreement]]:
    if wanted.other is None:
        return [(wanted, Agreement.EXACT)]
    adds = len(wanted.other.street) > len(wanted.street)
    is_same_number = wanted.house_number == wanted.other.house_number
    first, second = _best_of_readings(is_same_number, adds)
    return [(wanted, first), (wanted.other, second)]


def _best_of_readings(is_same_number: bool, adds: bool) -> tuple[Agreement, Agreement]:
    """The best agreement of the two readings of a line.

    MAIN ST NORTH BEND is as likely MAIN ST N (`adds`), but HWY 6 NORTH HOUSTON is hardly HWY 6.
    """
    if not is_same_number:
        return Agreement.EXACT, Agreement.SAME
    return (Agreement.SAME, Agreement.SAME) if adds else (Agreement.EXACT, Agreement.LOOSE)


def _agreement(site: ParsedSite, wanted: StreetAddress) -> Agreement:
    """The agreement of the best reading; what leaves something out must contradict no reading."""
    found: list[Agreement] = []
    for reading in _readings(site, wanted):
        number = _compare_numbers(reading.site, reading.wanted)
        if number is not Agreement.NONE:
            found.append(min(reading.best, number, _compare_streets(reading, number)))
    agreement = max(found, default=Agreement.NONE)
    is_contradicted = agreement is Agreement.LOOSE and Agreement.NONE in found
    return Agreement.NONE if is_contradicted else agreement


def _compare_streets(reading: _Reading, number: Agreement) -> Agreement:
    street, wanted_street = reading.site.street, parse_street(reading.wanted.street)
    if street is None or wanted_street is None:
        return Agreement.NONE
    if number is Agreement.LOOSE and _is_other_quarter(reading, street, wanted_street):
        return Agreement.NONE
    return street.compare(wanted_street)


def _has_number(site: ParsedSite, wanted: StreetAddress) -> bool:
    readings = _readings(site, wanted)
    return any(_compare_numbers(each.site, each.wanted) > Agreement.NONE for each in readings)


def _compare_numbers(site: ParsedSite, wanted: StreetAddress) -> Agreement:
    number = parse_house_number(wanted.house_number)
    if site.number is None or number is None:
        return Agreement.NONE
    if site.number.matches(number):
        return Agreement.EXACT
    if _is_lettered(site, wanted):
        return Agreement.EXACT
    return Agreement.LOOSE if site.number.lacks_prefix(number) else Agreement.NONE


def _is_other_quarter(reading: _Reading, street: StreetName, wanted_street: StreetName) -> bool:
    """Whether 6428 N CHICAGO AVE contradicts W6428 CHICAGO AVE."""
    one, two = reading.site.number, parse_house_number(reading.wanted.house_number)
    if one is None or two is None:
        return False
    prefix, before = (
        (one.prefix, wanted_street.before) if one.prefix else (two.prefix, street.before)
    )
    return prefix in ("N", "S", "E", "W") and before not in ("", prefix)


def _is_lettered(site: ParsedSite, wanted: StreetAddress) -> bool:
    """Whether 123A is unit A of 123."""
    number = parse_house_number(wanted.house_number)
    if site.number is None or number is None or (site.unit, wanted.unit) == (None, None):
        return False
    return _with_letter(site.number, site.unit) == _with_letter(number, wanted.unit)


def _with_letter(number: HouseNumber, unit: str | None) -> str:
    """Unit A of 123 as 123A, as some write it; but unit 3 of 12 is not 123."""
    return number.text + unit if unit is not None and unit.isalpha() else number.text
