"""Geocode addresses: the parcel layer, then the county's GeocodeServer, then the US Census."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from shapely import Point

from parcels.addresses.street_address import StreetAddress
from parcels.boundary import Located, NotLocated
from parcels.county_extent import ExtentCheck
from parcels.errors import ParcelsError, SourceMisconfigured, SourceUnavailable
from parcels.geocode.census import CensusGeocoder
from parcels.geocode.geocode_result import AddressUnknown, GeocodeResult, GeocodeStage
from parcels.geocode.geocode_server import GeocodeServer
from parcels.geocode.parcel_addresses import ParcelAddresses
from parcels.parcel_source import ParcelSource
from parcels.registry.county import County

# A house of the county may be this far outside of the extent of its parcels.
_EXTENT_MARGIN_M = 1_000.0


@dataclass
class _Lookup:
    """The state of an address: its result, or what the stages reported so far."""

    wanted: StreetAddress
    result: Located | NotLocated | ParcelsError | None = None
    errors: list[ParcelsError] = field(default_factory=list)
    unknown_to: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    outside: str | None = None


class Geocoder:
    """Geocodes addresses of one county; each stage gets only what earlier ones did not find."""

    def __init__(
        self,
        county: County,
        source: ParcelSource,
        *,
        census: CensusGeocoder | None = None,
        geocode_server: GeocodeServer | None = None,
    ) -> None:
        """`census` and `geocode_server` replace those of the county's registry entry."""
        self._county = county
        self._outside = ExtentCheck(county, source)
        self._stages: list[GeocodeStage] = []
        if county.fields.has_addresses:
            self._stages.append(ParcelAddresses(source, county.name))
        if county.geocode_server is not None:
            self._stages.append(geocode_server or GeocodeServer.for_county(county))
        if county.census and county.synthetic is None:
            self._stages.append(census or CensusGeocoder())

    def locate_many(
        self, addresses: Sequence[StreetAddress]
    ) -> list[Located | NotLocated | ParcelsError]:
        """For each address, in order: its point, why it was not found, or a source's error.

        If a stage fails, its addresses go to the next one; if no later stage finds them either,
        they are unavailable, not unknown. Only a failure of the parcel layer ends the search at
        once: without it no lot can be found.
        """
        if not self._stages:
            return [self._no_stages_error()] * len(addresses)
        lookups = [_Lookup(self._with_state(wanted)) for wanted in addresses]
        for stage in self._stages:
            pending = [each for each in lookups if each.result is None]
            if pending:
                results = stage.locate([each.wanted for each in pending])
                for lookup, result in zip(pending, results, strict=True):
                    self._record(lookup, stage, result)
        return [
            each.result if each.result is not None else self._not_found(each) for each in lookups
        ]

    def _with_state(self, wanted: StreetAddress) -> StreetAddress:
        return wanted if wanted.state else replace(wanted, state=self._county.state)

    def _record(self, lookup: _Lookup, stage: GeocodeStage, result: GeocodeResult) -> None:
        if isinstance(result, AddressUnknown):
            lookup.unknown_to.append(stage.name)
            if result.detail:
                lookup.hints.append(f"{stage.name}: {result.detail}")
        elif isinstance(result, ParcelsError):
            lookup.errors.append(result)
            if isinstance(stage, ParcelAddresses):
                lookup.result = result
        elif isinstance(result, Located):
            point = Point(result.longitude, result.latitude)
            detail = self._outside.problem(point, _EXTENT_MARGIN_M)
            if detail is None:
                lookup.result = result
            else:
                lookup.outside = f"{stage.name} finds {result.matched}; {detail}"
        else:
            lookup.result = result

    def _not_found(self, lookup: _Lookup) -> NotLocated | ParcelsError:
        if lookup.errors:
            retryable = [error for error in lookup.errors if isinstance(error, SourceUnavailable)]
            return self._error(lookup, [*retryable, *lookup.errors][0])
        if lookup.outside is not None:
            return NotLocated(
                "outside_county",
                f"address {lookup.wanted.line!r}: {lookup.outside}; check the county",
            )
        return NotLocated(
            "address_not_found",
            f"{self._unknown(lookup)}; check its spelling, city and ZIP code, or give longitude "
            "and latitude, or a parcel_id",
        )

    def _error(self, lookup: _Lookup, error: ParcelsError) -> ParcelsError:
        """A stage's error, with the results of the other stages."""
        if not lookup.unknown_to and self._county.fields.has_addresses:
            return error
        return type(error)(f"{self._unknown(lookup)}; {error}")

    def _unknown(self, lookup: _Lookup) -> str:
        hints = "".join(f" ({hint})" for hint in lookup.hints)
        unknown_to = (
            f" is not known to {', '.join(lookup.unknown_to)}{hints}" if lookup.unknown_to else ""
        )
        skipped = (
            ""
            if self._county.fields.has_addresses
            else f"; the registry entry of {self._county.key!r} maps no address columns (fields: "
            "{address: …}), so its own parcels were not searched"
        )
        return f"address {lookup.wanted.line!r}{unknown_to}{skipped}"

    def _no_stages_error(self) -> SourceMisconfigured:
        return SourceMisconfigured(
            f"county {self._county.key!r} has no geocoder; set "
            "fields: {address: …}, geocode_server, or census: true in the registry entry"
        )
