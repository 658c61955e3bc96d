"""The key map: every property as a dot, and where the panels are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import shapely

from pipeline.report.map_panels import Panel, padded
from pipeline.report.projections import LatitudeProjection
from pipeline.report.scale_bar import ScaleBar, scale_bar
from pipeline.store.runs.map_data import PlacedLot

_MAX_HEIGHT = 600
_FONT_SIZE = 18
_SCALE_SPACE = 4.2 * _FONT_SIZE
_MIN_FRAME = 16.0
# Numbers that are closer would cover each other: they share a label.
_LABEL_WIDTH, _LABEL_HEIGHT = 3.0 * _FONT_SIZE, 1.4 * _FONT_SIZE


@dataclass(frozen=True, slots=True)
class KeyDot:
    """A property; its state is the CSS class."""

    x: float
    y: float
    state: str


@dataclass(frozen=True, slots=True)
class KeyFrame:
    """The window of a panel."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class KeyLabel:
    """The numbers of panels that are close together: "1-3, 7"."""

    text: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class KeyMap:
    """Sizes in drawing units; `font_size` of labels."""

    width: float
    height: float
    dots: tuple[KeyDot, ...]
    frames: tuple[KeyFrame, ...]
    labels: tuple[KeyLabel, ...]
    scale_bar: ScaleBar
    font_size: float = _FONT_SIZE


def key_map(lots: Sequence[PlacedLot], panels: Sequence[Panel]) -> KeyMap:
    """The key map of the numbered panels, and of all properties."""
    west, south, east, north = shapely.total_bounds([lot.geometry for lot in lots])
    projection = LatitudeProjection(padded((west, south, east, north)), _MAX_HEIGHT)
    width, height = projection.width, projection.height
    frames = [_frame(panel, projection) for panel in panels]
    font_size = min(_FONT_SIZE, width / 20)
    bar = scale_bar(
        font_size, height + _SCALE_SPACE / 2, width / 4, projection.units_per_m, font_size
    )
    return KeyMap(
        width=width,
        height=height + _SCALE_SPACE,
        dots=tuple(_dots(lots, projection)),
        frames=tuple(frames),
        labels=tuple(_labels(frames, width)),
        scale_bar=bar,
    )


def _dots(lots: Sequence[PlacedLot], projection: LatitudeProjection) -> list[KeyDot]:
    """Dots of one place and state are drawn once."""
    unique: dict[tuple[float, float, str], None] = {}
    for lot in lots:
        x, y = shapely.get_coordinates(projection.project(lot.geometry.envelope.centroid))[0]
        unique[round(float(x)), round(float(y)), lot.state] = None
    return [KeyDot(x, y, state) for x, y, state in unique]


def _frame(panel: Panel, projection: LatitudeProjection) -> KeyFrame:
    left, top, right, bottom = projection.project(shapely.box(*panel.bounds).boundary).bounds
    x, y = (left + right) / 2, (top + bottom) / 2
    width, height = max(right - left, _MIN_FRAME), max(bottom - top, _MIN_FRAME)
    return KeyFrame(x - width / 2, y - height / 2, width, height)


def _labels(frames: Sequence[KeyFrame], width: float) -> list[KeyLabel]:
    """A label beside each frame; frames whose labels would overlap share one."""
    groups: list[list[int]] = []
    places: list[tuple[float, float]] = []
    for number, frame in enumerate(frames, 1):
        x, y = frame.x + frame.width, frame.y
        for group, place in zip(groups, places, strict=True):
            if abs(place[0] - x) < _LABEL_WIDTH and abs(place[1] - y) < _LABEL_HEIGHT:
                group.append(number)
                break
        else:
            groups.append([number])
            places.append((x, y))
    return [
        KeyLabel(_ranges(group), min(x + 4, width - 2 * _FONT_SIZE), max(y, _FONT_SIZE))
        for group, (x, y) in zip(groups, places, strict=True)
    ]


def _ranges(numbers: Sequence[int]) -> str:
    """Numbers in ascending order as text: "1-3, 7"."""
    starts = [numbers[0], *(b for a, b in pairwise(numbers) if b != a + 1)]
    ends = [*(a for a, b in pairwise(numbers) if b != a + 1), numbers[-1]]
    return ", ".join(
        str(a) if a == b else f"{a}\u2013{b}" for a, b in zip(starts, ends, strict=True)
    )
