"""Recorded responses of real servers (../shared/data/arcgis), replayed on loopback."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from servers.scripted import Call, Reply, ScriptedServer, scripted

RECORDED = Path(__file__).resolve().parents[3] / "shared/data/arcgis"

needs_recordings = pytest.mark.skipif(
    not RECORDED.is_dir(), reason="recorded responses are not here (../shared/data/arcgis)"
)


def body(name: str) -> bytes:
    return (RECORDED / name).read_bytes()


def content(name: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(body(name))
    return parsed


@contextmanager
def replayed(response_of: Callable[[dict[str, str]], bytes]) -> Iterator[ScriptedServer]:
    """A server with one layer; `response_of` gets a query's parameters, or {} for the metadata."""

    def reply(call: Call) -> Reply:
        params = {**call.query, **call.form}
        return Reply(response_of(params if call.path.endswith("/query") else {}))

    with scripted(reply) as server:
        yield server


def exchange(folder: str, **bodies: bytes) -> Callable[[dict[str, str]], bytes]:
    """The responses of a pyesridump recording; `bodies` replaces some of them."""
    files = {path.name: path for path in (RECORDED / "pyesridump" / folder).iterdir()}

    def recorded(part: str) -> bytes | None:
        return next((path.read_bytes() for name, path in files.items() if part in name), None)

    def response_of(params: dict[str, str]) -> bytes:
        if not params:
            kind, found = "metadata", recorded("metadata")
        elif params.get("returnIdsOnly") == "true":
            kind, found = "ids", recorded("ids-only")
        elif params.get("returnCountOnly") == "true":
            kind, found = "count", recorded("count-only")
        elif "outStatistics" in params:
            kind, found = "statistics", recorded("tatistics")
        else:
            kind, found = "rows", recorded("-0.")
        refused = b'{"error": {"code": 400, "message": "not recorded", "details": []}}'
        return bodies.get(kind) or found or refused

    return response_of
