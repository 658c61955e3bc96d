"""Editing on the review page in real Chromium: to begin, and to move a vertex of a large outline.

Times are taken in the page, from the event of the mouse to after the frame that shows the change.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import numpy as np
from shapely import MultiPolygon, Polygon

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking",
                  "--disable-component-update")  # fmt: skip
MOVES = 120

# From the pointer's event to a task after the frame that it caused, and the script's part of that.
_WATCH = """() => {
  const seen = { frame: [], script: [] };
  window.lotlineSeen = seen;
  const map = document.querySelector("#map");
  let script = 0;
  map.addEventListener("pointermove", (event) => {
    const started = performance.now();
    queueMicrotask(() => { script = performance.now() - started; });
    requestAnimationFrame(() => {
      const drawing = performance.now();
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        const now = performance.now();
        seen.frame.push(now - started);
        seen.script.push(script + now - drawing);
      };
      port2.postMessage(null);
    });
  }, { capture: true });
}"""


def large_outline(centre: tuple[float, float], radius_m: float = 15.0) -> MultiPolygon:
    """An outline of 7,558 vertices in two parts, with six holes, around a point in metres."""
    x, y = centre

    def ring(dx: float, dy: float, radius: float, count: int) -> np.ndarray:
        angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
        ripple = radius * (1 + 0.02 * np.sin(40 * angles))
        return np.column_stack([np.cos(angles), np.sin(angles)]) * ripple[:, None] + (
            x + dx,
            y + dy,
        )

    turns = np.arange(6) * np.pi / 3
    unit = radius_m / 15
    holes = [ring(8 * unit * np.cos(a), 8 * unit * np.sin(a), 2 * unit, 900) for a in turns]
    big = Polygon(ring(0, 0, 13 * unit, 1258), holes)
    small = Polygon(ring(19 * unit, 0, 4 * unit, 900))
    return MultiPolygon([big, small])


def editing_figures(page: Page, moves: int = MOVES) -> dict[str, float]:
    """Edit the selected object of a page: milliseconds to begin, and to move a vertex.

    Args:
        page: a Playwright page of the review panel, with a property whose object is selected.

    Returns:
        `start_ms`, and `move_p50_ms`, `move_p95_ms` (from the mouse's event to after the frame),
        `script_p50_ms`, `script_p95_ms` (the script's and the canvas's part of it), `vertices`.
    """
    start_ms = page.evaluate(
        """() => new Promise((resolve) => {
          const started = performance.now();
          document.querySelector("[data-command=edit]").click();
          requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - started)));
        })"""
    )
    page.evaluate(_WATCH)
    x, y = page.evaluate("() => window.lotlinePanel.map.pixelOfVertex(0)")
    at = page.locator("#map").bounding_box()
    assert at is not None
    page.mouse.move(at["x"] + x, at["y"] + y)
    page.mouse.down()
    page.evaluate("() => { window.lotlineSeen.frame = []; window.lotlineSeen.script = []; }")
    for move in range(moves):
        page.mouse.move(at["x"] + x - 4 - move % 40, at["y"] + y + 3 + move % 25)
        page.wait_for_timeout(5)
    page.mouse.up()
    page.wait_for_timeout(100)
    seen = page.evaluate("() => window.lotlineSeen")
    vertices = page.evaluate("() => window.lotlinePanel.map.drafting.outline().flat(2).length")
    return {
        "start_ms": round(start_ms, 1),
        **_percentiles("move", seen["frame"]),
        **_percentiles("script", seen["script"]),
        "vertices": vertices,
    }


def _percentiles(name: str, times_ms: list[float]) -> dict[str, float]:
    return {
        f"{name}_p50_ms": round(statistics.median(times_ms), 1),
        f"{name}_p95_ms": round(float(np.percentile(times_ms, 95)), 1),
    }
