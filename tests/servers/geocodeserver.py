"""An ArcGIS GeocodeServer's contract, on loopback, over synthetic streets.

It serves metadata, `geocodeAddresses` and `findAddressCandidates` like ArcGIS: houses
(PointAddress), numbers along a street (StreetAddress), else the street (StreetName) or the town
(Locality), each with a score.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from servers.scripted import Call, Reply, scripted
from servers.streets import Street

SERVICE = "/arcgis/rest/services/Synthetic/GeocodeServer"


@dataclass
class GeocodeServerDouble:
    """A running server.

    `points` are the streets with known houses; other streets have interpolated numbers. `faults`
    has one fault for each call of an operation: "500", "html", "token", "refused", "drops rows".
    `requests` has the name of each operation and its number of addresses.
    """

    streets: Sequence[Street]
    points: Sequence[Street] = ()
    url: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    requests: list[tuple[str, int]] = field(default_factory=list)

    def answer(self, call: Call) -> Reply:
        params = {**call.query, **call.form}
        assert params["f"] == "json"
        operation = call.path.removeprefix(SERVICE).strip("/")
        if not operation:
            return _json(self.describe())
        assert params["outSR"] == "4326"
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "500":
            return Reply(b"", 500)
        if fault == "html":
            return Reply(b"<html><body>Down</body></html>")
        if fault in ("token", "refused"):
            code = 499 if fault == "token" else 400
            return _json({"error": {"code": code, "message": fault, "details": []}})
        if operation == "geocodeAddresses":
            records = json.loads(params["addresses"])["records"]
            self.requests.append((operation, len(records)))
            locations = [self._located(record["attributes"]) for record in records][::-1]
            return _json({"locations": locations[1:] if fault == "drops rows" else locations})
        assert operation == "findAddressCandidates"
        self.requests.append((operation, 1))
        return _json({"candidates": self._candidates(_line(params))})

    def describe(self) -> dict[str, Any]:
        return {
            "currentVersion": 10.91,
            "capabilities": "Geocode,ReverseGeocode",
            "addressFields": [{"name": "Address"}, {"name": "City"}, {"name": "Postal"}],
            "singleLineAddressField": {"name": "SingleLine"},
            "locatorProperties": {"SuggestedBatchSize": "3", "MaxBatchSize": "1000"},
            **self.metadata,
        }

    def _located(self, attributes: dict[str, Any]) -> dict[str, Any]:
        found = self._candidates(_line(attributes))
        key = {"ResultID": attributes["OBJECTID"]}
        if not found:
            unmatched = {**key, "Status": "U", "Score": 0, "Match_addr": ""}
            return {"address": "", "location": {"x": "NaN", "y": "NaN"}, "score": 0,
                    "attributes": unmatched}  # fmt: skip
        tied = len(found) > 1 and found[1]["score"] == found[0]["score"]
        first = found[0]
        return {**first, "attributes": {**first["attributes"], **key, "Status": "MT"[tied]}}

    def _candidates(self, line: str) -> list[dict[str, Any]]:
        """Every street of the name, best first; a wrong city or ZIP code lowers the score."""
        head, *rest = (part.strip() for part in line.split(","))
        number, _, name = head.partition(" ")
        found = []
        for street in self.streets:
            if street.name != name:
                continue
            wrong = [word for word in " ".join(rest).split() if word not in _words_of(street)]
            score = 100 - 25 * len(wrong)
            if number.isdigit() and street in self.points and int(number) in street.numbers:
                at, kind = street.at_the_door(int(number)), "PointAddress"
            elif number.isdigit() and street.has(int(number)):
                at, kind = street.along(int(number)), "StreetAddress"
            else:
                at, kind, number = street.along(street.first), "StreetName", ""
            matched = street.address(int(number)) if number else f"{name}, {street.city}, TN"
            found.append(_candidate(at.x, at.y, score, matched, kind))
        return sorted(found, key=lambda candidate: -candidate["score"])


def _words_of(street: Street) -> set[str]:
    return {*street.city.split(), "TN", street.postcode}


def _candidate(x: float, y: float, score: float, matched: str, kind: str) -> dict[str, Any]:
    attributes = {"Score": score, "Match_addr": matched, "Addr_type": kind, "Status": "M"}
    return {"address": matched, "location": {"x": x, "y": y}, "score": score,
            "attributes": attributes}  # fmt: skip


def _line(params: dict[str, Any]) -> str:
    if "SingleLine" in params:
        return str(params["SingleLine"])
    return ", ".join(str(params[name]) for name in ("Address", "City", "Postal") if name in params)


def _json(answer: dict[str, Any]) -> Reply:
    return Reply(json.dumps(answer).encode(), headers={"Content-Type": "application/json"})


@contextmanager
def geocode_server(
    *streets: Street, points: Sequence[Street] = ()
) -> Iterator[GeocodeServerDouble]:
    """A running geocoder that knows these streets, and the houses of `points`."""
    server = GeocodeServerDouble(streets, points)
    with scripted(server.answer) as running:
        server.url = f"{running.address}{SERVICE}"
        yield server
