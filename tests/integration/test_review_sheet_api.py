"""The contact sheet's API over a real PostGIS: which detections, in which order, and pictures."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image
from reviewers import COUNTY, ground
from servers.panel import panel
from sheetcounty import GREEN, store_sheet
from sqlalchemy import text

from pipeline.report.palette import label_colour
from pipeline.store.database import Database
from pipeline.store.reviews import tokens, verdicts

# Width in metres of square detections, and their scores.
LAWNS = ((3.9, 0.95), (5.0, 0.91), (9.0, 0.93), (3.9, 0.55), (9.0, 0.51), (3.0, 0.15))


@dataclass
class Sheets:
    """A client of the panel over a county of one property with `LAWNS` and a tree."""

    address: str
    database: Database
    home: Path
    session: requests.Session

    def get(self, path: str, **query: object) -> requests.Response:
        return self.session.get(self.address + path, params=query, timeout=30)  # type: ignore[arg-type]

    def page(self, **query: object) -> dict[str, Any]:
        answer = self.get("/v1/review/sheet", **{"county": COUNTY, "label": "lawn", **query})
        assert answer.status_code == 200, answer.text
        page: dict[str, Any] = answer.json()
        return page

    def ids(self, **query: object) -> list[int]:
        return [each["id"] for each in self.page(**query)["items"]]

    def detections(self) -> list[Any]:
        with self.database.engine.connect() as conn:
            query = "SELECT id, label, score FROM lotline.detection ORDER BY id"
            return list(conn.execute(text(query)))


@pytest.fixture
def sheets(database: Database, tmp_path: Path) -> Iterator[Sheets]:
    store_sheet(database, tmp_path, LAWNS)
    with panel(database, tmp_path) as address, requests.Session() as session:
        yield Sheets(address, database, tmp_path, session)


def test_detections_are_grouped_by_score_and_sorted_by_size_within(sheets: Sheets) -> None:
    page = sheets.page()
    shown = [(each["band"], each["score"]) for each in page["items"]]
    assert shown == [
        ([0.1, 0.2], 0.15),
        ([0.5, 0.6], 0.55),
        ([0.5, 0.6], 0.51),
        ([0.9, 1.0], 0.95),
        ([0.9, 1.0], 0.91),
        ([0.9, 1.0], 0.93),
    ]
    assert page["next"] is None
    assert sheets.ids(sort="-score") == sheets.ids()[::-1]


def test_detections_are_grouped_by_octaves_of_area_and_sorted_by_score_within(
    sheets: Sheets,
) -> None:
    items = sheets.page(sort="area")["items"]
    assert [(each["band"], each["score"]) for each in items] == [
        ([8.0, 16.0], 0.15),
        ([8.0, 16.0], 0.55),
        ([8.0, 16.0], 0.95),
        ([16.0, 32.0], 0.91),
        ([64.0, 128.0], 0.51),
        ([64.0, 128.0], 0.93),
    ]
    for each in items:
        assert each["band"][0] <= each["clipped_area_m2"] < each["band"][1]


@pytest.mark.parametrize("sort", ["score", "-score", "area", "-area"])
def test_pages_follow_each_other_without_gap_or_repetition(sheets: Sheets, sort: str) -> None:
    everything, seen, after = sheets.ids(sort=sort), [], None
    for _ in range(10):
        page = sheets.page(sort=sort, limit=2, **({} if after is None else {"after": after}))
        seen += [each["id"] for each in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen == everything
    assert len(seen) == len(LAWNS)


def test_the_filters_narrow_a_sheet(sheets: Sheets) -> None:
    scores = [each["score"] for each in sheets.page(min_score=0.5, max_score=0.92)["items"]]
    assert sorted(scores) == [0.51, 0.55, 0.91]
    large = [each["score"] for each in sheets.page(min_area_m2=60, max_area_m2=100)["items"]]
    assert sorted(large) == [0.51, 0.93]
    assert sheets.ids(state="rejected") == []
    [lawn] = sheets.ids(max_score=0.2)
    with sheets.database.engine.begin() as conn:
        verdicts.reject(conn, lawn, "bob", "a shadow")
    [rejected] = sheets.page(state="rejected")["items"]
    assert (rejected["id"], rejected["reviewer"], rejected["version"]) == (lawn, "bob", 2)
    assert lawn not in sheets.ids()


def test_the_labels_of_a_county_are_counted_by_state(sheets: Sheets) -> None:
    counted = sheets.get("/v1/review/sheet/labels", county=COUNTY).json()
    by_label = {(each["label"], each["state"]): each for each in counted}
    assert by_label["lawn", "proposed"]["detections"] == len(LAWNS)
    assert by_label["lawn", "proposed"]["min_score"] == 0.15
    assert by_label["tree", "proposed"]["detections"] == 1


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"county": "elsewhere"}, 404),
        ({"label": ""}, 422),
        ({"county": "a\0b"}, 422),
        ({"min_score": "nan"}, 422),
        ({"max_area_m2": "-1"}, 422),
        ({"sort": "name"}, 422),
        ({"limit": 0}, 422),
        ({"after": "1"}, 422),
        ({"after": "9e999_1_1"}, 422),
        ({"after": "1_1_1; DROP TABLE lotline.review"}, 422),
    ],
    ids=str,
)
def test_a_wrong_request_is_refused_with_what_is_wrong(
    sheets: Sheets, query: dict[str, object], status: int
) -> None:
    answer = sheets.get("/v1/review/sheet", **{"county": COUNTY, "label": "lawn", **query})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


def _pixels(answer: requests.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/webp"
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB")).astype(int)


def _colour(label: str) -> tuple[int, ...]:
    return tuple(int(label_colour(label)[i : i + 2], 16) for i in (1, 3, 5))


def test_a_picture_shows_the_imagery_with_the_outline_where_it_is(sheets: Sheets) -> None:
    [nine_m] = sheets.ids(min_area_m2=60, max_score=0.6)
    pixels = _pixels(sheets.get(f"/tiles/detections/{nine_m}.webp", size=200))
    assert pixels.shape == (200, 200, 3)
    # 9 m of 12.6 m: the outline lies 1.8 m, or 29 pixels, from each side.
    assert np.abs(pixels[100, 100] - GREEN).max() < 12
    assert np.abs(pixels[5, 5] - GREEN).max() < 12
    for row, column in ((100, 29), (100, 171), (29, 100), (171, 100)):
        near = np.abs(pixels[row - 1 : row + 2, column - 1 : column + 2] - _colour("lawn"))
        assert near.max(axis=2).min() < 80, (row, column)


def test_a_picture_is_sent_again_only_if_it_has_changed(sheets: Sheets) -> None:
    [lawn] = sheets.ids(max_score=0.2)
    path = f"/tiles/detections/{lawn}.webp"
    first = sheets.get(path)
    known = {"If-None-Match": first.headers["etag"]}
    again = sheets.session.get(sheets.address + path, headers=known, timeout=30)
    assert (again.status_code, again.content) == (304, b"")
    other_size = sheets.session.get(sheets.address + path + "?size=64", headers=known, timeout=30)
    assert other_size.status_code == 200
    with sheets.database.engine.begin() as conn:
        verdicts.edit(conn, lawn, "bob", ground(65, 5, 8, 8))
    changed = sheets.session.get(sheets.address + path, headers=known, timeout=30)
    assert changed.status_code == 200
    assert changed.headers["etag"] != first.headers["etag"]


@pytest.mark.parametrize(("way", "header"), [("{}/../{}", None), ("{}/elsewhere/{}", "other")])
def test_imagery_is_another_only_at_another_place(
    sheets: Sheets, way: str, header: str | None
) -> None:
    [lawn] = sheets.ids(max_score=0.2)
    with sheets.database.engine.begin() as conn:
        [registry] = conn.execute(text("SELECT registry FROM lotline.county")).scalars()
        folder = Path(registry).parent
        source = way.format(folder / "sub", "here.tif")
        conn.execute(text("UPDATE lotline.chip SET sources = ARRAY[:source]"), {"source": source})
    answer = sheets.get(f"/tiles/detections/{lawn}.webp")
    assert answer.headers.get("Lotline-Imagery") == header


def test_no_imagery_is_said_and_is_no_picture(sheets: Sheets) -> None:
    [pool] = [each.id for each in sheets.detections() if each.label == "pool"]
    answer = sheets.get(f"/tiles/detections/{pool}.webp")
    assert answer.status_code == 404
    assert "imagery" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/tiles/detections/999999.webp", 404),
        ("/tiles/detections/0.webp", 422),
        ("/tiles/detections/9223372036854775808.webp", 422),
        ("/tiles/detections/1.webp?size=9999", 422),
    ],
)
def test_a_picture_that_cannot_be_is_refused(sheets: Sheets, path: str, status: int) -> None:
    assert sheets.get(path).status_code == status


def test_other_counties_do_not_exist_for_a_token(sheets: Sheets) -> None:
    [lawn] = sheets.ids(max_score=0.2)
    with sheets.database.engine.begin() as conn:
        _, elsewhere = tokens.add_token(conn, "eve", "viewer", ("elsewhere",))
        _, here = tokens.add_token(conn, "ann", "viewer", (COUNTY,))
    paths = (
        f"/v1/review/sheet?county={COUNTY}&label=lawn",
        f"/v1/review/sheet/labels?county={COUNTY}",
        f"/tiles/detections/{lawn}.webp",
    )
    for path in paths:
        assert sheets.get(path).status_code == 401
        for token, status in ((elsewhere, 404), (here, 200)):
            answer = sheets.session.get(
                sheets.address + path, headers={"Authorization": f"Bearer {token}"}, timeout=30
            )
            assert answer.status_code == status, (path, token, answer.text)
