"""The review panel in a real browser, over a real PostGIS: by mouse and by keyboard."""

from __future__ import annotations

import re
from typing import Any

import pytest
import shapely
from lots import read_detections
from map_places import place_of_vertex
from reviewers import COUNTY, PAGE, PAGE_TEST, Reviewer, ground
from sqlalchemy import text

from parcels.measure import area_m2
from pipeline.store.reviews import verdicts

pytestmark = PAGE_TEST


def test_by_keyboard_alone(reviewer: Reviewer) -> None:
    page = reviewer.page
    assert len(reviewer.objects()) == 2
    page.keyboard.press("a")
    reviewer.wait_for_reviews(1)
    page.keyboard.press("r")
    page.keyboard.type("a shadow")
    page.keyboard.press("Enter")
    reviewer.wait_for_reviews(2)
    reviewer.wait_for("#objects li.rejected")
    assert reviewer.reviews() == [("accept", "ann"), ("reject", "ann")]
    page.keyboard.press("t")
    reviewer.wait_for_reviews(3)
    page.keyboard.press("f")
    page.keyboard.press("Control+A")
    page.keyboard.type("hedge")
    page.keyboard.press("Enter")
    page.click("text=Make a new label: hedge")
    reviewer.wait_for_reviews(4)
    [label] = reviewer.rows("SELECT label FROM lotline.review WHERE action = 'relabel'")
    assert label.label == "hedge"
    before = reviewer.title()
    page.keyboard.press("w")
    page.wait_for_function(
        "before => document.querySelector('#title').innerText != before", arg=before
    )
    page.keyboard.press("q")
    page.wait_for_function(
        "before => document.querySelector('#title').innerText == before", arg=before
    )


def test_the_panel_says_what_areas_are_of_and_who_measured(reviewer: Reviewer) -> None:
    page = reviewer.page
    assert "has imagery" not in page.inner_text("#facts"), "all of it has"
    assert page.inner_text("#areas caption") == "Measured areas"
    with reviewer.database.engine.begin() as conn:
        conn.execute(text("UPDATE lotline.property SET coverage_fraction = 0.819"))
        conn.execute(text("UPDATE lotline.measurement SET segmenter = 'sam3-tiny-1'"))
        conn.execute(
            text("UPDATE lotline.measurement SET label = 'vegetation' WHERE label = 'tree'")
        )
    # As the registry of a generated county would say it.
    page.evaluate(f"() => lotlinePanel.workList.synthetic.set('{COUNTY}', true)")
    page.evaluate("() => lotlinePanel.reload()")
    facts = page.inner_text("#facts")
    assert "81 % of the lot has imagery" in facts
    assert "synthetic, not a real place" in facts
    assert page.inner_text("#areas caption") == "Measured areas of the imaged part only"
    notes = page.inner_text("#areas-notes")
    assert "Measured by sam3-tiny-1, a small SAM3 trained on synthetic images only" in notes
    assert "vegetation contains lawn: never add them." in notes
    with reviewer.database.engine.begin() as conn:
        conn.execute(text("UPDATE lotline.property SET coverage_fraction = NULL"))
    page.evaluate("() => lotlinePanel.reload()")
    assert "how much of the lot has imagery is not known" in page.inner_text("#facts")


def test_keys_are_listed(reviewer: Reviewer) -> None:
    reviewer.page.keyboard.press("?")
    reviewer.wait_for("#help[open]")
    groups = reviewer.page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('#help section')].map((each) =>"
        " [each.querySelector('h3').innerText, each.querySelector('ul').innerText]))"
    )
    assert "Reject" in groups["The selected object"]
    listed = reviewer.page.evaluate("document.querySelectorAll('#help li').length")
    buttons = reviewer.page.evaluate("document.querySelectorAll('#actions button').length")
    assert listed >= buttons > 30, "each command has its key in a group"


