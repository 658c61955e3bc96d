"""Which outlines are refused on a lot: too small, too far away, or not on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from lots import COUNTY, square
from servers.panel_client import Client, panel_client
from shapely import MultiPolygon
from shapely.geometry import mapping

from detection.clip import LotLines
from detection.labels import LABELS
from parcels.measure import area_m2, buffer_m
from pipeline.errors import InvalidOutline
from pipeline.store.database import Database
from pipeline.store.reviews.outline_checks import OutlineRules, check_outline

LOT = square(0, 0, 10, 10)
RULES = OutlineRules(LABELS, LotLines())
# The synthetic lot's steps are about 10 m long.
ACROSS = square(8, 2, 4, 4)


@pytest.mark.parametrize(
    ("outline", "label", "message"),
    [
        (square(2, 2, 0.01, 0.01), "roof", "too small for an object"),
        (square(200, 2, 3, 3), "roof", "more than 500 m away"),
        (ACROSS, "lawn", r"m² of the outline are more than 1.5 m outside .*clip it .*\(G\)"),
        (square(10.01, 2, 3, 3), "roof", "is not on this property: 0.0 m² of it are inside"),
        (square(9.95, 2, 3, 3), "pool", "is not on this property"),
        (square(10.01, 2, 3, 3), "trampoline", "is not on this property"),
    ],
)
def test_an_outline_that_is_no_object_here_is_refused(
    outline: MultiPolygon, label: str, message: str
) -> None:
    with pytest.raises(InvalidOutline, match=message):
        check_outline(outline, LOT, label, RULES)


@pytest.mark.parametrize(
    ("outline", "label"),
    [
        (square(2, 2, 3, 3), "lawn"),
        (LOT, "lawn"),
        (buffer_m(LOT, 1.4), "lawn"),
        (ACROSS, "roof"),
        (ACROSS, "trampoline"),
    ],
)
def test_an_object_on_the_lot_is_taken(outline: MultiPolygon, label: str) -> None:
    check_outline(outline, LOT, label, RULES)


def test_lots_that_are_off_by_a_known_offset_leave_room_for_it() -> None:
    beyond = buffer_m(LOT, 4)
    moved = OutlineRules(LABELS, LotLines((0.0, 3.0)))
    check_outline(beyond, LOT, "lawn", moved)
    with pytest.raises(InvalidOutline):
        check_outline(beyond, LOT, "lawn", RULES)


def test_a_thin_lot_has_objects_too() -> None:
    thin = square(0, 0, 10, 0.1)
    check_outline(square(1, 0, 2, 0.1), thin, "roof", RULES)


@pytest.fixture
def client(database: Database, tmp_path: Path) -> Iterator[Client]:
    with panel_client(database, tmp_path) as opened:
        yield opened


def test_the_panel_refuses_and_says_what_to_do(client: Client) -> None:
    edit = client.decide(client.lawn, action="edit", version=1, geometry=mapping(ACROSS))
    assert edit.status_code == 422
    assert "clip it to the boundary (G)" in edit.json()["detail"]
    clip = {"tool": "clip", "outline": mapping(ACROSS), "property_key": client.lot}
    [clipped] = client.call("POST", "/v1/review/outlines", clip).json()
    saved = client.decide(client.lawn, action="edit", version=1, geometry=clipped["outline"])
    assert saved.status_code == 201
    path = f"/v1/review/properties/{client.lot}/detections"
    added = {"label": "lawn", "geometry": mapping(ACROSS)}
    refused = client.call("POST", path, added, **{"Idempotency-Key": "an-add-key"})
    assert refused.status_code == 422
    assert re.search(r"[\d.]+ m² of the outline are more than", refused.json()["detail"])
    added["label"] = "roof"
    saved = client.call("POST", path, added, **{"Idempotency-Key": "an-add-key"})
    assert saved.status_code == 201
    [roof] = [each for each in saved.json()["property"]["detections"] if each["label"] == "roof"]
    assert roof["clipped_area_m2"] < roof["area_m2"] == pytest.approx(area_m2(ACROSS))


def test_labels_of_a_county_are_known(client: Client) -> None:
    client.decide(client.tree, action="relabel", version=1, label="trampoline")
    known = client.call("GET", f"/v1/review/labels?county={COUNTY}").json()
    assert known[: len(LABELS)] == list(LABELS)
    assert known[len(LABELS) :] == ["trampoline"]
    assert client.call("GET", "/v1/review/labels?county=nowhere").status_code == 404
    odd = client.decide(client.lawn, action="relabel", version=1, label="<b>Odd</b>")
    assert odd.status_code == 422
