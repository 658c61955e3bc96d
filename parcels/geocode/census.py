"""The US Census geocoder: batches of addresses, points reckoned along the street.

The service and its format: https://geocoding.geo.census.gov/geocoder/Geocoding_Services_API.html.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from parcels.addresses.street_address import StreetAddress
from parcels.arcgis.http.client import ArcGISClient
from parcels.arcgis.http.responses import TransientError
from parcels.boundary import Located
from parcels.errors import IncompleteAnswer, ParcelsError
from parcels.geocode.geocode_result import (
    AddressUnknown,
    GeocodeResult,
    ambiguous_address,
    match_rating,
    parse_lon_lat,
)
from parcels.untrusted import sanitize_text

CENSUS_URL = "https://geocoding.geo.census.gov/geocoder/locations/addressbatch"
_BENCHMARK = "Public_AR_Current"
# It takes 10,000, for which it needs many minutes, and often gives up on the way.
_CHUNK = 500
_READ_S = 300.0
# An order, not probabilities: an exact match is surer than one with a part of it mended.
_CONFIDENCE = {"Exact": 0.8, "Non_Exact": 0.6}
_INDICATORS = ("Match", "No_Match", "Tie")

_Answers = dict[str, list[str]]


class CensusGeocoder:
    """The batch geocoder. It has streets with ranges of numbers and no houses.

    Every point of it is interpolated, and says nothing until a lot's house number agrees.
    """

    name = "the US Census"

    def __init__(self, client: ArcGISClient | None = None, url: str = CENSUS_URL) -> None:
        self._client = client or ArcGISClient()
        self._url = url

    def locate(self, addresses: Sequence[StreetAddress]) -> list[GeocodeResult]:
        """See `Stage`. Addresses without city and ZIP code are not sent: it knows none such."""
        findings: list[GeocodeResult] = [AddressUnknown("it needs the city or the ZIP code")] * len(
            addresses
        )
        sendable = [i for i, wanted in enumerate(addresses) if wanted.city or wanted.postcode]
        for start in range(0, len(sendable), _CHUNK):
            chunk = sendable[start : start + _CHUNK]
            for i, finding in zip(chunk, self._ask([addresses[i] for i in chunk]), strict=True):
                findings[i] = finding
        return findings

    def _ask(self, addresses: Sequence[StreetAddress]) -> list[GeocodeResult]:
        try:
            answers: _Answers = self._client.post_file(
                self._url,
                {"benchmark": _BENCHMARK},
                "addressFile",
                _as_csv(addresses),
                self._decode,
                read_timeout_s=_READ_S,
            )
        except ParcelsError as error:
            return [error] * len(addresses)
        return [self._finding(wanted, answers.get(str(i))) for i, wanted in enumerate(addresses)]

    def _decode(self, body: bytes) -> _Answers:
        """The rows by the id that was sent: they come in any order.

        Raises:
            TryAgain: this is no answer to a batch.
        """
        rows = csv.reader(io.StringIO(body.decode("utf-8", errors="replace")))
        try:
            answers = {row[0]: row for row in rows if len(row) >= 3 and row[2] in _INDICATORS}
        except csv.Error:
            answers = {}
        if not answers:
            raise TransientError(
                f"{self._url}: the answer has no rows of addresses; try again later"
            )
        return answers

    def _finding(self, wanted: StreetAddress, row: list[str] | None) -> GeocodeResult:
        if row is None:
            return IncompleteAnswer(
                f"{self._url}: left {wanted.line!r} out of its answer; try again later"
            )
        if row[2] == "Tie":
            return ambiguous_address(wanted, "the US Census has several places for it")
        if row[2] == "No_Match":
            return AddressUnknown()
        try:
            kind, matched, (x, y) = row[3], sanitize_text(row[4]), parse_lon_lat(*row[5].split(","))
        except (IndexError, TypeError, ValueError):
            return IncompleteAnswer(
                f"{self._url}: its row for {wanted.line!r} is broken; try again later"
            )
        if match_rating(matched, wanted) is None:
            return AddressUnknown(f"it finds {matched} instead")
        confidence = _CONFIDENCE.get(kind, min(_CONFIDENCE.values()))
        return Located(x, y, "census", confidence, interpolated=True, matched=matched)


def _as_csv(addresses: Sequence[StreetAddress]) -> bytes:
    """Rows of id, street, city, state, ZIP code, without a header."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        (i, f"{a.house_number} {a.street}", a.city or "", a.state or "", a.postcode or "")
        for i, a in enumerate(addresses)
    )
    return text.getvalue().encode()