def test_with_the_mouse_a_vertex_is_moved_and_the_rest_stays_exactly(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.goto(f"{reviewer.address}/#property={reviewer.lots[1]}")
    page.reload()
    page.wait_for_function("() => document.querySelectorAll('#objects li').length == 1")
    [before] = reviewer.rows(
        "SELECT ST_AsText(geom, 17) AS wkt, ST_NPoints(geom) AS n FROM lotline.detection "
        "WHERE property_fk = :lot", lot=reviewer.lots[1])  # fmt: skip
    page.click("#objects li")
    page.click("[data-command=edit]")
    reviewer.wait_for("[data-command=save]:not([hidden])")
    x, y = place_of_vertex(page, 0)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 15, y + 15, steps=4)
    page.mouse.up()
    page.wait_for_function("() => document.querySelector('#status').innerText.includes('m²')")
    page.keyboard.press("s")
    reviewer.wait_for_reviews(1)
    [after] = reviewer.rows(
        "SELECT ST_AsText(geom, 17) AS wkt, ST_NPoints(geom) AS n, state FROM lotline.detection "
        "WHERE property_fk = :lot", lot=reviewer.lots[1])  # fmt: skip
    old, new = _vertices(before.wkt), _vertices(after.wkt)
    assert before.n > 7_000
    assert after.n == before.n
    assert after.state == "accepted"
    assert len(new - old) == 1, "one vertex has moved"


def _vertices(wkt: str) -> set[str]:
    return set(re.findall(r"-?[\d.]+ -?[\d.]+", wkt))


def test_an_edit_is_undone_and_redone_exactly(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.keyboard.press("e")
    reviewer.wait_for("[data-command=save]:not([hidden])")
    first = page.evaluate("JSON.stringify(window.lotlinePanel.map.draftGeometry())")
    x, y = place_of_vertex(page, 0)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 20, y + 10, steps=4)
    page.mouse.up()
    moved = page.evaluate("JSON.stringify(window.lotlinePanel.map.draftGeometry())")
    assert moved != first
    page.keyboard.press("z")
    assert page.evaluate("JSON.stringify(window.lotlinePanel.map.draftGeometry())") == first
    page.keyboard.press("y")
    assert page.evaluate("JSON.stringify(window.lotlinePanel.map.draftGeometry())") == moved
    page.keyboard.press("Escape")
    assert page.evaluate("window.lotlinePanel.map.draftGeometry()") is None
    assert reviewer.reviews() == []


