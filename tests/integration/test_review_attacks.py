"""The review panel under attack: what others send must not get in, lose a decision or stop it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import numpy as np
import pytest
import requests
import shapely
from lots import (
    LAT,
    LAWN,
    LON,
    load_properties,
    make_boundary,
    make_result,
    square,
    start_run,
    write_lot,
)
from servers.panel_client import Client, panel_client
from shapely import LineString, Polygon, affinity
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as NoConnectionLeft

from detection.clip import LotLines
from detection.errors import ImageryUnavailable
from detection.imagery.interface import ImagerySource
from detection.labels import LABELS
from parcels.measure import area_m2
from pipeline.review import panel_context
from pipeline.store.database import Database
from pipeline.store.reviews import tokens

LOTLINE = str(Path(sys.executable).with_name("lotline"))


@pytest.fixture
def client(database: Database, tmp_path: Path) -> Iterator[Client]:
    with panel_client(database, tmp_path) as opened:
        yield opened


def _count(database: Database, table: str) -> int:
    with database.engine.connect() as conn:
        return int(conn.execute(text(f"SELECT count(*) FROM lotline.{table}")).scalar_one())


def test_revoking_the_last_token_opens_no_panel_that_others_can_reach(
    database: Database, tmp_path: Path
) -> None:
    with database.engine.begin() as conn:
        token_id, token = tokens.add_token(conn, "Ann Lee", "admin")
    environment = {**os.environ, "DATABASE_URL": database.url, "LOTLINE_HOME": str(tmp_path)}
    words = [LOTLINE, "review", "--port", "0", "--allow-host", "review.example.com"]
    with subprocess.Popen(
        words, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as serving:
        try:
            assert serving.stdout is not None
            address = re.search(r"http://127\.0\.0\.1:\d+", serving.stdout.readline())
            assert address is not None
            sent = {"Authorization": f"Bearer {token}"}
            path = f"{address[0]}/v1/review/counties"
            assert requests.get(path, headers=sent, timeout=30).status_code == 200
            with database.engine.begin() as conn:
                tokens.revoke_token(conn, token_id)
            host = {"Host": "review.example.com"}
            for headers in (sent, host, {}):
                assert requests.get(path, headers=headers, timeout=30).status_code == 401
            session = requests.get(f"{address[0]}/session", headers=host, timeout=30).json()
            assert session["role"] is None
        finally:
            serving.terminate()


@pytest.mark.parametrize("scheme", ["Basic YW5uOng=", "Negotiate YW5u", "", "Bearer"])
def test_what_a_browser_sends_by_itself_is_no_bearer_token(
    client: Client, database: Database, scheme: str
) -> None:
    path = f"{client.address}/v1/review/detections/{client.lawn}/reviews"
    headers = {"Authorization": scheme, "Idempotency-Key": "a-key-of-another-site"}
    body = {"action": "reject", "version": 1}
    refused = requests.post(path, json=body, headers=headers, timeout=30)
    assert refused.status_code in (401, 403), refused.text
    assert _count(database, "review") == 0


def _nested(depth: int) -> list[object]:
    nested: list[object] = []
    for _ in range(depth):
        nested = [nested]
    return nested


@pytest.mark.parametrize(
    "coordinates",
    [_nested(10), _nested(400), _nested(900), [[[10**400, 0], [0, 1], [1, 1], [10**400, 0]]]],
    ids=["nested 10", "nested 400", "nested 900", "400 digits"],
)
@pytest.mark.parametrize("tool", ["areas", "outlines", "reviews"])
def test_coordinates_of_any_form_are_refused_with_a_reason(
    client: Client, database: Database, coordinates: list[object], tool: str
) -> None:
    outline = {"type": "Polygon", "coordinates": coordinates}
    if tool == "areas":
        refused = client.call("POST", "/v1/review/areas", outline)
    elif tool == "outlines":
        body = {"tool": "cut", "outline": mapping(LAWN), "with_shape": outline}
        refused = client.call("POST", "/v1/review/outlines", body)
    else:
        refused = client.decide(client.lawn, action="edit", version=1, geometry=outline)
    assert refused.status_code == 422, refused.text
    assert refused.json()["detail"]
    assert _count(database, "review") == 0


def test_a_body_that_is_nested_too_deeply_is_refused(client: Client) -> None:
    for body in ("[" * 100_000, '{"coordinates":' + "[" * 100_000 + "]" * 100_000 + "}"):
        sent = client.session.post(
            f"{client.address}/v1/review/areas",
            data=body,
            headers={"Content-Type": "application/json"},
            timeout=30,
        )
        assert sent.status_code in (400, 422), sent.text
        assert sent.headers["Content-Type"] == "application/problem+json"


def test_heights_are_left_out(client: Client) -> None:
    """GeoJSON may have them; the database does not."""
    [[ring]] = mapping(square(1, 1, 3, 4))["coordinates"]
    drawn = {"type": "Polygon", "coordinates": [[[x, y, 231.5] for x, y in ring]]}
    saved = client.decide(client.lawn, action="edit", version=1, geometry=drawn)
    assert saved.status_code == 201, saved.text
    [lawn] = [each for each in saved.json()["property"]["detections"] if each["id"] == client.lawn]
    assert {len(vertex) for vertex in lawn["geometry"]["coordinates"][0][0]} == {2}


def _comb(teeth: int, *, is_lying: bool = False) -> Polygon:
    """A valid outline on the lot that crosses the same one, turned, at each of its teeth."""
    west, south, east, north = square(1, 1, 8, 8).bounds
    spine = south + (north - south) / 20
    steps = np.linspace(west, east, 2 * teeth + 1)
    outline = [(west, south), (west, north)]
    for left, gap, right in zip(steps[:-2:2], steps[1::2], steps[2::2], strict=True):
        outline += [(left, north), (gap, north), (gap, spine), (right, spine)]
    comb = Polygon([*outline, (east, south)])
    return affinity.rotate(comb, 90, origin="center") if is_lying else comb


@pytest.mark.parametrize("tool", ["cut", "join", "split", "reshape", "star"])
def test_no_tool_computes_millions_of_crossings(client: Client, tool: str) -> None:
    standing, lying = _comb(4_000), _comb(4_000, is_lying=True)
    shape: BaseGeometry = lying
    if tool in ("split", "reshape"):
        shape = LineString(lying.exterior.coords)
    elif tool == "star":  # it crosses itself
        turns = 2 * np.pi * np.arange(8_001) * 4_000 / 8_001
        shape = Polygon(np.c_[LON + 1e-4 * np.cos(turns), LAT + 1e-4 * np.sin(turns)])
    used = "cut" if tool == "star" else tool
    body = {"tool": used, "outline": mapping(standing), "with_shape": mapping(shape)}
    refused = client.call("POST", "/v1/review/outlines", body)
    assert refused.status_code == 422, refused.text
    assert "cross" in refused.json()["detail"]


def test_a_stroke_that_weaves_along_an_edge_is_refused(client: Client) -> None:
    west, _, east, north = square(1, 1, 8, 8).bounds
    at = np.linspace(west, east, 1_000)
    stroke = LineString(np.c_[at, north + np.where(np.arange(1_000) % 2, 1e-6, -1e-6)])
    body = {"tool": "reshape", "outline": mapping(square(1, 1, 8, 8))}
    refused = client.call("POST", "/v1/review/outlines", {**body, "with_shape": mapping(stroke)})
    assert refused.status_code == 422, refused.text
    assert "crosses the edge" in refused.json()["detail"]


def test_outlines_that_cross_too_often_are_not_stored_together(
    client: Client, database: Database
) -> None:
    standing, lying = mapping(_comb(500)), mapping(_comb(500, is_lying=True))
    saved = client.decide(client.tree, "key-of-comb-1", action="edit", version=1, geometry=standing)
    assert saved.status_code == 201, saved.text
    stored = _count(database, "review")
    edit = {"action": "edit", "version": 2, "geometry": lying}
    added = {"label": "tree", "geometry": lying}
    path = f"/v1/review/properties/{client.lot}/detections"
    for refused in (
        client.decide(client.tree, "key-of-comb-2", **edit),
        client.call("POST", path, added, **{"Idempotency-Key": "key-of-comb-3"}),
    ):
        assert refused.status_code == 422, refused.text
        assert "cross each other" in refused.json()["detail"]
    assert _count(database, "review") == stored


def test_large_outlines_with_an_edge_in_common_are_no_attack(client: Client) -> None:
    turns = 2 * np.pi * np.arange(20_000) / 20_000
    round_ = Polygon(np.c_[LON + 1e-4 * np.cos(turns), LAT + 1e-4 * np.sin(turns)])
    piece = shapely.difference(round_, square(-100, -100, 0, 100))
    body = {"tool": "join", "outline": mapping(round_), "with_shape": mapping(piece)}
    joined = client.call("POST", "/v1/review/outlines", body)
    assert joined.status_code == 200, joined.text
    assert joined.json()[0]["area_m2"] == pytest.approx(area_m2(round_))


def test_a_key_of_another_decision_answers_for_none(client: Client, database: Database) -> None:
    """Or what is sent with it would seem to be saved, and be lost."""
    key, first = "a-key-that-is-used", mapping(square(1, 1, 3, 4))
    edit = {"action": "edit", "version": 1, "geometry": first}
    assert client.decide(client.lawn, key, **edit).status_code == 201
    again = client.decide(client.lawn, key, **edit)
    assert (again.status_code, _count(database, "review")) == (201, 1)
    other = {**edit, "geometry": mapping(square(1, 1, 2, 2))}
    with database.engine.begin() as conn:
        token = tokens.add_token(conn, "somebody else", "reviewer")[1]
        bob = tokens.add_token(conn, "ann", "reviewer")[1]
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {token}"
    somebody = Client(client.address, client.lot, client.lawn, client.tree, session)
    client.session.headers["Authorization"] = f"Bearer {bob}"
    for refused in (
        client.decide(client.lawn, key, **other),
        client.decide(client.tree, key, **edit),
        client.decide(client.lawn, key, action="accept", version=2),
        somebody.decide(client.lawn, key, **edit),
    ):
        assert refused.status_code == 409, refused.text
        assert "own key" in refused.json()["detail"]
    assert client.decide(client.lawn, key, **edit).status_code == 201
    assert _count(database, "review") == 1


def test_a_key_of_another_drawing_answers_for_none(client: Client, database: Database) -> None:
    with database.engine.begin() as conn:
        [*_, neighbour] = load_properties(conn, 2)
        write_lot(conn, start_run(conn), neighbour, make_boundary(), make_result())
    key = {"Idempotency-Key": "a-key-that-is-used"}
    drawn = {"label": "pool", "geometry": mapping(square(1, 1, 3, 4))}
    path = f"/v1/review/properties/{client.lot}/detections"
    assert client.call("POST", path, drawn, **key).status_code == 201
    assert client.call("POST", path, drawn, **key).status_code == 201
    elsewhere = f"/v1/review/properties/{neighbour}/detections"
    for refused in (
        client.call("POST", path, {**drawn, "label": "roof"}, **key),
        client.call("POST", path, {**drawn, "geometry": mapping(square(1, 1, 2, 2))}, **key),
        client.call("POST", elsewhere, drawn, **key),
    ):
        assert refused.status_code == 409, refused.text
    assert _count(database, "review") == 1


def test_an_edit_is_answered_alike_after_its_label_changed(client: Client) -> None:
    """A replay after an outage: what was stored is not checked by the rules of another label."""
    beyond = {"action": "edit", "version": 1, "geometry": mapping(square(6, 1, 7, 4))}
    roof = {"action": "relabel", "version": 1, "label": "roof"}
    assert client.decide(client.lawn, "key-of-relabel", **roof).status_code == 201
    beyond["version"] = 2
    stored = client.decide(client.lawn, "key-of-the-edit", **beyond)
    assert stored.status_code == 201, stored.text
    lawn = {"action": "relabel", "version": 3, "label": "lawn"}
    assert client.decide(client.lawn, "key-of-the-lawn", **lawn).status_code == 201
    again = client.decide(client.lawn, "key-of-the-edit", **beyond)
    assert again.status_code == 201, again.text
    assert again.json()["review_id"] == stored.json()["review_id"]


def test_one_key_at_the_same_time_for_two_objects_is_a_conflict(
    client: Client, database: Database
) -> None:
    key = "a-key-at-the-same-time"
    accept = """INSERT INTO lotline.review (detection_fk, action, reviewer, idempotency_key)
        VALUES (:tree, 'accept', 'bob', :key)"""
    with ThreadPoolExecutor(1) as threads, database.engine.begin() as conn:
        conn.execute(text(accept), {"tree": client.tree, "key": key})
        waiting = threads.submit(client.decide, client.lawn, key, action="accept", version=1)
        is_waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
        while not conn.execute(text(is_waiting)).scalar_one():
            assert not waiting.done()
        conn.commit()
        refused = waiting.result()
    assert refused.status_code == 409, refused.text
    assert "read it again" in refused.json()["detail"]


def test_decisions_do_not_wait_for_an_imagery_server(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that takes a connection and says nothing, for minutes."""
    opening, answered = Event(), Event()

    def never_answers(_: object) -> ImagerySource:
        opening.set()
        answered.wait(60)
        raise ImageryUnavailable("no answer")

    opened = SimpleNamespace(county=SimpleNamespace(lot_lines=None))
    monkeypatch.setattr(panel_context, "open_county", lambda *_: opened)
    monkeypatch.setattr(panel_context, "open_county_imagery", never_answers)
    monkeypatch.setattr(panel_context, "lot_lines", lambda _: LotLines())
    monkeypatch.setattr(panel_context, "CountyLabels", lambda _: SimpleNamespace(known=LABELS))
    picture = f"/tiles/detections/{client.lawn}.webp"
    with ThreadPoolExecutor(60) as threads:
        pictures = [
            threads.submit(requests.get, client.address + picture, timeout=90) for _ in range(60)
        ]
        try:
            assert opening.wait(30)
            drawn = mapping(square(1, 1, 3, 4))
            saved = client.decide(client.lawn, action="edit", version=1, geometry=drawn)
            assert saved.status_code == 201, saved.text
            assert not any(each.done() for each in pictures)
        finally:
            answered.set()
        assert {each.result().status_code for each in pictures} == {503}


