"""Random decisions on the review page over a network that loses requests, answers and the page."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import pytest
from reviewers import PAGE_TEST, Reviewer

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = PAGE_TEST

STEPS = 40


def _decided(reviewer: Reviewer) -> list[tuple[Any, ...]]:
    return [
        tuple(row)
        for row in reviewer.rows(
            "SELECT id, label, state, ST_AsText(geom, 17), review_fk IS NULL "
            "FROM lotline.detection WHERE property_fk = :lot AND state <> 'superseded' ORDER BY id",
            lot=reviewer.lots[0],
        )
    ]


def _wait_until_sent(reviewer: Reviewer) -> None:
    reviewer.settle()
    reviewer.wait_until("window.lotlinePanel?.decisions.outbox.items().length == 0")
    reviewer.settle()  # the map and the list show the last answer


def _press(reviewer: Reviewer, key: str) -> None:
    page = reviewer.page
    page.keyboard.press(key)
    if page.query_selector("dialog[open]"):
        page.keyboard.type("pool")
        page.keyboard.press("Enter")
    elif key == "e" and page.evaluate("window.lotlinePanel.map.isDrafting()"):
        for each in ("v", "Shift+ArrowRight", "s"):
            page.keyboard.press(each)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nothing_is_lost_and_nothing_is_done_twice(reviewer: Reviewer, seed: int) -> None:
    page = reviewer.page
    chance = random.Random(seed)
    before = _decided(reviewer)

    def unreliable(route: Any) -> None:
        luck = chance.random()
        with suppress(playwright.Error):  # the page was reloaded meanwhile
            if luck < 0.25:
                route.abort()
            elif luck < 0.5:
                route.fetch()  # the server has stored it; nobody learns of it
                route.abort()
            else:
                route.continue_()

    for pattern in ("**/reviews", "**/undo", "**/redo"):
        page.route(pattern, unreliable)
    for _ in range(STEPS):
        _press(reviewer, chance.choice("aaarftecczzy") if chance.random() > 0.02 else "Shift+R")
        if chance.random() < 0.1:
            page.reload()
            reviewer.wait_for("#objects li")
    for pattern in ("**/reviews", "**/undo", "**/redo"):
        page.unroute(pattern)
    page.reload()
    reviewer.wait_for("#objects li")
    _wait_until_sent(reviewer)
    assert [each.inner_text() for each in page.query_selector_all(".notice")] == []
    decided = _decided(reviewer)
    keys = reviewer.rows("SELECT idempotency_key FROM lotline.review")
    assert len(keys) == len(set(keys)) > 5
    count = page.evaluate("window.lotlinePanel.decisions.stack.entries().length")
    undone = page.evaluate(
        "window.lotlinePanel.decisions.stack.entries().filter((each) => each.isUndone).length"
    )
    for _ in range(count - undone):
        page.keyboard.press("z")
    _wait_until_sent(reviewer)
    assert _decided(reviewer) == before
    for _ in range(count - undone):
        page.keyboard.press("y")
    _wait_until_sent(reviewer)
    assert _decided(reviewer) == decided
    assert [each.inner_text() for each in page.query_selector_all(".notice")] == []
