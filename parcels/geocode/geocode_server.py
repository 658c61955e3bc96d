"""A county's ArcGIS GeocodeServer: in batches if it supports them, else one by one.

The operations and their fields: https://developers.arcgis.com/rest/services-reference/enterprise,
"Geocode Addresses" and "Find Address Candidates".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from parcels.addresses.street_address import StreetAddress
from parcels.arcgis.http.client import ArcGISClient
from parcels.errors import (
    IncompleteResponse,
    LayerNotFound,
    ParcelsError,
    QueryRefused,
    SourceMisconfigured,
)
from parcels.geocode.candidates import best_match, candidate_attributes
from parcels.geocode.geocode_result import GeocodeResult
from parcels.registry.county import County
from parcels.untrusted import mapping, mappings, sanitize_text

_DEFAULT_BATCH, _MAX_BATCH = 100, 1_000
_MAX_CANDIDATES = "10"
# Address parts, with the lower-case names that locators use for their fields.
_PART_FIELDS = {
    "street": ("address", "street", "address1"),
    "city": ("city",),
    "state": ("region", "state", "subregion"),
    "postcode": ("postal", "zip", "postcode", "zone"),
}


@dataclass(frozen=True, slots=True)
class _Service:
    """The metadata of the service.

    Attributes:
        single_line: the field for a complete address; None if it has fields for parts only.
        parts: the fields for parts of an address: "street" -> "Address".
        batch_size: addresses in one call; 0 if it does not support batches.
    """

    single_line: str | None
    parts: Mapping[str, str]
    batch_size: int

    def record(self, wanted: StreetAddress) -> dict[str, str]:
        """The address in the fields of the service."""
        if self.single_line is not None:
            return {self.single_line: wanted.line}
        given = {
            "street": f"{wanted.house_number} {wanted.street}",
            "city": wanted.city,
            "state": wanted.state,
            "postcode": wanted.postcode,
        }
        return {
            self.parts[part]: text for part, text in given.items() if text and part in self.parts
        }


class GeocodeServer:
    """The county's own geocoder. Points that are not at a house are marked as interpolated."""

    name = "the county's GeocodeServer"

    def __init__(self, url: str, client: ArcGISClient) -> None:
        self._url = url
        self._client = client

    @classmethod
    def for_county(cls, county: County, client: ArcGISClient | None = None) -> GeocodeServer:
        """The GeocodeServer of the county's registry entry.

        Raises:
            SourceMisconfigured: the entry has none.
        """
        if county.geocode_server is None:
            raise SourceMisconfigured(f"county {county.key!r} has no 'geocode_server'")
        return cls(county.geocode_server, client or ArcGISClient.for_county(county))

    def locate(self, addresses: Sequence[StreetAddress]) -> list[GeocodeResult]:
        """See `GeocodeStage`. Only houses with the address's number and street are accepted."""
        try:
            size = self._service.batch_size
        except ParcelsError as error:
            return [error] * len(addresses)
        results: list[GeocodeResult] = []
        for start in range(0, len(addresses), size or len(addresses) or 1):
            chunk = addresses[start : start + size] if size else addresses
            results += (
                self._locate_batch(chunk)
                if size
                else [self._locate_one(wanted) for wanted in chunk]
            )
        return results

    @cached_property
    def _service(self) -> _Service:
        response = self._client.get_json(self._url, {})
        single_line = _name(mapping(response.get("singleLineAddressField")))
        names = (_name(field) for field in mappings(response.get("addressFields")))
        fields = {name for name in names if name is not None}
        by_lower = {name.lower(): name for name in fields}
        parts = {
            part: next(by_lower[name] for name in aliases if name in by_lower)
            for part, aliases in _PART_FIELDS.items()
            if by_lower.keys() & set(aliases)
        }
        if single_line is None and "street" not in parts:
            raise SourceMisconfigured(
                f"{self._url}: not a geocoder for addresses (fields: "
                f"{', '.join(sorted(fields)) or 'none'}); correct 'geocode_server' in the registry "
                "entry"
            )
        return _Service(single_line, parts, _batch_size(response))

    def _locate_batch(self, addresses: Sequence[StreetAddress]) -> list[GeocodeResult]:
        records = [
            {"attributes": {"OBJECTID": i, **self._service.record(wanted)}}
            for i, wanted in enumerate(addresses)
        ]
        params = {"addresses": json.dumps({"records": records}), "outSR": "4326"}
        try:
            response = self._client.get_json(f"{self._url}/geocodeAddresses", params)
        except (QueryRefused, LayerNotFound):
            # Many services announce batches but refuse them, or require a token for them.
            return [self._locate_one(wanted) for wanted in addresses]
        except ParcelsError as error:
            return [error] * len(addresses)
        found = {
            sanitize_text(candidate_attributes(location).get("ResultID")): location
            for location in mappings(response.get("locations"))
        }
        return [self._batch_result(wanted, found.get(str(i))) for i, wanted in enumerate(addresses)]

    def _batch_result(
        self, wanted: StreetAddress, location: Mapping[str, Any] | None
    ) -> GeocodeResult:
        if location is None:
            return IncompleteResponse(
                f"{self._url}: the response omits {wanted.line!r}; try again later"
            )
        if candidate_attributes(location).get("Status") == "T":
            return self._locate_one(wanted)  # a batch has only one of the tied candidates
        return best_match(wanted, [location])

    def _locate_one(self, wanted: StreetAddress) -> GeocodeResult:
        params = {
            **self._service.record(wanted),
            "outSR": "4326",
            "outFields": "*",
            "maxLocations": _MAX_CANDIDATES,
        }
        try:
            response = self._client.get_json(f"{self._url}/findAddressCandidates", params)
        except ParcelsError as error:
            return error
        candidates = response.get("candidates")
        if not isinstance(candidates, list):
            return IncompleteResponse(
                f"{self._url}: the response has no candidates; try again later"
            )
        return best_match(wanted, mappings(candidates))


def _name(field: Mapping[str, Any]) -> str | None:
    name = field.get("name")
    return name if isinstance(name, str) and name and name == sanitize_text(name) else None


def _batch_size(response: Mapping[str, Any]) -> int:
    """The number of addresses in one call; 0 if the service does not support batches."""
    capabilities = (
        sanitize_text(response.get("capabilities") or "Geocode").replace(" ", "").split(",")
    )
    if "Geocode" not in capabilities:
        return 0
    properties = mapping(response.get("locatorProperties"))
    suggested = sanitize_text(
        properties.get("SuggestedBatchSize") or properties.get("MaxBatchSize") or ""
    )
    is_number = re.fullmatch(r"[0-9]{1,9}", suggested)
    return min(int(suggested), _MAX_BATCH) if is_number else _DEFAULT_BATCH
