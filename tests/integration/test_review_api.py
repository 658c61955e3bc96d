"""The review panel's API over a real PostGIS: who may, what is saved, what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from lots import (
    COUNTY,
    LAT,
    LAWN,
    LON,
    load_properties,
    square,
)
from servers.panel_client import Client, panel_client
from shapely import LineString, Point
from shapely.geometry import mapping
from sqlalchemy import text

from parcels.measure import area_m2
from pipeline.store.database import Database
from pipeline.store.reviews import tokens

DRAWN = mapping(square(1, 1, 3, 4))


@pytest.fixture
def client(database: Database, tmp_path: Path) -> Iterator[Client]:
    with panel_client(database, tmp_path) as opened:
        yield opened


def _token(database: Database, role: tokens.AccessRole, *counties: str) -> str:
    with database.engine.begin() as conn:
        return tokens.add_token(conn, f"the {role}", role, counties or None)[1]


def _with_token(client: Client, token: str) -> Client:
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {token}"
    return Client(client.address, client.lot, client.lawn, client.tree, session)


def _reviews(database: Database) -> list[Any]:
    with database.engine.connect() as conn:
        return list(conn.execute(text("SELECT * FROM lotline.review ORDER BY id")))


def test_a_property_is_shown_with_all_digits(client: Client) -> None:
    shown = client.call("GET", f"/v1/review/properties/{client.lot}").json()
    assert shown["source"] == "lot"
    [lawn] = [each for each in shown["detections"] if each["id"] == client.lawn]
    stored = json.loads(json.dumps(mapping(LAWN)))
    assert sorted(lawn["geometry"]["coordinates"][0][0]) == sorted(stored["coordinates"][0][0])
    assert shown["areas_m2"]["lawn"] == pytest.approx(area_m2(LAWN))


def test_a_property_says_what_its_areas_are_worth(client: Client, database: Database) -> None:
    address = f"/v1/review/properties/{client.lot}"
    shown = client.call("GET", address).json()
    assert (shown["coverage_fraction"], shown["is_partly_imaged"]) == (1, False)
    assert shown["area_notes"] == [], "a lawn and a tree are not parts of each other"
    for sql in (
        "UPDATE lotline.property SET coverage_fraction = 0.994",
        "UPDATE lotline.measurement SET segmenter = 'spectral-2'",
        "UPDATE lotline.measurement SET label = 'vegetation' WHERE label = 'tree'",
    ):
        with database.engine.begin() as conn:
            conn.execute(text(sql))
    shown = client.call("GET", address).json()
    assert shown["is_partly_imaged"] is True
    [by] = shown["measured_by"]
    assert by["segmenter"] == "spectral-2"
    assert "a baseline without weights" in by["caveats"][0]
    assert shown["area_notes"] == ["vegetation contains lawn: never add them."]
    with database.engine.begin() as conn:
        conn.execute(text("UPDATE lotline.property SET coverage_fraction = NULL"))
        # A county's own labels have parts of their own.
        settings = '{"label_contains": {"lawn": ["vegetation"]}}'
        conn.execute(text("UPDATE lotline.run SET settings = :own"), {"own": settings})
    shown = client.call("GET", address).json()
    assert shown["is_partly_imaged"] is None, "not known is neither"
    assert shown["area_notes"] == ["lawn contains vegetation: never add them."]


def test_counties_say_whether_they_are_real(client: Client, database: Database) -> None:
    with database.engine.begin() as conn:
        for county in ("sample", "shelby"):
            load_properties(conn, 1, county)
    found = client.call("GET", "/v1/review/counties").json()
    assert {each["county"]: each["synthetic"] for each in found} == {
        COUNTY: None, "sample": True, "shelby": False
    }  # fmt: skip


def test_each_action_is_an_event_and_answers_with_the_property(
    client: Client, database: Database
) -> None:
    for number, (action, more, state) in enumerate(
        (
            ("accept", {}, "accepted"),
            ("edit", {"geometry": DRAWN}, "accepted"),
            ("relabel", {"label": "meadow"}, "accepted"),
            ("reject", {"note": "a shadow"}, "rejected"),
            ("restore", {}, "proposed"),
        )
    ):
        done = client.decide(
            client.lawn, f"key-number-{number}", action=action, version=number + 1, **more
        )
        assert done.status_code == 201, done.text
        [lawn] = [d for d in done.json()["property"]["detections"] if d["id"] == client.lawn]
        assert (lawn["state"], lawn["version"]) == (state, number + 2)
    assert [(each.action, each.reviewer) for each in _reviews(database)] == [
        (action, "ann") for action in ("accept", "edit", "relabel", "reject", "restore")
    ]
    history = client.call("GET", f"/v1/review/detections/{client.lawn}/history").json()
    assert [each["note"] for each in history] == ["", "", "", "a shadow", ""]


def test_a_missed_object_is_added(client: Client) -> None:
    path = f"/v1/review/properties/{client.lot}/detections"
    body = {"label": "pool", "geometry": mapping(square(7, 7, 1, 1)), "extra": "ignored"}
    first = client.call("POST", path, body, **{"Idempotency-Key": "key-of-a-pool"})
    again = client.call("POST", path, body, **{"Idempotency-Key": "key-of-a-pool"})
    assert first.status_code == again.status_code == 201
    assert first.json()["detection_id"] == again.json()["detection_id"]
    assert first.json()["property"]["areas_m2"]["pool"] == pytest.approx(
        area_m2(square(7, 7, 1, 1))
    )


def test_a_replayed_decision_is_saved_once(client: Client, database: Database) -> None:
    answers = [client.decide(client.lawn, action="reject", version=1) for _ in range(25)]
    assert {each.status_code for each in answers} == {201}
    assert len(_reviews(database)) == 1


def test_a_conflict_shows_both_versions_and_their_difference(client: Client) -> None:
    client.decide(client.lawn, "key-of-ann", action="edit", version=1, geometry=DRAWN)
    other = mapping(square(1, 1, 6, 2))
    refused = client.decide(client.lawn, "key-of-bob", action="edit", version=1, geometry=other)
    assert refused.status_code == 409
    document = refused.json()
    assert document["status"] == 409
    assert document["detection_id"] == client.lawn
    [theirs] = [d for d in document["property"]["detections"] if d["id"] == client.lawn]
    assert theirs["version"] == 2
    wanted_m2 = area_m2(square(1, 1, 3, 4).symmetric_difference(square(1, 1, 6, 2)))
    assert document["difference_m2"] == pytest.approx(wanted_m2)


@pytest.mark.parametrize(
    "outline",
    [
        {"type": "Polygon", "coordinates": [[[LON, 35.0], [LON, 35.1]]]},
        {"type": "Polygon", "coordinates": []},
        {"type": "Polygon", "coordinates": [[["a", 1], [2, 3], [4, 5], ["a", 1]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [0, 95], [1, 95], [0, 0]]]},
        {"type": "Polygon", "coordinates": [[[35.0, LON], [35.1, LON], [35.1, -91], [35.0, LON]]]},
        {"type": "Polygon", "coordinates": [[[1e308, 0], [0, 1], [1, 1], [1e308, 0]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [2, 2], [0, 0]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]},
        {"type": "MultiPolygon", "coordinates": [[[[LON + i * 1e-9, 35] for i in range(100_001)]]]},
        {"type": "MultiPolygon", "coordinates": [{"a": 1}, [], 1]},
        {"type": "Point", "coordinates": [0, 0]},
        "a text",
        None,
    ],
)
def test_an_outline_that_is_none_is_refused(
    client: Client, database: Database, outline: object
) -> None:
    refused = client.decide(client.lawn, action="edit", version=1, geometry=outline)
    assert refused.status_code == 422, refused.text
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.json()["detail"]
    assert _reviews(database) == []


def test_a_number_that_is_none_is_refused(client: Client, database: Database) -> None:
    body = json.dumps({"action": "edit", "version": 1, "geometry": DRAWN})
    for number in ("NaN", "Infinity", "1e999"):
        refused = client.session.post(
            f"{client.address}/v1/review/detections/{client.lawn}/reviews",
            data=body.replace("35.1501", number, 1),
            headers={"Content-Type": "application/json", "Idempotency-Key": "key-of-nan"},
            timeout=30,
        )
        assert refused.status_code == 422, refused.text
    assert _reviews(database) == []


def test_a_large_body_is_refused(client: Client) -> None:
    sizes = {
        "announced": b"x" * (9 * 2**20),
        "not announced": iter([b"x" * 2**20] * 9),
    }
    for body in sizes.values():
        refused = client.session.post(f"{client.address}/v1/review/areas", data=body, timeout=30)
        assert refused.status_code == 413


def test_areas_are_those_that_are_stored(client: Client) -> None:
    measured = client.call("POST", "/v1/review/areas", DRAWN).json()["area_m2"]
    done = client.decide(client.lawn, action="edit", version=1, geometry=DRAWN).json()
    assert done["property"]["areas_m2"]["lawn"] == measured


@pytest.mark.parametrize(
    ("tool", "shape", "outlines"),
    [
        ("cut", mapping(square(2, 2, 1, 1)), 1),
        ("join", mapping(square(4, 1, 1, 1)), 1),
        ("split", mapping(LineString([(LON, LAT + 3e-4), (LON + 9e-4, LAT + 3e-4)])), 2),
        ("drop_hole", mapping(Point(LON + 2e-4, LAT + 2e-4)), "422"),
        ("reshape", mapping(Point(LON, LAT)), "422"),
        ("split", mapping(square(2, 2, 1, 1)), "422"),
        ("cut", {"type": "Polygon", "coordinates": [[["a"]]]}, "422"),
        ("cut", {"type": "Polygon", "coordinates": []}, "422"),
        ("split", {"type": "LineString", "coordinates": [[0, 0]]}, "422"),
        ("split", {"type": "LineString", "coordinates": [[0, 0], [0, 0]]}, "422"),
        ("drop_hole", {"type": "Point", "coordinates": []}, "422"),
        ("drop_hole", {"type": "Point", "coordinates": [None, None]}, "422"),
        ("melt", None, "422"),
        ("cut", None, "422"),
        ("clip", None, "422"),
    ],
)
def test_tools_change_an_outline_and_store_nothing(
    client: Client, database: Database, tool: str, shape: object, outlines: object
) -> None:
    body = {"tool": tool, "outline": DRAWN, "with_shape": shape}
    answer = client.call("POST", "/v1/review/outlines", json.loads(json.dumps(body)))
    if outlines == "422":
        assert answer.status_code == 422, answer.text
        assert answer.json()["detail"]
    else:
        assert len(answer.json()) == outlines, answer.text
        assert all(each["area_m2"] > 0 for each in answer.json())
    assert _reviews(database) == []


def test_an_outline_is_clipped_to_the_lot(client: Client) -> None:
    beyond = mapping(square(-5, 1, 10, 1))
    body = {"tool": "clip", "outline": beyond, "property_key": client.lot}
    [clipped] = client.call("POST", "/v1/review/outlines", body).json()
    assert clipped["area_m2"] == pytest.approx(area_m2(square(0, 1, 5, 1)))


def test_another_name_of_this_machine_is_refused(client: Client) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "", "[::1", "localhost.evil"):
        assert client.call("GET", "/session", Host=host).status_code in (400, 421)
    assert client.call("GET", "/session", Host="localhost:1").status_code == 200


def test_another_site_cannot_write(client: Client, database: Database) -> None:
    for value in ("", "guess", "é"):
        client.session.headers["X-CSRF-Token"] = value.encode()
        assert client.decide(client.lawn, action="reject", version=1).status_code == 403
    assert _reviews(database) == []


def test_every_response_has_a_strict_policy(client: Client) -> None:
    for path in ("/", "/session", "/v1/review/properties/0", "/nothing"):
        response = client.call("GET", path)
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_with_a_token_everybody_needs_one(client: Client, database: Database) -> None:
    token = _token(database, "reviewer")
    path = f"/v1/review/properties/{client.lot}"
    assert client.call("GET", path).status_code == 401
    assert client.decide(client.lawn, action="reject", version=1).status_code == 401
    assert _with_token(client, token).call("GET", path).status_code == 200
    assert _with_token(client, token[:-1]).call("GET", path).status_code == 401
    assert _with_token(client, "").call("GET", path).status_code == 401


def test_a_session_ends_when_its_token_is_revoked(client: Client, database: Database) -> None:
    token = _token(database, "reviewer")
    signed_in = client.call("POST", "/session", {"token": token})
    assert signed_in.json()["reviewer"] == "the reviewer"
    cookie = signed_in.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    client.session.headers["X-CSRF-Token"] = signed_in.json()["csrf"]
    assert client.decide(client.lawn, action="accept", version=1).status_code == 201
    with database.engine.begin() as conn:
        [stored] = tokens.list_tokens(conn)
        tokens.add_token(conn, "someone else", "admin")
        tokens.revoke_token(conn, stored.id)
    assert client.decide(client.lawn, action="reject", version=2).status_code == 401
    with database.engine.connect() as conn:
        kept = str(conn.execute(text("SELECT * FROM lotline.review_token")).all())
    assert token not in kept


def test_who_signs_out_is_out(client: Client, database: Database) -> None:
    signed_in = client.call("POST", "/session", {"token": _token(database, "viewer")})
    client.session.headers["X-CSRF-Token"] = signed_in.json()["csrf"]
    assert client.call("GET", "/v1/collections").status_code == 200
    assert client.call("DELETE", "/session").status_code == 204
    assert client.call("GET", "/v1/collections").status_code == 401


def test_wrong_tokens_are_slowed_down(client: Client, database: Database) -> None:
    token = _token(database, "reviewer")
    tried = [client.call("POST", "/session", {"token": f"wrong {n}"}) for n in range(11)]
    assert [each.status_code for each in tried] == [401] * 10 + [429]
    assert int(tried[-1].headers["Retry-After"]) > 0
    assert client.call("POST", "/session", {"token": token}).status_code == 429


def test_a_viewer_reads_and_decides_nothing(client: Client, database: Database) -> None:
    viewer = _with_token(client, _token(database, "viewer"))
    assert viewer.call("GET", f"/v1/review/properties/{client.lot}").status_code == 200
    assert viewer.decide(client.lawn, action="reject", version=1).status_code == 403
    assert viewer.call("POST", "/v1/review/areas", DRAWN).status_code == 403
    assert _reviews(database) == []


def test_another_county_is_not_there(client: Client, database: Database) -> None:
    elsewhere = _with_token(client, _token(database, "admin", "elsewhere"))
    here = _with_token(client, _token(database, "admin", COUNTY))
    reads = [
        f"/v1/review/properties/{client.lot}",
        f"/v1/collections/properties/items/{client.lot}",
        f"/v1/collections/detections/items/{client.lawn}",
        f"/tiles/imagery/{COUNTY}/18/1/1.webp",
    ]
    assert [elsewhere.call("GET", path).status_code for path in reads] == [404] * 4
    assert [here.call("GET", path).status_code for path in reads[:3]] == [200] * 3
    assert elsewhere.call("GET", "/v1/review/counties").json() == []
    assert elsewhere.call("GET", "/v1/review/next").json() == {"key": None}
    assert elsewhere.call("GET", "/v1/collections/detections/items").json()["features"] == []
    history = f"/v1/review/detections/{client.lawn}/history"
    assert elsewhere.call("GET", history).json() == []
    assert elsewhere.decide(client.lawn, action="reject", version=1).status_code == 404
    path = f"/v1/review/properties/{client.lot}/detections"
    body = {"label": "pool", "geometry": DRAWN}
    added = elsewhere.call("POST", path, body, **{"Idempotency-Key": "key-elsewhere"})
    assert added.status_code == 404
    assert _reviews(database) == []


def test_collections_are_read_page_by_page(client: Client) -> None:
    address = "/v1/collections/detections/items?limit=1"
    seen = []
    while address:
        page = client.call("GET", address).json()
        seen += [each["id"] for each in page["features"]]
        following = [link["href"] for link in page["links"] if link["rel"] == "next"]
        address = following[0].removeprefix(client.address) if following else ""
    assert seen == sorted([client.lawn, client.tree])
    lots = client.call("GET", "/v1/collections/lots/items").json()
    assert lots["features"][0]["properties"]["source"] == "lot"


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("label=tree", 1),
        ("label=x' OR '1'='1", 0),
        ("state=rejected", 0),
        (f"county={COUNTY}", 2),
        ("bbox=-91,35,-90,36", 2),
        ("bbox=-80,35,-79,36", 0),
        ("bbox=170,-40,-170,40", 0),
    ],
)
def test_collections_are_filtered(client: Client, query: str, count: int) -> None:
    page = client.call("GET", f"/v1/collections/detections/items?{query}")
    assert page.json()["numberReturned"] == count


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("items?limit=0", 422),
        ("items?limit=1e9", 422),
        ("items?after=-1", 422),
        ("items?bbox=1,2,3", 400),
        ("items?bbox=nan,nan,nan,nan", 400),
        ("items?colour=green", 400),
        ("items/99999999999999999999999", 404),
        ("items/abc", 404),
        ("items/\u0661", 404),
    ],
)
def test_odd_questions_are_refused(client: Client, path: str, status: int) -> None:
    refused = client.call("GET", f"/v1/collections/detections/{path}")
    assert refused.status_code == status
    assert refused.headers["Content-Type"] == "application/problem+json"


def test_what_has_not_changed_is_not_sent_again(client: Client) -> None:
    path = "/v1/collections/detections/items"
    tag = client.call("GET", path).headers["ETag"]
    assert client.call("GET", path, **{"If-None-Match": tag}).status_code == 304
    client.decide(client.lawn, action="reject", version=1)
    assert client.call("GET", path, **{"If-None-Match": tag}).status_code == 200


def test_the_county_is_a_vector_tile(client: Client) -> None:
    tile = client.call("GET", f"/tiles/county/{COUNTY}/16/16374/25869.mvt")
    assert tile.status_code == 200
    zoomed_out = client.call("GET", f"/tiles/county/{COUNTY}/3/1/1.mvt")
    assert zoomed_out.status_code == 404
