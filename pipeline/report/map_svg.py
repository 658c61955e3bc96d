"""A run's map as SVG: each lot where they are few, else a grid; its size is bounded either way."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from pipeline.plurals import count_of, is_or_are
from pipeline.report.formatting import SOURCES, area
from pipeline.report.html import Raw, element, joined, legend, made, swatch
from pipeline.report.scale_bar import scale_bar, width_m
from pipeline.store.runs.map_data import (
    GridCell,
    MapBounds,
    MapDetection,
    MapGrid,
    PlacedLot,
    RunMap,
)
from pipeline.units import M_PER_FT

STATES = ("done", "no_imagery", "deferred", "failed")

_COLOURS = {
    "lawn": "#5fa833", "tree": "#1b8a80", "vegetation": "#c264ac", "driveway": "#8a6bd1",
    "roof": "#cf5a45", "pool": "#2f7bff",
}  # fmt: skip
_OTHERS = ("#d9822b", "#2aa198", "#b58900", "#a0704a", "#c7389b")

_WIDTH = 1_000
_MOST_HEIGHT = 1_400
# Lines closer than this to each other, in units of the drawing, are one on any screen.
_FINE = 0.4
# The letters of the scale bar are so much of the drawing's size, and have room below it.
_LETTERS = 0.018
_ROOM = 4.2

_CROSS_LINES = "l12 12m0 -12l-12 12"
_SQUARE, _CROSS = "M1 1h12v12h-12z", f"M1 1{_CROSS_LINES}"


def colour_of(label: str) -> str:
    """A label's colour on the page: its own, or one picked by its name."""
    return _COLOURS.get(label) or _OTHERS[sum(label.encode()) % len(_OTHERS)]


def map_svg(run_map: RunMap, answered: int) -> Raw:
    """The map with its legend, and in words what of the run it shows.

    Args:
        answered: how many properties the run answered; some may be a later run's by now.
    """
    said = _said(run_map, answered)
    if run_map.grid is not None:
        return joined([*_grid_maps(run_map.grid), element("p", said, class_="soft")])
    frame = _Frame(_around(run_map))
    lots = [_lot(lot, frame) for lot in run_map.lots if not _is_point(lot)]
    things = _things(run_map.detections, frame)
    points = [_point(lot, frame) for lot in run_map.lots if _is_point(lot)]
    letters = _LETTERS * max(frame.width, frame.height)
    begin = letters, frame.height + _ROOM / 2 * letters
    scale = scale_bar(*begin, frame.width / 4, frame.units_per_m, letters)
    parts = [*lots, *things, *points, scale]
    picture = _svg(frame.width, frame.height + _ROOM * letters, parts, said)
    return joined([picture, _legend(run_map), element("p", said, class_="soft")])


class _Frame:
    """From degrees to the drawing's units, as high as wide by the middle's latitude."""

    def __init__(self, bounds: MapBounds) -> None:
        west, south, east, north = bounds
        shrink = math.cos(math.radians((south + north) / 2))
        size_deg = max((east - west) * shrink, 1e-6)
        units = min(_WIDTH / size_deg, _MOST_HEIGHT / max(north - south, 1e-6))
        self._origin = np.array([west, north])
        self._scale = np.array([units * shrink, -units])
        self.width = max((east - west) * shrink * units, 1.0)
        self.height = max((north - south) * units, 1.0)
        self.units_per_m = self.width / width_m(bounds)

    def drawn(self, geometry: BaseGeometry) -> BaseGeometry:
        """The geometry in the drawing's units, as fine as a screen shows it."""
        moved = shapely.transform(geometry, lambda at: (at - self._origin) * self._scale)
        return shapely.simplify(moved, _FINE, preserve_topology=False)


def _around(run_map: RunMap) -> MapBounds:
    """The bounds of what is drawn, with a margin; lots reach further than their middles."""
    shapes = [lot.geometry for lot in run_map.lots]
    west, south, east, north = shapely.total_bounds(shapes)
    margin = 0.02 * max(east - west, north - south, 2e-4)
    return west - margin, south - margin, east + margin, north + margin


def _is_point(lot: PlacedLot) -> bool:
    return lot.source is None


def _lot(lot: PlacedLot, frame: _Frame) -> Raw:
    source = lot.source or ""
    outline = _path(frame.drawn(lot.geometry))
    return _titled("path", _name(lot), class_=f"lot {source} {lot.state}", d=outline)


def _point(lot: PlacedLot, frame: _Frame) -> Raw:
    x, y = shapely.get_coordinates(frame.drawn(lot.geometry))[0]
    cross = f"M{x - 6:.0f} {y - 6:.0f}{_CROSS_LINES}"
    return _titled("path", _name(lot), class_=f"point {lot.state}", d=cross)


def _name(lot: PlacedLot) -> str:
    source = f", {SOURCES.get(lot.source, lot.source)}" if lot.source else ""
    return f"{lot.property_id}: {lot.state} ({lot.reason}){source}"


def _things(things: Sequence[MapDetection], frame: _Frame) -> list[Raw]:
    """What was found, one path for each label; the labels that cover most come first."""
    by_label: dict[str, list[BaseGeometry]] = {}
    for thing in things:
        by_label.setdefault(thing.label, []).append(thing.geometry)
    # One area: what two lots share would be a hole in the path of both.
    covered = {label: shapely.union_all(each) for label, each in by_label.items()}
    widest = sorted(covered, key=lambda label: -covered[label].area)
    return [
        _titled(
            "path",
            label,
            class_="thing",
            style=_style(label),
            d=_path(frame.drawn(covered[label])),
        )
        for label in widest
    ]


