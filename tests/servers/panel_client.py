"""A client of the review panel over a property with a lawn and a tree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from lots import (
    LAWN,
    TREE,
    load_properties,
    make_boundary,
    make_detection,
    make_result,
    read_detections,
    start_run,
    write_lot,
)
from servers.panel import panel

from pipeline.store.database import Database


@dataclass
class Client:
    """A client of the panel: with a session's anti-forgery value, or with a token."""

    address: str
    lot: int
    lawn: int
    tree: int
    session: requests.Session

    def call(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> requests.Response:
        return self.session.request(
            method, self.address + path, json=body, headers=headers, timeout=30
        )

    def decide(
        self, detection: int, key: str = "a-key-of-one", **body: object
    ) -> requests.Response:
        path = f"/v1/review/detections/{detection}/reviews"
        return self.call("POST", path, body, **{"Idempotency-Key": key})


@contextmanager
def panel_client(database: Database, tmp_path: Path) -> Iterator[Client]:
    """A property with a lawn and a tree, and the user of this machine."""
    with database.engine.begin() as conn:
        [lot] = load_properties(conn)
        found = make_result(make_detection(LAWN), make_detection(TREE, "tree"))
        write_lot(conn, start_run(conn), lot, make_boundary(), found)
        ids = {row.label: row.id for row in read_detections(conn, lot)}
    with panel(database, tmp_path) as address, requests.Session() as session:
        session.headers["X-CSRF-Token"] = session.get(f"{address}/session", timeout=30).json()[
            "csrf"
        ]
        yield Client(address, lot, ids["lawn"], ids["tree"], session)
