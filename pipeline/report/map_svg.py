"""A run's map as SVG: each lot where they are few, else a grid, so that its size is bounded.

This module computes what is drawn; `templates/map.html.jinja` writes the SVG.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from pipeline.plurals import count_of, is_or_are
from pipeline.report.formatting import SOURCES, area
from pipeline.report.palette import STATE_COLOURS, label_colour
from pipeline.report.scale_bar import ScaleBar, scale_bar, width_m
from pipeline.store.runs.map_data import (
    GridCell,
    MapBounds,
    MapDetection,
    MapGrid,
    PlacedLot,
    RunMap,
)
from pipeline.units import M_PER_FT

STATES = tuple(STATE_COLOURS)

_WIDTH = 1_000
_MAX_HEIGHT = 1_400
# Simplification tolerance in drawing units: no screen separates lines that are closer.
_TOLERANCE = 0.4
# Text height of the scale bar, as a fraction of the drawing, and the space below the map for it.
_FONT_FRACTION = 0.018
_SCALE_SPACE_EM = 4.2

_CROSS_LINES = "l12 12m0 -12l-12 12"
_SQUARE, _CROSS = "M1 1h12v12h-12z", f"M1 1{_CROSS_LINES}"


@dataclass(frozen=True, slots=True)
class MapPath:
    """An SVG path with its tooltip; colours come from the CSS classes or from `style`."""

    title: str
    css_class: str
    d: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class MapRect:
    """A cell of a grid map, or a part of it, with its tooltip; columns are one unit wide."""

    title: str
    x: float
    y: float
    width: float
    css_class: str = ""
    style: str = ""


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """A swatch drawn like the thing that it explains; without `d` a square of the CSS class."""

    text: str
    css_class: str
    d: str = ""
    style: str = ""


@dataclass(frozen=True, slots=True)
class LotMap:
    """Every lot and detection as a path, in drawing order; sizes in drawing units."""

    width: float
    height: float
    paths: tuple[MapPath, ...]
    scale_bar: ScaleBar
    legend: tuple[LegendEntry, ...]


@dataclass(frozen=True, slots=True)
class LabelGridMap:
    """A label's mean area per lot in each cell; the darkest cell has `max_m2`."""

    label: str
    max_m2: float
    cells: tuple[MapRect, ...]


@dataclass(frozen=True, slots=True)
class GridMap:
    """Cells split by the share of each state, and a map of each label."""

    columns: int
    rows: int
    states: tuple[MapRect, ...]
    legend: tuple[LegendEntry, ...]
    labels: tuple[LabelGridMap, ...]


@dataclass(frozen=True, slots=True)
class MapDrawing:
    """What the page draws: `lots` or `grid`, and a caption that says what of the run it shows."""

    caption: str
    lots: LotMap | None = None
    grid: GridMap | None = None


def map_drawing(run_map: RunMap, processed: int) -> MapDrawing:
    """The drawing of a run's map.

    Args:
        processed: how many properties the run processed; a later run may have taken some since.
    """
    caption = _caption(run_map, processed)
    if run_map.grid is not None:
        return MapDrawing(caption, grid=_grid_map(run_map.grid))
    return MapDrawing(caption, lots=_lot_map(run_map))


def _lot_map(run_map: RunMap) -> LotMap:
    projection = _Projection(_padded_bounds(run_map))
    width, height = projection.width, projection.height
    font_size = _FONT_FRACTION * max(width, height)
    baseline = height + _SCALE_SPACE_EM / 2 * font_size
    bar = scale_bar(font_size, baseline, width / 4, projection.units_per_m, font_size)
    return LotMap(
        width=width,
        height=height + _SCALE_SPACE_EM * font_size,
        paths=(
            *(_lot_path(lot, projection) for lot in run_map.lots if not _is_point(lot)),
            *_detection_paths(run_map.detections, projection),
            *(_point_path(lot, projection) for lot in run_map.lots if _is_point(lot)),
        ),
        scale_bar=bar,
        legend=tuple(_lot_legend(run_map)),
    )


class _Projection:
    """Degrees to drawing units, equidistant along the middle latitude."""

    def __init__(self, bounds: MapBounds) -> None:
        west, south, east, north = bounds
        shrink = math.cos(math.radians((south + north) / 2))
        width_deg = max((east - west) * shrink, 1e-6)
        units_per_deg = min(_WIDTH / width_deg, _MAX_HEIGHT / max(north - south, 1e-6))
        self._origin = np.array([west, north])
        self._scale = np.array([units_per_deg * shrink, -units_per_deg])
        self.width = max((east - west) * shrink * units_per_deg, 1.0)
        self.height = max((north - south) * units_per_deg, 1.0)
        self.units_per_m = self.width / width_m(bounds)

    def project(self, geometry: BaseGeometry) -> BaseGeometry:
        """The geometry in drawing units, simplified to what a screen shows."""
        moved = shapely.transform(geometry, lambda xy: (xy - self._origin) * self._scale)
        return shapely.simplify(moved, _TOLERANCE, preserve_topology=False)


def _padded_bounds(run_map: RunMap) -> MapBounds:
    """The bounds of everything drawn, with a margin; `run_map.bounds` holds only the centres."""
    shapes = [lot.geometry for lot in run_map.lots]
    west, south, east, north = shapely.total_bounds(shapes)
    margin = 0.02 * max(east - west, north - south, 2e-4)
    return west - margin, south - margin, east + margin, north + margin


def _is_point(lot: PlacedLot) -> bool:
    return lot.source is None


def _lot_path(lot: PlacedLot, projection: _Projection) -> MapPath:
    outline = _path_data(projection.project(lot.geometry))
    return MapPath(_tooltip(lot), f"lot {lot.source or ''} {lot.state}", outline)


