"""The map of the review page by mouse: vertices of holes and parts, what a click means, zoom."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import shapely
from lots import make_detection, make_result, start_run, write_lot
from map_places import place_of, place_of_vertex, wait_until_drawn
from PIL import Image
from rasters import LEFT, TOP, boundary
from reviewers import COUNTY, PAGE, Reviewer, ground, many_vertices
from shapely import MultiPolygon, Point

from pipeline.store.reviews import verdicts

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def _drag(reviewer: Reviewer, start: tuple[float, float], by: tuple[float, float]) -> None:
    mouse = reviewer.page.mouse
    mouse.move(*start)
    mouse.down()
    mouse.move(start[0] + by[0], start[1] + by[1], steps=3)
    mouse.up()


def _edit(reviewer: Reviewer) -> None:
    reviewer.page.keyboard.press("e")
    reviewer.wait_for("[data-command=save]:not([hidden])")


def _changes(reviewer: Reviewer) -> int:
    return int(reviewer.page.evaluate("window.lotlinePanel.map.drafting.done.length")) - 1


def _stored(reviewer: Reviewer, lot: int) -> MultiPolygon:
    [row] = reviewer.rows(
        "SELECT ST_AsBinary(geom) AS geom FROM lotline.detection "
        "WHERE label = 'lawn' AND property_fk = :lot", lot=reviewer.lots[lot],
    )  # fmt: skip
    return shapely.from_wkb(bytes(row.geom))


def test_vertices_of_a_hole_and_of_another_part_are_moved(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.goto(f"{reviewer.address}/#property={reviewer.lots[1]}")
    page.reload()
    reviewer.wait_until("document.querySelectorAll('#objects li').length == 1")
    _edit(reviewer)
    _drag(reviewer, place_of_vertex(reviewer.page, 10, ring=3), (5, 4))
    _drag(reviewer, place_of_vertex(reviewer.page, 5, part=1), (-6, 5))
    assert _changes(reviewer) == 2
    page.keyboard.press("s")
    reviewer.wait_for_reviews(1)
    before, after = many_vertices(), _stored(reviewer, 1)
    assert [len(part.interiors) for part in after.geoms] == [6, 0]
    old, new = shapely.get_coordinates(before), shapely.get_coordinates(after)
    assert len(old) == len(new)
    gone = {tuple(each) for each in old} - {tuple(each) for each in new}
    assert len(gone) == 2, "the others are the same to the last digit"


def test_an_edge_is_dragged_for_a_vertex_and_alt_click_removes_one(reviewer: Reviewer) -> None:
    _edit(reviewer)
    (ax, ay), (bx, by) = place_of_vertex(reviewer.page, 0), place_of_vertex(reviewer.page, 1)
    _drag(reviewer, ((ax + bx) / 2, (ay + by) / 2), (12, 12))
    ring = "window.lotlinePanel.map.drafting.outline()[0][0].length"
    assert reviewer.page.evaluate(ring) == 6
    reviewer.page.keyboard.down("Alt")
    reviewer.page.mouse.click(*place_of_vertex(reviewer.page, 1))
    reviewer.page.keyboard.up("Alt")
    reviewer.wait_until(f"{ring} == 5")
    reviewer.page.keyboard.press("z")
    reviewer.page.keyboard.press("z")
    before = shapely.get_coordinates(ground(5, 5, 20, 10))
    draft = reviewer.page.evaluate("window.lotlinePanel.map.draftGeometry().coordinates[0][0]")
    assert [tuple(each) for each in draft] == [tuple(each) for each in before]


def test_a_click_beside_the_outline_edits_nothing(reviewer: Reviewer) -> None:
    _edit(reviewer)
    x, y = place_of_vertex(reviewer.page, 0)
    reviewer.page.mouse.click(x + 40, y + 40)
    reviewer.page.mouse.click(x, y)  # picks the vertex
    reviewer.wait_until("window.lotlinePanel.map.hasCursor()")
    assert _changes(reviewer) == 0


@pytest.mark.parametrize("key", ["Escape", "z"])
def test_a_key_in_the_middle_of_a_drag_ends_it(reviewer: Reviewer, key: str) -> None:
    page = reviewer.page
    _edit(reviewer)
    _drag(reviewer, place_of_vertex(reviewer.page, 0), (15, 10))
    x, y = place_of_vertex(reviewer.page, 1)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 20, y + 20, steps=3)
    page.keyboard.press(key)
    page.mouse.move(x + 40, y + 40, steps=3)
    page.mouse.up()
    assert _changes(reviewer) == (0 if key == "z" else -1)
    if key == "Escape":
        _edit(reviewer)
    page.mouse.move(x + 60, y, steps=3)
    assert _changes(reviewer) == 0
    draft = page.evaluate("window.lotlinePanel.map.draftGeometry().coordinates[0][0]")
    assert len(draft) == 5
    page.keyboard.press("Escape")
    assert reviewer.reviews() == []


def test_a_click_picks_the_smallest_object_and_never_a_rejected_one(reviewer: Reviewer) -> None:
    page = reviewer.page
    with reviewer.database.engine.begin() as conn:
        lot = reviewer.lots[0]
        inner = verdicts.add(conn, lot, "bob", "pool", ground(10, 8, 4, 4)).detection_id
        wrong = verdicts.add(conn, lot, "bob", "shed", ground(11, 9, 1, 1)).detection_id
        verdicts.reject(conn, wrong, "bob")
    page.reload()
    reviewer.wait_for(f"#object-{inner}")
    place = place_of(page, *ground(11, 9, 1, 1).centroid.coords[0])
    selected = "window.lotlinePanel.selected"
    page.mouse.click(*place)
    reviewer.wait_until(f"{selected} == {inner}")
    page.wait_for_timeout(400)
    page.mouse.click(*place)  # once more: the next larger one
    reviewer.wait_until(f"{selected} != {inner}")
    assert page.evaluate(selected) != wrong


def test_the_map_is_zoomed_and_moved_by_keys(reviewer: Reviewer) -> None:
    page = reviewer.page
    view = "window.lotlinePanel.map.map.getView()"
    first = page.evaluate(f"{view}.getZoom()")
    middle = page.evaluate(f"{view}.getCenter()")
    page.keyboard.press("+")
    reviewer.wait_until(f"{view}.getZoom() > {first}")
    page.focus("#map")
    centre = page.evaluate(f"{view}.getCenter()")
    page.keyboard.press("ArrowRight")
    reviewer.wait_until(f"{view}.getCenter()[0] > {centre[0]}")
    page.keyboard.press("0")
    reviewer.wait_until(f"Math.abs({view}.getZoom() - {first}) < 1e-6 && !{view}.getAnimating()")
    assert page.evaluate(f"{view}.getCenter()") == pytest.approx(middle), "and rolls on no further"
    _edit(reviewer)
    page.keyboard.press("v")
    centre = page.evaluate(f"{view}.getCenter()")
    page.keyboard.press("ArrowRight")  # moves the vertex now, not the map
    page.wait_for_timeout(300)
    assert page.evaluate(f"{view}.getCenter()") == centre
    assert _changes(reviewer) == 1


def test_far_steps_go_through_thousands_of_vertices(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.goto(f"{reviewer.address}/#property={reviewer.lots[1]}")
    page.reload()
    reviewer.wait_until("document.querySelectorAll('#objects li').length == 1")
    _edit(reviewer)
    page.keyboard.press("v")
    page.keyboard.press("Shift+V")
    reviewer.wait_for_status("vertex 73 of 7200")
    page.keyboard.press("Shift+B")
    page.keyboard.press("b")
    reviewer.wait_for_status("vertex 7200 of 7200 (part 2)")


def test_axe_finds_no_serious_fault_while_a_shape_is_drawn(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.evaluate((PAGE.parents[1] / "node_modules" / "axe-core" / "axe.min.js").read_text())
    _edit(reviewer)
    for keys in (("h", "v"), ("1", "ArrowUp", "Enter")):
        for key in keys:
            page.keyboard.press(key)
        found = page.evaluate("() => axe.run().then((report) => report.violations)")
        serious = [each["id"] for each in found if each["impact"] in ("serious", "critical")]
        assert serious == [], keys


def test_a_circle_is_not_taken_for_a_lot(reviewer: Reviewer) -> None:
    page = reviewer.page
    assert page.inner_text(".legend li:first-child") == "lot"
    circle = replace(boundary(Point(LEFT + 22, TOP - 15).buffer(14)), source="buffer_30m")
    with reviewer.database.engine.begin() as conn:
        run = start_run(conn, county=COUNTY)
        found = make_result(make_detection(ground(15, 8, 8, 8)))
        write_lot(conn, run, reviewer.lots[0], circle, found)
    page.reload()
    reviewer.wait_until("document.querySelector('.legend li')?.innerText.includes('not a lot')")
    assert "imagery of" in page.inner_text(".imagery-date")
    wait_until_drawn(page)
    picture = np.asarray(Image.open(io.BytesIO(page.locator("#map").screenshot())).convert("RGB"))
    is_orange = (picture == (255, 176, 0)).all(axis=2)
    rows, columns = np.nonzero(is_orange)
    assert len(rows) > 500, "the line, and words along it"
    middle = (rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2
    away = np.hypot(rows - middle[0], columns - middle[1])
    assert away.min() > 0.7 * away.max(), "nothing inside the circle is drawn like its line"


def test_the_area_is_told_while_a_vertex_is_dragged(reviewer: Reviewer) -> None:
    page = reviewer.page
    _edit(reviewer)
    x, y = place_of_vertex(reviewer.page, 1)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 30, y + 30, steps=3)
    reviewer.wait_for_status("m² (")  # not dropped yet
    shown = page.inner_text("#status")
    page.mouse.move(x + 60, y + 60, steps=3)
    page.wait_for_function(
        "shown => { const now = document.querySelector('#status').innerText;"
        " return now.includes('m² (') && now !== shown; }",
        arg=shown,
    )
    assert _changes(reviewer) == 0
    page.mouse.up()
    assert _changes(reviewer) == 1


def test_corners_that_are_drawn_outlive_a_reload(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.keyboard.press("d")
    at = page.query_selector("#map").bounding_box()
    for x, y in ((400, 450), (500, 450), (500, 520)):
        page.mouse.click(at["x"] + x, at["y"] + y)
    reviewer.wait_for_status("3 points")
    page.reload()
    page.click("#notices button:has-text('Go on with it')")
    reviewer.wait_for("[data-command=save]:not([hidden])")
    assert page.evaluate("window.lotlinePanel.map.drafting.outline()[0][0].length") == 4


STYLES = """() => {
    const { layers } = lotlinePanel.map;
    const strokes = (layer, feature) => [layer.getStyle()(feature)].flat().map((style) => ({
        color: style.getStroke().getColor(),
        width: style.getStroke().getWidth(),
        isDashed: style.getStroke().getLineDash() !== null,
        text: style.getText()?.getText() ?? '',
    }));
    const neighbour = (source) => strokes(layers.overview, {
        get: (name) => ({ layer: 'boundaries', source })[name],
    });
    return {
        objects: layers.detections.getSource().getFeatures().map(
            (each) => strokes(layers.detections, each)),
        lot: neighbour('lot'), circle: neighbour('buffer_30m'),
    };
}"""


def test_the_legend_explains_what_accepted_ones_and_neighbours_look_like(
    reviewer: Reviewer,
) -> None:
    page = reviewer.page
    legend = page.query_selector_all(".legend li")
    assert [each.inner_text().strip() for each in legend] == [
        "lot", "lawn", "tree", "proposed", "accepted ✓", "rejected", "neighbour's lot",
        "neighbour's circle",
    ]  # fmt: skip
    colours = [
        page.evaluate("each => getComputedStyle(each.querySelector('.swatch')).backgroundColor", li)
        for li in legend[1:3]
    ]
    assert colours == ["rgb(169, 222, 28)", "rgb(15, 176, 198)"]
    page.keyboard.press("a")
    reviewer.wait_for("#objects li.accepted")
    drawn = page.evaluate(STYLES)
    [accepted] = [each for each in drawn["objects"] if each[-1]["text"] == "✓"]
    [proposed] = [each for each in drawn["objects"] if each[-1]["text"] == ""]
    assert not accepted[-1]["isDashed"]
    assert accepted[0]["color"] == "#ffffff"
    assert accepted[0]["width"] > accepted[1]["width"]
    assert len(proposed) == 1
    assert proposed[0]["isDashed"]
    [lot], [circle] = drawn["lot"], drawn["circle"]
    assert (lot["color"], lot["isDashed"]) == ("#ffffff", False)
    assert (circle["color"], circle["isDashed"]) == ("#ffb000", True)
