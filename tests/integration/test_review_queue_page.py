"""Queues and the audit in a real browser: why a property comes, who has it, and blind answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from lots import read_detections
from reviewers import COUNTY, PAGE, PAGE_TEST, Reviewer, ground
from slow_pages import WAIT_MS
from sqlalchemy import text

from pipeline.store.reviews import tokens, verdicts
from pipeline.store.reviews.audit_samples import start_sample

pytestmark = PAGE_TEST


def _choose(page: Any, queue: str) -> None:
    page.select_option("#filter select[name=queue]", queue)


def _wait_for_text(page: Any, selector: str, words: str) -> None:
    end = time.monotonic() + WAIT_MS / 1000
    while words not in (shown := page.inner_text(selector)) and time.monotonic() < end:
        page.wait_for_timeout(50)
    assert words in shown, f"status: {page.inner_text('#status')!r}"


def _wait_for_next(page: Any) -> None:
    """Wait for the next item of the audit; keys are about the one before until then."""
    page.wait_for_function("() => !lotlinePanel.audit.isBusy")


def _leave(page: Any) -> None:
    """Leave the page, as by a link, which releases its lease.

    `goto` would change the process too, and Chromium waits half a second for what is left to do in
    the old one: on a loaded machine the lease would stay. So would one that is still asked for.
    """
    page.wait_for_function("() => lotlinePanel.queues.lease !== null")
    page.evaluate("() => { location.href = 'about:blank'; }")
    page.wait_for_url("about:blank")


def _wait_for_leases(reviewer: Reviewer, holders: list[str]) -> None:
    def holders_of(rows: list[Any]) -> list[str]:
        return [row.reviewer for row in rows]

    query = "SELECT reviewer FROM lotline.review_lease ORDER BY reviewer"
    assert (
        holders_of(reviewer.wait_for_rows(query, lambda rows: holders_of(rows) == holders))
        == holders
    )


def _start_audit(reviewer: Reviewer, second_fraction: float = 0.0) -> None:
    with reviewer.database.engine.begin() as conn:
        start_sample(conn, COUNTY, "carl", second_fraction=second_fraction, seed=3)


def _wait_for_answers(reviewer: Reviewer, count: int) -> list[tuple[str, str]]:
    query = "SELECT reviewer, verdict FROM lotline.audit_answer ORDER BY id"
    found = reviewer.wait_for_rows(query, lambda rows: len(rows) >= count)
    assert len(found) >= count, reviewer.page.inner_text("#status")
    return [tuple(row) for row in found]


@contextmanager
def _signed_in(
    reviewer: Reviewer, name: str, path: str = "/", role: tokens.AccessRole = "reviewer"
) -> Iterator[Any]:
    """A browser of its own, in which somebody signs in with a new token."""
    with reviewer.database.engine.begin() as conn:
        token = tokens.add_token(conn, name, role)[1]
    context = reviewer.page.context.browser.new_context(viewport={"width": 1200, "height": 800})
    page = context.new_page()
    page.goto(reviewer.address + path)
    page.wait_for_selector("dialog[open] input")
    page.keyboard.type(token)
    page.keyboard.press("Enter")
    page.wait_for_function("() => window.lotlinePanel?.queues")
    yield page
    context.close()


def test_the_teaching_queue_says_why_a_property_comes(reviewer: Reviewer) -> None:
    page = reviewer.page
    _choose(page, "teaching")
    _wait_for_text(page, "#reason", "reviews of")
    assert page.is_disabled("#filter select[name=state]")
    first = reviewer.title()
    page.keyboard.press("w")
    page.wait_for_function(
        "before => document.querySelector('#title').innerText != before", arg=first
    )
    page.keyboard.press("w")
    reviewer.wait_for_status("W begins again")
    page.keyboard.press("w")
    page.wait_for_function(
        "first => document.querySelector('#title').innerText == first", arg=first
    )


def test_the_list_is_filtered_by_run(reviewer: Reviewer) -> None:
    page = reviewer.page
    reviewer.wait_until("document.querySelectorAll('#filter select[name=run] option').length == 2")
    [run] = reviewer.rows("SELECT id FROM lotline.run")
    page.select_option("#filter select[name=run]", str(run.id))
    _wait_for_text(page, "#title", "p0")


def test_others_see_who_has_a_property_open(reviewer: Reviewer) -> None:
    page = reviewer.page
    _wait_for_text(page, "#lease", "Yours until")
    [before] = reviewer.rows("SELECT holder, reviewer FROM lotline.review_lease")
    assert before.reviewer == "ann"
    with _signed_in(reviewer, "Bob", f"/#property={reviewer.lots[0]}") as other:
        _wait_for_text(other, "#lease", "ann has this property open until")
        assert "warning" in (other.get_attribute("#lease", "class") or "")
        # The list gives him the other property, which is then his.
        other.keyboard.press("w")
        _wait_for_text(other, "#title", "p1")
        _wait_for_text(other, "#lease", "Yours until")
        rows = reviewer.rows("SELECT reviewer, property_fk FROM lotline.review_lease")
        assert {tuple(row) for row in rows} == {
            ("ann", reviewer.lots[0]),
            ("Bob", reviewer.lots[1]),
        }
        # Whoever leaves releases it.
        _leave(other)
        _wait_for_leases(reviewer, ["ann"])


def test_viewers_look_at_the_list_and_lease_nothing(reviewer: Reviewer) -> None:
    _wait_for_text(reviewer.page, "#lease", "Yours until")
    with _signed_in(reviewer, "Vic", f"/#property={reviewer.lots[0]}", "viewer") as other:
        other.wait_for_selector("#objects li[role=option]")
        assert other.is_disabled("#filter select[name=queue]")
        before = other.inner_text("#title")
        other.keyboard.press("w")
        other.wait_for_function(
            "before => document.querySelector('#title').innerText != before", arg=before
        )
        assert other.inner_text("#lease") == ""
        rows = reviewer.rows("SELECT reviewer FROM lotline.review_lease")
        assert [row.reviewer for row in rows] == ["ann"]


def test_work_renews_a_lease_and_idling_does_not(reviewer: Reviewer) -> None:
    page = reviewer.page
    _wait_for_text(page, "#lease", "Yours until")
    query = "SELECT leased_until FROM lotline.review_lease"
    [before] = reviewer.rows(query)
    page.wait_for_timeout(300)
    page.keyboard.press("c")  # too soon
    page.wait_for_timeout(300)
    assert reviewer.rows(query) == [before]
    page.evaluate("() => { lotlinePanel.queues.renewedAt -= 60_000; }")
    page.wait_for_timeout(300)
    assert reviewer.rows(query) == [before]
    page.keyboard.press("c")
    [renewed] = reviewer.wait_for_rows(query, lambda rows: rows != [before])
    assert renewed.leased_until > before.leased_until


def test_the_audit_by_keyboard_alone(reviewer: Reviewer) -> None:
    _start_audit(reviewer)
    page = reviewer.page
    _choose(page, "audit")
    _wait_for_text(page, "#reason", "3 left for you")
    assert len(reviewer.objects()) == 1
    page.keyboard.press("a")
    _wait_for_text(page, "#reason", "2 left for you, 1 of 3 complete")
    _wait_for_next(page)
    assert _wait_for_answers(reviewer, 1) == [("ann", "correct")]
    page.keyboard.press("r")
    page.wait_for_selector("dialog[open] input")
    page.keyboard.type("a shadow")
    page.keyboard.press("Enter")
    assert _wait_for_answers(reviewer, 2)[1] == ("ann", "wrong")
    page.wait_for_function("() => !document.querySelector('dialog[open]')")
    _wait_for_next(page)
    page.keyboard.press("Shift+A")
    assert _wait_for_answers(reviewer, 3)[2] == ("ann", "unsure")
    _wait_for_text(page, "#reason", "Nothing is left for you in this audit of 3 items")
    assert reviewer.title() == "No property"
    assert not page.query_selector_all("#objects li[role=option]")
    assert reviewer.rows("SELECT reviewer FROM lotline.review_lease") == []
    assert not page.evaluate("() => lotlinePanel.map.layers.overview.getVisible()")
    _wait_for_next(page)
    page.keyboard.press("a")  # about nothing
    page.keyboard.press("q")
    _wait_for_text(page, "#audit-answers", "You said unsure")
    # Each answer is also a review where nobody had decided; an unsure one is none.
    assert reviewer.reviews() == [("accept", "ann"), ("reject", "ann")]


def test_an_item_says_how_much_of_its_lot_has_imagery(reviewer: Reviewer) -> None:
    with reviewer.database.engine.begin() as conn:
        conn.execute(text("UPDATE lotline.measurement SET coverage_fraction = 0.4"))
    _start_audit(reviewer)
    _choose(reviewer.page, "audit")
    _wait_for_text(reviewer.page, "#facts", "40 % of the lot has imagery")


def test_an_outline_and_a_label_are_answers(reviewer: Reviewer) -> None:
    _start_audit(reviewer)
    page = reviewer.page
    _choose(page, "audit")
    _wait_for_text(page, "#reason", "left for you")
    page.keyboard.press("e")
    for key in ("v", "ArrowRight", "Shift+ArrowRight", "s"):
        page.keyboard.press(key)
    assert _wait_for_answers(reviewer, 1) == [("ann", "outline")]
    _wait_for_next(page)
    page.keyboard.press("f")
    page.wait_for_selector("dialog[open] input")
    page.keyboard.press("Control+A")
    page.keyboard.type("hedge")
    page.keyboard.press("Enter")
    page.click("text=Make a new label: hedge")
    assert _wait_for_answers(reviewer, 2)[1] == ("ann", "label")
    assert reviewer.reviews() == [("edit", "ann"), ("relabel", "ann")]
    [edited] = reviewer.rows(
        "SELECT a.clipped_area_m2 AS said, i.clipped_area_m2 AS found FROM lotline.audit_answer a "
        "JOIN lotline.audit_item i ON i.id = a.item_fk WHERE a.verdict = 'outline'"
    )
    assert edited.said != edited.found


def test_a_wrong_key_is_answered_again(reviewer: Reviewer) -> None:
    _start_audit(reviewer)
    page = reviewer.page
    _choose(page, "audit")
    _wait_for_text(page, "#reason", "3 left for you")
    page.keyboard.press("a")
    _wait_for_answers(reviewer, 1)
    _wait_for_next(page)
    page.keyboard.press("q")
    _wait_for_text(page, "#audit-answers", "You said correct. You may answer again")
    _wait_for_next(page)
    page.keyboard.press("Shift+A")
    assert _wait_for_answers(reviewer, 2)[1] == ("ann", "unsure")
    assert reviewer.reviews() == [("accept", "ann"), ("undo", "ann")]


def test_the_audit_hides_what_people_decided(reviewer: Reviewer) -> None:
    lawn, tree = read_ids(reviewer)
    with reviewer.database.engine.begin() as conn:
        verdicts.edit(conn, lawn, "Zoe", ground(5, 5, 4, 4), "far too large")
        verdicts.reject(conn, tree, "Zoe", "a shadow of the house")
    _start_audit(reviewer)
    page = reviewer.page
    _choose(page, "audit")
    for _ in range(3):
        _wait_for_next(page)
        _wait_for_text(page, "#reason", "left for you")
        shown = page.inner_text("body")
        for word in ("Zoe", "too large", "shadow", "rejected", "accepted by", "score"):
            assert word not in page.inner_text("#side"), word
        assert "Measured areas" not in shown
        assert not page.evaluate("() => lotlinePanel.map.layers.overview.getVisible()")
        item = page.evaluate("() => lotlinePanel.audit.item")
        assert "Zoe" not in str(item)
        if item["label"] == "lawn" and len(item["geometry"]["coordinates"]) == 1:
            assert item["clipped_area_m2"] == pytest.approx(200, rel=0.02)  # as it was found
        page.keyboard.press("w")
    _choose(page, "list")
    page.select_option("#filter select[name=state]", "")
    _wait_for_text(page, "#side", "Zoe")
    assert page.evaluate("() => lotlinePanel.map.layers.overview.getVisible()")


def read_ids(reviewer: Reviewer) -> list[int]:
    with reviewer.database.engine.connect() as conn:
        return [row.id for row in read_detections(conn, reviewer.lots[0])]


def test_a_second_opinion_is_blind_in_two_browsers(reviewer: Reviewer) -> None:
    _start_audit(reviewer, second_fraction=1.0)
    _leave(reviewer.page)
    _wait_for_leases(reviewer, [])
    with _signed_in(reviewer, "Bob") as bob, _signed_in(reviewer, "Eve") as eve:
        _choose(bob, "audit")
        _wait_for_text(bob, "#reason", "left for you")
        item = bob.evaluate("() => lotlinePanel.audit.item.id")
        bob.keyboard.press("r")
        bob.wait_for_selector("dialog[open] input")
        bob.keyboard.type("bare soil")
        bob.keyboard.press("Enter")
        _wait_for_answers(reviewer, 1)
        eve.goto(f"{reviewer.address}/#audit={item}")
        eve.reload()
        _wait_for_text(eve, "#reason", "What others said is hidden")
        assert "soil" not in eve.inner_text("body")
        assert "soil" not in eve.evaluate("() => JSON.stringify(lotlinePanel.audit.item)")
        eve.keyboard.press("a")
        assert _wait_for_answers(reviewer, 2) == [("Bob", "wrong"), ("Eve", "correct")]
        _wait_for_text(eve, "#status", "Bob said wrong: bare soil")
        bob.goto(f"{reviewer.address}/#audit={item}")
        bob.reload()
        _wait_for_text(bob, "#audit-answers", "Eve said correct")
    # Eve's answer did not overwrite Bob's word.
    assert reviewer.reviews() == [("reject", "Bob")]


def test_an_answer_waits_for_the_server(reviewer: Reviewer) -> None:
    _start_audit(reviewer)
    page = reviewer.page
    _choose(page, "audit")
    _wait_for_text(page, "#reason", "left for you")
    page.context.set_offline(True)
    page.keyboard.press("a")
    _wait_for_text(page, "#waiting", "1 decision waits")
    page.context.set_offline(False)
    page.evaluate("() => lotlinePanel.decisions.outbox.send()")
    assert _wait_for_answers(reviewer, 1) == [("ann", "correct")]


def test_an_audit_that_was_not_started_says_how(reviewer: Reviewer) -> None:
    _choose(reviewer.page, "audit")
    reviewer.wait_for_status("lotline review audit start")


def test_axe_finds_no_serious_fault_in_the_audit(reviewer: Reviewer) -> None:
    _start_audit(reviewer)
    page = reviewer.page
    source = PAGE.parents[1] / "node_modules" / "axe-core" / "axe.min.js"
    if not source.is_file():
        pytest.skip("axe-core is not installed")
    page.evaluate(source.read_text())
    for queue, where in (("teaching", "#reason"), ("audit", "#reason")):
        _choose(page, queue)
        _wait_for_text(page, where, "Why this one" if queue == "teaching" else "Audit:")
        found = page.evaluate("() => axe.run().then((report) => report.violations)")
        serious = [
            (each["id"], each["nodes"][0]["html"])
            for each in found
            if each["impact"] in ("serious", "critical")
        ]
        assert serious == [], queue
