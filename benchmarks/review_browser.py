"""A scripted reviewer in real Chromium: time for a decision, and to the next property."""

from __future__ import annotations

import shutil
import time
from typing import Any

from playwright.sync_api import sync_playwright
from rasterio.warp import transform, transform_geom
from shapely.geometry import mapping, shape
from sqlalchemy import text

from benchmarks.review_county import ServedCounty
from benchmarks.review_editing import CHROMIUM_FLAGS, editing_figures, large_outline
from parcels.measure import polygonal
from pipeline.store.reviews import verdicts

PROPERTIES = 25
EDITS = 10
_METRES = "EPSG:32616"

# From a key press to the frame in which the next property is drawn, its imagery included.
_NEXT = """(key) => new Promise((resolve) => {
  const title = document.querySelector("#title");
  const before = title.textContent;
  const started = performance.now();
  const wait = () => {
    if (title.textContent === before) return setTimeout(wait, 1);
    const map = window.lotlinePanel.map.map;
    map.once("rendercomplete", () => resolve(performance.now() - started));
    map.render();
  };
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  wait();
})"""


def browser_figures(county: ServedCounty) -> dict[str, list[float]]:
    """Milliseconds of what a scripted reviewer waits for, by name."""
    large = county.keys[10]
    _store_large_outline(county, large)
    with sync_playwright() as play:
        chromium = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(CHROMIUM_FLAGS)
        )
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{county.address}/#property={county.keys[1_000 % len(county.keys)]}")
        page.wait_for_selector("#objects li")
        found = {
            "next property drawn": [page.evaluate(_NEXT, "w") for _ in range(PROPERTIES)],
            "accept": [_accept(page) for _ in range(PROPERTIES)],
            "edit": [_edit(page) for _ in range(EDITS)],
        }
        page.goto(f"{county.address}/#property={large}")
        page.reload()
        page.wait_for_selector("#objects li")
        edited = editing_figures(page)
        chromium.close()
    return {**found, **{f"outline: {name}": [value] for name, value in edited.items()}}


def _store_large_outline(county: ServedCounty, key: int) -> None:
    """Give the first object of a property 7,558 vertices."""
    with county.engine.begin() as conn:
        first = conn.execute(
            text(
                "SELECT d.id, ST_X(ST_Centroid(b.geom)), ST_Y(ST_Centroid(b.geom)) "
                "FROM lotline.detection d JOIN lotline.boundary b ON b.id = d.boundary_fk "
                "WHERE d.property_fk = :key ORDER BY d.label, d.id LIMIT 1"
            ),
            {"key": key},
        ).one()
        [x], [y] = transform("EPSG:4326", _METRES, [first[1]], [first[2]])
        outline = transform_geom(_METRES, "EPSG:4326", mapping(large_outline((x, y), 8.0)))
        verdicts.edit(conn, first.id, "benchmark", polygonal(shape(outline)))


def _accept(page: Any) -> float:  # noqa: ANN401 - a page of Playwright
    """Accept the selected object, and go on when nothing waits to be saved."""
    started = time.perf_counter()
    page.keyboard.press("a")
    _wait_until_saved(page)
    taken_ms = (time.perf_counter() - started) * 1000
    if page.query_selector("#objects li.proposed") is None:
        page.evaluate(_NEXT, "w")
    return taken_ms


def _edit(page: Any) -> float:  # noqa: ANN401
    """Edit the selected object: drag three vertices, save, and go to the next property."""
    started = time.perf_counter()
    page.keyboard.press("e")
    page.wait_for_selector("[data-command=save]:not([hidden])")
    at = page.query_selector("#map").bounding_box()
    for vertex in (0, 10, 20):
        x, y = page.evaluate(f"window.lotlinePanel.map.pixelOfVertex({vertex})")
        page.mouse.move(at["x"] + x, at["y"] + y)
        page.mouse.down()
        page.mouse.move(at["x"] + x + 5, at["y"] + y + 5, steps=5)
        page.mouse.up()
    page.keyboard.press("s")
    _wait_until_saved(page)
    taken_ms = (time.perf_counter() - started) * 1000
    page.evaluate(_NEXT, "w")
    return taken_ms


def _wait_until_saved(page: Any) -> None:  # noqa: ANN401
    page.wait_for_function("() => document.querySelector('#status').innerText.startsWith('saved')")
    page.evaluate("() => { document.querySelector('#status').textContent = ''; }")