def _style(label: str) -> str:
    """Vegetation holds lawns and trees: it goes round them."""
    colour = colour_of(label)
    return f"fill:none;stroke:{colour}" if label == "vegetation" else f"fill:{colour}"


def _path(geometry: BaseGeometry) -> str:
    """A polygon's rings; the holes of one are left out by the fill rule of the drawing."""
    rings: list[str] = []
    for polygon in shapely.get_parts(geometry):
        for ring in (polygon.exterior, *polygon.interiors) if not polygon.is_empty else ():
            at = np.round(shapely.get_coordinates(ring)[:-1] * 2) / 2
            rings.append("M" + "L".join(f"{x:g} {y:g}" for x, y in at) + "z")
    return "".join(rings)


def _legend(run_map: RunMap) -> Raw:
    """Each swatch is a piece of the drawing, and looks as what it stands for."""
    states = {lot.state for lot in run_map.lots if not _is_point(lot)}
    entries = [
        (_sample(_SQUARE, class_=f"{state} lot"), state.replace("_", " "))
        for state in STATES
        if state in states
    ]
    if any(lot.source == "buffer_30m" for lot in run_map.lots):
        entries.append((_sample(_SQUARE, class_="done lot buffer_30m"), "30 m buffer"))
    entries += [
        (_sample(_CROSS, class_=f"point {state}"), f"{state.replace('_', ' ')}, no boundary")
        for state in STATES
        if any(lot.state == state and _is_point(lot) for lot in run_map.lots)
    ]
    labels = sorted({thing.label for thing in run_map.detections})
    entries += [(_sample(_SQUARE, class_="thing", style=_style(each)), each) for each in labels]
    return legend(entries)


def _sample(path: str, **attributes: str) -> Raw:
    drawn = element("path", d=path, **attributes)
    return Raw(f'<svg viewBox="0 0 14 14" aria-hidden="true">{drawn}</svg>')


def _grid_maps(grid: MapGrid) -> list[Raw]:
    """A map of states, and one of each label."""
    shown = [state for state in STATES if any(state in cell.states for cell in grid.cells)]
    labels = sorted({label for cell in grid.cells for label in cell.areas_m2})
    return [
        element("h3", "Share of properties by state"),
        _svg(grid.columns, grid.rows, [each for c in grid.cells for each in _shares(c)], "states"),
        legend((swatch(state), state.replace("_", " ")) for state in shown),
        element("h3", "m² for each lot, mean of a cell (lots only)") if labels else Raw(),
        element("div", joined(_label_map(grid, label) for label in labels), class_="maps"),
    ]


def _shares(cell: GridCell) -> list[Raw]:
    """A cell cut into stripes, as wide as each state's share."""
    total = sum(cell.states.values())
    said = ", ".join(f"{count:,} {state}" for state, count in sorted(cell.states.items()))
    stripes, x = [], float(cell.x)
    for state in STATES:
        width = cell.states.get(state, 0) / total
        if width:
            stripes.append(_rectangle(x, cell.y, width, said, class_=state))
        x += width
    return stripes


def _label_map(grid: MapGrid, label: str) -> Raw:
    means_m2 = {
        (cell.x, cell.y): cell.areas_m2.get(label, 0.0) / cell.lots
        for cell in grid.cells
        if cell.lots
    }
    most_m2 = max(means_m2.values())
    cells = [
        _rectangle(
            x, y, 1, f"{area(mean_m2)} m² a lot",
            style=f"fill:{colour_of(label)};fill-opacity:{0.06 + 0.94 * mean_m2 / most_m2:.2f}",
        )
        for (x, y), mean_m2 in means_m2.items()
        if most_m2
    ]  # fmt: skip
    name = f"{label}: 0 to {area(most_m2)} m²"
    return element("div", joined([element("h3", name), _svg(grid.columns, grid.rows, cells, name)]))


def _rectangle(x: float, y: float, width: float, title: str, **attributes: str) -> Raw:
    place = {"x": f"{x:.6g}", "y": f"{y:g}", "width": f"{width:.4g}", "height": "1"}
    return _titled("rect", title, **place, **attributes)


def _titled(name: str, title: str, **attributes: str) -> Raw:
    return element(name, element("title", title), **attributes)


def _svg(width: float, height: float, parts: Sequence[Raw], title: str) -> Raw:
    box = f'viewBox="0 0 {width:.6g} {height:.6g}"'
    rule = 'fill-rule="evenodd"'
    return Raw(f'<svg {box} {rule} role="img" aria-label="{made(title)}">{joined(parts)}</svg>')


def _said(run_map: RunMap, answered: int) -> str:
    parts = [
        f"{run_map.shown:,} of {count_of(answered, 'properties')} {is_or_are(run_map.shown)} shown."
    ]
    later = answered - run_map.properties
    nowhere, far = run_map.properties - run_map.placed, run_map.placed - run_map.shown
    if later > 0:
        parts.append(f"Worked on again by a later run: {later:,}.")
    if nowhere:
        parts.append(f"Of {nowhere:,} it is not known where they are.")
    if far:
        parts.append(f"Too far from the others to be shown: {far:,}.")
    if run_map.grid is not None:
        side_m = width_m(run_map.bounds) / run_map.grid.columns
        wide = f"{_whole(side_m)} m ({_whole(side_m / M_PER_FT)} ft)"
        parts.append(f"Each square is a piece of the county, {wide} wide, with what lies in it.")
    return " ".join(parts)


def _whole(length: float) -> str:
    """With two digits, as squares are not all quite the same."""
    digits = max(0, math.floor(math.log10(max(length, 1.0))) - 1)
    return f"{round(length, -digits):,.0f}"
