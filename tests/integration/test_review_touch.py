"""Outlines on the review page by touch, at a phone's width, over a real PostGIS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from map_places import place_of_vertex, wait_until_still
from reviewers import Reviewer

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@dataclass
class Touched:
    """The reviewer's page on a phone."""

    reviewer: Reviewer
    cdp: Any

    @property
    def page(self) -> Any:
        return self.reviewer.page

    def place(self, pixel: tuple[float, float]) -> tuple[float, float]:
        """A pixel of the map in the page."""
        at = self.page.query_selector("#map").bounding_box()
        return at["x"] + pixel[0], at["y"] + pixel[1]

    def vertex(self, index: int) -> tuple[float, float]:
        return place_of_vertex(self.page, index)

    def tap(self, at: tuple[float, float]) -> None:
        self.page.touchscreen.tap(*at)

    def fingers(self, kind: str, *at: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(at)]
        self.cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def drag(self, start: tuple[float, float], by: tuple[float, float]) -> None:
        self.fingers("touchStart", start)
        for step in range(1, 6):
            self.fingers("touchMove", (start[0] + by[0] * step / 5, start[1] + by[1] * step / 5))
        self.fingers("touchEnd")
        wait_until_still(self.page)

    def changes(self) -> int:
        return int(self.page.evaluate("window.lotlinePanel.map.drafting.done.length")) - 1

    def centre(self) -> list[float]:
        found: list[float] = self.page.evaluate("window.lotlinePanel.map.map.getView().getCenter()")
        return found


@pytest.fixture
def touched(reviewer: Reviewer) -> Iterator[Touched]:
    context = reviewer.page.context.browser.new_context(
        has_touch=True, viewport={"width": 390, "height": 800}
    )
    page = context.new_page()
    page.goto(f"{reviewer.address}/#property={reviewer.lots[0]}")
    page.wait_for_selector("#objects li")
    on_phone = Reviewer(page, reviewer.database, reviewer.address, reviewer.lots)
    on_phone.settle()
    yield Touched(on_phone, context.new_cdp_session(page))
    context.close()


def _edit(touched: Touched) -> None:
    touched.page.tap("[data-command=edit]")
    touched.reviewer.wait_for("[data-command=save]:not([hidden])")


def test_a_vertex_is_tapped_then_removed_by_its_button(touched: Touched) -> None:
    _edit(touched)
    touched.page.evaluate("scrollTo(0, 0)")
    x, y = touched.vertex(1)
    touched.tap((x + 9, y - 9))  # a finger is not exact
    touched.reviewer.wait_for_status("vertex 2 of 4")
    touched.page.tap("[data-command=removeVertex]")
    touched.reviewer.wait_until("window.lotlinePanel.map.drafting.done.length == 2")
    touched.page.tap("[data-command=save]")
    touched.reviewer.wait_for_reviews(1)
    [lawn] = touched.reviewer.rows(
        "SELECT ST_NPoints(geom) AS n FROM lotline.detection WHERE state = 'accepted'"
    )
    assert lawn.n == 4


def test_a_finger_drags_what_it_tapped_and_else_the_map(touched: Touched) -> None:
    _edit(touched)
    touched.page.evaluate("scrollTo(0, 0)")
    before = touched.centre()
    touched.drag(touched.vertex(1), (40, 30))
    assert touched.changes() == 0, "it was not tapped"
    assert touched.centre() != before, "the map has moved"
    touched.tap(touched.vertex(1))
    held = touched.centre()
    touched.drag(touched.vertex(1), (-30, 25))
    assert touched.changes() == 1
    assert touched.centre() == held


def test_pinching_edits_nothing(touched: Touched) -> None:
    _edit(touched)
    touched.page.evaluate("scrollTo(0, 0)")
    touched.tap(touched.vertex(1))
    x, y = touched.vertex(1)
    before = touched.page.evaluate("window.lotlinePanel.map.map.getView().getZoom()")
    touched.fingers("touchStart", (x, y))
    touched.fingers("touchMove", (x + 6, y))
    touched.fingers("touchStart", (x + 6, y), (x - 60, y + 60))
    for step in range(1, 6):
        spread = 12 * step
        touched.fingers("touchMove", (x + 6 + spread, y), (x - 60 - spread, y + 60))
    touched.fingers("touchEnd")
    wait_until_still(touched.page)
    after = touched.page.evaluate("window.lotlinePanel.map.map.getView().getZoom()")
    assert touched.changes() == 0
    assert after > before


def test_an_edge_is_tapped_for_a_vertex(touched: Touched) -> None:
    _edit(touched)
    touched.page.evaluate("scrollTo(0, 0)")
    (ax, ay), (bx, by) = touched.vertex(0), touched.vertex(1)
    touched.tap(((ax + bx) / 2, (ay + by) / 2))
    touched.reviewer.wait_for_status("vertex 2 of 5")
    assert touched.changes() == 1


def test_an_object_is_drawn_by_taps(touched: Touched) -> None:
    touched.page.tap("[data-command=draw]")
    touched.page.evaluate("scrollTo(0, 0)")
    for pixel in ((150, 240), (250, 240), (250, 300), (60, 290)):
        touched.tap(touched.place(pixel))
    touched.page.tap("[data-command=removePoint]")
    touched.page.tap("[data-command=finishShape]")
    touched.reviewer.wait_for("[data-command=save]:not([hidden])")
    touched.reviewer.wait_for_status("m²")
    assert len(touched.page.evaluate("window.lotlinePanel.map.drafting.outline()[0][0]")) == 4
