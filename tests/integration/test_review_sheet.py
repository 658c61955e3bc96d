"""The contact sheet in a real browser, over a real PostGIS: by mouse and by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reviewers import COUNTY, KEY_AFTER_CLOSING, PAGE, Reviewer
from servers.panel import panel
from sheetcounty import store_sheet
from sqlalchemy import text

from pipeline.store.database import Database
from pipeline.store.reviews import leases, tokens, verdicts

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

# Fewer than what a window shows: all of them are seen at once.
LAWNS = [(3.0 + 0.2 * i, 0.5 + 0.02 * i) for i in range(10)]

STATES = "SELECT id, state FROM lotline.detection WHERE label NOT IN ('tree', 'pool')"
# Whether each tile of which enough is above the bar of buttons has been looked at.
ALL_ARE_SEEN = """(() => {
    const end = document.querySelector('#bar').getBoundingClientRect().top;
    return [...document.querySelectorAll('.tile:not(.seen)')].every((tile) => {
        const own = tile.getBoundingClientRect();
        return (Math.min(own.bottom, end) - Math.max(own.top, 0)) / own.height < 0.6;
    });
})()"""


class SheetReviewer(Reviewer):
    """A reviewer's browser on a contact sheet of ten lawns."""

    def tiles(self, kind: str = "") -> list[int]:
        """The ids of the detections of these tiles, in their order."""
        found = self.page.query_selector_all(f".tile{kind}")
        return [int(each.get_attribute("id").removeprefix("tile-")) for each in found]

    def wait_for_tiles(self, kind: str, count: int) -> None:
        self.wait_until(f"document.querySelectorAll('.tile{kind}').length == {count}")

    def states(self) -> dict[int, str]:
        return {row.id: row.state for row in self.rows(STATES)}

    def wait_for_states(self, **counts: int) -> None:
        def found(rows: list[Any]) -> dict[str, int]:
            states = [row.state for row in rows]
            return {state: states.count(state) for state in counts}

        rows = self.wait_for_rows(STATES, lambda rows: found(rows) == counts)
        assert found(rows) == counts, self.page.inner_text("#status")


@pytest.fixture
def sheet(database: Database, tmp_path: Path, browser: Any) -> Iterator[SheetReviewer]:
    lot = store_sheet(database, tmp_path, LAWNS)
    with panel(database, tmp_path) as address:
        context = browser.new_context(viewport={"width": 1200, "height": 900})
        page = context.new_page()
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{address}/sheet#label=lawn")
        found = SheetReviewer(page, database, address, (lot, lot))
        found.wait_for_tiles(".seen", len(LAWNS))
        yield found
        context.close()
        assert faults == []


def test_the_odd_ones_are_rejected_and_the_rest_accepted_by_keyboard(sheet: SheetReviewer) -> None:
    page, ids = sheet.page, sheet.tiles()
    for key in ("ArrowRight", "Space", "ArrowRight", "ArrowRight", "Space"):
        page.keyboard.press(key)
    assert sheet.tiles(".odd") == [ids[1], ids[3]]
    page.keyboard.press("a")
    page.keyboard.type("a shadow")
    page.keyboard.press("Enter")
    sheet.wait_for_states(rejected=2, accepted=8)
    sheet.wait_for_tiles(".saved", 10)
    events = sheet.rows(
        "SELECT detection_fk, action, reviewer, note, idempotency_key FROM lotline.review "
        "ORDER BY id"
    )
    assert [(each.detection_fk, each.action) for each in events] == [
        (id_, "reject" if id_ in (ids[1], ids[3]) else "accept") for id_ in ids
    ]
    assert {each.note for each in events if each.action == "reject"} == {"a shadow"}
    assert {each.note for each in events if each.action == "accept"} == {""}
    assert len({each.idempotency_key for each in events}) == len(LAWNS)


def test_a_click_marks_and_a_second_one_unmarks(sheet: SheetReviewer) -> None:
    first, second = sheet.tiles()[:2]
    sheet.page.click(f"#tile-{first}")
    sheet.page.click(f"#tile-{second}")
    sheet.page.click(f"#tile-{first}")
    assert sheet.tiles(".odd") == [second]
    assert sheet.page.get_attribute(f"#tile-{second}", "aria-selected") == "true"
    assert "reject 1" in sheet.page.inner_text("[data-command=decide]")


def test_a_key_right_after_a_dialog_closed_is_not_lost(sheet: SheetReviewer) -> None:
    """Until the next frame, late on a slow machine, the browser leaves the focus in the dialog."""
    page = sheet.page
    page.keyboard.press("?")
    sheet.wait_for("dialog[open]")
    page.evaluate(KEY_AFTER_CLOSING, " ")
    assert sheet.tiles(".odd") == sheet.tiles()[:1]


