"""What a reviewer who traces lot after lot needs: to see the ground, few keys, nothing lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from map_places import place, place_of
from reviewers import PAGE_TEST, Reviewer, ground

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = PAGE_TEST

MAP = "window.lotlinePanel.map"
VISIBLE = f"[{MAP}.layers.detections, {MAP}.layers.boundary].map((each) => each.getVisible())"
CORNERS = f"{MAP}.drafting.outline().flat().flat().length"


LAWN_TOP = (ground(5, 5, 20, 10).centroid.x, ground(5, 5, 20, 10).bounds[3])


def _select(reviewer: Reviewer, label: str) -> None:
    for _ in reviewer.objects():
        if label in reviewer.page.inner_text("#objects [aria-selected=true]"):
            return
        reviewer.page.keyboard.press("c")
    raise AssertionError(f"no {label} in {reviewer.objects()}")


def _edit_and_move_a_vertex(reviewer: Reviewer) -> None:
    reviewer.page.keyboard.press("e")
    reviewer.wait_for("[data-command=save]:not([hidden])")
    for key in ("v", "ArrowRight", "ArrowRight"):
        reviewer.page.keyboard.press(key)
    reviewer.wait_until(f"{MAP}.drafting.done.length == 3")


def test_the_imagery_is_shown_alone_until_something_is_decided(reviewer: Reviewer) -> None:
    page = reviewer.page
    assert page.evaluate(VISIBLE) == [True, True]
    page.keyboard.press("i")
    reviewer.wait_for("#map [aria-pressed=true]")
    assert page.evaluate(VISIBLE) == [False, True], "the boundary stays"
    page.keyboard.press("i")
    assert page.evaluate(VISIBLE) == [True, True]
    page.click("#map [aria-label*='imagery alone']")
    assert page.evaluate(VISIBLE) == [False, True]
    page.keyboard.press("c")
    assert page.evaluate(VISIBLE) == [True, True], "another object is not decided about unseen"


def test_what_is_drawn_is_hidden_too_and_comes_back(reviewer: Reviewer) -> None:
    _edit_and_move_a_vertex(reviewer)
    drawn = f"{MAP}.draftLayer.layer.getVisible()"
    reviewer.page.keyboard.press("i")
    assert reviewer.page.evaluate(drawn) is False
    reviewer.page.keyboard.press("i")
    assert reviewer.page.evaluate(drawn) is True


def test_the_object_that_is_selected_next_comes_into_view(reviewer: Reviewer) -> None:
    page = reviewer.page
    _select(reviewer, "lawn")
    in_view = (
        f"(() => {{ const seen = {MAP}.map.getView().calculateExtent();"
        f" const [west, south, east, north] = {MAP}.layers.extentOf(window.lotlinePanel.selected);"
        " return west >= seen[0] && south >= seen[1] && east <= seen[2] && north <= seen[3]; })()"
    )
    page.evaluate(f"{MAP}.framing.fitObject(window.lotlinePanel.selected); {MAP}.zoom(1)")
    reviewer.wait_until(f"!{MAP}.map.getView().getAnimating()")
    page.keyboard.press("c")
    assert "tree" in page.inner_text("#objects [aria-selected=true]")
    assert page.evaluate(in_view) is True
    centre = page.evaluate(f"{MAP}.map.getView().getCenter()")
    page.keyboard.press("c")
    assert "lawn" in page.inner_text("#objects [aria-selected=true]")
    assert page.evaluate(in_view) is True, "one that is larger than the view is shown as a whole"
    assert page.evaluate(f"{MAP}.map.getView().getCenter()") != centre


def test_a_reason_and_a_label_are_chosen_by_a_digit(reviewer: Reviewer) -> None:
    page = reviewer.page
    _select(reviewer, "lawn")
    page.keyboard.press("r")
    reviewer.wait_for("dialog[open] .numbered button")
    page.keyboard.press("3")
    reviewer.wait_for_reviews(1)
    [row] = reviewer.rows("SELECT action, note FROM lotline.review")
    assert (row.action, row.note) == ("reject", "shadow")
    page.keyboard.press("f")
    reviewer.wait_for("dialog[open] .numbered button")
    offered = [each.inner_text() for each in page.query_selector_all("dialog .numbered button")]
    number = next(at for at, each in enumerate(offered, 1) if each.startswith("roof"))
    page.keyboard.press(str(number))
    reviewer.wait_for_reviews(2)
    assert reviewer.reviews()[-1][0] == "relabel"
    assert reviewer.rows("SELECT 1 FROM lotline.detection WHERE label = 'roof'")


def test_a_digit_waits_for_the_labels_of_the_county(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.keyboard.press("f")
    reviewer.wait_for("dialog[open] .numbered button")
    offered = [each.inner_text() for each in page.query_selector_all("dialog .numbered button")]
    number = next(at for at, each in enumerate(offered, 1) if each.startswith("roof"))
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append(route)

    page.route("**/v1/review/labels?*", hold)
    page.reload()
    reviewer.wait_for("#objects li")
    page.keyboard.press("f")
    reviewer.wait_for("dialog[open]")
    page.keyboard.press(str(number))
    assert reviewer.reviews() == []
    while not held:
        page.wait_for_timeout(20)
    held[0].continue_()
    reviewer.wait_for_reviews(1)
    assert reviewer.rows("SELECT 1 FROM lotline.detection WHERE label = 'roof'")


def test_a_digit_in_the_middle_of_an_answer_is_text(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.keyboard.press("r")
    reviewer.wait_for("dialog[open] .numbered button")
    page.keyboard.type("a 2nd one")
    page.keyboard.press("Enter")
    reviewer.wait_for_reviews(1)
    [row] = reviewer.rows("SELECT note FROM lotline.review")
    assert row.note == "a 2nd one"


def test_an_outline_that_was_given_up_is_taken_back(reviewer: Reviewer) -> None:
    page = reviewer.page
    _edit_and_move_a_vertex(reviewer)
    drawn = page.evaluate(f"{MAP}.drafting.outline()")
    page.keyboard.press("Escape")
    reviewer.wait_for_status("Z takes it back")
    page.keyboard.press("z")
    assert page.evaluate(f"{MAP}.drafting.outline()") == drawn
    assert page.evaluate(f"{MAP}.drafting.done.length") == 3, "each change can still be undone"
    page.keyboard.press("z")
    assert page.evaluate(f"{MAP}.drafting.done.length") == 2
    page.keyboard.press("s")
    reviewer.wait_for_reviews(1)
    assert reviewer.reviews() == [("edit", "ann")]


def test_corners_that_were_given_up_are_taken_back(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.keyboard.press("d")
    reviewer.wait_for("[data-command=finishShape]:not([hidden])")
    # The first arrow shows the crosshair.
    for key in ("ArrowUp", "Enter", "Shift+ArrowRight", "Enter", "Shift+ArrowDown", "Enter"):
        page.keyboard.press(key)
    page.keyboard.press("Escape")
    reviewer.wait_for_status("Z takes it back")
    page.keyboard.press("z")
    assert page.evaluate(CORNERS) == 4, "three corners, and the first one again"


def test_after_a_decision_an_undo_is_about_that_one(reviewer: Reviewer) -> None:
    page = reviewer.page
    _edit_and_move_a_vertex(reviewer)
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    reviewer.wait_for_reviews(1)
    page.keyboard.press("z")
    reviewer.wait_for_reviews(2)
    assert [action for action, _ in reviewer.reviews()] == ["accept", "undo"]
    assert page.evaluate(f"{MAP}.mode()") == "none"


def test_a_key_that_an_open_outline_holds_up_says_so(reviewer: Reviewer) -> None:
    page = reviewer.page
    title = reviewer.title()
    _edit_and_move_a_vertex(reviewer)
    page.keyboard.press("w")
    reviewer.wait_for_status("an outline is open: S saves it, Esc gives it up")
    assert reviewer.title() == title
    page.keyboard.press("1")
    page.keyboard.press("a")
    reviewer.wait_for_status("a shape is drawn: S finishes it, Esc gives it up")
    assert reviewer.reviews() == []


def test_two_tabs_keep_a_draft_each(reviewer: Reviewer) -> None:
    other = reviewer.page.context.new_page()
    other.goto(f"{reviewer.address}/#property={reviewer.lots[0]}")
    second = Reviewer(other, reviewer.database, reviewer.address, reviewer.lots)
    second.wait_for("#objects li")
    for tab in (reviewer, second):
        _select(tab, "lawn")
        _edit_and_move_a_vertex(tab)
    other.keyboard.press("ArrowDown")
    second.wait_until(f"{MAP}.drafting.done.length == 4")
    for tab in (reviewer, second):
        tab.page.evaluate("window.lotlinePanel.drafts.write()")
    kept = "window.lotlinePanel.drafts.of(window.lotlinePanel.property.key)"
    assert reviewer.page.evaluate(f"{kept}.length") == 2
    drawn = [tab.page.evaluate(f"{MAP}.draftGeometry()") for tab in (reviewer, second)]
    assert drawn[0] != drawn[1]
    other.close()
    reviewer.page.reload()
    for outline in (drawn[1], drawn[0]):  # the newest first
        reviewer.wait_for("#notices button")
        reviewer.page.click("text=Go on with it")
        reviewer.wait_for("[data-command=save]:not([hidden])")
        assert reviewer.page.evaluate(f"{MAP}.draftGeometry()") == outline
        if outline is drawn[1]:
            reviewer.page.keyboard.press("Escape")
            reviewer.page.reload()


def test_a_draft_that_is_open_here_is_not_lost_to_another_tab(reviewer: Reviewer) -> None:
    _select(reviewer, "lawn")
    _edit_and_move_a_vertex(reviewer)
    reviewer.page.evaluate("window.lotlinePanel.drafts.write()")
    other = reviewer.page.context.new_page()
    other.goto(f"{reviewer.address}/#property={reviewer.lots[0]}")
    second = Reviewer(other, reviewer.database, reviewer.address, reviewer.lots)
    second.wait_for("#notices button")
    other.click("text=Discard it")
    kept = "window.lotlinePanel.drafts.of(window.lotlinePanel.property.key).length"
    reviewer.wait_until(f"{kept} == 1")
    reviewer.page.reload()
    reviewer.wait_for("#notices button")
    other.close()


def test_keys_work_after_a_choice_in_the_filter_by_mouse_and_not_by_keyboard(
    reviewer: Reviewer,
) -> None:
    page = reviewer.page
    label = "#filter select[name=label]"
    reviewer.wait_until(f"document.querySelector('{label} option[value=tree]') !== null")
    page.focus(label)
    page.keyboard.press("ArrowDown")
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.activeElement.name") == "label"
    page.dispatch_event(label, "pointerdown")  # headless Chromium has no list to click in
    page.select_option(label, "tree")
    reviewer.wait_until("document.activeElement.id == 'objects'")
    reviewer.wait_until(
        "document.querySelector('#objects [aria-selected=true]').innerText.includes('tree')"
    )
    page.keyboard.press("a")
    reviewer.wait_for_reviews(1)
    [row] = reviewer.rows("SELECT label FROM lotline.detection WHERE state = 'accepted'")
    assert row.label == "tree"


@pytest.mark.parametrize("way", ["mouse", "keyboard"])
def test_a_part_that_a_cut_has_left_is_removed(reviewer: Reviewer, way: str) -> None:
    page = reviewer.page
    page.goto(f"{reviewer.address}/#property={reviewer.lots[1]}")
    reviewer.wait_until("document.querySelectorAll('#objects li').length == 1")
    page.keyboard.press("e")
    reviewer.wait_for("[data-command=removePart]:not([hidden])")
    parts = page.evaluate(f"{MAP}.drafting.outline()")
    page.keyboard.press("8")
    reviewer.wait_for_status("click the part to remove")
    if way == "mouse":
        centre = np.mean(parts[1][0], axis=0)
        page.mouse.click(*place(page, [float(each) for each in centre]))
    else:
        page.keyboard.press("b")  # back to the last one
        page.keyboard.press("Enter")
    reviewer.wait_until(f"{MAP}.drafting.outline().length == 1")
    assert page.evaluate(f"{MAP}.drafting.outline()") == parts[:1]
    page.keyboard.press("8")
    reviewer.wait_for_status("one part only")
    page.keyboard.press("z")
    reviewer.wait_until(f"{MAP}.drafting.outline().length == 2")
    page.keyboard.press("y")
    page.keyboard.press("s")
    reviewer.wait_for_reviews(1)
    [row] = reviewer.rows(
        "SELECT ST_NumGeometries(geom) AS parts FROM lotline.detection WHERE state = 'accepted'"
    )
    assert row.parts == 1


def test_an_outline_is_drawn_anew(reviewer: Reviewer) -> None:
    page = reviewer.page
    _select(reviewer, "lawn")
    page.keyboard.press("e")
    reviewer.wait_for("[data-command=redraw]:not([hidden])")
    before = page.evaluate(f"{MAP}.drafting.outline()")
    page.keyboard.press("9")
    reviewer.wait_for_status("draw the outline anew")
    reviewer.click([(0.4, 0.4), (0.6, 0.4), (0.5, 0.6)], closes=True)
    reviewer.wait_until(f"{CORNERS} == 4")
    page.keyboard.press("z")
    assert page.evaluate(f"{MAP}.drafting.outline()") == before
    page.keyboard.press("y")
    page.keyboard.press("s")
    reviewer.wait_for_reviews(1)
    [row] = reviewer.rows(
        "SELECT label, ST_NPoints(geom) AS points FROM lotline.detection WHERE state = 'accepted'"
    )
    assert (row.label, row.points) == ("lawn", 4)


def test_a_double_click_that_ends_a_line_does_not_zoom(reviewer: Reviewer) -> None:
    page = reviewer.page
    _select(reviewer, "lawn")
    zoom = f"{MAP}.map.getView().getZoom()"
    before = page.evaluate(zoom)
    page.keyboard.press("e")
    reviewer.wait_for("[data-command=split]:not([hidden])")
    x, y = place_of(page, *LAWN_TOP)
    page.keyboard.press("3")
    reviewer.wait_for_status("draw a line")
    page.mouse.click(x, y - 60)
    page.wait_for_timeout(300)  # not a double click yet
    page.mouse.dblclick(x, y + 400)
    reviewer.wait_until(f"{MAP}.cutOff().length == 1")
    reviewer.wait_until("!window.lotlinePanel.editing.isMeasuring")  # whose answer says less
    reviewer.wait_for_status("two objects")
    page.wait_for_timeout(400)  # a zoom is animated
    assert page.evaluate(zoom) == before


def test_a_legend_that_was_closed_stays_closed(reviewer: Reviewer) -> None:
    page = reviewer.page
    assert page.evaluate("document.querySelector('.legend').open") is True
    page.click(".legend summary")
    reviewer.wait_until("localStorage.getItem('lotline-legend') == 'closed'")
    page.reload()
    reviewer.wait_for("#objects li")
    assert page.evaluate("document.querySelector('.legend').open") is False


@pytest.mark.parametrize("way", ["mouse", "keyboard"])
def test_another_object_is_cut_out(reviewer: Reviewer, way: str) -> None:
    page = reviewer.page
    page.click(".legend summary")  # it lies over a corner of the lot
    _select(reviewer, "lawn")
    page.keyboard.press("e")
    reviewer.wait_for("[data-command=redraw]:not([hidden])")
    page.keyboard.press("9")
    reviewer.wait_for_status("draw the outline anew")
    around = [place_of(page, *each) for each in ground(26, 1, 16, 14).geoms[0].exterior.coords[:4]]
    reviewer.click_at(around, closes=True)
    reviewer.wait_until(f"{CORNERS} == 5")
    page.keyboard.press("k")
    reviewer.wait_for_status("click the object to cut out")
    if way == "mouse":
        tree = ground(30, 5, 6, 6).centroid
        page.mouse.click(*place_of(page, tree.x, tree.y))
    else:
        page.keyboard.press("v")
        reviewer.wait_for_status("tree 1 of 1")
        page.keyboard.press("Enter")
    reviewer.wait_until(f"{MAP}.drafting.outline()[0].length == 2")
    page.keyboard.press("s")
    reviewer.wait_for_reviews(1)
    [row] = reviewer.rows(
        "SELECT ST_Area(ST_Intersection(a.geom, b.geom)) AS shared FROM lotline.detection a, "
        "lotline.detection b WHERE a.state = 'accepted' AND b.label = 'tree'"
    )
    assert row.shared < 1e-16, "in square degrees"
    assert reviewer.reviews() == [("edit", "ann")], "the tree is as it was"


def test_no_button_moves_under_the_mouse_after_the_first_decision(reviewer: Reviewer) -> None:
    page = reviewer.page
    places = (
        "['accept', 'reject', 'edit', 'nextProperty'].map((name) => {"
        " const button = document.querySelector(`[data-command=${name}]`);"
        " const { x, y } = button.getBoundingClientRect(); return [x, y]; })"
    )
    before = page.evaluate(places)
    reviewer.wait_until("document.querySelector('#lease').textContent !== ''")
    assert page.evaluate(places) == before, "the lease came in the meantime"
    page.evaluate("document.querySelector('#lease').textContent = ''")
    assert page.evaluate(places) == before, "or has not come yet"
    assert not page.is_visible("[data-command=undo]")
    assert not page.is_visible("#rejected-toggle")
    page.keyboard.press("r")
    page.keyboard.press("Enter")
    reviewer.wait_for("#objects li.rejected")
    assert page.is_visible("[data-command=undo]")
    assert page.is_visible("#rejected-toggle")
    assert page.evaluate(places) == before


def test_the_map_stays_where_it_is_when_a_hint_comes(reviewer: Reviewer) -> None:
    page = reviewer.page
    place_of_map = (
        "(() => { const { y, height } = document.querySelector('#map').getBoundingClientRect();"
        " return [y, height]; })()"
    )
    before = page.evaluate(place_of_map)
    page.keyboard.press("e")
    reviewer.wait_for_status("1 to 4 change the outline by a shape")
    assert page.evaluate(place_of_map) == before
