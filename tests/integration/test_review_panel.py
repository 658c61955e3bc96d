"""The review panel in a real browser, over a real PostGIS: by mouse and by keyboard."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from lots import load_properties, make_detection, make_result, read_detections, start_run, write_lot
from rasterio.enums import ColorInterp
from rasters import LEFT, TOP, boundary, noise, write_tiff
from servers.panel import panel
from shapely import MultiPolygon, Polygon, box
from sqlalchemy import text

from detection.imagery.pixel_grid import PixelGrid
from parcels.measure import area_m2, polygonal
from pipeline.county_entry import find_county
from pipeline.store.counties import bind_county
from pipeline.store.database import Database
from pipeline.store.reviews import verdicts

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

PAGE = Path(__file__).parents[2] / "pipeline" / "review" / "page" / "built" / "panel.js"
CHROMIUM = shutil.which("chromium")
COUNTY = "here"


@dataclass
class Reviewer:
    """A reviewer's browser on the first of two properties."""

    page: Any
    database: Database
    address: str
    lots: tuple[int, int]

    def rows(self, query: str, **values: object) -> list[Any]:
        with self.database.engine.connect() as conn:
            return list(conn.execute(text(query), values))

    def reviews(self) -> list[tuple[str, str]]:
        return [
            tuple(row)
            for row in self.rows("SELECT action, reviewer FROM lotline.review ORDER BY id")
        ]

    def wait_for_reviews(self, count: int) -> None:
        for _ in range(200):
            if len(self.reviews()) >= count:
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"{self.reviews()}: {self.page.inner_text('#status')}")

    def title(self) -> str:
        return str(self.page.inner_text("#title"))

    def objects(self) -> list[str]:
        return [each.inner_text() for each in self.page.query_selector_all("#objects li")]

    def wait_for(self, selector: str) -> None:
        self.page.wait_for_selector(selector, timeout=20_000)


def _ground(left: float, top: float, width: float, height: float) -> MultiPolygon:
    """A rectangle on the imagery, in metres from its upper left corner, in degrees."""
    shape = box(LEFT + left, TOP - top - height, LEFT + left + width, TOP - top)
    return _degrees(shape)


def _degrees(shape: Polygon | MultiPolygon) -> MultiPolygon:
    return polygonal(PixelGrid("EPSG:32616", 1.0).to_lonlat(shape))


def _many_vertices() -> MultiPolygon:
    """A lawn of 7,500 vertices in two parts, with six holes."""
    angles = np.linspace(0, 2 * np.pi, 900, endpoint=False)
    waves = np.column_stack([np.cos(angles), np.sin(angles)])

    def ring(x: float, y: float, radius_m: float) -> np.ndarray:
        ripple = 1 + 0.02 * np.sin(40 * angles)
        return waves * (radius_m * ripple)[:, None] + (LEFT + x, TOP - y)

    holes = [ring(40 + 5 * np.cos(a), 40 + 5 * np.sin(a), 1.2) for a in np.arange(6) * np.pi / 3]
    big = Polygon(ring(40, 40, 9), holes)
    small = Polygon(ring(25, 50, 3))
    return _degrees(MultiPolygon([big, small]))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    if not PAGE.is_file():
        pytest.skip("the page is not built: sh scripts/build_page.sh")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking",
             "--disable-component-update"]  # fmt: skip
    with playwright.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield opened
        opened.close()


@pytest.fixture
def reviewer(database: Database, tmp_path: Path, browser: Any) -> Iterator[Reviewer]:
    colours = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    write_tiff(tmp_path / "here.tif", noise(3, 160, 160), colours=colours)
    registry = tmp_path / "registry.yaml"
    registry.write_text(
        f"counties:\n  {COUNTY}:\n    path: {tmp_path}/lots.gpkg\n"
        f"    imagery: {{path: {tmp_path}/here.tif}}\n"
    )
    lots = _store(database)
    with database.engine.begin() as conn:  # as the county's batch does
        bind_county(conn, find_county(COUNTY, registry))
    with panel(database, tmp_path) as address:
        page = browser.new_page(viewport={"width": 1200, "height": 800})
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{address}/#property={lots[0]}")
        found = Reviewer(page, database, address, lots)
        found.wait_for("#objects li")
        yield found
        page.close()
        assert faults == []


def _store(database: Database) -> tuple[int, int]:
    with database.engine.begin() as conn:
        first, second = load_properties(conn, 2, COUNTY)
        run = start_run(conn, county=COUNTY)
        boundaries = [
            box(LEFT, TOP - 30, LEFT + 45, TOP),
            box(LEFT + 15, TOP - 60, LEFT + 60, TOP - 20),
        ]
        lawn, tree = _ground(5, 5, 20, 10), _ground(30, 5, 6, 6)
        write_lot(conn, run, first, boundary(boundaries[0]),
                  make_result(make_detection(lawn), make_detection(tree, "tree")))  # fmt: skip
        write_lot(
            conn,
            run,
            second,
            boundary(boundaries[1]),
            make_result(make_detection(_many_vertices())),
        )
    return first, second


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


