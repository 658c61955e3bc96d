"""Decisions that belong together, over a real PostGIS: all are stored, or none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from lots import LAWN, TREE, read_detections, square
from servers.panel_client import Client, panel_client
from shapely import MultiPolygon
from shapely.geometry import mapping
from sqlalchemy import text

from pipeline.store.database import Database


@pytest.fixture
def client(database: Database, tmp_path: Path) -> Iterator[Client]:
    with panel_client(database, tmp_path) as opened:
        yield opened


def _send(client: Client, *decisions: object, key: str = "one-joint-key") -> requests.Response:
    path = f"/v1/review/properties/{client.lot}/reviews"
    return client.call("POST", path, {"decisions": decisions}, **{"Idempotency-Key": key})


def _edit(detection: int, outline: MultiPolygon, version: int = 1) -> dict[str, object]:
    return {
        "action": "edit",
        "detection_id": detection,
        "version": version,
        "geometry": mapping(outline),
    }


def _events(database: Database) -> list[tuple[int, str]]:
    query = "SELECT detection_fk, action FROM lotline.review ORDER BY id"
    with database.engine.connect() as conn:
        return [(row.detection_fk, row.action) for row in conn.execute(text(query))]


def test_both_sides_of_a_shared_edge_are_stored(client: Client, database: Database) -> None:
    decisions = (_edit(client.lawn, TREE), _edit(client.tree, LAWN))
    first = _send(client, *decisions)
    assert first.status_code == 201, first.text
    assert _events(database) == [(client.lawn, "edit"), (client.tree, "edit")]
    assert [each["detection_id"] for each in first.json()["reviews"]] == [client.lawn, client.tree]
    again = _send(client, *decisions)
    assert again.json()["reviews"] == first.json()["reviews"]
    assert len(_events(database)) == 2


def test_a_union_edits_one_object_and_deletes_the_other(client: Client, database: Database) -> None:
    united = MultiPolygon([*LAWN.geoms, *TREE.geoms])
    deleted = {"action": "delete", "detection_id": client.tree, "version": 1}
    answer = _send(client, _edit(client.lawn, united), deleted)
    assert answer.status_code == 201, answer.text
    with database.engine.connect() as conn:
        states = {row.id: row.state for row in read_detections(conn, client.lot)}
    assert states == {client.lawn: "accepted", client.tree: "rejected"}


def test_one_refusal_refuses_all(client: Client, database: Database) -> None:
    stale = _edit(client.tree, LAWN, version=7)
    refused = _send(client, _edit(client.lawn, TREE), stale)
    assert refused.status_code == 409
    problem = refused.json()
    assert problem["detection_id"] == client.tree
    assert "decision 2 of 2" in problem["detail"]
    assert problem["difference_m2"] > 0
    versions = {each["id"]: each["version"] for each in problem["property"]["detections"]}
    assert versions == {client.lawn: 1, client.tree: 1}, "the answer has what is stored"
    assert _events(database) == []
    crossing = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}
    drawn = {"action": "add", "label": "pool", "geometry": crossing}
    refused = _send(client, _edit(client.lawn, TREE), drawn)
    assert refused.status_code == 422
    assert "crosses or touches itself (self-intersection)" in refused.json()["detail"]
    assert refused.json()["at"] == [0.5, 0.5]
    assert _events(database) == []


def test_an_addition_is_stored_with_an_edit(client: Client, database: Database) -> None:
    drawn = {"action": "add", "label": "pool", "geometry": mapping(square(1, 1, 3, 4))}
    answer = _send(client, _edit(client.lawn, TREE), drawn)
    assert answer.status_code == 201, answer.text
    assert [action for _, action in _events(database)] == ["edit", "add"]


@pytest.mark.parametrize(
    "decisions",
    [
        [],
        [{"action": "edit"}],
        [{"action": "add", "label": "pool"}],
        [{"action": "undo", "detection_id": 1, "version": 1}],
        [{"action": "accept", "detection_id": 2**70, "version": 1}],
        [{"action": "accept", "detection_id": 1, "version": 1}] * 201,
        "all",
    ],
)
def test_odd_decisions_are_refused(client: Client, database: Database, decisions: object) -> None:
    path = f"/v1/review/properties/{client.lot}/reviews"
    key = {"Idempotency-Key": "one-joint-key"}
    refused = client.call("POST", path, {"decisions": decisions}, **key)
    assert refused.status_code == 422
    assert _events(database) == []


def test_a_detection_of_elsewhere_is_not_found(client: Client, database: Database) -> None:
    elsewhere = {"action": "accept", "detection_id": client.tree + 1_000, "version": 1}
    refused = _send(client, _edit(client.lawn, TREE), elsewhere)
    assert refused.status_code == 404
    assert _events(database) == []
