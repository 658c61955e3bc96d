"""Decisions on the review page: undone, redone, deleted, labelled, and marked as complete."""

from __future__ import annotations

from typing import Any

from lots import read_detections
from map_places import place_of_vertex
from reviewers import KEY_AFTER_CLOSING, PAGE_TEST, Reviewer, ground

from pipeline.store.reviews import verdicts

pytestmark = PAGE_TEST


def _states(reviewer: Reviewer) -> list[tuple[str, str, str]]:
    return [
        (row.label, row.state, row.wkt)
        for row in reviewer.rows(
            "SELECT label, state, ST_AsText(geom, 17) AS wkt FROM lotline.detection "
            "WHERE property_fk = :lot AND state <> 'superseded' ORDER BY id",
            lot=reviewer.lots[0],
        )
    ]


def _actions(reviewer: Reviewer) -> list[str]:
    return [action for action, _ in reviewer.reviews()]


def test_every_decision_is_undone_and_redone_in_order(reviewer: Reviewer) -> None:
    page = reviewer.page
    before = _states(reviewer)
    page.keyboard.press("a")  # the lawn
    page.keyboard.press("r")  # the tree
    page.keyboard.type("shadow")
    page.keyboard.press("Enter")
    reviewer.wait_for_reviews(2)
    page.keyboard.press("f")
    page.keyboard.press("Escape")
    decided = _states(reviewer)
    for count in (3, 4):
        page.keyboard.press("z")
        reviewer.wait_for_reviews(count)
    assert _states(reviewer) == before
    reviewer.wait_for_status("undone: accept lawn")
    page.keyboard.press("z")
    assert "Undo" not in page.inner_text("#actions")
    for count in (5, 6):
        page.keyboard.press("y")
        reviewer.wait_for_reviews(count)
    assert _states(reviewer) == decided
    assert _actions(reviewer) == ["accept", "reject", "undo", "undo", "accept", "reject"]


def test_by_the_buttons(reviewer: Reviewer) -> None:
    page = reviewer.page

    def click(command: str, count: int, answer: str | None = None) -> None:
        page.click(f"[data-command={command}]")
        if answer is not None:
            page.fill("dialog input", answer)
            page.click("dialog button.primary")
        reviewer.wait_for_reviews(count)

    click("accept", 1)  # the lawn; then the tree is selected
    click("reject", 2, "shadow")
    reviewer.wait_for("#objects li.rejected")
    page.click("#objects li.rejected")
    click("restore", 3)
    reviewer.wait_until("!document.querySelector('#objects li.rejected')")
    click("relabel", 4, "pool")
    reviewer.wait_until("document.querySelector('#objects').innerText.includes('pool')")
    click("delete", 5)
    click("undo", 6)
    click("redo", 7)
    assert _actions(reviewer) == [
        "accept", "reject", "restore", "relabel", "delete", "undo", "delete",
    ]  # fmt: skip
    reviewer.wait_for("#objects li.rejected")
    page.click("[data-command=fullyReviewed]")
    reviewer.wait_until("document.querySelector('#fully-reviewed').innerText.includes('by ann')")


