"""A run's map as SVG: panels of neighbouring lots where they are few, else a grid.

This module computes what is drawn; `templates/map.html.jinja` writes the SVG. Its size is bounded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.plurals import count_of, is_or_are
from pipeline.report.formatting import area
from pipeline.report.key_map import KeyMap, key_map
from pipeline.report.map_imagery import MapImagery
from pipeline.report.map_panels import MAX_PANELS, Panel, choose_panels
from pipeline.report.map_shapes import (
    STATES,
    LegendEntry,
    MapPath,
    casing,
    detection_paths,
    is_point,
    legend,
    lot_path,
    point_path,
)
from pipeline.report.palette import label_colour
from pipeline.report.projections import LatitudeProjection, Projection
from pipeline.report.scale_bar import ScaleBar, scale_bar, width_m
from pipeline.store.runs.map_data import (
    MAX_LOTS_WITH_DETECTIONS,
    GridCell,
    MapDetection,
    MapGrid,
    RunMap,
)
from pipeline.units import M_PER_FT

# Text height of a scale bar, as a fraction of the panel's width, and the space for it below.
_FONT_FRACTION, _PANEL_FONT_FRACTION = 0.018, 0.045
# A panel with more lots is as wide as the page.
_MAX_LOTS_OF_SMALL = 30
_SCALE_SPACE_EM = 3.4


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
class PanelMap:
    """Neighbouring lots and their detections as paths, in drawing order.

    Attributes:
        caption: its number and its place; "" for the only panel.
        width, height: in drawing units, with the scale bar.
        picture_height: without it.
        is_large: as wide as the page.
        picture: the imagery below, as a data URI; "" without.
    """

    caption: str
    width: float
    height: float
    picture_height: float
    is_large: bool
    picture: str
    casing: str
    paths: tuple[MapPath, ...]
    scale_bar: ScaleBar


@dataclass(frozen=True, slots=True)
class LotMap:
    """The panels, and a key map that shows where they are; None for a single panel."""

    key: KeyMap | None
    panels: tuple[PanelMap, ...]
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


def map_drawing(run_map: RunMap, processed: int, imagery: MapImagery | None = None) -> MapDrawing:
    """The drawing of a run's map.

    Args:
        processed: how many properties the run processed; a later run may have taken some since.
        imagery: what lies under the lots; None draws them on plain ground.
    """
    caption = _caption(run_map, processed)
    if run_map.grid is not None:
        return MapDrawing(" ".join(caption), grid=_grid_map(run_map.grid))
    clusters = choose_panels(run_map.lots)
    shown = clusters[:MAX_PANELS]
    pictures = 0
    panels = []
    for number, panel in enumerate(shown, 1):
        drawn = _panel_map(panel, number, len(shown), run_map.detections, imagery)
        pictures += bool(drawn.picture)
        panels.append(drawn)
    key = key_map(run_map.lots, shown) if len(clusters) > 1 else None
    caption += _panel_notes(run_map, clusters)
    if pictures:
        caption.append("Plain grey ground has no imagery.")
    if imagery is not None:
        caption += filter(None, (imagery.credit if pictures else "", imagery.problem))
    return MapDrawing(" ".join(caption), lots=LotMap(key, tuple(panels), tuple(legend(run_map))))


def _panel_map(
    panel: Panel,
    number: int,
    panels: int,
    detections: Sequence[MapDetection],
    imagery: MapImagery | None,
) -> PanelMap:
    is_large = panels == 1 or len(panel.lots) > _MAX_LOTS_OF_SMALL
    picture = None if imagery is None else imagery.panel(panel.bounds, panels, is_large=is_large)
    projection: Projection = (
        LatitudeProjection(panel.bounds) if picture is None else picture.projection
    )
    width, height = projection.width, projection.height
    font_size = (_FONT_FRACTION if is_large else _PANEL_FONT_FRACTION) * width
    baseline = height + _SCALE_SPACE_EM / 2 * font_size
    bar = scale_bar(font_size, baseline, width / 3, projection.units_per_m, font_size)
    own = {lot.property_id for lot in panel.lots}
    here = [each for each in detections if each.property_id in own or not each.property_id]
    outlines = tuple(lot_path(lot, projection) for lot in panel.lots if not is_point(lot))
    points = tuple(point_path(lot, projection) for lot in panel.lots if is_point(lot))
    return PanelMap(
        caption="" if panels == 1 else _panel_caption(panel, number),
        width=width,
        height=height + _SCALE_SPACE_EM * font_size,
        picture_height=height,
        is_large=is_large,
        picture="" if picture is None else picture.data_uri,
        casing=casing(outlines),
        paths=(*detection_paths(here, projection), *outlines, *points),
        scale_bar=bar,
    )


def _panel_caption(panel: Panel, number: int) -> str:
    west, south, east, north = panel.bounds
    x, y = ((west + east) / 2 + 180) % 360 - 180, (south + north) / 2
    place = f"{abs(y):.4f}° {'N' if y >= 0 else 'S'}, {abs(x):.4f}° {'E' if x >= 0 else 'W'}"
    return f"{number}: {count_of(len(panel.lots), 'properties')} at {place}"


def _panel_notes(run_map: RunMap, clusters: Sequence[Panel]) -> list[str]:
    notes = []
    if len(clusters) > 1:
        notes.append("Each panel has a scale of its own; its number is on the key map.")
    beyond = sum(len(panel.lots) for panel in clusters[MAX_PANELS:])
    if beyond:
        notes.append(
            f"Only on the key map, because {MAX_PANELS} panels are the maximum: {beyond:,}."
        )
    if len(run_map.lots) > MAX_LOTS_WITH_DETECTIONS:
        notes.append(f"Detections are drawn for up to {MAX_LOTS_WITH_DETECTIONS} properties.")
    return notes


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


def _caption(run_map: RunMap, processed: int) -> list[str]:
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
    return sentences


def _two_digits(length: float) -> str:
    """Rounded to two digits, because the squares are only nearly the same size."""
    digits = max(0, math.floor(math.log10(max(length, 1.0))) - 1)
    return f"{round(length, -digits):,.0f}"
