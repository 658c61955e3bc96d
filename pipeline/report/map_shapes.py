"""The shapes of a report's map as SVG paths, with the legend that explains them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from pipeline.report.formatting import SOURCES
from pipeline.report.palette import STATE_COLOURS, label_colour
from pipeline.report.projections import Projection
from pipeline.store.runs.map_data import MapDetection, PlacedLot, RunMap

STATES = tuple(STATE_COLOURS)

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
class LegendEntry:
    """A swatch drawn like the thing that it explains; without `d` a square of the CSS class."""

    text: str
    css_class: str
    d: str = ""
    style: str = ""


def is_point(lot: PlacedLot) -> bool:
    """Whether a property has no boundary."""
    return lot.source is None


def lot_path(lot: PlacedLot, projection: Projection) -> MapPath:
    """The outline of a boundary, with its state."""
    outline = _path_data(projection.project(lot.geometry, is_lot=lot.source == "lot"))
    return MapPath(_tooltip(lot), f"lot {lot.source or ''} {lot.state}", outline)


def point_path(lot: PlacedLot, projection: Projection) -> MapPath:
    """A cross at a property without a boundary."""
    x, y = shapely.get_coordinates(projection.project(lot.geometry))[0]
    return MapPath(_tooltip(lot), f"point {lot.state}", f"M{x - 6:.0f} {y - 6:.0f}{_CROSS_LINES}")


def _tooltip(lot: PlacedLot) -> str:
    source = f", {SOURCES.get(lot.source, lot.source)}" if lot.source else ""
    return f"{lot.property_id}: {lot.state} ({lot.reason}){source}"


def casing(outlines: Sequence[MapPath]) -> str:
    """The path data of all outlines: a dark line below white ones shows them on any imagery."""
    return "".join(path.d for path in outlines)


def detection_paths(detections: Sequence[MapDetection], projection: Projection) -> list[MapPath]:
    """One path per label; the label that covers most is drawn first."""
    by_label: dict[str, list[BaseGeometry]] = {}
    for detection in detections:
        by_label.setdefault(detection.label, []).append(detection.geometry)
    # The union, because even-odd filling would leave a hole where two polygons overlap.
    covered = {label: shapely.union_all(shapes) for label, shapes in by_label.items()}
    widest_first = sorted(covered, key=lambda label: -covered[label].area)
    return [
        MapPath(
            label,
            _label_class(label),
            _path_data(projection.project(covered[label])),
            _label_style(label),
        )
        for label in widest_first
    ]


def _label_style(label: str) -> str:
    return f"--label:{label_colour(label)}"


def _label_class(label: str) -> str:
    """Vegetation contains lawns and trees, so only its outline is drawn."""
    return "thing outline" if label == "vegetation" else "thing"


def _path_data(geometry: BaseGeometry) -> str:
    """SVG path data of polygons; even-odd filling leaves their holes open."""
    rings: list[str] = []
    for polygon in shapely.get_parts(geometry):
        for ring in (polygon.exterior, *polygon.interiors) if not polygon.is_empty else ():
            points = np.round(shapely.get_coordinates(ring)[:-1] * 2) / 2
            rings.append("M" + "L".join(f"{x:g} {y:g}" for x, y in points) + "z")
    return "".join(rings)


def legend(run_map: RunMap) -> list[LegendEntry]:
    """An entry for each kind of shape on the map."""
    states = {lot.state for lot in run_map.lots if not is_point(lot)}
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
        if any(lot.state == state and is_point(lot) for lot in run_map.lots)
    ]
    labels = sorted({detection.label for detection in run_map.detections})
    entries += [
        LegendEntry(label, _label_class(label), _SQUARE, _label_style(label)) for label in labels
    ]
    return entries