def test_what_appears_behind_the_question_is_not_decided(sheet: SheetReviewer) -> None:
    page, ids = sheet.page, sheet.tiles()
    waiting: list[Any] = []

    def keep_waiting(route: Any) -> None:
        waiting.append(route)

    page.route(f"**/tiles/detections/{ids[0]}.webp", keep_waiting)
    page.reload()
    sheet.wait_for_tiles(".seen", 9)
    page.keyboard.press("End")
    page.keyboard.press("Space")
    page.keyboard.press("a")
    sheet.wait_for("dialog[open]")
    [late] = waiting
    late.continue_()
    sheet.wait_for_tiles(".shown", 10)
    page.wait_for_timeout(600)
    assert len(sheet.tiles(".seen")) == 9
    page.keyboard.press("Enter")
    sheet.wait_for_states(rejected=1, accepted=8)
    sheet.wait_for_tiles(".saved", 9)
    sheet.wait_for_tiles(".seen", 10)
    assert sheet.states()[ids[0]] == "proposed"


def test_without_a_reason_given_nothing_is_decided(sheet: SheetReviewer) -> None:
    page = sheet.page
    page.keyboard.press("Space")
    page.keyboard.press("a")
    sheet.wait_for("dialog.question[open]")
    page.keyboard.press("Escape")
    page.wait_for_timeout(300)
    assert sheet.reviews() == []
    assert len(sheet.tiles(".odd")) == 1


def test_one_decision_is_undone_and_then_the_whole_sheet(sheet: SheetReviewer) -> None:
    page, ids = sheet.page, sheet.tiles()
    page.click(f"#tile-{ids[4]}")
    page.keyboard.press("a")
    page.keyboard.press("Enter")
    sheet.wait_for_tiles(".saved", 10)
    page.keyboard.press("Home")
    page.keyboard.press("z")
    sheet.wait_for_states(proposed=1)
    assert sheet.states()[ids[0]] == "proposed"
    sheet.wait_for_tiles(".proposed", 1)
    page.keyboard.press("Shift+Z")
    sheet.wait_for_states(proposed=10)
    sheet.wait_for_tiles(".proposed", 10)  # also the last one, whose answer is still on its way
    assert sheet.tiles(".odd") == [ids[4]], "what was marked stays marked"
    undone = [action for action, _ in sheet.reviews()].count("undo")
    assert undone == 10
    page.keyboard.press("a")
    page.keyboard.press("Enter")
    sheet.wait_for_states(rejected=1, accepted=9)


def test_decisions_wait_for_a_server_that_is_away(sheet: SheetReviewer) -> None:
    page = sheet.page
    page.route("**/v1/review/detections/*/reviews", lambda route: route.abort())
    page.keyboard.press("a")
    sheet.wait_until("document.querySelector('#waiting').innerText.includes('10 decisions')")
    # The last one has never left: it is withdrawn here. The first one may have reached the server.
    page.keyboard.press("End")
    page.keyboard.press("z")
    page.keyboard.press("Home")
    page.keyboard.press("z")
    page.unroute("**/v1/review/detections/*/reviews")
    sheet.wait_for_reviews(10)
    sheet.wait_for_states(accepted=8, proposed=2)
    sheet.wait_for_tiles(".saved", 8)
    assert [action for action, _ in sheet.reviews()] == ["accept"] * 9 + ["undo"]


def test_decisions_outlive_a_reload(sheet: SheetReviewer) -> None:
    page = sheet.page
    page.route("**/v1/review/detections/*/reviews", lambda route: route.abort())
    page.keyboard.press("a")
    sheet.wait_until("document.querySelector('#waiting').innerText.includes('10 decisions')")
    page.unroute("**/v1/review/detections/*/reviews")
    page.reload()
    sheet.wait_for_states(accepted=10)
    assert len(sheet.reviews()) == 10


def test_a_sheet_is_undone_after_a_reload(sheet: SheetReviewer) -> None:
    page = sheet.page
    page.keyboard.press("Space")
    page.keyboard.press("a")
    page.keyboard.press("Enter")
    sheet.wait_for_tiles(".saved", 10)
    page.reload()
    sheet.wait_for_tiles("", 1)  # there are no lawns left to decide: the pool is shown
    sheet.wait_until("!document.querySelector('[data-command=undoAll]').disabled")
    page.keyboard.press("Shift+Z")
    sheet.wait_for_states(proposed=10)
    sheet.wait_for_status("10 decisions taken back")
    sheet.wait_until("document.querySelector('#filter').innerText.includes('lawn (10)')")
    sheet.wait_until("document.querySelector('[data-command=undoAll]').disabled")


