"""A county's ArcGIS GeocodeServer: batches where it takes them, else one address at a time.

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
    IncompleteAnswer,
    LayerNotFound,
    ParcelsError,
    QueryRefused,
    SourceMisconfigured,
)
from parcels.geocode.candidates import best_match, candidate_attributes
from parcels.geocode.geocode_result import GeocodeResult
from parcels.registry.county import County
from parcels.untrusted import mapping, mappings, sanitize_text

_USUAL_BATCH, _LARGEST_BATCH = 100, 1_000
_CANDIDATES = "10"
# The parts of an address by the names that locators give their fields.
_PARTS = {
    "street": ("address", "street", "address1"),
    "city": ("city",),
    "state": ("region", "state", "subregion"),
    "postcode": ("postal", "zip", "postcode", "zone"),
}


@dataclass(frozen=True, slots=True)
class _Service:
    """What the service says of itself.

    Attributes:
        single_line: the field that takes a whole address; None where only the parts do.
        parts: the fields for the parts of an address: "street" -> "Address".
        batch: addresses in one call; 0 where it takes no batches.
    """

    single_line: str | None
    parts: Mapping[str, str]
    batch: int

    def record(self, wanted: StreetAddress) -> dict[str, str]:
        """The address in the service's own fields."""
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
    """The county's own geocoder. Points at a house are taken as they are; others interpolated."""

    name = "the county's GeocodeServer"

    def __init__(self, url: str, client: ArcGISClient) -> None:
        self._url = url
        self._client = client

    @classmethod
    def for_county(cls, county: County, client: ArcGISClient | None = None) -> GeocodeServer:
        """The one that the county's entry names.

        Raises:
            SourceMisconfigured: it names none.
        """
        if county.geocode_server is None:
            raise SourceMisconfigured(f"county {county.key!r} has no 'geocode_server'")
        return cls(county.geocode_server, client or ArcGISClient.for_county(county))

    def locate(self, addresses: Sequence[StreetAddress]) -> list[GeocodeResult]:
        """See `Stage`. Only matches with the wanted number and street, at a house, count."""
        try:
            size = self._service.batch
        except ParcelsError as error:
            return [error] * len(addresses)
        findings: list[GeocodeResult] = []
        for start in range(0, len(addresses), size or len(addresses) or 1):
            chunk = addresses[start : start + size] if size else addresses
            findings += self._batch(chunk) if size else [self._one(wanted) for wanted in chunk]
        return findings

    @cached_property
    def _service(self) -> _Service:
        answer = self._client.get_json(self._url, {})
        single_line = _name(mapping(answer.get("singleLineAddressField")))
        named = (_name(field) for field in mappings(answer.get("addressFields")))
        fields = {name for name in named if name is not None}
        by_lower = {name.lower(): name for name in fields}
        parts = {
            part: next(by_lower[name] for name in names if name in by_lower)
            for part, names in _PARTS.items()
            if by_lower.keys() & set(names)
        }
        if single_line is None and "street" not in parts:
            raise SourceMisconfigured(
                f"{self._url}: is no geocoder of addresses (its fields are "
                f"{', '.join(sorted(fields)) or 'none'}); correct 'geocode_server' in the registry "
                "entry"
            )
        return _Service(single_line, parts, _batch_size(answer))

    def _batch(self, addresses: Sequence[StreetAddress]) -> list[GeocodeResult]:
        records = [
            {"attributes": {"OBJECTID": i, **self._service.record(wanted)}}
            for i, wanted in enumerate(addresses)
        ]
        asked = {"addresses": json.dumps({"records": records}), "outSR": "4326"}
        try:
            answer = self._client.get_json(f"{self._url}/geocodeAddresses", asked)
        except (QueryRefused, LayerNotFound):
            # Many services say that they take batches, and do not, or not of everyone.
            return [self._one(wanted) for wanted in addresses]
        except ParcelsError as error:
            return [error] * len(addresses)
        found = {
            sanitize_text(candidate_attributes(location).get("ResultID")): location
            for location in mappings(answer.get("locations"))
        }
        return [self._of_batch(wanted, found.get(str(i))) for i, wanted in enumerate(addresses)]

    def _of_batch(self, wanted: StreetAddress, location: Mapping[str, Any] | None) -> GeocodeResult:
        if location is None:
            return IncompleteAnswer(
                f"{self._url}: left {wanted.line!r} out of its answer; try again later"
            )
        if candidate_attributes(location).get("Status") == "T":
            return self._one(wanted)  # a batch shows one of those that tie; look at them all
        return best_match(wanted, [location])

    def _one(self, wanted: StreetAddress) -> GeocodeResult:
        asked = {
            **self._service.record(wanted),
            "outSR": "4326",
            "outFields": "*",
            "maxLocations": _CANDIDATES,
        }
        try:
            answer = self._client.get_json(f"{self._url}/findAddressCandidates", asked)
        except ParcelsError as error:
            return error
        candidates = answer.get("candidates")
        if not isinstance(candidates, list):
            return IncompleteAnswer(f"{self._url}: the answer has no candidates; try again later")
        return best_match(wanted, mappings(candidates))


def _name(field: Mapping[str, Any]) -> str | None:
    name = field.get("name")
    return name if isinstance(name, str) and name and name == sanitize_text(name) else None


def _batch_size(answer: Mapping[str, Any]) -> int:
    """How many addresses the service wants in one call; 0 for no batches."""
    capabilities = (
        sanitize_text(answer.get("capabilities") or "Geocode").replace(" ", "").split(",")
    )
    if "Geocode" not in capabilities:
        return 0
    said = mapping(answer.get("locatorProperties"))
    suggested = sanitize_text(said.get("SuggestedBatchSize") or said.get("MaxBatchSize") or "")
    is_number = re.fullmatch(r"[0-9]{1,9}", suggested)
    return min(int(suggested), _LARGEST_BATCH) if is_number else _USUAL_BATCH
