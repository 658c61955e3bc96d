"""The review page loses no edit: reloads, outages, conflicts, several tabs, sessions that end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import shapely.geometry
from lots import read_detections
from reviewers import PAGE_TEST, Reviewer, ground
from sqlalchemy import text

from pipeline.store.database import Database
from pipeline.store.reviews import tokens, verdicts

pytestmark = PAGE_TEST

LOTLINE = str(Path(sys.executable).with_name("lotline"))
DRAFT = "JSON.stringify(window.lotlinePanel.map.draftGeometry())"


def _edit_by_keyboard(page: Any) -> str:
    for key in ("e", "v", "Shift+ArrowRight", "Shift+ArrowDown"):
        page.keyboard.press(key)
    return str(page.evaluate(DRAFT))


def _lawn(reviewer: Reviewer) -> int:
    with reviewer.database.engine.connect() as conn:
        return next(
            int(row.id) for row in read_detections(conn, reviewer.lots[0]) if row.label == "lawn"
        )


def _edit_as_bob(reviewer: Reviewer) -> None:
    with reviewer.database.engine.begin() as conn:
        verdicts.edit(conn, _lawn(reviewer), "bob", ground(5, 5, 10, 10))


def test_an_outline_outlives_a_reload_in_mid_edit(reviewer: Reviewer) -> None:
    page = reviewer.page
    drawn = _edit_by_keyboard(page)
    page.reload()
    reviewer.wait_for("[data-notice=draft]")
    assert "An outline of lawn is not saved" in page.inner_text("[data-notice=draft]")
    page.keyboard.press("Enter")  # the first button has the focus
    assert page.evaluate(DRAFT) == drawn
    page.keyboard.press("s")
    reviewer.wait_for_reviews(1)
    page.reload()
    reviewer.wait_for("#objects li.accepted")
    assert page.query_selector("[data-notice=draft]") is None


def test_a_new_object_outlives_a_reload_and_can_be_discarded(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.keyboard.press("d")
    page.keyboard.press("Enter")
    page.reload()
    reviewer.wait_for("[data-notice=draft]")
    page.click("text=Discard it")
    page.reload()
    reviewer.wait_for("#objects li")
    assert page.query_selector("[data-notice=draft]") is None
    assert reviewer.reviews() == []


def test_what_is_drawn_without_a_network_stays_on_the_map(reviewer: Reviewer) -> None:
    page = reviewer.page
    shown = "window.lotlinePanel.waiting.source.getFeatures().length"
    reviewer.wait_until("window.lotlinePanel.decisions.labels.hasAll('here')")
    page.route("**/detections", lambda route: route.abort())
    for key in ("d", "Enter", "s"):
        page.keyboard.press(key)
    page.keyboard.type("pool")
    page.keyboard.press("Enter")
    reviewer.wait_until("document.querySelector('#waiting').innerText.includes('1 decision')")
    assert page.evaluate(shown) == 1
    page.keyboard.press("z")
    assert page.evaluate(shown) == 0
    page.keyboard.press("y")
    assert page.evaluate(shown) == 1
    page.unroute("**/detections")
    page.reload()
    reviewer.wait_for_reviews(3)
    reviewer.wait_until("document.querySelectorAll('#objects li').length == 3")
    reviewer.wait_until(f"{shown} == 0")


def test_an_outline_of_an_older_version_is_compared_before_it_is_saved(reviewer: Reviewer) -> None:
    page = reviewer.page
    _edit_by_keyboard(page)
    page.reload()
    reviewer.wait_for("[data-notice=draft]")
    _edit_as_bob(reviewer)
    page.reload()
    reviewer.wait_for("[data-notice=draft]")
    page.click("text=Go on with it")
    reviewer.wait_for("[data-notice=conflict]")
    assert "by bob" in page.inner_text("[data-notice=conflict]")
    page.keyboard.press("s")
    reviewer.wait_for_reviews(2)
    assert reviewer.reviews() == [("edit", "bob"), ("edit", "ann")]


@pytest.mark.parametrize(
    ("choice", "kept"), [("Keep mine", [("edit", "bob"), ("edit", "ann")]), ("Take theirs", None)]
)
def test_two_browsers_in_conflict(reviewer: Reviewer, choice: str, kept: object) -> None:
    page = reviewer.page
    other = page.context.browser.new_page()
    other.goto(page.url)
    other.wait_for_selector("#objects li")
    mine = _edit_by_keyboard(page)
    _edit_by_keyboard(other)
    other.keyboard.press("ArrowDown")
    other.keyboard.press("s")
    reviewer.wait_for_reviews(1)
    [theirs] = reviewer.rows("SELECT ST_AsText(geom, 17) AS wkt FROM lotline.review")
    page.keyboard.press("s")
    reviewer.wait_for("[data-notice=conflict]")
    assert "differ by" in page.inner_text("[data-notice=conflict]")
    assert page.evaluate(DRAFT) == mine
    page.click(f"text={choice}")
    if kept:
        reviewer.wait_for_reviews(2)
    reviewer.wait_until("!document.querySelector('[data-notice=conflict]')")
    reviewer.wait_until("!window.lotlinePanel.map.isDrafting()")
    [stored] = reviewer.rows(
        "SELECT ST_AsText(geom, 17) AS wkt FROM lotline.detection WHERE id = :id",
        id=_lawn(reviewer),
    )
    assert (stored.wkt == theirs.wkt) == (choice == "Take theirs")
    assert page.evaluate("window.lotlinePanel.conflicts.layer.source.getFeatures().length") == 0
    other.close()


def test_a_conflict_about_a_deleted_object_keeps_the_outline(reviewer: Reviewer) -> None:
    page = reviewer.page
    _edit_by_keyboard(page)
    with reviewer.database.engine.begin() as conn:
        verdicts.reject(conn, _lawn(reviewer), "bob", "a shadow")
    page.keyboard.press("s")
    reviewer.wait_for("[data-notice=conflict]")
    assert "lawn, rejected by bob" in page.inner_text("[data-notice=conflict]")
    page.keyboard.press("s")
    reviewer.wait_for_reviews(3)
    assert [action for action, _ in reviewer.reviews()] == ["reject", "restore", "edit"]


def test_a_conflict_about_a_verdict_shows_what_was_seen(reviewer: Reviewer) -> None:
    page = reviewer.page
    _edit_as_bob(reviewer)
    page.keyboard.press("a")
    reviewer.wait_for("[data-notice=conflict]")
    assert "You wanted to accept lawn" in page.inner_text("[data-notice=conflict]")
    assert page.evaluate("window.lotlinePanel.conflicts.layer.source.getFeatures().length") == 2
    page.click("text=Still accept lawn")
    reviewer.wait_for_reviews(2)
    assert reviewer.reviews() == [("edit", "bob"), ("accept", "ann")]
    page.keyboard.press("z")
    reviewer.wait_for_reviews(3)


def test_two_conflicts_and_another_property(reviewer: Reviewer) -> None:
    page = reviewer.page
    with reviewer.database.engine.begin() as conn:
        for row in read_detections(conn, reviewer.lots[0]):
            verdicts.relabel(conn, row.id, "bob", "pool")
    # The answer to the first would show what the second is about as it is now.
    page.route("**/reviews", lambda route: route.abort())
    page.keyboard.press("a")
    page.keyboard.press("a")
    page.unroute("**/reviews")
    reviewer.wait_until("document.querySelectorAll('.notice').length == 2")
    page.keyboard.press("w")
    reviewer.wait_until("document.querySelector('#title').innerText == 'p1'")
    assert page.query_selector("[data-notice=conflict]") is None
    assert page.evaluate("window.lotlinePanel.conflicts.layer.source.getFeatures().length") == 0
    told = [each.inner_text() for each in page.query_selector_all(".notice")]
    assert sorted(words.split(":")[1].strip() for words in told) == ["accept lawn", "accept tree"]


def test_an_outline_that_breaks_a_rule_is_given_back(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.keyboard.press("e")
    far = shapely.geometry.mapping(ground(500, 500, 10, 10))
    page.evaluate("far => window.lotlinePanel.map.changeDraft(far)", far)
    drawn = page.evaluate(DRAFT)
    page.keyboard.press("s")
    reviewer.wait_for(".notice")
    assert "The outline is kept as a draft" in page.inner_text(".notice")
    page.click("text=Go on with it")
    reviewer.wait_until("window.lotlinePanel.map.isDrafting()")
    assert page.evaluate(DRAFT) == drawn
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    assert page.evaluate(DRAFT) != drawn


def test_a_decision_at_which_the_server_fails_holds_up_no_other(reviewer: Reviewer) -> None:
    page = reviewer.page
    failing = f"**/v1/review/detections/{_lawn(reviewer)}/reviews"
    fault = '{"detail": "this is a fault of Lotline"}'
    page.route(failing, lambda route: route.fulfill(status=500, body=fault))
    page.keyboard.press("a")
    page.keyboard.press("a")
    reviewer.wait_for_reviews(1)
    reviewer.wait_for(".notice")
    assert "accept lawn: this is a fault of Lotline" in page.inner_text(".notice")
    page.unroute(failing)
    page.click("text=Try again")
    reviewer.wait_for_reviews(2)


def test_a_refused_outline_of_another_property_is_kept(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.route("**/reviews", lambda route: route.abort())
    drawn = _edit_by_keyboard(page)
    page.keyboard.press("s")
    _edit_as_bob(reviewer)
    page.keyboard.press("w")
    reviewer.wait_until("document.querySelector('#title').innerText == 'p1'")
    page.unroute("**/reviews")
    reviewer.wait_for(".notice")
    assert "The outline is kept as a draft" in page.inner_text(".notice")
    page.click("text=Go there")
    reviewer.wait_for("[data-notice=draft]")
    page.click("text=Go on with it")
    reviewer.wait_for("[data-notice=conflict]")
    assert page.evaluate(DRAFT) == drawn


def test_two_tabs_send_each_decision_once_and_in_order(reviewer: Reviewer) -> None:
    page = reviewer.page
    context = page.context
    context.route("**/v1/review/detections/*/reviews", lambda route: route.abort())
    for key in ("a", "c", "a", "a"):
        page.keyboard.press(key)
    reviewer.wait_until("document.querySelector('#waiting').innerText.includes('3 decisions')")
    sent: list[str] = []
    context.on(
        "response",  # not of what is aborted before it leaves the browser
        lambda each: (
            sent.append(each.request.headers["idempotency-key"])
            if each.ok and each.request.method == "POST" and each.url.endswith("/reviews")
            else None
        ),
    )
    context.unroute("**/v1/review/detections/*/reviews")
    tabs = [context.new_page() for _ in range(2)]
    for tab in tabs:
        tab.goto(page.url)
    reviewer.wait_for_reviews(3)
    for tab in (page, *tabs):
        tab.wait_for_function("() => document.querySelectorAll('#objects li.accepted').length == 2")
    assert [action for action, _ in reviewer.reviews()] == ["accept"] * 3
    assert len(sent) == len(set(sent)) == 3
    for tab in tabs:
        tab.close()


# A browser tells other tabs late of what was stored: a lock alone loses a third of these.
COUNT = """() => {
    const { outbox } = window.lotlinePanel.decisions;
    const addOne = async () => { localStorage.count = Number(localStorage.count ?? 0) + 1; };
    window.counted = (async () => {
        for (let turn = 0; turn < 60; turn += 1) await outbox.alone(addOne);
    })();
}"""


def test_a_tab_sees_in_its_turn_what_the_last_one_has_stored(reviewer: Reviewer) -> None:
    page = reviewer.page
    tabs = [page, *(page.context.new_page() for _ in range(2))]
    for tab in tabs[1:]:
        tab.goto(page.url)
        tab.wait_for_selector("#objects li")
    for tab in tabs:
        tab.evaluate(COUNT)
    for tab in tabs:
        tab.evaluate("() => window.counted")
    last = "() => window.lotlinePanel.decisions.outbox.alone(async () => localStorage.count)"
    assert [tab.evaluate(last) for tab in tabs] == ["180"] * 3
    for tab in tabs[1:]:
        tab.close()


def test_a_full_storage_is_said_and_nothing_is_dropped(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.evaluate(
        "() => { Storage.prototype.setItem = () => { throw new DOMException('full', "
        "'QuotaExceededError'); }; }"
    )
    page.route("**/v1/review/detections/*/reviews", lambda route: route.abort())
    page.keyboard.press("a")
    reviewer.wait_for("[data-notice=storage]")
    reviewer.wait_until("document.querySelector('#waiting').innerText.includes('1 decision')")
    page.unroute("**/v1/review/detections/*/reviews")
    reviewer.wait_for_reviews(1)
    page.keyboard.press("z")
    reviewer.wait_for_reviews(2)


def test_without_a_secure_context_and_web_locks(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.add_init_script(
        "delete Crypto.prototype.randomUUID; "
        "Object.defineProperty(Navigator.prototype, 'locks', { value: undefined });"
    )
    page.reload()
    reviewer.wait_for("#objects li")
    assert page.evaluate("crypto.randomUUID === undefined && navigator.locks === undefined")
    page.keyboard.press("a")
    reviewer.wait_for_reviews(1)
    page.keyboard.press("z")
    reviewer.wait_for_reviews(2)


def _token(database: Database, name: str, role: tokens.AccessRole) -> str:
    with database.engine.begin() as conn:
        return str(tokens.add_token(conn, name, role)[1])


def _sign_in(page: Any, token: str) -> None:
    page.wait_for_selector("dialog input[type=password]")
    page.fill("dialog input[type=password]", token)
    page.keyboard.press("Enter")


def test_a_session_that_ends_in_mid_work_asks_again(reviewer: Reviewer) -> None:
    page = reviewer.page
    token = _token(reviewer.database, "Ann Lee", "reviewer")
    page.reload()
    _sign_in(page, token)
    reviewer.wait_for("#objects li")
    with reviewer.database.engine.begin() as conn:
        conn.execute(text("DELETE FROM lotline.review_session"))
    page.keyboard.press("a")
    _sign_in(page, "not a token")
    page.wait_for_function(
        "() => document.querySelector('dialog[open] label')?.innerText.includes('unknown')"
    )
    _sign_in(page, token)
    reviewer.wait_for_reviews(1)
    assert reviewer.reviews() == [("accept", "Ann Lee")]


def test_who_signs_in_no_more_keeps_what_waits(reviewer: Reviewer) -> None:
    page = reviewer.page
    token = _token(reviewer.database, "Ann Lee", "reviewer")
    page.reload()
    _sign_in(page, token)
    reviewer.wait_for("#objects li")
    with reviewer.database.engine.begin() as conn:
        conn.execute(text("DELETE FROM lotline.review_session"))
    page.keyboard.press("a")
    page.wait_for_selector("dialog input[type=password]")
    page.keyboard.press("Escape")
    reviewer.wait_for("[data-notice=sign-in]")
    reviewer.wait_until("document.querySelector('#waiting').innerText.includes('1 decision')")
    page.click("[data-notice=sign-in] button")
    _sign_in(page, token)
    reviewer.wait_for_reviews(1)


def test_nobody_decides_under_the_name_of_who_signed_in_elsewhere(reviewer: Reviewer) -> None:
    page = reviewer.page
    ann = _token(reviewer.database, "Ann Lee", "reviewer")
    bob = _token(reviewer.database, "Bob", "reviewer")
    page.reload()
    _sign_in(page, ann)
    reviewer.wait_for("#objects li")
    csrf = page.evaluate("fetch('/session').then((answer) => answer.json())")["csrf"]
    signed_in = page.evaluate(
        "([token, csrf]) => fetch('/session', {method: 'POST', body: JSON.stringify({token}), "
        "headers: {'Content-Type': 'application/json', 'X-CSRF-Token': csrf}})"
        ".then((answer) => answer.status)",
        [bob, csrf],
    )
    assert signed_in == 200
    page.keyboard.press("a")
    reviewer.wait_until(
        "document.querySelector('#waiting').innerText.includes('Bob is signed in now')"
    )
    assert reviewer.reviews() == []
    page.reload()
    reviewer.wait_for(".notice")
    assert "1 decision waits in this browser for Ann Lee" in page.inner_text(".notice")


def test_a_viewer_sees_why_nothing_can_be_decided(reviewer: Reviewer) -> None:
    page = reviewer.page
    token = _token(reviewer.database, "Vic", "viewer")
    page.reload()
    _sign_in(page, token)
    reviewer.wait_for("#objects li")
    assert "your role is viewer" in page.inner_text("#role-note")
    assert "Accept" not in page.inner_text("#actions")
    page.keyboard.press("c")
    assert "tree" in page.inner_text("#objects [aria-selected=true]")
    page.click("#sign-out")
    page.wait_for_selector("dialog input[type=password]")


@contextmanager
def _serving(database: Database, home: Path, port: int) -> Iterator[tuple[Any, int]]:
    """A real `lotline review`, and its port; it is killed at the end."""
    environment = {**os.environ, "DATABASE_URL": database.url, "LOTLINE_HOME": str(home)}
    process = subprocess.Popen(
        [LOTLINE, "review", "--port", str(port)],
        env=environment, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", said)
        assert found is not None, said
        yield process, int(found[1])
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_a_server_killed_in_mid_save_stores_exactly_one_event(
    reviewer: Reviewer, tmp_path: Path
) -> None:
    page = reviewer.page
    database = reviewer.database
    with _serving(database, tmp_path, 0) as (process, port):
        page.goto(f"http://127.0.0.1:{port}/#property={reviewer.lots[0]}")
        reviewer.wait_for("#objects li")
        # Another transaction has the property: the save waits for it, inside the server.
        with database.engine.connect() as holder:
            holder.execute(
                text("SELECT FROM lotline.property WHERE id = :id FOR UPDATE"),
                {"id": reviewer.lots[0]},
            )
            drawn = _edit_by_keyboard(page)
            page.keyboard.press("s")
            page.keyboard.press("z")
            page.keyboard.press("y")
            _wait_for_a_lock(database)
            process.kill()
            process.wait()
            reviewer.wait_until(
                "document.querySelector('#waiting').innerText.includes('3 decisions')"
            )
    assert [each for each in reviewer.reviews() if each[0] != "edit"] == []
    with _serving(database, tmp_path, port):
        reviewer.wait_for_reviews(3)
        reviewer.wait_until("document.querySelector('#waiting').innerText == ''")
        assert [action for action, _ in reviewer.reviews()] == ["edit", "undo", "edit"]
        page.keyboard.press("e")
        assert page.evaluate(DRAFT) == drawn


def _wait_for_a_lock(database: Database) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with database.engine.connect() as conn:
            waiting = conn.execute(
                text(
                    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                    "AND datname = current_database()"
                )
            ).scalar_one()
        if waiting:
            return
        time.sleep(0.05)
    raise AssertionError("nothing waits for the property")


def test_on_a_phone_everything_can_be_touched(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.set_viewport_size({"width": 390, "height": 844})
    page.reload()
    reviewer.wait_for("#objects li")
    assert page.evaluate("document.documentElement.scrollWidth <= 390")
    for keys in ((), ("e",)):
        for key in keys:
            page.keyboard.press(key)
        small = page.evaluate(
            "() => [...document.querySelectorAll('button, select')]"
            ".filter((each) => each.offsetParent && each.getBoundingClientRect().height < 43.5)"
            ".map((each) => each.outerHTML)"
        )
        assert small == []
    at = page.query_selector("#map").bounding_box()
    assert at["height"] >= 844 * 0.35
    assert page.query_selector("#actions").bounding_box()["y"] < 844 - 44