def test_an_outline_is_edited_without_a_mouse(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.keyboard.press("e")
    for key in ("v", "v", "Shift+ArrowRight", "ArrowDown", "Enter", "ArrowUp"):
        page.keyboard.press(key)
    assert "vertex" not in page.inner_text("#title")
    page.wait_for_function("() => document.querySelector('#status').innerText.includes('m²')")
    page.keyboard.press("s")
    reviewer.wait_for_reviews(1)
    [lawn] = reviewer.rows(
        "SELECT ST_NPoints(geom) AS n, ST_AsText(geom, 17) AS wkt FROM lotline.detection "
        "WHERE label = 'lawn' AND property_fk = :lot",
        lot=reviewer.lots[0],
    )
    assert lawn.n == 6
    kept = _vertices(shapely.to_wkt(ground(5, 5, 20, 10), rounding_precision=17))
    assert len(kept & _vertices(lawn.wkt)) == 3


def test_an_object_is_drawn_without_a_mouse(reviewer: Reviewer) -> None:
    page = reviewer.page
    for key in ("d", "Enter", "v", "Delete", "s"):
        page.keyboard.press(key)
    page.keyboard.type("pool")
    page.keyboard.press("Enter")
    reviewer.wait_for_reviews(1)
    [pool] = reviewer.rows(
        "SELECT ST_NPoints(geom) AS n FROM lotline.detection WHERE label = 'pool'"
    )
    assert pool.n == 4


def test_a_missed_object_is_drawn(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.keyboard.press("d")
    reviewer.click([(0.45, 0.6), (0.55, 0.6), (0.55, 0.7), (0.45, 0.7)], closes=True)
    reviewer.wait_for("[data-command=save]:not([hidden])")
    page.keyboard.press("s")
    page.keyboard.type("pool")
    page.keyboard.press("Enter")
    reviewer.wait_for_reviews(1)
    page.wait_for_function("() => document.querySelectorAll('#objects li').length == 3")
    assert any("pool" in each and "accepted" in each for each in reviewer.objects())


def test_a_split_makes_two_objects_and_is_undone_as_a_whole(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.keyboard.press("e")
    page.keyboard.press("3")
    left, right = (place_of_vertex(page, n)[0] for n in (0, 2))
    box_ = page.query_selector("#map").bounding_box()
    middle = ((left + right) / 2 - box_["x"]) / box_["width"]
    reviewer.click([(middle, 0.02), (middle, 0.98)], closes=False)
    page.wait_for_function("() => window.lotlinePanel.map.cutOff().length == 1")
    page.keyboard.press("z")
    page.wait_for_function("() => window.lotlinePanel.map.cutOff().length == 0")
    page.keyboard.press("y")
    page.wait_for_function("() => window.lotlinePanel.map.cutOff().length == 1")
    page.keyboard.press("s")
    reviewer.wait_for_reviews(2)
    assert sorted(action for action, _ in reviewer.reviews()) == ["add", "edit"]
    areas = reviewer.rows(
        "SELECT area_m2 FROM lotline.detection WHERE label = 'lawn' AND property_fk = :lot",
        lot=reviewer.lots[0],
    )
    assert len(areas) == 2
    assert sum(row.area_m2 for row in areas) == pytest.approx(area_m2(ground(5, 5, 20, 10)))


def test_a_piece_is_cut_out_by_keyboard_and_mouse(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.keyboard.press("e")
    page.keyboard.press("1")
    reviewer.click([(0.25, 0.3), (0.3, 0.3), (0.3, 0.38), (0.25, 0.38)], closes=True)
    page.wait_for_function("() => window.lotlinePanel.map.drafting.done.length == 2")
    page.keyboard.press("s")
    reviewer.wait_for_reviews(1)
    [lawn] = reviewer.rows(
        "SELECT area_m2 FROM lotline.detection WHERE label = 'lawn' AND property_fk = :lot",
        lot=reviewer.lots[0],
    )
    assert lawn.area_m2 < area_m2(ground(5, 5, 20, 10))


def test_a_conflict_shows_both_versions(reviewer: Reviewer) -> None:
    page = reviewer.page
    with reviewer.database.engine.begin() as conn:
        [lawn] = [row.id for row in read_detections(conn, reviewer.lots[0]) if row.label == "lawn"]
        verdicts.edit(conn, lawn, "bob", ground(5, 5, 10, 10))
    page.keyboard.press("e")
    reviewer.wait_for("[data-command=save]:not([hidden])")
    page.keyboard.press("s")
    reviewer.wait_for("[data-notice=conflict]")
    assert "differ by 100 m²" in page.inner_text("[data-notice=conflict]")
    assert page.evaluate("window.lotlinePanel.conflicts.layer.source.getFeatures().length") == 1
    reviewer.wait_for("[data-command=save]:not([hidden])")
    assert reviewer.reviews() == [("edit", "bob")]
    assert any("by bob" in each for each in reviewer.objects())
    page.keyboard.press("s")  # mine, over the version that I have seen now
    reviewer.wait_for_reviews(2)


def test_decisions_wait_for_a_server_that_is_away_and_outlive_a_reload(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.route("**/v1/review/detections/*/reviews", lambda route: route.abort())
    for key in ("a", "c", "a", "a"):  # the lawn, the lawn again, the tree
        page.keyboard.press(key)
    page.wait_for_function(
        "() => document.querySelector('#waiting').innerText.includes('3 decisions')"
    )
    assert reviewer.reviews() == []
    page.unroute("**/v1/review/detections/*/reviews")
    page.reload()
    reviewer.wait_for_reviews(3)
    reviewer.wait_for("#objects li.accepted")
    versions = reviewer.rows(
        "SELECT d.label, r.after ->> 'version' AS version FROM lotline.review r "
        "JOIN lotline.detection d ON d.id = r.detection_fk ORDER BY r.id"
    )
    assert [tuple(row) for row in versions] == [("lawn", "2"), ("lawn", "3"), ("tree", "2")]


def test_an_answer_that_was_lost_is_not_a_second_review(reviewer: Reviewer) -> None:
    page = reviewer.page
    lost: list[str] = []

    def lose_the_first(route: Any) -> None:
        if lost:
            route.continue_()
        else:
            lost.append(route.request.url)
            route.fetch()
            route.abort()

    page.route("**/v1/review/detections/*/reviews", lose_the_first)
    page.keyboard.press("a")
    reviewer.wait_for("#objects li.accepted")
    assert reviewer.reviews() == [("accept", "ann")]


def test_text_from_outside_is_no_markup(reviewer: Reviewer) -> None:
    page = reviewer.page
    evil = "<img src=x onerror=alert(1)><b>bold"
    page.keyboard.press("r")
    page.keyboard.type(evil)
    page.keyboard.press("Enter")
    reviewer.wait_for_reviews(1)
    page.keyboard.press("c")  # the rejected one, which is the last of the list
    page.wait_for_function("() => document.querySelector('#history').innerText.includes('onerror')")
    assert page.query_selector("#side img") is None


def test_the_imagery_is_that_of_the_segmenter(reviewer: Reviewer) -> None:
    with reviewer.page.expect_response(
        lambda each: "/tiles/imagery/" in each.url and each.status == 200
    ):
        reviewer.page.reload()


def test_imagery_that_cannot_be_read_is_said(reviewer: Reviewer) -> None:
    page = reviewer.page
    refusal = '{"detail": "the reason"}'
    page.route("**/tiles/imagery/**", lambda route: route.fulfill(status=404, body=refusal))
    page.reload()
    page.wait_for_function(
        "() => document.querySelector('#status').innerText.includes('the reason')"
    )


def _conflict(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.keyboard.press("Escape")
    with reviewer.database.engine.begin() as conn:
        [lawn] = [row.id for row in read_detections(conn, reviewer.lots[0]) if row.label == "lawn"]
        verdicts.edit(conn, lawn, "bob", ground(5, 5, 10, 10))
    reviewer.wait_until("!document.querySelector('dialog[open]')")
    page.keyboard.press("e")
    page.keyboard.press("s")
    reviewer.wait_for("[data-notice=conflict]")


def test_axe_finds_no_serious_fault(reviewer: Reviewer) -> None:
    source = PAGE.parents[1] / "node_modules" / "axe-core" / "axe.min.js"
    page = reviewer.page
    page.evaluate(source.read_text())
    opened = {
        "a property": lambda: None,
        "editing": lambda: page.keyboard.press("e"),
        "the keys": lambda: (page.keyboard.press("Escape"), page.keyboard.press("?")),
        "a question": lambda: (page.keyboard.press("Escape"), page.keyboard.press("r")),
        "a conflict": lambda: _conflict(reviewer),
        "history": lambda: (page.click("text=Keep mine"), reviewer.wait_for("#history li")),
    }
    for what, open_it in opened.items():
        open_it()
        found = page.evaluate("() => axe.run().then((report) => report.violations)")
        serious = [
            (each["id"], each["nodes"][0]["html"], each["nodes"][0]["failureSummary"])
            for each in found
            if each["impact"] in ("serious", "critical")
        ]
        assert serious == [], what
