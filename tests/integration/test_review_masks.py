"""Click to mask: through the panel's API, on a synthetic county that sam3-tiny measured."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import shapely
from lots import read_areas_m2
from map_places import aim, place_of
from servers.panel import panel
from shapely.geometry import shape
from sqlalchemy import text

from detection import sample
from parcels.measure import area_m2, iou
from pipeline import BatchRequest, run_batch
from pipeline.settings import Settings
from pipeline.store.database import Database
from pipeline.store.reviews import tokens

KEY = "little"


@dataclass(frozen=True)
class Place:
    """A synthetic county."""

    folder: Path
    registry: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("clicks")
    made = sample.generate(folder / "county", seed=5, lots=12)
    registry = folder / "registry.yaml"
    entry = (
        f'    path: {made.parcels}\n    imagery: {{path: "{made.imagery}"}}\n'
        f"    properties: {made.properties}\n"
    )
    registry.write_text(f"counties:\n  {KEY}:\n{entry}")
    return Place(folder, registry)


@dataclass
class Clicker:
    """A client of the panel over a measured county."""

    address: str
    session: requests.Session
    database: Database

    def ask(self, **body: object) -> requests.Response:
        address = f"{self.address}/v1/review/masks"
        return self.session.post(address, json=body, timeout=60)

    def shown(self, key: int) -> Any:
        return self.session.get(f"{self.address}/v1/review/properties/{key}", timeout=30).json()

    def detections(self, label: str) -> list[Any]:
        query = text(
            "SELECT id, property_fk, area_m2, ST_AsBinary(geom) AS geom FROM lotline.detection "
            "WHERE label = :label AND state = 'proposed' ORDER BY area_m2 DESC, id"
        )
        with self.database.engine.connect() as conn:
            return list(conn.execute(query, {"label": label}))


def _measure(place: Place, database: Database, segmenter: str) -> None:
    settings = Settings(database_url=database.url, home=place.folder)
    request = BatchRequest(
        KEY, registry=place.registry, segmenter=segmenter, limit=4, labels=("lawn", "roof", "tree")
        if segmenter == "sam3-tiny" else (),
    )  # fmt: skip
    run_batch(request, settings)


@pytest.fixture
def clicker(place: Place, database: Database) -> Iterator[Clicker]:
    _measure(place, database, "sam3-tiny")
    with (
        panel(database, place.folder, place.registry) as address,
        requests.Session() as session,
    ):
        csrf = session.get(f"{address}/session", timeout=30).json()["csrf"]
        session.headers["X-CSRF-Token"] = csrf
        yield Clicker(address, session, database)


def _centre(geometry: Any) -> tuple[float, float]:
    point = shapely.point_on_surface(geometry)
    return point.x, point.y


def test_a_click_and_a_box_make_the_outline_that_a_run_would(clicker: Clicker) -> None:
    ious: dict[str, list[float]] = {"point": [], "box": []}
    for each in clicker.detections("roof")[:4]:
        stored = shapely.from_wkb(each.geom)
        assert clicker.shown(each.property_fk)["can_click_to_mask"] is True
        for prompt in ({"point": _centre(stored)}, {"box": stored.bounds}):
            [kind] = prompt
            found = clicker.ask(property_key=each.property_fk, label="roof", **prompt)
            assert found.status_code == 200, found.text
            outline = shape(found.json()["outline"])
            assert found.json()["segmenter"] == "sam3-tiny-1"
            assert found.json()["area_m2"] == pytest.approx(area_m2(outline), rel=1e-9)
            ious[kind].append(iou(outline, stored))
    for kind, values in ious.items():
        assert min(values) > 0.6, kind
    assert clicker.detections("roof"), "nothing is stored by a click"


def test_what_a_click_made_can_be_added(clicker: Clicker) -> None:
    """The outline passes the checks of the panel, with the area that it announced."""
    lawn = clicker.detections("lawn")[0]
    with clicker.database.engine.begin() as conn:
        before_m2 = read_areas_m2(conn, lawn.property_fk)["lawn"]
    point = _centre(shapely.from_wkb(lawn.geom))
    found = clicker.ask(property_key=lawn.property_fk, label="lawn", point=point)
    assert found.status_code == 200, found.text
    assert found.json()["area_m2"] <= before_m2 * 1.5
    added = clicker.session.post(
        f"{clicker.address}/v1/review/properties/{lawn.property_fk}/detections",
        json={"label": "lawn", "geometry": found.json()["outline"]},
        headers={"Idempotency-Key": "a click's outline"},
        timeout=30,
    )
    assert added.status_code == 201, added.text
    [new] = [
        each for each in added.json()["property"]["detections"]
        if each["id"] == added.json()["detection_id"]
    ]  # fmt: skip
    assert new["area_m2"] == pytest.approx(found.json()["area_m2"], rel=1e-9)


def test_a_lot_at_a_time_is_asked_and_others_are_served_meanwhile(clicker: Clicker) -> None:
    roof = clicker.detections("roof")[0]
    body = {
        "property_key": roof.property_fk, "label": "roof",
        "point": _centre(shapely.from_wkb(roof.geom)),
    }  # fmt: skip
    with ThreadPoolExecutor(12) as threads:
        clicks = [threads.submit(clicker.ask, **body) for _ in range(12)]
        assert clicker.shown(roof.property_fk)["key"] == roof.property_fk
        statuses = [click.result().status_code for click in clicks]
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= 5
    assert clicker.ask(**body).status_code == 200


def test_bad_requests_say_what_to_do(clicker: Clicker) -> None:
    roof = clicker.detections("roof")[0]
    inside = _centre(shapely.from_wkb(roof.geom))
    good = {"property_key": roof.property_fk, "label": "roof", "point": inside}
    for change, status, why in (
        ({"point": None}, 422, "point or a box"),
        ({"box": [0, 0, 1, 1]}, 422, "point or a box"),
        ({"point": [inside[0] + 1, inside[1]]}, 422, "inside its boundary"),
        ({"point": [1000, 0]}, 422, "point"),
        ({"point": [inside[0]]}, 422, "point"),
        ({"point": None, "box": [1, 1, 0, 0]}, 422, "has no area"),
        ({"label": "trampoline"}, 422, "has no prompt"),
        ({"label": ""}, 422, "label"),
        ({"property_key": 2**62}, 404, "no property"),
        ({"property_key": 0}, 422, "property_key"),
    ):
        refused = clicker.ask(**{**good, **change})
        assert refused.status_code == status, refused.text
        assert why in refused.json()["detail"]
    assert clicker.ask(**good, unknown="ignored").status_code == 200
    # Boxes of any size: what is far from the lot does not count.
    x, y = inside
    for box in ([-180, -90, 180, 90], [x, y, x + 1e-12, y + 1e-12], [x - 1, y, x + 1, y + 1e-6]):
        answer = clicker.ask(**{**good, "point": None, "box": box})
        assert answer.status_code in (200, 422), answer.text


def test_who_may_click(clicker: Clicker) -> None:
    roof = clicker.detections("roof")[0]
    body = {
        "property_key": roof.property_fk, "label": "roof",
        "point": _centre(shapely.from_wkb(roof.geom)),
    }  # fmt: skip
    anonymous = requests.post(f"{clicker.address}/v1/review/masks", json=body, timeout=30)
    assert anonymous.status_code in (401, 403), "another site has no anti-forgery value"
    with clicker.database.engine.begin() as conn:
        viewer = tokens.add_token(conn, "v", "viewer")[1]
        elsewhere = tokens.add_token(conn, "e", "reviewer", ["another"])[1]
    for token, status in ((viewer, 403), (elsewhere, 404)):
        refused = requests.post(
            f"{clicker.address}/v1/review/masks", json=body, timeout=30,
            headers={"Authorization": f"Bearer {token}"},
        )  # fmt: skip
        assert refused.status_code == status, refused.text


def test_imagery_and_weights_that_changed_are_refused(
    clicker: Clicker, place: Place, database: Database
) -> None:
    roof = clicker.detections("roof")[0]
    body = {
        "property_key": roof.property_fk, "label": "roof",
        "point": _centre(shapely.from_wkb(roof.geom)),
    }  # fmt: skip
    with database.engine.begin() as conn:
        other = text("UPDATE lotline.measurement SET weights_sha256 = :sha WHERE current")
        [sha256] = set(
            conn.execute(text("SELECT weights_sha256 FROM lotline.measurement")).scalars()
        )
        conn.execute(other, {"sha": "0" * 64})
    refused = clicker.ask(**body)
    assert refused.status_code == 409
    assert "SAM3_WEIGHTS" in refused.json()["detail"]
    with database.engine.begin() as conn:
        conn.execute(other, {"sha": sha256})
        chip = conn.execute(text("SELECT sha256 FROM lotline.chip")).scalars().first()
        conn.execute(
            text(
                "INSERT INTO lotline.chip SELECT 'other', sources, captured_on, crs, gsd_m, bands, "
                "bounds, chip_gsd_m FROM lotline.chip WHERE sha256 = :chip"
            ),
            {"chip": chip},
        )
        conn.execute(text("UPDATE lotline.property SET chip_sha256 = 'other'"))
    refused = clicker.ask(**body)
    assert refused.status_code == 409
    assert "not that in which the property was measured" in refused.json()["detail"]


def test_a_segmenter_without_prompts_has_no_button(place: Place, database: Database) -> None:
    _measure(place, database, "spectral")
    with database.engine.connect() as conn:
        [key] = conn.execute(
            text("SELECT id FROM lotline.property WHERE state = 'done' LIMIT 1")
        ).scalars()
        [boundary] = conn.execute(
            text(
                "SELECT ST_AsBinary(b.geom) FROM lotline.boundary b "
                "JOIN lotline.property p ON p.boundary_fk = b.id WHERE p.id = :id"
            ),
            {"id": key},
        ).scalars()
    with panel(database, place.folder, place.registry) as address, requests.Session() as session:
        session.headers["X-CSRF-Token"] = session.get(f"{address}/session", timeout=30).json()[
            "csrf"
        ]
        clicker = Clicker(address, session, database)
        assert clicker.shown(key)["can_click_to_mask"] is False
        point = _centre(shapely.from_wkb(boundary))
        refused = clicker.ask(property_key=key, label="lawn", point=point)
        assert refused.status_code == 409
        assert "draw the outline" in refused.json()["detail"]


class _Page:
    """The review page in a browser, on a property of the county."""

    def __init__(self, page: Any, clicker: Clicker, key: int) -> None:
        self.page, self.clicker = page, clicker
        page.goto(f"{clicker.address}/#property={key}")
        page.wait_for_selector("#objects li")

    def ask(self, label: str) -> None:
        """Click to mask, for a label."""
        self.page.keyboard.press("6")
        self.page.fill("dialog[open] input", label)
        self.page.keyboard.press("Enter")
        self.page.wait_for_function(
            "() => document.querySelector('#status').innerText.includes('draw a box')"
        )

    def saved(self) -> Any:
        """Save the outline; the detection that it became."""
        self.page.wait_for_function(
            "() => document.querySelector('#status').innerText.includes('S saves')", timeout=60_000
        )
        self.page.keyboard.press("s")
        query = text(
            "SELECT d.label, d.segmenter, ST_AsBinary(d.geom) AS geom FROM lotline.review r "
            "JOIN lotline.detection d ON d.id = r.detection_fk WHERE r.action = 'add' "
            "ORDER BY r.id DESC LIMIT 1"
        )
        for _ in range(1200):
            with self.clicker.database.engine.connect() as conn:
                if (row := conn.execute(query).one_or_none()) is not None:
                    return row
            self.page.wait_for_timeout(50)
        raise AssertionError(self.page.inner_text("#status"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("way", ["mouse", "box", "keyboard"])
def test_a_reviewer_clicks_and_saves(clicker: Clicker, browser: Any, way: str) -> None:
    roof = clicker.detections("roof")[0]
    stored = shapely.from_wkb(roof.geom)
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    try:
        page = context.new_page()
        shown = _Page(page, clicker, roof.property_fk)
        shown.ask("roof")
        if way == "mouse":
            page.mouse.click(*place_of(page, *_centre(stored)))
        elif way == "box":
            west, south, east, north = stored.bounds
            page.keyboard.down("Shift")
            page.mouse.move(*place_of(page, west, north))
            page.mouse.down()
            page.mouse.move(*place_of(page, east, south), steps=5)
            page.mouse.up()
            page.keyboard.up("Shift")
        else:
            aim(page, *_centre(stored))
            page.keyboard.press("Enter")
        added = shown.saved()
    finally:
        context.close()
    assert (added.label, added.segmenter) == ("roof", "person")
    assert iou(shapely.from_wkb(added.geom), stored) > 0.6
