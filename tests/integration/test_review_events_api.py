"""Undo, redo, deletion and the full-review mark through the panel's API."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from lots import square
from servers.panel_client import Client, panel_client
from shapely.geometry import mapping
from sqlalchemy import text

from pipeline.store.database import Database
from pipeline.store.reviews import tokens


@pytest.fixture
def client(database: Database, tmp_path: Path) -> Iterator[Client]:
    with panel_client(database, tmp_path) as opened:
        yield opened


def _take_back(client: Client, what: str, review: int, version: int, key: str) -> requests.Response:
    path = f"/v1/review/events/{review}/{what}"
    return client.call("POST", path, {"version": version}, **{"Idempotency-Key": key})


def _mark(client: Client, lot: int, value: object, key: str = "mark-key-1") -> requests.Response:
    path = f"/v1/review/properties/{lot}/fully-reviewed"
    return client.call("POST", path, {"fully_reviewed": value}, **{"Idempotency-Key": key})


def _shown(document: dict[str, Any], detection: int) -> dict[str, Any]:
    [found] = [each for each in document["property"]["detections"] if each["id"] == detection]
    return found


def test_a_decision_is_taken_back_and_decided_again(client: Client) -> None:
    drawn = mapping(square(1, 1, 3, 4))
    edited = client.decide(client.lawn, action="edit", version=1, geometry=drawn).json()
    undone = _take_back(client, "undo", edited["review_id"], 2, "undo-key-1")
    assert undone.status_code == 201
    lawn = _shown(undone.json(), client.lawn)
    assert (lawn["state"], lawn["is_reviewed"], lawn["action"]) == ("proposed", False, None)
    before = client.call("GET", f"/v1/review/properties/{client.lot}").json()
    assert before["detections"] == undone.json()["property"]["detections"]
    again = _take_back(client, "redo", edited["review_id"], 3, "redo-key-1").json()
    lawn = _shown(again, client.lawn)
    assert (lawn["state"], lawn["action"]) == ("accepted", "edit")
    assert lawn["review_id"] == again["review_id"]
    history = client.call("GET", f"/v1/review/detections/{client.lawn}/history").json()
    assert [each["action"] for each in history] == ["edit", "undo", "edit"]
    assert history[0]["undone_by"] == history[1]["id"]
    assert history[1]["undoes"] == history[0]["id"]
    replayed = _take_back(client, "redo", edited["review_id"], 3, "redo-key-1").json()
    assert replayed["review_id"] == again["review_id"]


def test_an_undo_of_an_older_version_is_a_conflict(client: Client) -> None:
    accepted = client.decide(client.lawn, action="accept", version=1).json()
    answer = _take_back(client, "undo", accepted["review_id"], 1, "undo-key-1")
    assert answer.status_code == 409
    assert answer.json()["property"]["key"] == client.lot
    assert answer.json()["detection_id"] == client.lawn


def test_another_reviewers_decision_and_another_county_are_refused(
    client: Client, database: Database
) -> None:
    accepted = client.decide(client.lawn, action="accept", version=1).json()
    with database.engine.begin() as conn:
        _, bob = tokens.add_token(conn, "bob", "reviewer", None)
        _, elsewhere = tokens.add_token(conn, "ann", "reviewer", ["elsewhere"])
        _, viewer = tokens.add_token(conn, "eve", "viewer", None)
    for token, status in ((bob, 409), (elsewhere, 404), (viewer, 403)):
        client.session.headers["Authorization"] = f"Bearer {token}"
        for what in ("undo", "redo"):
            answer = _take_back(client, what, accepted["review_id"], 2, f"{what}-key-{status}")
            assert answer.status_code == status, answer.text
        assert _mark(client, client.lot, True).status_code == status
    with database.engine.connect() as conn:
        assert conn.execute(text("SELECT count(*) FROM lotline.review")).scalar_one() == 1


def test_what_is_deleted_is_not_shown_as_an_error_of_the_segmenter(client: Client) -> None:
    deleted = client.decide(client.tree, action="delete", version=1, note="twice").json()
    tree = _shown(deleted, client.tree)
    assert (tree["state"], tree["action"]) == ("rejected", "delete")


def test_a_property_is_marked_when_all_is_decided(client: Client) -> None:
    refused = _mark(client, client.lot, True)
    assert refused.status_code == 409
    assert "2 of the property's objects are undecided" in refused.json()["detail"]
    client.decide(client.lawn, "key-of-lawn", action="accept", version=1)
    client.decide(client.tree, "key-of-tree", action="reject", version=1)
    marked = _mark(client, client.lot, True).json()["property"]["fully_reviewed"]
    assert marked["reviewer"] == "ann"
    assert marked["labels"] == ["lawn", "tree"]
    assert _mark(client, client.lot, True).status_code == 200
    withdrawn = _mark(client, client.lot, False, "mark-key-2").json()["property"]
    assert withdrawn["fully_reviewed"] is None
    assert _mark(client, client.lot, "perhaps", "mark-key-3").status_code == 422


@pytest.mark.parametrize("odd", ["a\0b", "half \ud800 of a pair"], ids=["nul", "surrogate"])
def test_text_that_cannot_be_stored_is_refused(client: Client, odd: str) -> None:
    refused = client.decide(client.lawn, action="reject", version=1, note=odd)
    assert refused.status_code == 422
    assert re.search("cannot be stored|valid string", refused.json()["detail"])
    relabelled = client.decide(client.lawn, "another-key", action="relabel", version=1, label=odd)
    assert relabelled.status_code == 422


@pytest.mark.parametrize("odd", ["%00", "%ED%A0%80", "%FF"])
def test_a_county_whose_name_is_no_text_is_not_there(client: Client, odd: str) -> None:
    for path in (f"/v1/review/labels?county={odd}", f"/tiles/county/{odd}/15/1/1.mvt"):
        answer = client.call("GET", path)
        assert answer.status_code in (200, 404, 422), answer.text
        assert answer.status_code != 200 or not answer.content


@pytest.mark.long
def test_a_thousand_replays_are_one_decision(client: Client, database: Database) -> None:
    def accept(_: int) -> int:
        return client.decide(client.lawn, action="accept", version=1).json()["review_id"]

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(accept, range(1_000)))) == 1
    with database.engine.connect() as conn:
        assert conn.execute(text("SELECT count(*) FROM lotline.review")).scalar_one() == 1
