"""What the review page shows next: objects after decisions, filters, reloads, addresses."""

from __future__ import annotations

from typing import Any

from lots import make_detection, make_result, start_run, write_lot
from rasters import LEFT, TOP, boundary
from reviewers import COUNTY, PAGE_TEST, Reviewer, ground
from shapely import box

from pipeline.store.reviews import verdicts

pytestmark = PAGE_TEST

_REASON = "document.querySelector('#reason').innerText"
_SELECTED = "document.querySelector('#objects [aria-selected=true] b')?.innerText"


def _choose(reviewer: Reviewer, name: str, value: str) -> None:
    reviewer.page.select_option(f"#filter select[name={name}]", value)


def _chosen(reviewer: Reviewer, name: str) -> str:
    return str(reviewer.page.input_value(f"#filter select[name={name}]"))


def _wait_for_selected(reviewer: Reviewer, label: str) -> None:
    reviewer.wait_until(f"{_SELECTED} == '{label}'")


def _tree(reviewer: Reviewer) -> int:
    [tree] = reviewer.rows("SELECT id FROM lotline.detection WHERE label = 'tree'")
    return int(tree.id)


def test_a_decision_goes_on_to_the_next_object_then_to_the_first(reviewer: Reviewer) -> None:
    page = reviewer.page
    with reviewer.database.engine.begin() as conn:
        found = make_result(
            make_detection(ground(5, 5, 20, 10)),
            make_detection(ground(5, 18, 5, 5), "pool"),
            make_detection(ground(30, 5, 6, 6), "tree"),
        )
        edge = boundary(box(LEFT, TOP - 30, LEFT + 45, TOP))
        write_lot(conn, start_run(conn, county=COUNTY), reviewer.lots[0], edge, found)
    page.reload()
    reviewer.wait_until("document.querySelectorAll('#objects li').length == 3")
    page.keyboard.press("c")
    _wait_for_selected(reviewer, "pool")
    page.keyboard.press("a")
    _wait_for_selected(reviewer, "tree")
    page.keyboard.press("a")
    _wait_for_selected(reviewer, "lawn")
    reviewer.wait_for_reviews(2)


def test_a_filter_selects_what_it_asks_for(reviewer: Reviewer) -> None:
    _choose(reviewer, "label", "tree")
    _wait_for_selected(reviewer, "tree")
    with reviewer.database.engine.begin() as conn:
        verdicts.accept(conn, _tree(reviewer), "bob")
    _choose(reviewer, "label", "")
    _wait_for_selected(reviewer, "lawn")
    _choose(reviewer, "state", "accepted")
    _wait_for_selected(reviewer, "tree")
    [run] = reviewer.rows("SELECT run_fk FROM lotline.detection WHERE label = 'tree'")
    _choose(reviewer, "run", str(run.run_fk))
    reviewer.settle()
    _wait_for_selected(reviewer, "tree")


def test_a_filter_that_nothing_matches_shows_no_property(reviewer: Reviewer) -> None:
    page = reviewer.page
    _choose(reviewer, "state", "rejected")
    reviewer.wait_until("document.querySelector('#title').innerText == 'No property'")
    reviewer.wait_for_status("no property matches the filter")
    assert reviewer.objects() == []
    assert page.inner_text("#areas tbody") == ""
    assert "property=" not in page.url
    leases = reviewer.wait_for_rows(
        "SELECT reviewer FROM lotline.review_lease", lambda rows: not rows
    )
    assert leases == [], "nobody waits for what is not shown"
    _choose(reviewer, "state", "")
    reviewer.wait_for("#objects li")


def test_the_filter_and_the_queue_outlive_a_reload(reviewer: Reviewer) -> None:
    page = reviewer.page
    _choose(reviewer, "label", "tree")
    _wait_for_selected(reviewer, "tree")
    _choose(reviewer, "source", "lot")
    [run] = reviewer.rows("SELECT id FROM lotline.run")
    _choose(reviewer, "run", str(run.id))
    _choose(reviewer, "queue", "teaching")
    reviewer.settle()
    page.reload()
    reviewer.wait_for("#objects li")
    chosen = [_chosen(reviewer, name) for name in ("queue", "county", "label", "source", "run")]
    assert chosen == ["teaching", COUNTY, "tree", "lot", str(run.id)]
    assert page.is_disabled("#filter select[name=state]"), "which teaching does not have"


def test_why_an_object_comes_stands_with_that_object(reviewer: Reviewer) -> None:
    page = reviewer.page
    _choose(reviewer, "label", "tree")
    _wait_for_selected(reviewer, "tree")
    _choose(reviewer, "queue", "teaching")
    reviewer.wait_until(f"{_REASON}.startsWith('Why this one, the tree: ')")
    page.keyboard.press("c")
    _wait_for_selected(reviewer, "lawn")
    assert page.inner_text("#reason") == ""
    page.keyboard.press("c")
    _wait_for_selected(reviewer, "tree")
    assert page.inner_text("#reason").startswith("Why this one, the tree: ")


def test_a_changed_address_opens_that_property(reviewer: Reviewer) -> None:
    page = reviewer.page
    first = reviewer.title()
    page.evaluate(f"location.hash = 'property={reviewer.lots[1]}'")
    reviewer.wait_until(f"document.querySelector('#title').innerText != {first!r}")
    page.evaluate(f"location.hash = 'property={reviewer.lots[0]}&detection={_tree(reviewer)}'")
    _wait_for_selected(reviewer, "tree")
    assert reviewer.title() == first
    page.evaluate("location.hash = 'property=999999'")
    reviewer.wait_for_status("999999")
    assert reviewer.title() == first
    reviewer.wait_until(f"location.hash == '#property={reviewer.lots[0]}'")


def test_a_read_from_before_a_decision_does_not_hide_it(reviewer: Reviewer) -> None:
    page = reviewer.page
    late: list[Any] = []

    def answer_late(route: Any) -> None:
        if late:
            route.continue_()
        else:
            late.append((route, route.fetch()))

    page.route("**/v1/review/properties/*", answer_late)
    page.evaluate("() => { window.reading = lotlinePanel.reload(); }")
    while not late:
        page.wait_for_timeout(20)
    page.keyboard.press("a")
    reviewer.wait_for("#objects li.accepted")
    [(route, answer)] = late
    route.fulfill(response=answer)
    page.evaluate("() => window.reading")
    assert page.query_selector("#objects li.accepted") is not None


def test_a_lease_that_comes_late_is_released(reviewer: Reviewer) -> None:
    page = reviewer.page
    late: list[Any] = []

    def hold(route: Any) -> None:
        late.append(route)

    page.route("**/v1/review/leases", hold)
    page.evaluate(f"location.hash = 'property={reviewer.lots[1]}'")
    while not late:
        page.wait_for_timeout(20)
    _choose(reviewer, "state", "rejected")
    page.wait_for_timeout(300)  # for a page that releases nothing, as it has no lease yet
    late[0].continue_()
    reviewer.wait_until("document.querySelector('#title').innerText == 'No property'")
    reviewer.settle()
    assert reviewer.rows("SELECT reviewer FROM lotline.review_lease") == []
