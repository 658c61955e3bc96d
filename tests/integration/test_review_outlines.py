"""Outlines on the review page, by mouse and by keyboard, over a real PostGIS."""

from __future__ import annotations

from typing import Any

import pytest
import shapely
from map_places import aim, place, place_of, place_of_vertex
from reviewers import Reviewer, ground
from shapely import MultiPolygon, Polygon

from parcels.measure import area_m2

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

LAWN = ground(5, 5, 20, 10)


def _press(reviewer: Reviewer, *keys: str) -> None:
    for key in keys:
        reviewer.page.keyboard.press(key)


def _point(left: float, top: float) -> tuple[float, float]:
    """A place on the imagery, in metres from its upper left corner, in degrees."""
    west, south, east, north = ground(left - 1, top - 1, 2, 2).bounds
    return (west + east) / 2, (south + north) / 2


def _set_points(reviewer: Reviewer, *places: tuple[float, float]) -> None:
    for each in places:
        aim(reviewer.page, *_point(*each))
        _press(reviewer, "Enter")


def _wait_for_changes(reviewer: Reviewer, count: int) -> None:
    reviewer.wait_until(f"window.lotlinePanel.map.drafting.done.length == {count + 1}")


def _outlines(reviewer: Reviewer, label: str = "lawn", lot: int = 0) -> list[MultiPolygon]:
    """The outlines that are stored, the largest one first."""
    rows = reviewer.rows(
        "SELECT ST_AsBinary(geom) AS geom FROM lotline.detection WHERE label = :label "
        "AND property_fk = :lot AND state IN ('proposed', 'accepted') ORDER BY area_m2 DESC",
        label=label, lot=reviewer.lots[lot],
    )  # fmt: skip
    return [shapely.from_wkb(bytes(row.geom)) for row in rows]


def _vertices(outline: MultiPolygon) -> set[tuple[float, float]]:
    return {(x, y) for x, y in shapely.get_coordinates(outline)}


def _edit(reviewer: Reviewer) -> None:
    _press(reviewer, "e")
    reviewer.wait_for("[data-command=save]:not([hidden])")


def test_an_object_is_drawn_with_the_crosshair(reviewer: Reviewer) -> None:
    _press(reviewer, "d")
    _set_points(reviewer, (30, 15), (40, 15), (40, 20), (28, 28))
    _press(reviewer, "Backspace")
    _set_points(reviewer, (30, 20))
    _press(reviewer, "s")
    reviewer.wait_for_status("m²")
    _press(reviewer, "s")
    reviewer.page.keyboard.type("pool")
    _press(reviewer, "Enter")
    reviewer.wait_for_reviews(1)
    reviewer.wait_for_status("saved: draw pool")
    [pool] = _outlines(reviewer, "pool")
    assert area_m2(pool) == pytest.approx(50, rel=0.03)


def test_a_shape_with_too_few_points_is_not_finished(reviewer: Reviewer) -> None:
    _press(reviewer, "d")
    _set_points(reviewer, (30, 15), (40, 15))
    _press(reviewer, "s")
    reviewer.wait_for_status("1 more needed")
    _press(reviewer, "Escape")
    reviewer.wait_until("!window.lotlinePanel.map.isDrafting()")
    assert reviewer.reviews() == []


def test_a_piece_is_cut_out_and_its_hole_filled_by_keyboard(reviewer: Reviewer) -> None:
    _edit(reviewer)
    _press(reviewer, "1")
    _set_points(reviewer, (10, 8), (14, 8), (14, 12), (10, 12))
    _press(reviewer, "Enter")  # once more on the last point completes the piece
    _wait_for_changes(reviewer, 1)
    _press(reviewer, "1")
    _set_points(reviewer, (18, 8), (20, 8), (20, 12), (18, 12))
    _press(reviewer, "s")
    _wait_for_changes(reviewer, 2)
    _press(reviewer, "5", "v", "v")
    reviewer.wait_for_status("hole 2 of 2")
    _press(reviewer, "Enter")
    _wait_for_changes(reviewer, 3)
    _press(reviewer, "s")
    reviewer.wait_for_reviews(1)
    reviewer.wait_for_status("saved: edit lawn")
    [lawn] = _outlines(reviewer)
    [part] = lawn.geoms
    assert len(part.interiors) == 1
    assert round(200 - area_m2(lawn)) in (8, 16), "of either piece"
    assert _vertices(LAWN) <= _vertices(lawn), "what was not touched is the same to the last digit"


def test_a_piece_is_joined_by_keyboard(reviewer: Reviewer) -> None:
    _edit(reviewer)
    _press(reviewer, "2")
    _set_points(reviewer, (20, 12), (28, 12), (28, 20), (20, 20))
    _press(reviewer, "s")
    _wait_for_changes(reviewer, 1)
    _press(reviewer, "s")
    reviewer.wait_for_reviews(1)
    [lawn] = _outlines(reviewer)
    assert area_m2(lawn) == pytest.approx(200 + 64 - 15, rel=0.01)
    assert len(_vertices(LAWN) & _vertices(lawn)) == 3, "the fourth is inside now"


def test_an_outline_is_reshaped_by_a_stroke_of_the_keyboard(reviewer: Reviewer) -> None:
    _edit(reviewer)
    _press(reviewer, "4")
    _set_points(reviewer, (10, 7), (10, 2), (15, 2), (15, 7))
    _press(reviewer, "s")
    _wait_for_changes(reviewer, 1)
    _press(reviewer, "s")
    reviewer.wait_for_reviews(1)
    [lawn] = _outlines(reviewer)
    assert area_m2(lawn) == pytest.approx(200 + 15, rel=0.01)
    assert _vertices(LAWN) <= _vertices(lawn)


