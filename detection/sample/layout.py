"""The layout of the synthetic lots and streets: rows of blocks, a slanted avenue and a court.

The neighbourhood is laid out on straight axes (u, v) in metres, then bent and rotated, so that
nothing follows the pixel grid. The results are in EPSG:26916 (x, y), metres.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.random import Generator
from numpy.typing import NDArray
from shapely import LineString, Polygon
from shapely.geometry.base import BaseGeometry
from shapely.ops import unary_union

CRS = "EPSG:26916"
# At the latitude of Shelby County, Tennessee. Everything here is synthetic.
ORIGIN_XY_M = (236_400.0, 3_891_000.0)
PAVEMENT_HALF_M = 4.5
RIGHT_OF_WAY_HALF_M = 7.5

_FRONTAGE_M = 22.0
_AVENUE_LEAN = 0.22
_COURT_LENGTH_M = 122.0
_COURT_STEM_M = 88.0
_BULB_RADIUS_M = 14.0
# A neighbourhood with shorter streets has no avenue; one with fewer rows has no court.
_MIN_LENGTH_FOR_AVENUE_M = 160.0
_MIN_ROWS_FOR_COURT = 3
_STREET_NAMES = ("Alder", "Birch", "Cedar", "Dogwood", "Elm", "Fir", "Gum", "Hazel", "Ironwood")


@dataclass(frozen=True, slots=True)
class LotPlan:
    """An empty lot.

    Attributes:
        polygon: in EPSG:26916.
        front_xy_m: the middle of the street line.
        inward: unit vector from the street into the lot.
        frontage_m: length of the street line.
    """

    parcel_id: str
    house_number: int
    street: str
    polygon: Polygon
    front_xy_m: tuple[float, float]
    inward: tuple[float, float]
    frontage_m: float

    @property
    def address(self) -> str:
        """House number, street, and a mark that the county is synthetic."""
        return f"{self.house_number} {self.street}, Synthetic County"


@dataclass(frozen=True, slots=True)
class GroundPlan:
    """The neighbourhood's ground plan, in EPSG:26916.

    Attributes:
        street_lines: the centre lines of the streets.
        bulbs: the round ends of courts, paved.
        commons: parks, without lots.
    """

    lots: tuple[LotPlan, ...]
    street_lines: BaseGeometry
    bulbs: BaseGeometry
    commons: tuple[Polygon, ...]

    def pavement(self, half_width_m: float) -> BaseGeometry:
        """The streets, twice `half_width_m` wide."""
        extra_m = half_width_m - PAVEMENT_HALF_M
        return unary_union([self.street_lines.buffer(half_width_m), self.bulbs.buffer(extra_m)])


@dataclass(frozen=True, slots=True)
class _Parcel:
    """A lot on the (u, v) axes."""

    polygon: Polygon
    front: tuple[float, float]
    inward: tuple[float, float]
    frontage_m: float
    street: str


@dataclass(frozen=True, slots=True)
class _Block:
    """The ground between streets, from `left` to `right` (metres of u, at a given v)."""

    row: int
    bottom: float
    middle: float
    top: float
    left: _Edge
    right: _Edge


@dataclass(frozen=True, slots=True)
class _Edge:
    """A side of a block: u = at + lean * v."""

    at: float
    lean: float = 0.0

    def u(self, v: float) -> float:
        return self.at + self.lean * v


def lay_out(rng: Generator, lots: int) -> GroundPlan:
    """A plan with exactly `lots` lots; the rest of the last row becomes a park."""
    length_m = _FRONTAGE_M * float(np.clip(round(1.5 * math.sqrt(lots)), 2, 22))
    parcels: list[_Parcel] = []
    lines: list[LineString] = []
    bulbs: list[Polygon] = []
    bottom, row = 0.0, 0
    while len(parcels) < lots:
        depths = rng.uniform(35.0, 43.0, 2)
        lines.append(LineString([(-7.5, bottom - 7.5), (length_m + 7.5, bottom - 7.5)]))
        for block in _blocks(row, bottom, depths, length_m):
            if row == _MIN_ROWS_FOR_COURT - 1 and block.right.lean == 0 and block.left.lean != 0:
                court, stem, bulb = _court(block)
                parcels += court
                lines.append(stem)
                bulbs.append(bulb)
                short = _Edge(block.right.at - _COURT_LENGTH_M)
                parcels += _terrace(
                    rng,
                    _Block(row, block.bottom, block.middle, block.top, block.left, short),
                )
            else:
                parcels += _terrace(rng, block)
        bottom += float(depths.sum()) + 2 * RIGHT_OF_WAY_HALF_M
        row += 1
    lines.append(LineString([(-7.5, bottom - 7.5), (length_m + 7.5, bottom - 7.5)]))
    lines += _cross_streets(bottom, length_m)
    return _bend(rng, parcels, lots, lines, bulbs)


def _avenue(length_m: float) -> _Edge | None:
    """The centre line of the slanted avenue, if the neighbourhood is long enough for one."""
    if length_m < _MIN_LENGTH_FOR_AVENUE_M:
        return None
    return _Edge(0.42 * length_m, _AVENUE_LEAN)


def _blocks(row: int, bottom: float, depths: NDArray[np.float64], length_m: float) -> list[_Block]:
    middle, top = bottom + float(depths[0]), bottom + float(depths.sum())
    west, east = _Edge(0.0), _Edge(length_m)
    avenue = _avenue(length_m)
    if avenue is None:
        return [_Block(row, bottom, middle, top, west, east)]
    half = RIGHT_OF_WAY_HALF_M * math.hypot(1.0, avenue.lean)
    before, after = _Edge(avenue.at - half, avenue.lean), _Edge(avenue.at + half, avenue.lean)
    return [
        _Block(row, bottom, middle, top, west, before),
        _Block(row, bottom, middle, top, after, east),
    ]


def _cross_streets(top: float, length_m: float) -> list[LineString]:
    ends = (-7.5, top - 7.5)
    streets = [LineString([(u, v) for v in ends]) for u in (-7.5, length_m + 7.5)]
    avenue = _avenue(length_m)
    if avenue is not None:
        streets.append(LineString([(avenue.u(v), v) for v in ends]))
    return streets


def _terrace(rng: Generator, block: _Block) -> list[_Parcel]:
    """Lots back to back, of varying width, between the two sides of a block."""
    parcels = []
    for front, back, up, street in (
        (block.bottom, block.middle, 1.0, block.row),
        (block.top, block.middle, -1.0, block.row + 1),
    ):
        width_m = block.right.u(front) - block.left.u(front)
        count = max(1, round(width_m / _FRONTAGE_M))
        shares = rng.uniform(0.8, 1.25, count)
        cuts = np.concatenate([[0.0], np.cumsum(shares) / shares.sum()])
        for start, end in itertools.pairwise(cuts):
            corners = [
                (_between(block, share, v), v)
                for share, v in ((start, front), (end, front), (end, back), (start, back))
            ]
            middle = ((corners[0][0] + corners[1][0]) / 2, front)
            parcels.append(
                _Parcel(
                    Polygon(corners),
                    middle,
                    (0.0, up),
                    abs(corners[1][0] - corners[0][0]),
                    f"{_STREET_NAMES[street % len(_STREET_NAMES)]} Street",
                )
            )
    return parcels


def _between(block: _Block, share: float, v: float) -> float:
    left, right = block.left.u(v), block.right.u(v)
    return left + share * (right - left)


def _court(block: _Block) -> tuple[list[_Parcel], LineString, Polygon]:
    """A cul-de-sac from the eastern street into the block, with wedge-shaped lots."""
    east, middle = block.right.at, (block.bottom + block.top) / 2
    west = east - _COURT_LENGTH_M
    end = (east - _COURT_STEM_M, middle)
    stem = LineString([(east + RIGHT_OF_WAY_HALF_M, middle), end])
    bulb = shapely.Point(end).buffer(_BULB_RADIUS_M)
    right_of_way = unary_union([stem.buffer(RIGHT_OF_WAY_HALF_M), bulb.buffer(3.0)])
    ground = shapely.box(west, block.bottom, east, block.top)
    seeds = [(east - 11 - 22 * k, middle + side * 24) for k in range(3) for side in (-1, 1)]
    seeds += [
        (end[0] + 30 * math.cos(turn), end[1] + 30 * math.sin(turn))
        for turn in np.radians([68, 116, 161, 206, 251, 293])
    ]
    parcels = []
    for seed in seeds:
        polygon = _nearest_ground(ground, seed, seeds).difference(right_of_way)
        edge = polygon.boundary.intersection(right_of_way.buffer(0.05))
        front = edge.interpolate(0.5, normalized=True) if edge.geom_type == "LineString" else edge
        front = front.centroid
        reach = math.hypot(seed[0] - front.x, seed[1] - front.y)
        inward = ((seed[0] - front.x) / reach, (seed[1] - front.y) / reach)
        parcels.append(_Parcel(polygon, (front.x, front.y), inward, edge.length, "Juniper Court"))
    return parcels, stem, bulb


def _nearest_ground(
    ground: Polygon, seed: tuple[float, float], seeds: list[tuple[float, float]]
) -> Polygon:
    """The Voronoi cell of `seed` among the seeds, within the ground."""
    far_m = 1000.0
    for other in seeds:
        if other == seed:
            continue
        across = np.subtract(other, seed) / math.dist(other, seed)
        along = np.array([-across[1], across[0]])
        middle = np.add(other, seed) / 2
        nearer = Polygon(
            [
                middle + far_m * along,
                middle - far_m * along,
                middle - far_m * along - far_m * across,
                middle + far_m * along - far_m * across,
            ]
        )
        ground = ground.intersection(nearer)
    return ground


def _bend(
    rng: Generator,
    parcels: list[_Parcel],
    lots: int,
    lines: list[LineString],
    bulbs: list[Polygon],
) -> GroundPlan:
    """From the (u, v) axes to EPSG:26916: gentle waves and a rotation."""
    phases = rng.uniform(0, 2 * math.pi, 3)
    turn = math.radians(rng.uniform(6.5, 9.0))
    cos, sin = math.cos(turn), math.sin(turn)

    def bend(points: NDArray[np.float64]) -> NDArray[np.float64]:
        u, v = points[:, 0], points[:, 1]
        x = u + 5.0 * np.sin(v / 110.0 + phases[0])
        y = v + 7.0 * np.sin(u / 120.0 + phases[1]) + 1.5 * np.sin(u / 47.0 + phases[2])
        return np.column_stack(
            [ORIGIN_XY_M[0] + cos * x - sin * y, ORIGIN_XY_M[1] + sin * x + cos * y]
        )

    def bent(shape: BaseGeometry) -> BaseGeometry:
        return shapely.transform(shapely.segmentize(shape, 6.0), bend)

    plans = []
    for number, parcel in enumerate(parcels[:lots], start=1):
        ahead = (parcel.front[0] + parcel.inward[0], parcel.front[1] + parcel.inward[1])
        (x0, y0), (x1, y1) = bend(np.array([parcel.front, ahead]))
        reach = math.hypot(x1 - x0, y1 - y0)
        plans.append(
            LotPlan(
                parcel_id=f"SYN-{number:04d}",
                house_number=100 + 4 * number,
                street=parcel.street,
                polygon=bent(parcel.polygon),
                front_xy_m=(float(x0), float(y0)),
                inward=(float((x1 - x0) / reach), float((y1 - y0) / reach)),
                frontage_m=parcel.frontage_m,
            )
        )
    return GroundPlan(
        lots=tuple(plans),
        street_lines=bent(unary_union(lines)),
        bulbs=bent(shapely.MultiPolygon(bulbs)),
        commons=tuple(bent(parcel.polygon) for parcel in parcels[lots:]),
    )
