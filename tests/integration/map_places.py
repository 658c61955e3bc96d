"""Where things are on the map of the review page, in pixels of the page.

The map draws a move of it with the next frame, which comes late on a loaded machine: a place is
read once the map has come to rest and is drawn as it is now.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

_EARTH_RADIUS_M = 6_378_137
_PLACE = """async (at) => {
    const { map } = window.lotlinePanel.map;
    while (map.getView().getAnimating()) await new Promise(requestAnimationFrame);
    map.updateSize();
    map.renderSync();
    const box = map.getViewport().getBoundingClientRect();
    const [x, y] = map.getPixelFromCoordinate(at);
    return [box.x + x, box.y + y];
}"""

_DRAWN = """() => new Promise((resolve) => {
    const { map } = window.lotlinePanel.map;
    map.once("rendercomplete", () => resolve(null));
    map.render();
})"""


def wait_until_drawn(page: Any) -> None:
    """Wait until the map shows all that it has, tiles of imagery included."""
    page.evaluate(_DRAWN)


def wait_until_still(page: Any) -> None:
    """Wait until no move of the map is under way, such as the roll after a drag."""
    view = "window.lotlinePanel.map.map.getView()"
    page.wait_for_function(f"() => !{view}.getAnimating() && !{view}.getInteracting()")


def place(page: Any, metres: Sequence[float]) -> tuple[float, float]:
    """Where a position in metres of the map (EPSG:3857) is."""
    x, y = page.evaluate(_PLACE, list(metres))
    return x, y


def place_of(page: Any, lon: float, lat: float) -> tuple[float, float]:
    """Where a position in degrees is."""
    x, y = math.radians(lon), math.log(math.tan(math.pi / 4 + math.radians(lat) / 2))
    return place(page, (_EARTH_RADIUS_M * x, _EARTH_RADIUS_M * y))


def place_of_vertex(page: Any, index: int, *, part: int = 0, ring: int = 0) -> tuple[float, float]:
    """Where a vertex of the draft is."""
    outline = "window.lotlinePanel.map.drafting.outline()"
    return place(page, page.evaluate(f"{outline}[{part}][{ring}][{index}]"))


def aim(page: Any, lon: float, lat: float) -> None:
    """Move the crosshair to a position in degrees by the arrow keys."""
    page.keyboard.press("ArrowUp")  # which shows it
    x, y = place(page, page.evaluate("window.lotlinePanel.map.input.crosshair"))
    to_x, to_y = place_of(page, lon, lat)
    for way, names in ((round(to_x - x), ("Left", "Right")), (round(to_y - y), ("Up", "Down"))):
        name = f"Arrow{names[way > 0]}"
        far, near = divmod(abs(way), 10)
        for key in [f"Shift+{name}"] * far + [name] * near:
            page.keyboard.press(key)