def test_an_outline_is_split_by_a_blade_of_the_keyboard(reviewer: Reviewer) -> None:
    _edit(reviewer)
    _press(reviewer, "3")
    _set_points(reviewer, (12, 2), (12, 18))
    _press(reviewer, "s")
    _wait_for_changes(reviewer, 1)
    _press(reviewer, "s")
    reviewer.wait_for_reviews(2)
    large, small = _outlines(reviewer)
    assert area_m2(large) == pytest.approx(130, rel=0.01)
    assert area_m2(small) == pytest.approx(70, rel=0.01)


def test_a_split_needs_no_aim_from_vertex_to_vertex(reviewer: Reviewer) -> None:
    _edit(reviewer)
    _press(reviewer, "3", "ArrowUp")  # the first arrow shows the crosshair
    vertices = "window.lotlinePanel.map.drafting.outline()[0][0]"
    begins_at = reviewer.page.evaluate("window.lotlinePanel.map.input.crosshair")
    assert begins_at in reviewer.page.evaluate(vertices)
    _press(reviewer, "v", "Enter", "v", "v", "Enter", "s")  # to the opposite corner
    _wait_for_changes(reviewer, 1)
    _press(reviewer, "s")
    reviewer.wait_for_reviews(2)
    assert [area_m2(each) for each in _outlines(reviewer)] == pytest.approx([100, 100], rel=0.01)


def test_escape_gives_up_a_tool_and_keeps_the_outline(reviewer: Reviewer) -> None:
    _edit(reviewer)
    _press(reviewer, "v", "Shift+ArrowLeft")
    _wait_for_changes(reviewer, 1)
    _press(reviewer, "1")
    _set_points(reviewer, (10, 8))
    _press(reviewer, "Escape")
    reviewer.wait_until("window.lotlinePanel.map.mode() == 'draft'")
    _wait_for_changes(reviewer, 1)
    _press(reviewer, "s")
    reviewer.wait_for_reviews(1)
    [lawn] = _outlines(reviewer)
    assert len(_vertices(LAWN) & _vertices(lawn)) == 3


def test_a_stroke_is_drawn_freehand(reviewer: Reviewer) -> None:
    page = reviewer.page
    _edit(reviewer)
    _press(reviewer, "4")
    places = [place_of(page, *_point(*each)) for each in ((10, 7), (10, 2), (15, 2), (15, 7))]
    page.keyboard.down("Shift")
    page.mouse.move(*places[0])
    page.mouse.down()
    for each in places[1:]:
        page.mouse.move(*each, steps=5)
    page.mouse.up()
    page.keyboard.up("Shift")
    _wait_for_changes(reviewer, 1)
    outline = Polygon(page.evaluate("window.lotlinePanel.map.draftGeometry().coordinates[0][0]"))
    assert area_m2(MultiPolygon([outline])) == pytest.approx(200 + 15, rel=0.05)


def _cross_itself(reviewer: Reviewer) -> tuple[float, float]:
    """Edit the lawn, and drag a corner over the opposite side; the middle of that, in the page."""
    page = reviewer.page
    _edit(reviewer)
    corners = [place_of_vertex(page, n) for n in range(4)]
    middle = [sum(corner[axis] for corner in corners) / 4 for axis in (0, 1)]
    side = [(corners[1][axis] + corners[2][axis]) / 2 for axis in (0, 1)]
    beyond = [middle[axis] + 1.3 * (side[axis] - middle[axis]) for axis in (0, 1)]
    page.mouse.move(*corners[0])
    page.mouse.down()
    page.mouse.move(*beyond, steps=4)
    page.mouse.up()
    return side[0], side[1]


def test_a_late_answer_about_a_drag_does_not_hide_why_it_was_not_saved(reviewer: Reviewer) -> None:
    page = reviewer.page
    held: list[Any] = []
    answers: list[int] = []

    def hold_the_first(route: Any) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/v1/review/areas", hold_the_first)
    page.on("response", lambda each: answers.append(each.status) if "areas" in each.url else None)
    _cross_itself(reviewer)
    _press(reviewer, "s")
    reviewer.wait_for_status("red ring")
    held[0].continue_()  # the next one is asked after its answer
    reviewer.wait_until("!window.lotlinePanel.editing.isMeasuring")
    assert answers == [200, 422]
    assert "red ring" in page.inner_text("#status")
    assert page.evaluate("window.lotlinePanel.editing.mark.source.getFeatures().length") == 1


def test_an_outline_that_crosses_itself_stays_open_with_the_place_marked(
    reviewer: Reviewer,
) -> None:
    page = reviewer.page
    marks = "window.lotlinePanel.editing.mark.source.getFeatures()"
    side = _cross_itself(reviewer)
    _press(reviewer, "s")
    reviewer.wait_for_status("red ring")  # the server says it too, in other words
    assert page.evaluate(f"{marks}.length") == 1
    marked = place(page, page.evaluate(f"{marks}[0].getGeometry().getCoordinates()"))
    assert abs(marked[0] - side[0]) < 60
    assert page.evaluate("window.lotlinePanel.map.isDrafting()")
    # The server says the same, in words, of the outline as it is.
    with page.expect_response(lambda each: each.status == 422) as answered:
        page.evaluate("window.lotlinePanel.map.onChange()")
    said = answered.value.json()
    reviewer.wait_for_status("a red ring marks the place")
    assert len(said["at"]) == 2
    assert "[" not in page.inner_text("#status")
    assert reviewer.reviews() == []
    _press(reviewer, "z")
    reviewer.wait_for_status("S saves")
    assert page.evaluate(f"{marks}.length") == 0
    _press(reviewer, "s")
    reviewer.wait_for_reviews(1)
