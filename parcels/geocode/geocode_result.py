"""What one stage says of an address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from parcels.addresses.house_number import is_range
from parcels.addresses.matching import city_and_postcode, elsewhere, rating
from parcels.addresses.street_address import StreetAddress, parse_address
from parcels.boundary import Located, NotLocated
from parcels.errors import ParcelsError
from parcels.parcel_source import SiteAddress
from parcels.untrusted import sanitize_text


@dataclass(frozen=True, slots=True)
class AddressUnknown:
    """The stage does not know the address; `detail` is what it has instead, if anything."""

    detail: str = ""


GeocodeResult = Located | NotLocated | AddressUnknown | ParcelsError


class GeocodeStage(Protocol):
    """One way to find addresses.

    Attributes:
        name: for messages: "the US Census".
    """

    name: str

    def locate(self, addresses: Sequence[StreetAddress]) -> list[GeocodeResult]:
        """A finding for each address, in order; it raises nothing of `ParcelsError`."""
        ...


def match_rating(matched: str, wanted: StreetAddress) -> tuple[int, int, int] | None:
    """How well the address that a geocoder found agrees with the wanted one; None: not at all.

    Geocoders answer with the nearest thing they know, which may be another house or another
    town; what they found is believed only where number, street, and ZIP code or city agree.
    """
    found = parse_address(matched)
    if found is None:
        return None
    site = SiteAddress(
        house_number=found.house_number,
        street=found.street,
        unit=found.unit,
        city=found.city,
        postcode=found.postcode,
    )
    return None if elsewhere(site, wanted) else rating(site, wanted)


def parse_lon_lat(x: object, y: object) -> tuple[float, float]:
    """Longitude and latitude in degrees, as numbers or as text.

    Raises:
        ValueError: they are none; an address that was not found may have NaN.
    """
    try:
        lon, lat = float(sanitize_text(x)), float(sanitize_text(y))
    except ValueError:
        lon = lat = float("nan")
    if -180 <= lon <= 180 and -90 <= lat <= 90:
        return lon, lat
    raise ValueError(f"{sanitize_text(x)}, {sanitize_text(y)} are no longitude and latitude")


def ambiguous_address(
    wanted: StreetAddress, detail: str, sites: Sequence[SiteAddress | None] = ()
) -> NotLocated:
    """The address is that of several places; `sites` are theirs, where that is known."""
    said = [city_and_postcode(site) for site in sites]
    cities, postcodes = {city for city, _ in said}, {postcode for _, postcode in said}
    missing = [
        name
        for name, value, theirs in (
            ("the city", wanted.city, cities),
            ("the ZIP code", wanted.postcode, postcodes),
        )
        if not value and (not sites or len(theirs) > 1)
    ]
    if missing:
        advice = f"add {' or '.join(missing)}"
    elif is_range(wanted.house_number):
        advice = "write one house number"
    else:
        advice = "add the unit, or a direction (N, S)"
    return NotLocated(
        "address_ambiguous",
        f"address {wanted.line!r}: {detail}; {advice}, or give a parcel_id or coordinates",
    )
