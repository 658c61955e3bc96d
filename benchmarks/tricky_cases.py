"""22 ways in which servers send a polygon, and the truth, known by construction.

Synthetic, in degrees near 0, 0, in steps of a thousandth (u below). The truth is built from
squares with shapely's set operations, never from the rings that are sent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import shapely
from shapely import Polygon
from shapely.geometry.base import BaseGeometry

U = 0.001

Ring = list[Any]


@dataclass(frozen=True)
class Case:
    """A geometry as sent, and the true polygon, in the same degrees."""

    kind: str
    geometry: dict[str, Any]
    truth: BaseGeometry


def box(x: float, y: float, side: float) -> Polygon:
    return shapely.box(x * U, y * U, (x + side) * U, (y + side) * U)


def shell(x: float, y: float, side: float) -> Ring:
    """Clockwise and closed, like a shell in Esri's documentation."""
    a, b, c, d = x * U, y * U, (x + side) * U, (y + side) * U
    return [[a, b], [a, d], [c, d], [c, b], [a, b]]


def hole(x: float, y: float, side: float) -> Ring:
    """Counter-clockwise and closed, as a hole."""
    return shell(x, y, side)[::-1]


def path(*points: tuple[float, float]) -> Ring:
    return [[x * U, y * U] for x, y in points]


def union(*parts: BaseGeometry) -> BaseGeometry:
    return shapely.union_all(parts)


def _case(kind: str, truth: BaseGeometry, *rings: Ring) -> Case:
    return Case(kind, {"rings": list(rings)}, truth)


def cases() -> list[Case]:
    """All cases, the well-formed ones first."""
    holed = box(0, 0, 9) - box(2, 2, 3)
    other = box(20, 0, 9) - box(23, 3, 4)
    five = union(box(0, 0, 50) - box(5, 5, 40), box(10, 10, 30) - box(15, 15, 20), box(20, 20, 10))
    return [*_orders(holed, other, five), *_shapes(holed), *_members(holed)]


def _orders(holed: BaseGeometry, other: BaseGeometry, five: BaseGeometry) -> list[Case]:
    both = union(holed, other)
    island = union(holed, box(3, 3, 1))
    return [
        _case("hole after its shell", holed, shell(0, 0, 9), hole(2, 2, 3)),
        _case("shell wound backwards", box(0, 0, 9), hole(0, 0, 9)),
        _case("hole before its shell", holed, hole(2, 2, 3), shell(0, 0, 9)),
        _case("hole wound as its shell", holed, shell(0, 0, 9), shell(2, 2, 3)),
        _case("shell and hole wound backwards", holed, hole(0, 0, 9), shell(2, 2, 3)),
        _case("two parts", union(box(0, 0, 9), box(20, 0, 9)), shell(0, 0, 9), shell(20, 0, 9)),
        _case("both shells, then both holes", both,
              shell(0, 0, 9), shell(20, 0, 9), hole(2, 2, 3), hole(23, 3, 4)),
        _case("both holes, then both shells", both,
              hole(23, 3, 4), hole(2, 2, 3), shell(0, 0, 9), shell(20, 0, 9)),
        _case("island in a hole", island, shell(0, 0, 9), hole(2, 2, 3), shell(3, 3, 1)),
        _case("island before hole before shell", island,
              shell(3, 3, 1), hole(2, 2, 3), shell(0, 0, 9)),
        _case("five levels in any order and winding", five,
              shell(15, 15, 20), shell(0, 0, 50), hole(20, 20, 10), hole(10, 10, 30),
              shell(5, 5, 40)),
    ]  # fmt: skip


def _shapes(holed: BaseGeometry) -> list[Case]:
    bow_tie = union(Polygon(path((0, 0), (4, 4), (0, 8))), Polygon(path((8, 0), (8, 8), (4, 4))))
    spiked = path((0, 0), (0, 0), (0, 9), (0, 12), (0, 9), (9, 9), (9, 9), (9, 0), (0, 0))
    bridged = path(
        (0, 0), (0, 9), (9, 9), (9, 0), (0, 0), (2, 2), (5, 2), (5, 5), (2, 5), (2, 2), (0, 0)
    )
    return [
        _case("unclosed shell", box(0, 0, 9), shell(0, 0, 9)[:-1]),
        _case("unclosed shell and hole", holed, shell(0, 0, 9)[:-1], hole(2, 2, 3)[:-1]),
        _case("bow tie", bow_tie, path((0, 0), (8, 8), (8, 0), (0, 8), (0, 0))),
        _case("repeated points and a spike", box(0, 0, 9), spiked),
        _case("hole bridged to its shell", holed, bridged),
        _case("hole on its shell's edge", box(0, 0, 9) - box(0, 3, 3),
              shell(0, 0, 9), hole(0, 3, 3)),
        _case("collapsed ring beside a shell", box(0, 0, 9),
              path((2, 2), (3, 3), (2, 2)), shell(0, 0, 9), path((4, 4), (5, 5))),
        _case("parts that share an edge", union(box(0, 0, 9), box(9, 0, 9)),
              shell(0, 0, 9), shell(9, 0, 9)),
    ]  # fmt: skip


def _members(holed: BaseGeometry) -> list[Case]:
    ring = [[x, y, None, 4.0] for x, y in shell(0, 0, 9)]
    r = 4 * U
    arc = {"a": [[-r, 0.0], [0.0, 0.0], 1, 0]}
    back = {"c": [[r, 0.0], [0.0, -r]]}
    circle = Polygon(
        [(r * math.cos(t), r * math.sin(t)) for t in (math.tau * i / 4096 for i in range(4096))]
    )
    return [
        _case("shell written twice", holed, shell(0, 0, 9), shell(0, 0, 9), hole(2, 2, 3)),
        Case("null z values", {"hasZ": True, "hasM": True, "rings": [ring]}, box(0, 0, 9)),
        Case("curve rings", {"curveRings": [[[r, 0.0], arc, back]]}, circle),
    ]
