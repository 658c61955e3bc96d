"""How the page of the audit shows an item: its buttons, and where the map is."""

from __future__ import annotations

from lots import make_detection, make_result, start_run, write_lot
from rasters import LEFT, TOP, boundary
from reviewers import COUNTY, PAGE_TEST, Reviewer, ground
from shapely import box

from pipeline.store.reviews.audit_samples import start_sample

pytestmark = PAGE_TEST

TITLES = (
    "() => [...document.querySelectorAll('#actions button:not([hidden]) span')]"
    ".map((each) => each.innerText)"
)
# The size of the objects on the map, as a share of the map's.
SHARE = """() => {
    const { map, layers } = lotlinePanel.map;
    const [left, bottom, right, top] = layers.detections.getSource().getExtent();
    const [width, height] = map.getSize();
    const metres = map.getView().getResolution();
    return Math.max((right - left) / (width * metres), (top - bottom) / (height * metres));
}"""
ZOOM = "() => lotlinePanel.map.map.getView().getZoom()"


def _find_a_toy(reviewer: Reviewer) -> None:
    """A run that finds a thing of 4 m² beside the lawn and the tree of the first lot."""
    toy = make_detection(ground(40, 25, 2, 2), "toy")
    lawn, tree = make_detection(ground(5, 5, 20, 10)), make_detection(ground(30, 5, 6, 6), "tree")
    lot = boundary(box(LEFT, TOP - 30, LEFT + 45, TOP))
    with reviewer.database.engine.begin() as conn:
        run = start_run(conn, ("lawn", "tree", "toy"), COUNTY)
        write_lot(conn, run, reviewer.lots[0], lot, make_result(lawn, tree, toy))


def _begin_audit(reviewer: Reviewer) -> None:
    with reviewer.database.engine.begin() as conn:
        start_sample(conn, COUNTY, "carl", second_fraction=0.0, seed=3)
    reviewer.page.select_option("#filter select[name=queue]", "audit")
    _wait_for_item(reviewer)


def _wait_for_item(reviewer: Reviewer) -> None:
    reviewer.wait_until("lotlinePanel.audit.isOpen() && !lotlinePanel.audit.isBusy")


def test_buttons_say_what_they_mean_in_the_audit(reviewer: Reviewer) -> None:
    page = reviewer.page
    elsewhere = {"Accept", "Reject", "Change label", "Edit outline", "Next property"}
    assert elsewhere <= set(page.evaluate(TITLES))
    _begin_audit(reviewer)
    titles = set(page.evaluate(TITLES))
    assert {"Correct", "Wrong", "Unsure", "Next item", "Previous item"} <= titles
    assert not elsewhere & titles
    page.keyboard.press("?")
    assert "Correct" in page.inner_text("#help")
    page.keyboard.press("Escape")
    page.select_option("#filter select[name=queue]", "list")
    reviewer.wait_until("!document.body.classList.contains('audit')")
    reviewer.wait_until("lotlinePanel.property?.key > 0")
    assert elsewhere <= set(page.evaluate(TITLES))


def test_the_audit_shows_its_item_and_not_only_the_lot(reviewer: Reviewer) -> None:
    _find_a_toy(reviewer)
    _begin_audit(reviewer)
    page = reviewer.page
    shares = {}
    for _ in range(8):
        _wait_for_item(reviewer)
        label = page.evaluate("() => lotlinePanel.audit.item.label")
        shares[label] = page.evaluate(SHARE)
        if label == "toy":
            page.keyboard.press("0")
            whole = page.evaluate(SHARE)
            break
        page.keyboard.press("w")
    assert shares["toy"] > 2 * whole, "larger than where the whole lot is shown"
    assert all(0.05 < each <= 1 for each in shares.values()), "all of the item is on the map"


def test_the_imagery_alone_does_not_bring_the_neighbours_into_the_audit(reviewer: Reviewer) -> None:
    _begin_audit(reviewer)
    page = reviewer.page
    neighbours = "() => lotlinePanel.map.layers.overview.getVisible()"
    page.keyboard.press("i")
    reviewer.wait_for("#map [aria-pressed=true]")
    page.keyboard.press("i")
    reviewer.wait_for("#map [aria-pressed=false]")
    assert not page.evaluate(neighbours)
    page.keyboard.press("w")
    _wait_for_item(reviewer)
    assert not page.evaluate(neighbours)


def test_a_small_object_is_shown_large_when_it_is_edited(reviewer: Reviewer) -> None:
    _find_a_toy(reviewer)
    page = reviewer.page
    page.reload()
    reviewer.wait_until("document.querySelectorAll('#objects li').length == 3")
    reviewer.wait_until("lotlinePanel.map.map.getSize()?.[0] > 0")
    before = page.evaluate(ZOOM)

    def edit(label: str) -> float:
        page.keyboard.press("0")
        page.evaluate(
            "label => lotlinePanel.select("
            "lotlinePanel.property.detections.find((each) => each.label === label).id)",
            label,
        )
        page.keyboard.press("e")
        reviewer.wait_for("[data-command=save]:not([hidden])")
        found = float(page.evaluate(ZOOM))
        page.keyboard.press("Escape")
        return found

    assert edit("toy") > before + 0.5
    assert edit("lawn") == before, "large enough as it is"