def test_a_conflict_is_shown_on_its_tile_and_the_others_are_saved(sheet: SheetReviewer) -> None:
    page, ids = sheet.page, sheet.tiles()
    page.click(f"#tile-{ids[2]}")
    with sheet.database.engine.begin() as conn:
        verdicts.relabel(conn, ids[2], "bob", "meadow")
        verdicts.reject(conn, ids[5], "bob", "not there")
    page.keyboard.press("a")
    page.keyboard.press("Enter")
    sheet.wait_for_tiles(".saved", 8)
    sheet.wait_for_tiles(".refused", 2)
    said = page.inner_text(f"#tile-{ids[2]}")
    assert "not saved" in said
    assert "accepted by bob" in said
    assert "rejected by bob" in page.inner_text(f"#tile-{ids[5]}")
    assert sheet.states()[ids[2]] == "accepted"
    assert sheet.states()[ids[5]] == "rejected"
    # The mark is still there, and is for the version that has been looked at now.
    sheet.wait_until(f"document.querySelector('#tile-{ids[2]}').matches('.seen.odd')")
    page.keyboard.press("a")
    page.keyboard.press("Enter")
    sheet.wait_for_states(rejected=2)


def test_what_another_reviewer_has_open_is_not_decided(sheet: SheetReviewer) -> None:
    page = sheet.page
    with sheet.database.engine.begin() as conn:
        leases.take(conn, sheet.lots[0], leases.LeaseHolder("bob", "a tab of bob"), "teaching")
    page.reload()
    sheet.wait_for_tiles(".seen", 10)
    assert "bob has this property open" in page.inner_text(".tile.seen")
    assert "Nothing to decide" in page.inner_text("[data-command=decide]")
    page.keyboard.press("Space")
    sheet.wait_for_status("bob has this property open")
    with sheet.database.engine.begin() as conn:
        leases.take(conn, sheet.lots[0], leases.LeaseHolder("ann", "a tab of ann"), "teaching")
        conn.execute(text("UPDATE lotline.review_lease SET reviewer = 'ann'"))
    page.reload()
    sheet.wait_for_tiles(".seen", 10)
    page.keyboard.press("a")
    sheet.wait_for_states(accepted=10)


def test_what_was_not_seen_is_never_accepted(sheet: SheetReviewer) -> None:
    page, ids = sheet.page, sheet.tiles()
    page.route(f"**/tiles/detections/{ids[0]}.webp", lambda route: route.abort())
    waiting: list[Any] = []

    def keep_waiting(route: Any) -> None:
        waiting.append(route)

    page.route(f"**/tiles/detections/{ids[1]}.webp", keep_waiting)
    reason = '{"detail": "the disk is full of leaves"}'
    page.route(
        f"**/tiles/detections/{ids[2]}.webp",
        lambda route: route.fulfill(status=404, body=reason),
    )
    page.reload()
    sheet.wait_for_tiles(".seen", 7)
    assert "leaves" in page.inner_text(f"#tile-{ids[2]}")
    page.keyboard.press("Space")  # on the first one: it cannot be marked either
    page.keyboard.press("a")
    sheet.wait_for_states(accepted=7)
    sheet.wait_for_tiles(".saved", 7)
    page.wait_for_timeout(300)
    assert {id_ for id_, state in sheet.states().items() if state == "proposed"} == set(ids[:3])
    assert sheet.tiles(".odd") == []
    [late] = waiting
    late.continue_()
    sheet.wait_for_tiles(".seen", 8)
    page.keyboard.press("a")
    sheet.wait_for_states(accepted=8)


def test_what_is_below_the_window_is_not_accepted_unless_scrolled_to(sheet: SheetReviewer) -> None:
    page = sheet.page
    page.set_viewport_size({"width": 390, "height": 600})
    page.reload()
    sheet.wait_for(".tile.seen")
    sheet.wait_for_tiles(".shown", 10)
    sheet.wait_until(ALL_ARE_SEEN)
    seen = sheet.tiles(".seen")
    assert 0 < len(seen) < len(LAWNS)
    hidden = """() => [...document.querySelectorAll('.tile.seen')].filter((tile) => {
        const own = tile.getBoundingClientRect();
        const end = document.querySelector('#bar').getBoundingClientRect().top;
        return (Math.min(own.bottom, end) - Math.max(own.top, 0)) / own.height < 0.55;
    }).length"""
    assert page.evaluate(hidden) == 0, "what the buttons lie over is not seen"
    page.keyboard.press("a")
    sheet.wait_for_states(accepted=len(seen), proposed=len(LAWNS) - len(seen))
    sheet.wait_for_tiles(".saved", len(seen))
    page.keyboard.press("End")
    sheet.wait_until("document.querySelector('.tile:last-child').matches('.seen')")