def test_a_database_without_a_connection_left_is_asked_again_later(
    client: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others wait for a lock with all of them: the page keeps its decision and sends it again."""
    monkeypatch.setattr(database.engine.pool, "_timeout", 0.2)
    with ExitStack() as held:
        with suppress(NoConnectionLeft):
            while True:
                held.enter_context(database.engine.connect())
        refused = client.decide(client.lawn, action="accept", version=1)
        assert refused.status_code == 503, refused.text
        assert int(refused.headers["Retry-After"]) > 0
    assert client.decide(client.lawn, action="accept", version=1).status_code == 201


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("LOCALHOST:8787", 200),
        ("[::1]:8787", 200),
        ("127.0.0.1", 200),
        ("evil.example@localhost", 421),
        ("localhost@evil.example", 421),
        ("localhost/evil.example", 421),
        ("localhost?evil.example", 421),
        ("localhost#evil.example", 421),
        ("localhost\\evil.example", 421),
        ("localhost.evil.example", 421),
        ("localhost:evil.example", 421),
        ("[::1", 421),
        ("", 421),
    ],
)  # fmt: skip
def test_only_a_bare_name_of_this_server_is_its_host(
    client: Client, host: str, status: int
) -> None:
    assert client.call("GET", "/session", Host=host).status_code == status
