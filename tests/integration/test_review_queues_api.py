"""Queues and the audit over the panel's API: who may, what is hidden, what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from lots import COUNTY, LAWN, square
from servers.panel_client import Client, panel_client
from shapely.geometry import mapping, shape
from sqlalchemy import text

from pipeline.store.database import Database
from pipeline.store.reviews import tokens

HOLDER = "a-tab-of-ann"


@pytest.fixture
def client(database: Database, tmp_path: Path) -> Iterator[Client]:
    with panel_client(database, tmp_path) as opened:
        yield opened


def _as(
    client: Client, database: Database, name: str, role: tokens.AccessRole, *counties: str
) -> Client:
    with database.engine.begin() as conn:
        token = tokens.add_token(conn, name, role, counties or None)[1]
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {token}"
    return Client(client.address, client.lot, client.lawn, client.tree, session)


def _next(client: Client, queue: str, holder: str = HOLDER, **wanted: object) -> Any:
    body = {"holder": holder, "county": COUNTY, **wanted}
    answered = client.call("POST", f"/v1/review/queues/{queue}/next", body)
    assert answered.status_code == 200, answered.text
    return answered.json()


def _start(client: Client, key: str = "key-of-a-sample", **body: object) -> requests.Response:
    return client.call(
        "POST", "/v1/review/audit/samples", {"county": COUNTY, **body}, **{"Idempotency-Key": key}
    )


def _answer(client: Client, item: int, key: str, **body: object) -> requests.Response:
    path = f"/v1/review/audit/items/{item}/answers"
    return client.call("POST", path, body, **{"Idempotency-Key": key})


def test_each_queue_gives_a_property_and_a_lease(client: Client) -> None:
    listed = _next(client, "list", state="proposed")
    assert listed["key"] == client.lot
    assert listed["lease"]["is_mine"]
    assert listed["lease"]["queue"] == "list"
    assert _next(client, "list", after=client.lot) == {"key": None, "lease": None}
    lesson = _next(client, "teaching")
    assert lesson["key"] == client.lot
    assert lesson["detection_id"] in (client.lawn, client.tree)
    assert "0 reviews" in " ".join(lesson["reasons"])
    assert _next(client, "teaching", skip=[client.lot])["key"] is None
    assert _next(client, "teaching", label="tree")["detection_id"] == client.tree
    assert _start(client).status_code == 201
    task = _next(client, "audit")
    assert task["key"] == client.lot
    assert task["progress"] == {"items": 2, "complete": 0, "open_to_me": 2}
    assert _next(client, "audit", skip=[task["item_id"]])["item_id"] != task["item_id"]


def test_runs_are_listed_and_filter(client: Client) -> None:
    [run] = client.call("GET", f"/v1/review/runs?county={COUNTY}").json()
    assert run["segmenter"] == "synthetic"
    assert _next(client, "list", run=run["id"])["key"] == client.lot
    assert _next(client, "list", run=run["id"] + 1)["key"] is None
    assert client.call("GET", "/v1/review/runs?county=elsewhere").status_code == 404


def test_a_leased_property_says_who_has_it(client: Client, database: Database) -> None:
    ann = _as(client, database, "Ann", "reviewer")
    bob = _as(client, database, "Bob", "reviewer")
    assert _next(ann, "list")["key"] == client.lot
    assert _next(bob, "list")["key"] is None
    body = {"property_key": client.lot, "holder": HOLDER}
    # The same name of a tab, but another token.
    opened = bob.call("POST", "/v1/review/leases", body).json()
    assert (opened["reviewer"], opened["is_mine"]) == ("Ann", False)
    bob.call("DELETE", f"/v1/review/leases/{client.lot}?holder={HOLDER}")
    assert not bob.call("POST", "/v1/review/leases", body).json()["is_mine"]
    renewed = ann.call("POST", "/v1/review/leases", body).json()
    assert renewed["is_mine"]
    assert renewed["leased_until"] >= opened["leased_until"]
    # It warns: what is saved is protected by versions.
    assert bob.decide(client.lawn, "a-key-of-bob", action="accept", version=1).status_code == 201
    ended = ann.call("DELETE", f"/v1/review/leases/{client.lot}?holder={HOLDER}")
    assert ended.status_code == 204
    assert bob.call("POST", "/v1/review/leases", body).json()["is_mine"]


def test_the_audit_is_blind_until_both_have_answered(client: Client, database: Database) -> None:
    ann = _as(client, database, "Ann", "reviewer")
    bob = _as(client, database, "Bob", "reviewer")
    admin = _as(client, database, "Carl", "admin")
    # What Ann says outside the audit must not show in it.
    ann.decide(client.lawn, "a-key-of-ann", action="reject", version=1, note="no lawn at all")
    assert _start(admin, second_fraction=1).json()["items"] == 2
    items = [_next(ann, "audit", skip=[])["item_id"]]
    items.append(_next(ann, "audit", skip=items)["item_id"])
    seen = {
        item["label"]: item
        for item in (bob.call("GET", f"/v1/review/audit/items/{i}").json() for i in items)
    }
    assert "Ann" not in str(seen)
    assert "no lawn" not in str(seen)
    assert "reject" not in str(seen)
    lawn = seen["lawn"]
    assert shape(lawn["geometry"]).equals(LAWN)
    assert "score" not in lawn
    first = _answer(ann, lawn["id"], "answer-of-ann", verdict="wrong", note="I see no grass")
    assert first.status_code == 201
    assert first.json()["review_id"] is None
    hidden = bob.call("GET", f"/v1/review/audit/items/{lawn['id']}")
    assert hidden.json()["answers"] == []
    assert "grass" not in hidden.text
    assert "grass" in ann.call("GET", f"/v1/review/audit/items/{lawn['id']}").text
    second = _answer(bob, lawn["id"], "answer-of-bob", verdict="correct").json()["item"]
    assert second["is_complete"]
    assert [(a["reviewer"], a["verdict"]) for a in second["answers"]] == [
        ("Ann", "wrong"),
        ("Bob", "correct"),
    ]
    results = client.session.get  # the user of this machine needs a token now
    assert results(f"{client.address}/v1/review/audit/results", timeout=30).status_code in (
        401,
        422,
    )
    found = bob.call("GET", f"/v1/review/audit/results?county={COUNTY}").json()
    assert found["agreement"]["pairs"] == 1
    assert found["overall"]["wrong"] == 1


def test_each_verdict_is_answered(client: Client, database: Database) -> None:
    _start(client, second_fraction=0)
    items: dict[str, int] = {}
    while (task := _next(client, "audit", skip=list(items.values())))["key"]:
        item = client.call("GET", f"/v1/review/audit/items/{task['item_id']}").json()
        items[item["label"]] = item["id"]
    drawn = mapping(square(1, 1, 3, 4))
    edited = _answer(client, items["lawn"], "key-of-lawn", verdict="outline", geometry=drawn)
    assert edited.status_code == 201, edited.text
    again = _answer(client, items["lawn"], "key-of-lawn", verdict="outline", geometry=drawn)
    assert again.json()["answer_id"] == edited.json()["answer_id"]
    assert edited.json()["item"]["answers"][0]["geometry"]["type"] == "MultiPolygon"
    for body, status in (
        ({"verdict": "label"}, 409),
        ({"verdict": "label", "label": "tree"}, 409),
        ({"verdict": "label", "label": "no label!"}, 422),
        ({"verdict": "outline"}, 409),
        ({"verdict": "perhaps"}, 422),
        ({"verdict": "outline", "geometry": mapping(square(1_000, 1, 3, 4))}, 422),
        ({"verdict": "correct", "note": "x" * 2_001}, 422),
    ):
        refused = _answer(client, items["tree"], "key-of-a-refusal", **body)
        assert refused.status_code == status, refused.text
        assert refused.json()["detail"]
    relabelled = _answer(client, items["tree"], "key-of-tree", verdict="label", label="hedge")
    assert relabelled.json()["review_id"]
    assert _next(client, "audit")["key"] is None
    with database.engine.connect() as conn:
        rows = conn.execute(text("SELECT action FROM lotline.review ORDER BY id")).scalars()
        assert list(rows) == ["edit", "relabel"]


def test_a_sample_is_started_by_an_administrator_once(client: Client, database: Database) -> None:
    reviewer = _as(client, database, "Ann", "reviewer")
    admin = _as(client, database, "Carl", "admin")
    assert _start(reviewer).status_code == 403
    started = _start(admin, seed=5, per_stratum=1)
    assert started.status_code == 201
    assert _start(admin, seed=6).json() == started.json()  # the same key
    assert _start(admin, "another-key", county="elsewhere").status_code == 404
    for wrong in ({"per_stratum": 0}, {"second_fraction": 1.5}, {"seed": -1}, {"seed": 2**63}):
        assert _start(admin, "another-key", **wrong).status_code == 422


def test_viewers_and_other_counties_get_nothing(client: Client, database: Database) -> None:
    _start(client)
    item = _next(client, "audit")["item_id"]
    viewer = _as(client, database, "Vic", "viewer")
    stranger = _as(client, database, "Sue", "admin", "elsewhere")
    lease = {"property_key": client.lot, "holder": HOLDER}
    calls: list[tuple[str, str, object]] = [
        ("POST", "/v1/review/queues/teaching/next", {"holder": HOLDER, "county": COUNTY}),
        ("POST", "/v1/review/queues/audit/next", {"holder": HOLDER, "county": COUNTY}),
        ("POST", "/v1/review/leases", lease),
        ("DELETE", f"/v1/review/leases/{client.lot}?holder={HOLDER}", None),
        ("GET", f"/v1/review/audit/items/{item}", None),
        ("POST", f"/v1/review/audit/items/{item}/answers", {"verdict": "correct"}),
    ]
    for method, path, body in calls:
        key = {"Idempotency-Key": "a-key-of-somebody"}
        assert viewer.call(method, path, body, **key).status_code == 403, path
        assert stranger.call(method, path, body, **key).status_code == 404, path
    assert _start(stranger).status_code == 404
    assert stranger.call("GET", f"/v1/review/audit/results?county={COUNTY}").status_code == 404
    assert stranger.call("GET", f"/v1/review/runs?county={COUNTY}").status_code == 404
    assert _next(stranger, "list")["key"] is None
    assert viewer.call("GET", f"/v1/review/audit/results?county={COUNTY}").status_code == 200


def test_odd_requests_are_refused(client: Client) -> None:
    path = "/v1/review/queues/teaching/next"
    for body in (
        {},
        {"holder": "short"},
        {"holder": HOLDER},
        {"holder": HOLDER, "county": COUNTY, "skip": [0]},
        {"holder": HOLDER, "county": COUNTY, "skip": [1] * 1_001},
        {"holder": HOLDER, "county": COUNTY, "run": 2**63},
        {"holder": HOLDER, "county": "x" * 201},
    ):
        assert client.call("POST", path, body).status_code == 422, body
    assert client.call("POST", "/v1/review/queues/secret/next", {}).status_code == 422
    nothing = {"holder": HOLDER, "county": "nowhere"}
    assert client.call("POST", path, nothing).status_code == 404
    no_audit = {"holder": HOLDER, "county": COUNTY}
    refused = client.call("POST", "/v1/review/queues/audit/next", no_audit)
    assert refused.status_code == 409
    assert "audit start" in refused.json()["detail"]
    assert client.call("GET", f"/v1/review/audit/results?county={COUNTY}").json() is None
    gone = {"property_key": 10**12, "holder": HOLDER}
    assert client.call("POST", "/v1/review/leases", gone).status_code == 404


@pytest.mark.parametrize("text_with_nul", ["a\x00county", "\ud800 alone"])
def test_text_that_the_database_cannot_hold_is_refused(client: Client, text_with_nul: str) -> None:
    for queue in ("list", "teaching", "audit"):
        body = {"holder": HOLDER, "county": text_with_nul}
        status = client.call("POST", f"/v1/review/queues/{queue}/next", body).status_code
        assert status in (400, 404, 422), (queue, status)
    lease = {"property_key": client.lot, "holder": "holder " + text_with_nul}
    assert client.call("POST", "/v1/review/leases", lease).status_code in (400, 422)
