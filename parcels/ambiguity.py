"""An address that several places have: the reason, the candidates, and what would decide."""

from __future__ import annotations

from collections.abc import Sequence

from parcels.addresses.house_number import is_range
from parcels.addresses.matching import city_and_postcode, format_site
from parcels.addresses.site import SiteAddress
from parcels.addresses.street_address import StreetAddress
from parcels.boundary import NotLocated
from parcels.lot_selection import LotCandidate
from parcels.untrusted import sanitize_text

_MAX_SHOWN = 5


def ambiguous_address(
    wanted: StreetAddress, detail: str, sites: Sequence[SiteAddress | None] = ()
) -> NotLocated:
    """The address belongs to several places; `sites` are their addresses, if known."""
    places = [city_and_postcode(site) for site in sites]
    cities, postcodes = {city for city, _ in places}, {postcode for _, postcode in places}
    missing = [
        name
        for name, value, found in (
            ("the city", wanted.city, cities),
            ("the ZIP code", wanted.postcode, postcodes),
        )
        if not value and (not sites or len(found) > 1)
    ]
    if missing:
        advice = f"add {' or '.join(missing)}"
    elif is_range(wanted.house_number):
        advice = "use a single house number"
    else:
        advice = "add the unit, or a direction (N, S)"
    return NotLocated(
        "address_ambiguous",
        f"address {wanted.line!r}: {detail}; {advice}, or give a parcel_id or coordinates",
    )


def ambiguous_lots(
    wanted: StreetAddress, lots: Sequence[LotCandidate], where: str = ""
) -> NotLocated:
    """Several lots may have the address; the detail lists their addresses and ids."""
    sites = [lot.best_site(wanted) for lot in lots]
    described = {_described(*each) for each in zip(lots, sites, strict=True)}
    return ambiguous_address(wanted, f"{len(lots)} lots{where} have it: {joined(described)}", sites)


def joined(texts: set[str]) -> str:
    """Some of the texts, sorted, on one line."""
    shown = sorted(texts)[:_MAX_SHOWN]
    return "; ".join(shown) + ("; …" if len(texts) > len(shown) else "")


def _described(lot: LotCandidate, site: SiteAddress | None) -> str:
    ids = f" (parcel {sanitize_text(lot.parcel_ids[0])})" if lot.parcel_ids else ""
    return f"{format_site(site)}{ids}"
