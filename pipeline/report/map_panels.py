"""Divides a run's properties into the panels of its map: neighbours share one.

One address 40 km off must not shrink the others to specks, so each cluster of neighbours is drawn
at a scale of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from pipeline.store.runs.map_data import MapBounds, PlacedLot

MAX_PANELS = 24
# A lot of 20 m is still some pixels wide on a panel of this size.
MAX_PANEL_M = 1_500.0
# Properties closer than this share a panel; more is tried while there are too many panels.
_LINK_DISTANCES_M = (150.0, 300.0, 600.0, 1_200.0)
_PAD_M = 10.0
_PAD_FRACTION = 0.03
_MIN_SIDE_M = 80.0
# Height over width: of a single panel between these, of several the same, so that they fit.
_MIN_RATIO, _MAX_RATIO, _SHARED_RATIO = 0.6, 1.3, 0.85
_M_PER_DEG = 111_320.0


@dataclass(frozen=True, slots=True)
class Panel:
    """Neighbouring properties, and the window that shows them.

    Attributes:
        bounds: west, south, east, north in degrees, with a margin; beyond 180 across that
            longitude.
    """

    bounds: MapBounds
    lots: tuple[PlacedLot, ...]


def choose_panels(lots: Sequence[PlacedLot]) -> list[Panel]:
    """All clusters of properties, those with most first; each is at most `MAX_PANEL_M` wide.

    Of several distances between clusters, the one is used with which the first `MAX_PANELS` show
    most properties. A lot that is larger has a panel of its own.
    """
    if not lots:
        return []
    boxes = shapely.bounds([lot.geometry for lot in lots])
    metres = _in_metres(boxes)
    best: list[list[int]] = []
    for distance_m in _LINK_DISTANCES_M:
        clusters = [
            part
            for cluster in _clusters(metres, distance_m)
            for part in _split(metres, cluster)
        ]  # fmt: skip
        if sum(map(len, _largest(clusters))) > sum(map(len, _largest(best))):
            best = clusters
    ordered = sorted(best, key=lambda part: (-len(part), -boxes[part, 3].max(), min(part)))
    ratios = (_MIN_RATIO, _MAX_RATIO) if len(ordered) == 1 else (_SHARED_RATIO, _SHARED_RATIO)
    return [Panel(_window(boxes[part], *ratios), tuple(lots[i] for i in part)) for part in ordered]


def padded(bounds: MapBounds) -> MapBounds:
    """Bounds with a margin, at least 80 m wide, and neither very flat nor very tall."""
    return _window(np.array([bounds]), _MIN_RATIO, _MAX_RATIO)


def _largest(clusters: list[list[int]]) -> list[list[int]]:
    return sorted(clusters, key=len, reverse=True)[:MAX_PANELS]


def _in_metres(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boxes in metres, about: enough to tell neighbours."""
    shrink = math.cos(math.radians(float(np.clip(boxes[:, [1, 3]].mean(), -89, 89))))
    scaled: NDArray[np.float64] = boxes * (np.array([shrink, 1.0, shrink, 1.0]) * _M_PER_DEG)
    return scaled


def _clusters(boxes: NDArray[np.float64], distance_m: float) -> list[list[int]]:
    """Indices of the boxes that are linked by gaps of at most `distance_m`."""
    step = np.array([-1, -1, 1, 1]) * distance_m / 2
    outlines = shapely.union_all(shapely.box(*(boxes + step).T))
    parts = shapely.get_parts(outlines)
    centres = shapely.points((boxes[:, :2] + boxes[:, 2:]) / 2)
    found = shapely.STRtree(parts).query(centres, predicate="within")
    members: dict[int, list[int]] = {}
    for index, part in found.T:
        members.setdefault(int(part), []).append(int(index))
    return list(members.values())


def _split(boxes: NDArray[np.float64], cluster: list[int]) -> list[list[int]]:
    """The cluster, halved along its longer side until each part fits a panel."""
    own = boxes[cluster]
    sides = own[:, 2:].max(axis=0) - own[:, :2].min(axis=0)
    axis = int(np.argmax(sides))
    if sides[axis] <= MAX_PANEL_M or len(cluster) == 1:
        return [cluster]
    centres = (own[:, axis] + own[:, axis + 2]) / 2
    left = centres <= (centres.min() + centres.max()) / 2
    if left.all():
        return [cluster]
    halves = ([i for i, here in zip(cluster, left == side, strict=True) if here]
              for side in (True, False))  # fmt: skip
    return [part for half in halves for part in _split(boxes, half)]


def _window(boxes: NDArray[np.float64], min_ratio: float, max_ratio: float) -> MapBounds:
    west, south = boxes[:, :2].min(axis=0)
    east, north = boxes[:, 2:].max(axis=0)
    shrink = math.cos(math.radians(min(abs(float(south + north)) / 2, 89.0)))
    width, height = (east - west) * shrink * _M_PER_DEG, (north - south) * _M_PER_DEG
    margin = _PAD_M + _PAD_FRACTION * max(width, height)
    width, height = (max(side + 2 * margin, _MIN_SIDE_M) for side in (width, height))
    width, height = max(width, height / max_ratio), max(height, width * min_ratio)
    x, y = (west + east) / 2, (south + north) / 2
    half_x, half_y = width / shrink / _M_PER_DEG / 2, height / _M_PER_DEG / 2
    return float(x - half_x), float(y - half_y), float(x + half_x), float(y + half_y)
