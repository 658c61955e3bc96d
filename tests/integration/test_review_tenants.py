"""Every route of the panel: what is in a county that a token does not name is not there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lots import COUNTY, LAWN, load_properties, square
from servers.panel_client import Client, panel_client
from shapely.geometry import mapping
from sqlalchemy import text

from pipeline.store.database import Database
from pipeline.store.reviews import tokens

# Routes that say nothing of any county.
_OF_NO_COUNTY = {
    "GET /session", "POST /session", "DELETE /session", "GET /v1/", "GET /v1/conformance",
    "GET /v1/collections", "GET /v1/collections/{name}", "POST /v1/review/areas",
}  # fmt: skip
_DRAWN = mapping(square(1, 1, 3, 4))

Operation = tuple[str, str, dict[str, Any]]


@pytest.fixture
def client(database: Database, tmp_path: Path) -> Iterator[Client]:
    """A property with a reviewed lawn in one county, and a reviewer of another county."""
    with database.engine.begin() as conn:
        load_properties(conn, 1, "elsewhere")
    with panel_client(database, tmp_path) as opened:
        opened.decide(opened.lawn, action="accept", version=1)
        sample = {"county": COUNTY, "per_stratum": 5}
        key = {"Idempotency-Key": "an-audit-key"}
        opened.call("POST", "/v1/review/audit/samples", sample, **key)
        yield opened


def _operations(client: Client) -> Iterator[Operation]:
    paths = client.call("GET", "/v1/openapi.json").json()["paths"]
    for path, operations in paths.items():
        for method, operation in operations.items():
            if f"{method.upper()} {path}" not in _OF_NO_COUNTY:
                yield method.upper(), path, operation


def _bodies(client: Client) -> dict[str, dict[str, Any]]:
    """A valid body by the name of its schema."""
    decision = {"action": "reject", "version": 2}
    return {
        "Change": {"tool": "clip", "outline": _DRAWN, "property_key": client.lot},
        "Decision": decision,
        "Addition": {"label": "lawn", "geometry": _DRAWN},
        "UndoRequest": {"version": 2},
        "FullReviewMark": {"fully_reviewed": False},
        "JointDecisions": {"decisions": [{**decision, "detection_id": client.lawn}]},
        "NextRequest": {"county": COUNTY, "holder": "a-holder-of-one"},
        "LeaseRequest": {"property_key": client.lot, "holder": "a-holder-of-one"},
        "SampleRequest": {"county": COUNTY, "per_stratum": 5},
        "AnswerRequest": {"verdict": "wrong"},
        "MaskRequest": {"property_key": client.lot, "label": "lawn", "point": [-90.05, 35.15]},
    }


def _values(client: Client, item: int) -> dict[str, list[object]]:
    """The values of the other county, by the name of a parameter."""
    return {
        "name": ["lots", "properties", "detections", "measurements"],
        "county": [COUNTY],
        "key": [client.lot],
        "detection_id": [client.lawn],
        "review_id": [1],
        "item_id": [item],
        "queue": ["teaching", "audit"],
        "holder": ["a-holder-of-one"],
        "zoom": [17],
        "column": [32_700],
        "row": [51_700],
        "label": ["lawn"],
    }


def _requests(client: Client, operation: Operation, item: int) -> Iterator[tuple[str, Any]]:
    _, path, described = operation
    given = _values(client, item)
    named = [each for each in described.get("parameters", []) if each["in"] in ("path", "query")]
    used = [each for each in named if each["name"] in given]
    missing = [each["name"] for each in named if each.get("required") and each not in used]
    assert not missing, f"{path}: this test has no value for {missing}"
    schema = described.get("requestBody", {}).get("content", {}).get("application/json", {})
    name = schema.get("schema", {}).get("$ref", "").rsplit("/", 1)[-1]
    assert not name or name in _bodies(client), f"{path}: this test has no {name}"
    body = _bodies(client)[name] if name else None
    for values in itertools.product(*(given[each["name"]] for each in used)):
        parts = dict(zip((each["name"] for each in used), values, strict=True))
        query = {each["name"]: parts[each["name"]] for each in used if each["in"] == "query"}
        yield path.format(**parts) + "?" + "&".join(f"{k}={v}" for k, v in query.items()), body


def test_another_countys_things_are_not_there(client: Client, database: Database) -> None:
    with database.engine.begin() as conn:
        _, token = tokens.add_token(conn, "ann", "admin", ["elsewhere"])
        item = conn.execute(text("SELECT min(id) FROM lotline.audit_item")).scalar_one()
    before = _everything(database)
    client.session.headers["Authorization"] = f"Bearer {token}"
    seen = 0
    for operation in _operations(client):
        for number, (address, body) in enumerate(_requests(client, operation, item)):
            key = {"Idempotency-Key": f"a-key-{seen}-{number}"}
            answer = client.call(operation[0], address, body, **key)
            where = f"{operation[0]} {address}: {answer.status_code} {answer.text[:300]}"
            assert answer.status_code in (200, 204, 404), where
            assert str(LAWN.bounds[0])[:9] not in answer.text, where
            if operation[0] == "GET" and answer.status_code == 200:
                assert f':"{COUNTY}"' not in answer.text, where  # a value
        seen += 1
    assert seen > 20
    assert _everything(database) == before


def test_extra_fields_of_a_body_are_ignored(client: Client, database: Database) -> None:
    forged = {
        "reviewer": "bob", "state": "accepted", "id": 77, "detection_fk": 1, "review_fk": 5,
        "created_at": "2000-01-01T00:00:00Z", "property_key": 99, "role": "admin",
    }  # fmt: skip
    answer = client.decide(client.tree, "an-extra-key", action="reject", version=1, **forged)
    assert answer.status_code == 201
    with database.engine.connect() as conn:
        row = conn.execute(
            text("SELECT detection_fk, reviewer, action FROM lotline.review ORDER BY id DESC")
        ).first()
    assert row is not None
    assert tuple(row) == (client.tree, "ann", "reject")


def _everything(database: Database) -> list[Any]:
    with database.engine.connect() as conn:
        return [
            conn.execute(text(f"SELECT * FROM lotline.{table} ORDER BY 1")).all()
            for table in ("review", "detection", "full_review", "audit_answer", "audit_sample",
                          "review_lease")
        ]  # fmt: skip
