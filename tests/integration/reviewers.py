"""A reviewer's browser: the review page in real Chromium, over a real PostGIS."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lots import load_properties, make_detection, make_result, start_run, write_lot
from rasterio.enums import ColorInterp
from rasters import LEFT, TOP, boundary, noise, write_tiff
from servers.panel import panel
from shapely import MultiPolygon, Polygon, box
from slow_pages import WAIT_MS, prepare_pages
from sqlalchemy import text

from detection.imagery.pixel_grid import PixelGrid
from parcels.measure import polygonal
from pipeline.county_entry import find_county
from pipeline.store.counties import bind_county
from pipeline.store.database import Database

PAGE = Path(__file__).parents[2] / "pipeline" / "review" / "page" / "built" / "panel.js"
# Without the windows and the toolbars of a browser, Chromium takes a fifth of the time for a page.
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
COUNTY = "here"
SHOWN = """() => ({
    status: document.querySelector("#status")?.innerText,
    waiting: document.querySelector("#waiting")?.innerText,
    dialog: document.querySelector("dialog[open]")?.innerText,
    focus: document.activeElement?.outerHTML.slice(0, 200),
    address: location.href,
})"""
# A move to another property, leases and decisions have their answers, and all of them are shown.
SETTLED = """async () => {
    const { lotlinePanel: panel } = window;
    const { outbox } = panel.decisions;
    const ofNow = () => [panel.decisions.takingBack, panel.moving, panel.queues.leasing];
    let turns;
    do await Promise.all((turns = ofNow()));
    while (ofNow().some((each, at) => each !== turns[at]));
    while (outbox.isSending || panel.audit.isBusy) await new Promise((go) => setTimeout(go, 20));
}"""
# Both in one task: no frame comes between.
KEY_AFTER_CLOSING = """key => {
    document.querySelector("dialog[open]").close();
    const pressed = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true });
    document.activeElement.dispatchEvent(pressed);
}"""
# rasterio hides the second warning in a way that two tiles at a time undo.
PAGE_TEST = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]


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
        found = self.wait_for_rows(
            "SELECT action, reviewer FROM lotline.review ORDER BY id",
            lambda rows: len(rows) >= count,
        )
        assert len(found) >= count, f"{found}: {self.page.inner_text('#status')}"

    def wait_for_rows(self, query: str, are_there: Callable[[list[Any]], bool]) -> list[Any]:
        """The rows of a query once they are as awaited, or those of the last look."""
        end = time.monotonic() + WAIT_MS / 1000
        while not are_there(found := self.rows(query)) and time.monotonic() < end:
            self.page.wait_for_timeout(50)  # not a sleep: routes of the test are served meanwhile
        return found

    def title(self) -> str:
        return str(self.page.inner_text("#title"))

    def objects(self) -> list[str]:
        return [each.inner_text() for each in self.page.query_selector_all("#objects li")]

    def wait_for(self, selector: str) -> None:
        with self._explained(selector):
            self.page.wait_for_selector(selector, timeout=WAIT_MS)

    def wait_until(self, condition: str) -> None:
        """Wait for an expression in JavaScript to be true."""
        with self._explained(condition):
            self.page.wait_for_function(f"() => {condition}", timeout=WAIT_MS)

    def settle(self) -> None:
        """Wait until the page shows what was asked for; what somebody else does comes later."""
        self.page.evaluate(SETTLED)

    def wait_for_status(self, words: str) -> None:
        with self._explained(f"the status {words!r}"):
            self.page.wait_for_function(
                "words => document.querySelector('#status').innerText.includes(words)",
                arg=words,
                timeout=WAIT_MS,
            )

    @contextmanager
    def _explained(self, awaited: str) -> Iterator[None]:
        """Have a timeout tell what the page shows instead."""
        from playwright.sync_api import TimeoutError as WaitedTooLong

        try:
            yield
        except WaitedTooLong as error:
            shown = self.page.evaluate(SHOWN)
            raise AssertionError(f"never came: {awaited}; the page shows {shown}") from error

    def click(self, corners: list[tuple[float, float]], *, closes: bool) -> None:
        """Draw a shape by clicks on its corners, in fractions of the map.

        The last click is on the first corner, which closes an outline, or once more on the last
        one, which ends a line.
        """
        at = self.page.query_selector("#map").bounding_box()
        self.click_at(
            [(at["x"] + at["width"] * x, at["y"] + at["height"] * y) for x, y in corners],
            closes=closes,
        )

    def click_at(self, corners: list[tuple[float, float]], *, closes: bool) -> None:
        """As `click`, with places of the page in pixels."""
        for number, corner in enumerate(corners, 1):
            self.page.mouse.click(*corner)
            self.wait_until(f"window.lotlinePanel.map.input.sketch?.points.length == {number}")
        self.page.mouse.click(*corners[0 if closes else -1])
        self.wait_until("!window.lotlinePanel.map.input.isDrawing()")


def ground(left: float, top: float, width: float, height: float) -> MultiPolygon:
    """A rectangle on the imagery, in metres from its upper left corner, in degrees."""
    shape = box(LEFT + left, TOP - top - height, LEFT + left + width, TOP - top)
    return degrees(shape)


def degrees(shape: Polygon | MultiPolygon) -> MultiPolygon:
    return polygonal(PixelGrid("EPSG:32616", 1.0).to_lonlat(shape))


def many_vertices() -> MultiPolygon:
    """A lawn of 7,500 vertices in two parts, with six holes."""
    angles = np.linspace(0, 2 * np.pi, 900, endpoint=False)
    waves = np.column_stack([np.cos(angles), np.sin(angles)])

    def ring(x: float, y: float, radius_m: float) -> np.ndarray:
        ripple = 1 + 0.02 * np.sin(40 * angles)
        return waves * (radius_m * ripple)[:, None] + (LEFT + x, TOP - y)

    holes = [ring(40 + 5 * np.cos(a), 40 + 5 * np.sin(a), 1.2) for a in np.arange(6) * np.pi / 3]
    big = Polygon(ring(40, 40, 9), holes)
    small = Polygon(ring(25, 50, 3))
    return degrees(MultiPolygon([big, small]))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    if not PAGE.is_file():
        pytest.skip("the page is not built: sh scripts/build_page.sh")
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking",
             "--disable-component-update"]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch, playwright.sync_playwright() as play:
        prepare_pages(patch)
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
        context = browser.new_context(viewport={"width": 1200, "height": 800})
        page = context.new_page()
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{address}/#property={lots[0]}")
        found = Reviewer(page, database, address, lots)
        found.wait_for("#objects li")
        found.settle()
        yield found
        context.close()
        assert faults == []


def _store(database: Database) -> tuple[int, int]:
    with database.engine.begin() as conn:
        first, second = load_properties(conn, 2, COUNTY)
        run = start_run(conn, county=COUNTY)
        boundaries = [
            box(LEFT, TOP - 30, LEFT + 45, TOP),
            box(LEFT + 15, TOP - 60, LEFT + 60, TOP - 20),
        ]
        lawn, tree = ground(5, 5, 20, 10), ground(30, 5, 6, 6)
        write_lot(conn, run, first, boundary(boundaries[0]),
                  make_result(make_detection(lawn), make_detection(tree, "tree")))  # fmt: skip
        write_lot(
            conn,
            run,
            second,
            boundary(boundaries[1]),
            make_result(make_detection(many_vertices())),
        )
    return first, second
