"""The US Census geocoder: batches of addresses, points interpolated along streets.

API: https://geocoding.geo.census.gov/geocoder/Geocoding_Services_API.html.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from parcels.addresses.street_address import StreetAddress
from parcels.ambiguity import ambiguous_address
from parcels.arcgis.http.client import ArcGISClient
from parcels.arcgis.http.responses import TransientError
from parcels.boundary import Located
from parcels.errors import IncompleteResponse, ParcelsError
from parcels.geocode.geocode_result import (
    AddressUnknown,
    GeocodeResult,
    match_rating,
    parse_lon_lat,
)
from parcels.untrusted import sanitize_text

CENSUS_URL = "https://geocoding.geo.census.gov/geocoder/locations/addressbatch"
_BENCHMARK = "Public_AR_Current"
# The service accepts 10,000, but needs many minutes for them and often fails.
_BATCH = 500
_READ_TIMEOUT_S = 300.0
# A ranking, not probabilities: an exact match is better than a corrected one.
_CONFIDENCE = {"Exact": 0.8, "Non_Exact": 0.6}
_INDICATORS = ("Match", "No_Match", "Tie")

_RowsById = dict[str, list[str]]


class CensusGeocoder:
    """The batch geocoder. It knows streets with number ranges, not houses.

    All its points are interpolated, and need a lot with the same house number to confirm them.
    """

    name = "the US Census"

    def __init__(self, client: ArcGISClient | None = None, url: str = CENSUS_URL) -> None:
        self._client = client or ArcGISClient()
        self._url = url

    def locate(self, addresses: Sequence[StreetAddress]) -> list[GeocodeResult]:
        """See `GeocodeStage`. Addresses without city and ZIP code are not sent: none is found."""
        results: list[GeocodeResult] = [AddressUnknown("needs the city or ZIP code")] * len(
            addresses
        )
        sendable = [i for i, wanted in enumerate(addresses) if wanted.city or wanted.postcode]
        for start in range(0, len(sendable), _BATCH):
            chunk = sendable[start : start + _BATCH]
            for i, result in zip(chunk, self._query([addresses[i] for i in chunk]), strict=True):
                results[i] = result
        return results

    def _query(self, addresses: Sequence[StreetAddress]) -> list[GeocodeResult]:
        try:
            rows: _RowsById = self._client.post_file(
                self._url,
                {"benchmark": _BENCHMARK},
                "addressFile",
                _as_csv(addresses),
                self._decode,
                read_timeout_s=_READ_TIMEOUT_S,
            )
        except ParcelsError as error:
            return [error] * len(addresses)
        return [self._result(wanted, rows.get(str(i))) for i, wanted in enumerate(addresses)]

    def _decode(self, body: bytes) -> _RowsById:
        """The rows by the id that was sent; they come in any order.

        Raises:
            TransientError: not a batch response.
        """
        lines = csv.reader(io.StringIO(body.decode("utf-8", errors="replace")))
        try:
            rows = {row[0]: row for row in lines if len(row) >= 3 and row[2] in _INDICATORS}
        except csv.Error:
            rows = {}
        if not rows:
            raise TransientError(f"{self._url}: the response has no address rows; try again later")
        return rows

    def _result(self, wanted: StreetAddress, row: list[str] | None) -> GeocodeResult:
        if row is None:
            return IncompleteResponse(
                f"{self._url}: the response omits {wanted.line!r}; try again later"
            )
        if row[2] == "Tie":
            return ambiguous_address(wanted, "the US Census finds several places")
        if row[2] == "No_Match":
            return AddressUnknown()
        try:
            kind, matched, (x, y) = row[3], sanitize_text(row[4]), parse_lon_lat(*row[5].split(","))
        except (IndexError, TypeError, ValueError):
            return IncompleteResponse(
                f"{self._url}: the row of {wanted.line!r} is malformed; try again later"
            )
        if match_rating(matched, wanted) is None:
            return AddressUnknown(f"nearest match: {matched}")
        confidence = _CONFIDENCE.get(kind, min(_CONFIDENCE.values()))
        return Located(x, y, "census", confidence, interpolated=True, matched=matched)


def _as_csv(addresses: Sequence[StreetAddress]) -> bytes:
    """CSV rows of id, street, city, state, ZIP code, without a header."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        (i, f"{a.house_number} {a.street}", a.city or "", a.state or "", a.postcode or "")
        for i, a in enumerate(addresses)
    )
    return text.getvalue().encode()