def test_keys_are_listed(reviewer: Reviewer) -> None:
    reviewer.page.keyboard.press("?")
    reviewer.wait_for("#help[open]")
    assert "Reject" in reviewer.page.inner_text("#help")


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
    x, y = page.evaluate("window.lotlinePanel.map.pixelOfVertex(0)")
    at = page.query_selector("#map").bounding_box()
    page.mouse.move(at["x"] + x, at["y"] + y)
    page.mouse.down()
    page.mouse.move(at["x"] + x + 15, at["y"] + y + 15, steps=4)
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
    x, y = page.evaluate("window.lotlinePanel.map.pixelOfVertex(0)")
    at = page.query_selector("#map").bounding_box()
    page.mouse.move(at["x"] + x, at["y"] + y)
    page.mouse.down()
    page.mouse.move(at["x"] + x + 20, at["y"] + y + 10, steps=4)
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
    kept = _vertices(shapely.to_wkt(_ground(5, 5, 20, 10), rounding_precision=17))
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


def _draw(reviewer: Reviewer, corners: list[tuple[float, float]], *, closes: bool) -> None:
    """Click the corners, in fractions of the map; a line ends with a double click."""
    page = reviewer.page
    at = page.query_selector("#map").bounding_box()
    for x, y in [*corners, *(corners[:1] if closes else corners[-1:])]:
        page.mouse.click(at["x"] + at["width"] * x, at["y"] + at["height"] * y)
        if closes or (x, y) != corners[-1]:
            page.wait_for_timeout(300)  # two clicks at once would be a double click


def test_a_missed_object_is_drawn(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.keyboard.press("d")
    _draw(reviewer, [(0.45, 0.6), (0.55, 0.6), (0.55, 0.7), (0.45, 0.7)], closes=True)
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
    left, right = (page.evaluate(f"window.lotlinePanel.map.pixelOfVertex({n})")[0] for n in (0, 2))
    box_ = page.query_selector("#map").bounding_box()
    middle = (left + right) / 2 / box_["width"]
    _draw(reviewer, [(middle, 0.02), (middle, 0.98)], closes=False)
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
    assert sum(row.area_m2 for row in areas) == pytest.approx(area_m2(_ground(5, 5, 20, 10)))


def test_a_piece_is_cut_out_by_keyboard_and_mouse(reviewer: Reviewer) -> None:
    page = reviewer.page
    page.keyboard.press("e")
    page.keyboard.press("1")
    _draw(reviewer, [(0.25, 0.3), (0.3, 0.3), (0.3, 0.38), (0.25, 0.38)], closes=True)
    page.wait_for_function("() => window.lotlinePanel.map.done.length == 2")
    page.keyboard.press("s")
    reviewer.wait_for_reviews(1)
    [lawn] = reviewer.rows(
        "SELECT area_m2 FROM lotline.detection WHERE label = 'lawn' AND property_fk = :lot",
        lot=reviewer.lots[0],
    )
    assert lawn.area_m2 < area_m2(_ground(5, 5, 20, 10))


def test_a_conflict_shows_both_versions(reviewer: Reviewer) -> None:
    page = reviewer.page
    with reviewer.database.engine.begin() as conn:
        [lawn] = [row.id for row in read_detections(conn, reviewer.lots[0]) if row.label == "lawn"]
        verdicts.edit(conn, lawn, "bob", _ground(5, 5, 10, 10))
    page.keyboard.press("e")
    reviewer.wait_for("[data-command=save]:not([hidden])")
    page.keyboard.press("s")
    page.wait_for_function(
        "() => document.querySelector('#status').innerText.includes('differ by')"
    )
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
    page.keyboard.press("f")
    page.keyboard.press("Control+A")
    page.keyboard.type(evil)
    page.keyboard.press("Enter")
    reviewer.wait_for_reviews(1)
    page.wait_for_function("() => document.querySelector('#objects').innerText.includes('onerror')")
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


def test_axe_finds_no_serious_fault(reviewer: Reviewer) -> None:
    source = PAGE.parents[1] / "node_modules" / "axe-core" / "axe.min.js"
    page = reviewer.page
    page.evaluate(source.read_text())
    opened = {
        "a property": lambda: None,
        "editing": lambda: page.keyboard.press("e"),
        "the keys": lambda: (page.keyboard.press("Escape"), page.keyboard.press("?")),
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
