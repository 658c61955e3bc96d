"""Geocode with the county's own parcels: the most reliable source."""

from __future__ import annotations

from collections.abc import Sequence

import shapely

from parcels.addresses.matching import format_site, match_rank, matches
from parcels.addresses.street_address import StreetAddress
from parcels.addresses.street_agreement import Agreement
from parcels.ambiguity import ambiguous_lots, joined
from parcels.boundary import Located
from parcels.errors import ParcelsError
from parcels.geocode.geocode_result import AddressUnknown, GeocodeResult
from parcels.lot_selection import lots_with_address
from parcels.parcel_source import ParcelRow, ParcelSource

# If one side omits a direction or a suffix, and only one lot matches.
_LOOSE_CONFIDENCE = 0.9


class ParcelAddresses:
    """Finds the lot with the address; the point is inside the lot."""

    def __init__(self, source: ParcelSource, county_name: str) -> None:
        self.name = f"the parcels of {county_name}"
        self._source = source

    def locate(self, addresses: Sequence[StreetAddress]) -> list[GeocodeResult]:
        """See `GeocodeStage`. An address with two lots is ambiguous; none of them is chosen."""
        try:
            found = self._source.with_addresses(addresses)
        except ParcelsError as error:
            return [error] * len(addresses)
        return [
            each if isinstance(each, ParcelsError) else _result(wanted, each.rows)
            for wanted, each in zip(addresses, found, strict=True)
        ]


def _result(wanted: StreetAddress, rows: Sequence[ParcelRow]) -> GeocodeResult:
    lots = lots_with_address(rows, wanted)
    if not lots:
        others = {format_site(row.site) for row in rows if matches(row.site, wanted)}
        return AddressUnknown(f"similar: {joined(others)}" if others else "")
    if len(lots) > 1:
        return ambiguous_lots(wanted, lots)
    [lot] = lots
    inside = shapely.point_on_surface(lot.geometry)
    site = lot.best_site(wanted)
    match = match_rank(site, wanted)
    exact = match is not None and match[0] == Agreement.EXACT
    return Located(
        inside.x,
        inside.y,
        "parcel_layer",
        confidence=1.0 if exact else _LOOSE_CONFIDENCE,
        matched=format_site(site),
    )