def test_sheets_follow_each_other_and_the_way_back_keeps_what_was_decided(
    sheet: SheetReviewer,
) -> None:
    page = sheet.page
    page.route(
        "**/v1/review/sheet?*", lambda route: route.continue_(url=f"{route.request.url}&limit=6")
    )
    page.reload()
    sheet.wait_for_tiles(".seen", 6)
    first = sheet.tiles()
    page.keyboard.press("a")
    sheet.wait_for_tiles(".saved", 6)
    page.keyboard.press("w")
    sheet.wait_for_tiles(".seen", 4)
    assert set(first).isdisjoint(sheet.tiles())
    page.keyboard.press("q")
    sheet.wait_for_tiles(".saved", 6)
    page.keyboard.press("Shift+Z")
    sheet.wait_for_states(proposed=10)


def test_an_accepted_sheet_rejects_only_the_odd_and_a_rejected_one_restores_them(
    sheet: SheetReviewer,
) -> None:
    page, ids = sheet.page, sheet.tiles()
    page.keyboard.press("a")
    sheet.wait_for_tiles(".saved", 10)
    page.select_option("#filter select[name=state]", "accepted")
    sheet.wait_for_tiles(".seen:not(.saved)", 10)
    assert "Nothing to decide" in page.inner_text("[data-command=decide]")
    page.click(f"#tile-{ids[0]}")
    page.keyboard.press("a")
    page.keyboard.press("Enter")
    sheet.wait_for_states(rejected=1, accepted=9)
    page.select_option("#filter select[name=state]", "rejected")
    sheet.wait_for_tiles(".seen:not(.saved)", 1)
    page.click(f"#tile-{ids[0]}")
    page.keyboard.press("a")
    sheet.wait_for_states(proposed=1, accepted=9)


def test_a_choice_while_a_sheet_is_on_its_way_is_not_lost(sheet: SheetReviewer) -> None:
    page = sheet.page
    late: list[Any] = []

    def hold_the_first(route: Any) -> None:
        if late:
            route.continue_()
        else:
            late.append(route)

    page.route("**/v1/review/sheet?*", hold_the_first)
    page.select_option("#filter select[name=sort]", index=1)
    while not late:
        page.wait_for_timeout(20)
    page.select_option("#filter select[name=label]", "tree")
    late[0].continue_()
    sheet.wait_for_tiles("", 1)


def test_a_viewer_marks_and_decides_nothing(sheet: SheetReviewer) -> None:
    page = sheet.page
    with sheet.database.engine.begin() as conn:
        _, token = tokens.add_token(conn, "vic", "viewer", (COUNTY,))
    page.reload()
    sheet.wait_for("dialog.question[open]")
    page.keyboard.type(token)
    page.keyboard.press("Enter")
    sheet.wait_for_tiles(".seen", 10)
    assert not page.is_visible("[data-command=decide]")
    page.keyboard.press("Space")
    page.keyboard.press("a")
    page.wait_for_timeout(300)
    assert sheet.tiles(".odd") == []
    assert sheet.reviews() == []


def test_an_object_without_imagery_says_so(sheet: SheetReviewer) -> None:
    page = sheet.page
    page.select_option("#filter select[name=label]", "pool")
    sheet.wait_for_tiles(".failed", 1)
    assert "no picture: no imagery" in page.inner_text(".tile.failed")
    assert "Nothing to decide" in page.inner_text("[data-command=decide]")


@pytest.mark.parametrize("width", [1200, 390])
def test_axe_finds_no_serious_fault(sheet: SheetReviewer, width: int) -> None:
    page = sheet.page
    page.set_viewport_size({"width": width, "height": 900})
    source = PAGE.parents[1] / "node_modules" / "axe-core" / "axe.min.js"
    page.evaluate(source.read_text())

    def decide() -> None:
        page.keyboard.press("Space")
        page.keyboard.press("a")
        page.keyboard.press("Enter")
        sheet.wait_for_tiles(".saved", 10)

    opened = {
        "a sheet": lambda: None,
        "the keys": lambda: page.keyboard.press("?"),
        "decided": lambda: (page.keyboard.press("Escape"), decide()),
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
    assert page.evaluate("document.documentElement.scrollWidth") <= width