def test_an_undo_after_a_reload_goes_back_to_the_property(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.keyboard.press("a")
    reviewer.wait_for_reviews(1)
    page.goto(f"{reviewer.address}/#property={reviewer.lots[1]}")
    page.reload()
    reviewer.wait_until("document.querySelectorAll('#objects li').length == 1")
    page.click("[data-command=undo]")
    reviewer.wait_for_reviews(2)
    reviewer.wait_until("document.querySelectorAll('#objects li').length == 2")
    assert "lawn" in page.inner_text("#objects [aria-selected=true]")
    assert {state for _, state, _ in _states(reviewer)} == {"proposed"}


def test_two_undos_while_the_property_is_on_its_way_take_back_two_decisions(
    reviewer: Reviewer,
) -> None:
    page = reviewer.page
    page.keyboard.press("a")
    page.keyboard.press("a")
    reviewer.wait_for_reviews(2)
    page.keyboard.press("w")
    reviewer.wait_until("document.querySelector('#title').innerText == 'p1'")
    held: list[Any] = []
    is_held = True

    def hold(route: Any) -> None:
        if is_held:
            held.append(route)
        else:
            route.continue_()

    page.route("**/v1/review/properties/*", hold)
    page.keyboard.press("z")
    page.keyboard.press("z")
    while not held:
        page.wait_for_timeout(20)
    is_held = False
    for each in held:
        each.continue_()
    reviewer.wait_for_reviews(4)
    reviewer.wait_until("window.lotlinePanel.decisions.outbox.items().length == 0")
    assert _actions(reviewer) == ["accept", "accept", "undo", "undo"]
    assert page.query_selector(".notice") is None
    page.keyboard.press("y")
    page.keyboard.press("y")
    reviewer.wait_for_reviews(6)
    assert _actions(reviewer)[4:] == ["accept", "accept"]


def test_what_waits_to_be_redone_tells_what_can_be_done_next(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.keyboard.press("Shift+R")
    reviewer.wait_for_reviews(1)
    page.click("[data-command=undo]")
    reviewer.wait_for_reviews(2)
    reviewer.wait_until("window.lotlinePanel.decisions.outbox.items().length == 0")
    page.route("**/redo", lambda route: route.abort())
    page.keyboard.press("y")
    # It will be rejected: an acceptance would be refused.
    reviewer.wait_until("window.lotlinePanel.can('restore') && !window.lotlinePanel.can('accept')")
    page.keyboard.press("z")
    reviewer.wait_until("window.lotlinePanel.can('accept') && !window.lotlinePanel.can('restore')")
    page.unroute("**/redo")


def test_an_undo_waits_behind_the_decision_that_it_takes_back(reviewer: Reviewer) -> None:
    page = reviewer.page
    before = _states(reviewer)
    page.route("**/v1/review/**", lambda route: route.abort())
    for key in ("a", "z", "y", "z"):
        page.keyboard.press(key)
    reviewer.wait_until("document.querySelector('#waiting').innerText.includes('4 decisions')")
    assert reviewer.reviews() == []
    page.unroute("**/v1/review/**")
    page.reload()
    reviewer.wait_for_reviews(4)
    assert _actions(reviewer) == ["accept", "undo", "accept", "undo"]
    assert _states(reviewer) == before


def test_two_decisions_about_one_object_are_undone_and_redone(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.keyboard.press("a")
    page.keyboard.press("c")
    page.keyboard.press("r")
    page.keyboard.press("Enter")
    reviewer.wait_for_reviews(2)
    decided = _states(reviewer)
    for key, count in (("z", 3), ("z", 4), ("y", 5), ("y", 6)):
        page.keyboard.press(key)
        reviewer.wait_for_reviews(count)
    assert _states(reviewer) == decided


def test_an_undo_of_what_somebody_else_changed_since_is_refused(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.keyboard.press("a")
    reviewer.wait_for_reviews(1)
    with reviewer.database.engine.begin() as conn:
        [lawn] = [row.id for row in read_detections(conn, reviewer.lots[0]) if row.label == "lawn"]
        verdicts.edit(conn, lawn, "bob", ground(5, 5, 10, 10))
    page.keyboard.press("z")
    reviewer.wait_for(".notice")
    assert "Not saved: undo of: accept lawn" in page.inner_text(".notice")
    reviewer.wait_until("document.querySelector('#objects').innerText.includes('by bob')")
    assert _actions(reviewer) == ["accept", "edit"]


def test_an_object_is_deleted_and_comes_back(reviewer: Reviewer) -> None:
    page = reviewer.page
    before = _states(reviewer)
    page.keyboard.press("Shift+R")
    reviewer.wait_for_reviews(1)
    reviewer.wait_for("#objects li.rejected")
    assert any("deleted" in each for each in reviewer.objects())
    page.click("#show-rejected")
    reviewer.wait_until("document.querySelectorAll('#objects li').length == 1")
    page.keyboard.press("z")
    reviewer.wait_for_reviews(2)
    assert _states(reviewer) == before


def test_a_split_is_undone_by_one_key(reviewer: Reviewer) -> None:
    page = reviewer.page
    before = _states(reviewer)
    page.keyboard.press("e")
    left, right = (place_of_vertex(page, n)[0] for n in (0, 2))
    page.keyboard.press("3")
    box = page.query_selector("#map").bounding_box()
    middle = ((left + right) / 2 - box["x"]) / box["width"]
    reviewer.click([(middle, 0.02), (middle, 0.98)], closes=False)
    reviewer.wait_until("window.lotlinePanel.map.cutOff().length == 1")
    page.keyboard.press("s")
    reviewer.wait_for_reviews(2)
    assert len(_states(reviewer)) == 3
    page.keyboard.press("z")
    reviewer.wait_for_reviews(4)
    assert _states(reviewer) == before
    page.keyboard.press("y")
    reviewer.wait_for_reviews(6)
    assert len(_states(reviewer)) == 3


def test_fully_reviewed_needs_every_decision(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.keyboard.press("c")
    page.keyboard.press("Shift+W")
    reviewer.wait_for_status("2 objects are undecided")
    assert "lawn" in page.inner_text("#objects [aria-selected=true]")
    page.keyboard.press("a")
    page.keyboard.press("a")
    reviewer.wait_for_reviews(2)
    reviewer.wait_until("document.querySelectorAll('#objects li.accepted').length == 2")
    page.keyboard.press("Shift+W")
    reviewer.wait_until("document.querySelector('#fully-reviewed').innerText.includes('by ann')")
    reviewer.wait_until("document.querySelector('#filter').innerText.includes('1 of 2 fully')")
    page.keyboard.press("z")
    reviewer.wait_until("document.querySelector('#fully-reviewed').innerText == ''")
    page.keyboard.press("y")
    reviewer.wait_until("document.querySelector('#fully-reviewed').innerText.includes('by ann')")


def test_the_list_of_objects_is_used_by_its_own_keys(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.focus("#objects")
    for key, label in (
        ("ArrowDown", "tree"),
        ("ArrowUp", "lawn"),
        ("End", "tree"),
        ("Home", "lawn"),
    ):
        page.keyboard.press(key)
        assert label in page.inner_text("#objects [aria-selected=true]")
    active = page.get_attribute("#objects", "aria-activedescendant")
    assert page.inner_text(f"#{active}").split() == [
        "lawn", "proposed", "200", "m²", "(2,155", "sq", "ft)", "score", "0.90",
    ]  # fmt: skip


def test_labels_of_the_county_are_offered(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.keyboard.press("f")
    reviewer.wait_until("document.querySelectorAll('dialog option[value=pool]').length == 1")
    page.keyboard.press("Control+A")
    page.keyboard.type("pool")
    page.keyboard.press("Enter")
    reviewer.wait_for_reviews(1)
    page.keyboard.press("d")
    page.keyboard.press("Enter")
    page.keyboard.press("s")
    assert page.input_value("dialog input") == "pool"


def test_the_history_tells_what_changed(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.keyboard.press("e")
    for key in ("v", "Shift+ArrowRight", "Shift+ArrowDown", "s"):
        page.keyboard.press(key)
    reviewer.wait_for_reviews(1)
    page.keyboard.press("z")
    reviewer.wait_for_reviews(2)
    reviewer.wait_for("#history del")
    told = page.inner_text("#history")
    assert "ann undid: edited the outline" in told
    assert "proposed → accepted" in told
    assert "sq ft) changed" in told


def test_a_key_right_after_a_dialog_closed_is_not_lost(reviewer: Reviewer) -> None:
    page = reviewer.page
    selected = "window.lotlinePanel.selected"
    before = page.evaluate(selected)
    page.keyboard.press("?")
    reviewer.wait_for("dialog[open]")
    page.evaluate(KEY_AFTER_CLOSING, "c")
    assert page.evaluate(selected) != before


def test_an_answer_is_taken_before_the_next_key(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.keyboard.press("r")
    reviewer.wait_for("dialog[open]")
    decided = page.evaluate(
        """async () => {
            const { outbox } = window.lotlinePanel.decisions;
            document.querySelector("dialog[open] form").requestSubmit();
            for (let tick = 0; tick < 50; tick += 1) await null;  // a key comes in a later task
            return outbox.items().map((each) => each.body.action);
        }"""
    )
    assert decided == ["reject"]
    reviewer.wait_for_reviews(1)
