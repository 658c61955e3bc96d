"""A scripted reviewer: turns proposals into the exact truth, and counts what that takes.

Each object of the truth is made in the cheaper of two ways: from the proposal that covers it best,
or drawn anew. A corner counts if it is farther than two pixels from the other outline; nearer, a
person sees no difference. Proposals of nothing are rejected.

Seconds are those of the Keystroke-Level Model (Card, Moran and Newell, 1980): deciding 1.35, a key
0.2, pointing 1.1, pressing or releasing the button 0.1. They are modelled, not measured on people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

TOLERANCE_M: Final = 0.6
_SIMPLIFY_M = 0.3
_LEAST_IOU = 0.2
# An object that is smaller than labels.yaml's least one is not reviewed.
_LEAST_M2 = 4.0
_DECIDE_S, _KEY_S, _POINT_S, _BUTTON_S = 1.35, 0.2, 1.1, 0.1
_DECISION_S = _DECIDE_S + _KEY_S
_DRAG_S = 2 * (_POINT_S + _BUTTON_S)
_CLICK_S = _POINT_S + 2 * _BUTTON_S


@dataclass(frozen=True, slots=True)
class Effort:
    """What a review takes.

    Attributes:
        accepted: proposals that stay as they are.
        rejected, reshaped, drawn: polygons that the reviewer touches.
        vertices: corners that are moved or drawn.
    """

    accepted: int = 0
    rejected: int = 0
    reshaped: int = 0
    drawn: int = 0
    vertices: int = 0
    seconds: float = 0.0

    @property
    def touched(self) -> int:
        """Polygons that are not simply accepted."""
        return self.rejected + self.reshaped + self.drawn

    def __add__(self, other: Effort) -> Effort:
        sums = (getattr(self, each.name) + getattr(other, each.name) for each in fields(self))
        return Effort(*sums)


def review(
    proposals: Sequence[BaseGeometry], truth: Sequence[BaseGeometry]
) -> tuple[list[BaseGeometry], Effort]:
    """The confirmed objects of a label on a lot, which are the truth's, and what they take.

    Args:
        proposals, truth: polygons in metres, of one CRS.
    """
    wanted = [each for each in truth if each.area >= _LEAST_M2]
    matched = _matched(proposals, wanted)
    effort = Effort()
    used = set()
    for number, shape in enumerate(wanted):
        drawn = _drawn(shape)
        if number in matched:
            reshaped = _reshaped(proposals[matched[number]], shape)
            if reshaped.seconds <= drawn.seconds + _DECISION_S:
                used.add(matched[number])
                effort += reshaped
                continue
        effort += drawn
    rejected = len(proposals) - len(used)
    return wanted, effort + Effort(rejected=rejected, seconds=rejected * _DECISION_S)


def _matched(proposals: Sequence[BaseGeometry], truth: Sequence[BaseGeometry]) -> dict[int, int]:
    """For each object of the truth the number of its proposal, the best overlaps first."""
    ious = [
        (_iou(shape, proposal), number, place)
        for number, shape in enumerate(truth)
        for place, proposal in enumerate(proposals)
    ]
    found: dict[int, int] = {}
    for iou, number, place in sorted(ious, reverse=True):
        if iou >= _LEAST_IOU and number not in found and place not in found.values():
            found[number] = place
    return found


def _iou(one: BaseGeometry, other: BaseGeometry) -> float:
    shared = float(one.intersection(other).area)
    return shared / max(1e-9, float(one.area + other.area) - shared)


def _reshaped(proposal: BaseGeometry, shape: BaseGeometry) -> Effort:
    # A corner that is wrong is moved to one that is missing.
    missing = _far_corners(shape, proposal)
    excess = _far_corners(proposal, shape)
    moved = max(missing, excess)
    if moved == 0:
        return Effort(accepted=1, seconds=_DECISION_S)
    return Effort(reshaped=1, vertices=moved, seconds=_DECISION_S + moved * _DRAG_S)


def _drawn(shape: BaseGeometry) -> Effort:
    corners = len(_corners(shape))
    return Effort(drawn=1, vertices=corners, seconds=_DECISION_S + corners * _CLICK_S)


def _far_corners(shape: BaseGeometry, other: BaseGeometry) -> int:
    """The corners of an outline that are not near the other one."""
    points = shapely.points(_corners(shape))
    far = shapely.distance(points, other.boundary) > TOLERANCE_M
    return int(np.count_nonzero(far))


def _corners(shape: BaseGeometry) -> np.ndarray[tuple[int, int]]:
    """(n, 2): the corners that a person would set, each ring's first one once."""
    simple = shapely.simplify(shape, _SIMPLIFY_M)
    rings = [
        shapely.get_coordinates(ring)[:-1]
        for part in shapely.get_parts(simple)
        for ring in (part.exterior, *part.interiors)
    ]
    return np.concatenate(rings)
