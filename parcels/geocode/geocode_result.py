"""The result of a geocoding stage for an address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from parcels.addresses.matching import is_other_city, match_rank
from parcels.addresses.site import SiteAddress
from parcels.addresses.street_address import StreetAddress, try_parse_address
from parcels.boundary import Located, NotLocated
from parcels.errors import ParcelsError
from parcels.untrusted import sanitize_text


@dataclass(frozen=True, slots=True)
class AddressUnknown:
    """The stage does not know the address; `detail` is its nearest match, or a reason."""

    detail: str = ""


GeocodeResult = Located | NotLocated | AddressUnknown | ParcelsError


class GeocodeStage(Protocol):
    """One way to geocode addresses.

    Attributes:
        name: for messages, as in "the US Census".
    """

    name: str

    def locate(self, addresses: Sequence[StreetAddress]) -> list[GeocodeResult]:
        """A result for each address, in order; a `ParcelsError` is returned, not raised."""
        ...


def match_rating(matched: str, wanted: StreetAddress) -> tuple[int, int, int] | None:
    """How well the address that a geocoder matched agrees with the wanted one; None: not at all.

    Geocoders return the nearest match, which may be another house or town. It is accepted only if
    number, street, and ZIP code or city agree.
    """
    found = try_parse_address(matched)
    if found is None:
        return None
    site = SiteAddress(
        house_number=found.house_number,
        street=found.street,
        unit=found.unit,
        city=found.city,
        postcode=found.postcode,
    )
    return None if is_other_city(site, wanted) else match_rank(site, wanted)


def parse_lon_lat(x: object, y: object) -> tuple[float, float]:
    """Longitude and latitude in degrees, from numbers or text.

    Raises:
        ValueError: not numbers or not on Earth; addresses without a match may have NaN.
    """
    try:
        lon, lat = float(sanitize_text(x)), float(sanitize_text(y))
    except ValueError:
        lon = lat = float("nan")
    if -180 <= lon <= 180 and -90 <= lat <= 90:
        return lon, lat
    raise ValueError(f"{sanitize_text(x)}, {sanitize_text(y)} is not a longitude and latitude")