def _point_path(lot: PlacedLot, projection: _Projection) -> MapPath:
    x, y = shapely.get_coordinates(projection.project(lot.geometry))[0]
    return MapPath(_tooltip(lot), f"point {lot.state}", f"M{x - 6:.0f} {y - 6:.0f}{_CROSS_LINES}")


def _tooltip(lot: PlacedLot) -> str:
    source = f", {SOURCES.get(lot.source, lot.source)}" if lot.source else ""
    return f"{lot.property_id}: {lot.state} ({lot.reason}){source}"


def _detection_paths(detections: Sequence[MapDetection], projection: _Projection) -> list[MapPath]:
    """One path per label; the label that covers most is drawn first."""
    by_label: dict[str, list[BaseGeometry]] = {}
    for detection in detections:
        by_label.setdefault(detection.label, []).append(detection.geometry)
    # The union, because even-odd filling would leave a hole where two polygons overlap.
    covered = {label: shapely.union_all(shapes) for label, shapes in by_label.items()}
    widest_first = sorted(covered, key=lambda label: -covered[label].area)
    return [
        MapPath(label, "thing", _path_data(projection.project(covered[label])), _label_style(label))
        for label in widest_first
    ]


def _label_style(label: str) -> str:
    """Vegetation contains lawns and trees, so only its outline is drawn."""
    colour = label_colour(label)
    return f"fill:none;stroke:{colour}" if label == "vegetation" else f"fill:{colour}"


def _path_data(geometry: BaseGeometry) -> str:
    """SVG path data of polygons; even-odd filling leaves their holes open."""
    rings: list[str] = []
    for polygon in shapely.get_parts(geometry):
        for ring in (polygon.exterior, *polygon.interiors) if not polygon.is_empty else ():
            points = np.round(shapely.get_coordinates(ring)[:-1] * 2) / 2
            rings.append("M" + "L".join(f"{x:g} {y:g}" for x, y in points) + "z")
    return "".join(rings)


def _lot_legend(run_map: RunMap) -> list[LegendEntry]:
    states = {lot.state for lot in run_map.lots if not _is_point(lot)}
    entries = [
        LegendEntry(state.replace("_", " "), f"{state} lot", _SQUARE)
        for state in STATES
        if state in states
    ]
    if any(lot.source == "buffer_30m" for lot in run_map.lots):
        entries.append(LegendEntry("30 m buffer", "done lot buffer_30m", _SQUARE))
    entries += [
        LegendEntry(f"{state.replace('_', ' ')}, no boundary", f"point {state}", _CROSS)
        for state in STATES
        if any(lot.state == state and _is_point(lot) for lot in run_map.lots)
    ]
    labels = sorted({detection.label for detection in run_map.detections})
    entries += [LegendEntry(label, "thing", _SQUARE, _label_style(label)) for label in labels]
    return entries


def _grid_map(grid: MapGrid) -> GridMap:
    shown = [state for state in STATES if any(state in cell.states for cell in grid.cells)]
    labels = sorted({label for cell in grid.cells for label in cell.areas_m2})
    return GridMap(
        columns=grid.columns,
        rows=grid.rows,
        states=tuple(rect for cell in grid.cells for rect in _state_rects(cell)),
        legend=tuple(LegendEntry(state.replace("_", " "), state) for state in shown),
        labels=tuple(_label_grid_map(grid, label) for label in labels),
    )


def _state_rects(cell: GridCell) -> list[MapRect]:
    """A cell cut into stripes, each as wide as the share of its state."""
    total = sum(cell.states.values())
    title = ", ".join(f"{count:,} {state}" for state, count in sorted(cell.states.items()))
    stripes, x = [], float(cell.x)
    for state in STATES:
        width = cell.states.get(state, 0) / total
        if width:
            stripes.append(MapRect(title, x, cell.y, width, css_class=state))
        x += width
    return stripes


def _label_grid_map(grid: MapGrid, label: str) -> LabelGridMap:
    means_m2 = {
        (cell.x, cell.y): cell.areas_m2.get(label, 0.0) / cell.lots
        for cell in grid.cells
        if cell.lots
    }
    max_m2 = max(means_m2.values())
    cells = tuple(
        MapRect(
            f"{area(mean_m2)} m² per lot", x, y, 1,
            style=f"fill:{label_colour(label)};fill-opacity:{0.06 + 0.94 * mean_m2 / max_m2:.2f}",
        )
        for (x, y), mean_m2 in means_m2.items()
        if max_m2
    )  # fmt: skip
    return LabelGridMap(label, max_m2, cells)


def _caption(run_map: RunMap, processed: int) -> str:
    sentences = [
        f"{run_map.shown:,} of {count_of(processed, 'properties')} "
        f"{is_or_are(run_map.shown)} shown."
    ]
    later = processed - run_map.properties
    not_located, outliers = run_map.properties - run_map.placed, run_map.placed - run_map.shown
    if later > 0:
        sentences.append(f"Reprocessed by a later run: {later:,}.")
    if not_located:
        sentences.append(f"Without a known location: {not_located:,}.")
    if outliers:
        sentences.append(f"Too far from the others to show: {outliers:,}.")
    if run_map.grid is not None:
        side_m = width_m(run_map.bounds) / run_map.grid.columns
        side = f"{_two_digits(side_m)} m ({_two_digits(side_m / M_PER_FT)} ft)"
        sentences.append(f"Each square is {side} wide and sums up the properties in it.")
    return " ".join(sentences)


def _two_digits(length: float) -> str:
    """Rounded to two digits, because the squares are only nearly the same size."""
    digits = max(0, math.floor(math.log10(max(length, 1.0))) - 1)
    return f"{round(length, -digits):,.0f}"
