"""Click to mask on the review page, in a real browser: a county that sam3-tiny measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import shapely
from map_places import aim, place_of
from reviewers import Reviewer
from shapely.geometry import shape
from test_review_masks import Clicker, clicker, place  # noqa: F401 - fixtures

from parcels.measure import iou

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def at_roof(clicker: Clicker, browser: Any) -> Iterator[tuple[Reviewer, Any]]:  # noqa: F811
    """The page on the property of a roof, and the roof's outline."""
    roof = clicker.detections("roof")[0]
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    page.goto(f"{clicker.address}/#property={roof.property_fk}")
    page.wait_for_selector("#objects li")
    key = roof.property_fk
    yield Reviewer(page, clicker.database, clicker.address, (key, key)), shapely.from_wkb(roof.geom)
    page.close()


def _begin(reviewer: Reviewer) -> None:
    reviewer.page.keyboard.press("6")
    reviewer.wait_for("dialog[open]")
    reviewer.page.keyboard.press("Control+A")
    reviewer.page.keyboard.type("roof")
    reviewer.page.keyboard.press("Enter")
    reviewer.wait_until("window.lotlinePanel.map.mode() == 'shape'")


def _drawn(reviewer: Reviewer) -> Any:
    reviewer.wait_for("[data-command=save]:not([hidden])")
    return shape(reviewer.page.evaluate("window.lotlinePanel.map.draftGeometry()"))


def test_a_click_becomes_an_object(at_roof: tuple[Reviewer, Any]) -> None:
    reviewer, roof = at_roof
    _begin(reviewer)
    inside = shapely.point_on_surface(roof).coords[0]
    reviewer.page.mouse.click(*place_of(reviewer.page, *inside))
    assert iou(_drawn(reviewer), roof) > 0.6
    reviewer.wait_for_status("m²")
    reviewer.page.keyboard.press("s")
    reviewer.wait_for_reviews(1)
    [event] = reviewer.rows(
        "SELECT r.action, d.label FROM lotline.review r JOIN lotline.detection d "
        "ON d.id = r.detection_fk"
    )
    assert (event.action, event.label) == ("add", "roof")
    # The next one is asked for anew: it need not be a roof.
    reviewer.page.keyboard.press("6")
    reviewer.wait_for("dialog[open]")


def test_a_box_is_drawn_by_keyboard(at_roof: tuple[Reviewer, Any]) -> None:
    reviewer, roof = at_roof
    west, south, east, north = roof.bounds
    _begin(reviewer)
    aim(reviewer.page, west, north)
    reviewer.page.keyboard.press("Shift+Enter")
    reviewer.wait_for_status("first corner set")
    aim(reviewer.page, east, south)
    reviewer.page.keyboard.press("Enter")
    assert iou(_drawn(reviewer), roof) > 0.6


def test_a_refused_click_is_said_and_nothing_is_drawn(at_roof: tuple[Reviewer, Any]) -> None:
    reviewer, _ = at_roof
    _begin(reviewer)
    at = reviewer.page.query_selector("#map").bounding_box()
    reviewer.page.mouse.click(at["x"] + 200, at["y"] + at["height"] - 4)
    reviewer.wait_for_status("not on the property")
    reviewer.wait_until("window.lotlinePanel.map.mode() == 'none'")
