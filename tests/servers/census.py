"""The US Census batch geocoder's contract, on loopback, over synthetic streets.

POST multipart/form-data with `benchmark` and a CSV of id, street, city, state, ZIP code in
`addressFile`; the response is a CSV of quoted columns, its rows in another order:

    "1","101 MAIN ST, SAMPLEVILLE, TN, 38001","Match","Exact","101 MAIN ST, …","-90.0,35.1","7","L"
    "2","999 MAIN ST, SAMPLEVILLE, TN, 38001","No_Match"
    "3","101 MAIN ST, , TN, 38001","Tie"
"""

from __future__ import annotations

import csv
import email
import email.policy
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from servers.scripted import Call, Reply, scripted
from servers.streets import Street

PATH = "/geocoder/locations/addressbatch"


@dataclass
class CensusServer:
    """A running server. `faults` has one for each call: "500", "html", "garbage", "drops rows".

    `batches` has the rows of each call, as sent.
    """

    streets: Sequence[Street]
    url: str = ""
    faults: list[str] = field(default_factory=list)
    batches: list[list[list[str]]] = field(default_factory=list)

    def answer(self, call: Call) -> Reply:
        if call.method != "POST" or call.path != PATH:
            return Reply(b"<html><body>404 Not Found</body></html>", 404)
        fields = _multipart(call)
        if fields.get("benchmark") != "Public_AR_Current" or "addressFile" not in fields:
            return Reply(b"<html><body>400 Bad Request</body></html>", 400)
        rows = list(csv.reader(io.StringIO(fields["addressFile"])))
        self.batches.append(rows)
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "500":
            return Reply(b"", 500)
        if fault == "html":
            return Reply(b"<html><body>The service is being maintained</body></html>")
        if fault == "garbage":
            return Reply(b'\xff\xfe"0","half a row')
        found = [self._row(*row) for row in rows][::-1]
        if fault == "drops rows":
            found = found[1:]
        text = io.StringIO()
        csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(found)
        return Reply(text.getvalue().encode(), headers={"Content-Type": "text/csv"})

    def _row(self, key: str, line: str, city: str, state: str, postcode: str) -> list[str]:
        sent = f"{line}, {city}, {state}, {postcode}"
        number, _, name = line.partition(" ")
        known = [s for s in self.streets if s.name == name and number.isdigit()]
        known = [s for s in known if s.has(int(number))]
        here = [s for s in known if postcode in ("", s.postcode) and city in ("", s.city)] or known
        if not here:
            return [key, sent, "No_Match"]
        if len(here) > 1:
            return [key, sent, "Tie"]
        [street] = here
        exact = (city, postcode) == (street.city, street.postcode)
        point = street.along(int(number))
        matched = street.address(int(number))
        kind = "Exact" if exact else "Non_Exact"
        where = f"{point.x:.12f},{point.y:.12f}"
        return [key, sent, "Match", kind, matched, where, "70000001", "R"]


def _multipart(call: Call) -> dict[str, str]:
    head = f"Content-Type: {call.headers['Content-Type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + call.body, policy=email.policy.HTTP)
    return {
        str(part.get_param("name", header="content-disposition")): str(
            (part.get_payload(decode=True) or b"").decode()  # type: ignore[union-attr]
        )
        for part in message.iter_parts()  # type: ignore[attr-defined]
    }


@contextmanager
def census_server(*streets: Street) -> Iterator[CensusServer]:
    """A running geocoder that knows these streets."""
    server = CensusServer(streets)
    with scripted(server.answer) as running:
        server.url = f"{running.address}{PATH}"
        yield server
