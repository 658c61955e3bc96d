"""Asks for addresses: the parcel layer, the county's GeocodeServer, the US Census."""

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

# A house of the county may lie so far beyond the outermost parcel that the layer has.
_BEYOND_PARCELS_M = 1_000.0


@dataclass
class _Open:
    """An address that nobody has found so far, and what was said of it."""

    wanted: StreetAddress
    result: Located | NotLocated | ParcelsError | None = None
    errors: list[ParcelsError] = field(default_factory=list)
    unknown_to: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    outside: str | None = None


class Geocoder:
    """Finds addresses of one county; each stage is asked only for what the one before left."""

    def __init__(
        self,
        county: County,
        source: ParcelSource,
        *,
        census: CensusGeocoder | None = None,
        geocode_server: GeocodeServer | None = None,
    ) -> None:
        """`census` and `geocode_server` replace those that the county's entry asks for."""
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
        """For each address, in order: where it is, that it cannot be found, or who is down.

        A stage that does not answer leaves its addresses to the next; where that does not know
        them either, they are unavailable and not unknown. Only the parcel layer's failure ends
        the search at once: without it no lot would be found.
        """
        if not self._stages:
            return [self._nobody_to_ask()] * len(addresses)
        asked = [_Open(self._with_state(wanted)) for wanted in addresses]
        for stage in self._stages:
            left = [one for one in asked if one.result is None]
            if left:
                for one, finding in zip(left, stage.locate([o.wanted for o in left]), strict=True):
                    self._take(one, stage, finding)
        return [one.result if one.result is not None else self._not_found(one) for one in asked]

    def _with_state(self, wanted: StreetAddress) -> StreetAddress:
        return wanted if wanted.state else replace(wanted, state=self._county.state)

    def _take(self, one: _Open, stage: GeocodeStage, finding: GeocodeResult) -> None:
        if isinstance(finding, AddressUnknown):
            one.unknown_to.append(stage.name)
            if finding.detail:
                one.hints.append(f"{stage.name}: {finding.detail}")
        elif isinstance(finding, ParcelsError):
            one.errors.append(finding)
            if isinstance(stage, ParcelAddresses):
                one.result = finding
        elif isinstance(finding, Located):
            point = Point(finding.longitude, finding.latitude)
            detail = self._outside.detail(point, _BEYOND_PARCELS_M)
            if detail is None:
                one.result = finding
            else:
                one.outside = f"{stage.name} finds {finding.matched}; {detail}"
        else:
            one.result = finding

    def _not_found(self, one: _Open) -> NotLocated | ParcelsError:
        if one.errors:
            for_now = [error for error in one.errors if isinstance(error, SourceUnavailable)]
            return self._nobody_knows(one, [*for_now, *one.errors][0])
        if one.outside is not None:
            return NotLocated(
                "outside_county", f"address {one.wanted.line!r}: {one.outside}; check the county"
            )
        return NotLocated(
            "address_not_found",
            f"{self._unknown(one)}; check its spelling, city and ZIP code, or give longitude and "
            "latitude, or a parcel_id",
        )

    def _nobody_knows(self, one: _Open, error: ParcelsError) -> ParcelsError:
        """The error of a stage, after what the others said."""
        if not one.unknown_to and self._county.fields.has_addresses:
            return error
        return type(error)(f"{self._unknown(one)}; {error}")

    def _unknown(self, one: _Open) -> str:
        hints = "".join(f" ({hint})" for hint in one.hints)
        asked = f" is not known to {', '.join(one.unknown_to)}{hints}" if one.unknown_to else ""
        not_asked = (
            ""
            if self._county.fields.has_addresses
            else f"; the registry entry of {self._county.key!r} maps no columns of addresses "
            "(fields: {address: …}), so its own parcels were not asked"
        )
        return f"address {one.wanted.line!r}{asked}{not_asked}"

    def _nobody_to_ask(self) -> SourceMisconfigured:
        return SourceMisconfigured(
            f"county {self._county.key!r} has nothing that finds addresses; set fields: "
            "{address: …}, geocode_server, or census: true in the registry entry"
        )
