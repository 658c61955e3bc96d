"""The objects on a synthetic lot: house, drive, walk, patio, pool, beds, trees and turf.

All polygons are EPSG:26916; sizes are metres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import shapely
from numpy.random import Generator
from numpy.typing import NDArray
from shapely import Point, Polygon
from shapely.geometry.base import BaseGeometry
from shapely.ops import unary_union

from detection.sample.layout import LotPlan

_NOTHING = Polygon()


@dataclass(frozen=True)
class Crown:
    """A tree or shrub from above: a lobed disc with a domed top.

    Attributes:
        lobes: (amplitude, phase) of the outline's waves of 2, 3 and 5 lobes.
        tone: 0..1, from dark needles to light leaves.
    """

    x_m: float
    y_m: float
    radius_m: float
    height_m: float
    lobes: tuple[tuple[float, float], ...]
    tone: float

    def reach_m(self, angle: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distance from the centre to the outline, at angles in radians."""
        reach = np.ones_like(angle)
        for waves, (amplitude, phase) in zip((2, 3, 5), self.lobes, strict=True):
            reach += amplitude * np.cos(waves * angle + phase)
        return self.radius_m * reach

    @cached_property
    def polygon(self) -> Polygon:
        """The outline, in EPSG:26916."""
        angle = np.linspace(0, 2 * math.pi, 40, endpoint=False)
        reach = self.reach_m(angle)
        return Polygon(
            np.column_stack([self.x_m + reach * np.cos(angle), self.y_m + reach * np.sin(angle)])
        )


@dataclass(frozen=True, slots=True)
class RoofFace:
    """One plane of a roof; `downhill` is the unit vector of its slope."""

    polygon: Polygon
    downhill: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Yard:
    """A lot with its objects, without occlusion.

    Attributes:
        door_xy_m: a point inside the house.
        turf: ground with grass, also under crowns.
        dormancy: 0 (green lawn) to 1 (straw).
        stripes: unit vector across the mowing stripes.
    """

    plan: LotPlan
    roof_faces: tuple[RoofFace, ...]
    roof: BaseGeometry
    shed: BaseGeometry
    drive: BaseGeometry
    walk: BaseGeometry
    patio: BaseGeometry
    pool: BaseGeometry
    beds: BaseGeometry
    bare: BaseGeometry
    turf: BaseGeometry
    trees: tuple[Crown, ...]
    shrubs: tuple[Crown, ...]
    door_xy_m: tuple[float, float]
    dormancy: float
    stripes: tuple[float, float]


@dataclass(frozen=True, slots=True)
class _LotAxes:
    """Local axes of a lot: x along the street, y from the street into the lot, in metres."""

    origin: tuple[float, float]
    inward: tuple[float, float]

    def xy(self, x: float, y: float) -> tuple[float, float]:
        (ox, oy), (nx, ny) = self.origin, self.inward
        return (ox + x * ny + y * nx, oy - x * nx + y * ny)

    def polygon(self, *corners: tuple[float, float]) -> Polygon:
        return Polygon([self.xy(x, y) for x, y in corners])

    def box(self, x0: float, y0: float, x1: float, y1: float) -> Polygon:
        return self.polygon((x0, y0), (x1, y0), (x1, y1), (x0, y1))

    def direction(self, x: float, y: float) -> tuple[float, float]:
        (ax, ay), (bx, by) = self.xy(0, 0), self.xy(x, y)
        return (bx - ax, by - ay)


@dataclass(slots=True)
class _House:
    """A house on the lot's axes: the main block and at most one wing."""

    left: float
    front: float
    right: float
    back: float
    garage_side: float
    faces: list[RoofFace] = field(default_factory=list)

    @property
    def width(self) -> float:
        return self.right - self.left


def grow_crown(rng: Generator, x_m: float, y_m: float, radius_m: float, height_m: float) -> Crown:
    """A crown of about that radius with a random outline and tone."""
    lobes = tuple(
        (float(rng.uniform(0, 0.09)), float(rng.uniform(0, 2 * math.pi))) for _ in range(3)
    )
    return Crown(x_m, y_m, radius_m, height_m, lobes, float(rng.uniform(0, 1)))


def furnish(rng: Generator, plan: LotPlan, right_of_way: BaseGeometry) -> Yard:
    """Build and plant a lot. Drive and walk may cross the `right_of_way` to the road."""
    axes = _LotAxes(plan.front_xy_m, plan.inward)
    lot = plan.polygon
    house = _build_house(rng, plan, axes)
    roof = unary_union([face.polygon for face in house.faces])

    to_road = unary_union([lot, shapely.clip_by_rect(right_of_way, *lot.buffer(6.0).bounds)])
    drive, garage = _drive(rng, axes, house, lot)
    drive = _areal(drive.intersection(to_road).difference(roof))
    shed = _inside(_shed(rng, axes, house, lot) if garage.is_empty else garage, lot, 0.6, roof)
    door_x = house.left + house.width * rng.uniform(0.4, 0.6)
    walk = axes.box(door_x - 0.6, -2.0, door_x + 0.6, house.front + 0.5)
    walk = _areal(walk.intersection(to_road).difference(unary_union([drive, roof])))
    patio = _patio(rng, axes, house)
    pool, deck = _pool(rng, axes, house)
    if not deck.within(lot.buffer(-0.8)):
        pool = deck = _NOTHING
    patio = _areal(unary_union([patio, deck]).intersection(lot.buffer(-0.5)))

    built = unary_union([roof, shed, drive, walk, patio, pool])
    beds = roof.buffer(rng.uniform(0.9, 1.6)).intersection(
        axes.box(house.left - 2, house.front - 4, house.right + 2, house.front + 3)
    )
    beds = _areal(beds.difference(built).intersection(lot))
    bare = _bare_patches(rng, lot) if rng.random() < 0.3 else _NOTHING
    bare = _areal(_areal(bare.intersection(lot)).difference(unary_union([built, beds])))
    turf = _areal(lot.difference(unary_union([built, beds, bare])))

    shrubs = _foundation_shrubs(rng, beds)
    if rng.random() < 0.3:
        shrubs += _hedge(rng, lot, built)
    dormancy = rng.uniform(0.0, 0.3) if rng.random() < 0.85 else rng.uniform(0.45, 1.0)
    turn = rng.uniform(-0.3, 0.3)
    return Yard(
        plan=plan,
        roof_faces=tuple(house.faces),
        roof=roof,
        shed=shed,
        drive=drive,
        walk=walk,
        patio=_areal(patio.difference(unary_union([roof, drive, shed, pool]))),
        pool=pool,
        beds=beds,
        bare=bare,
        turf=turf,
        trees=tuple(_trees(rng, axes, lot, built)),
        shrubs=tuple(shrubs),
        door_xy_m=axes.xy((house.left + house.right) / 2, (house.front + house.back) / 2),
        dormancy=float(dormancy),
        stripes=axes.direction(math.cos(turn), math.sin(turn)),
    )


def _build_house(rng: Generator, plan: LotPlan, axes: _LotAxes) -> _House:
    """The largest of a few sizes that fits inside the lot lines."""
    width = float(np.clip(plan.frontage_m - rng.uniform(4.0, 7.5), 10.5, 18.5))
    depth = rng.uniform(9.0, 12.5)
    setback = rng.uniform(7.0, 10.5)
    shift = rng.uniform(-0.8, 0.8)
    garage_side = 1.0 if rng.random() < 0.5 else -1.0
    clear = plan.polygon.buffer(-1.2)
    for scale in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5):
        half = scale * width / 2
        house = _House(shift - half, setback, shift + half, setback + scale * depth, garage_side)
        outline = axes.box(house.left, house.front, house.right, house.back)
        if outline.within(clear):
            break
    hipped = rng.random() < 0.5
    house.faces += _main_roof(axes, house, hipped)
    wing = _wing(rng, axes, house)
    if wing and all(face.polygon.within(clear) for face in wing):
        house.faces += wing
    return house


def _main_roof(axes: _LotAxes, house: _House, hipped: bool) -> list[RoofFace]:
    """The faces of a roof with its ridge along x: two, or four if hipped."""
    x0, y0, x1, y1 = house.left, house.front, house.right, house.back
    middle = (y0 + y1) / 2
    inset = (y1 - y0) / 2 if hipped else 0.0
    a, b = x0 + inset, x1 - inset
    if a >= b:
        a = b = (x0 + x1) / 2
    front = axes.polygon((x0, y0), (x1, y0), (b, middle), (a, middle))
    back = axes.polygon((x0, y1), (x1, y1), (b, middle), (a, middle))
    faces = [
        RoofFace(front, axes.direction(0, -1)),
        RoofFace(back, axes.direction(0, 1)),
    ]
    if hipped:
        left = axes.polygon((x0, y0), (a, middle), (x0, y1))
        right = axes.polygon((x1, y0), (b, middle), (x1, y1))
        faces += [
            RoofFace(left, axes.direction(-1, 0)),
            RoofFace(right, axes.direction(1, 0)),
        ]
    return faces


def _wing(rng: Generator, axes: _LotAxes, house: _House) -> list[RoofFace]:
    """A garage towards the street or a room towards the garden, with a perpendicular ridge."""
    kind = rng.random()
    if kind < 0.3:
        return []
    width = min(rng.uniform(5.8, 7.0), 0.5 * house.width)
    if kind < 0.75:
        y0, y1, side = house.front - rng.uniform(2.0, 4.5), house.front + 2.5, house.garage_side
    else:
        y0, y1, side = house.back - 2.5, house.back + rng.uniform(2.5, 5.0), -house.garage_side
    x0, x1 = (house.right - width, house.right) if side > 0 else (house.left, house.left + width)
    ridge = (x0 + x1) / 2
    return [
        RoofFace(axes.box(x0, y0, ridge, y1), axes.direction(-1, 0)),
        RoofFace(axes.box(ridge, y0, x1, y1), axes.direction(1, 0)),
    ]


def _drive(
    rng: Generator, axes: _LotAxes, house: _House, lot: Polygon
) -> tuple[BaseGeometry, BaseGeometry]:
    """(drive, garage): to a garage in the house, or past the house to a separate one."""
    side, edge = house.garage_side, house.right if house.garage_side > 0 else house.left
    if rng.random() < 0.25:
        inner, outer = edge + side * 0.2, edge + side * 2.9
        back = house.back + rng.uniform(1.5, 4.0)
        drive = axes.box(min(inner, outer), -5.0, max(inner, outer), back + 1)
        garage = axes.box(
            min(inner - 3.4 * side, outer), back, max(inner - 3.4 * side, outer), back + 5.5
        )
        keep = unary_union([lot.buffer(-0.3), axes.box(-30, -5.0, 30, 1.0)])
        return drive.intersection(keep), garage.intersection(lot.buffer(-0.6))
    half = rng.uniform(1.6, 2.8)
    centre = edge - side * (half + rng.uniform(0.2, 0.8))
    drive = axes.box(centre - half, -5.0, centre + half, house.front + 1.0)
    return drive, _NOTHING


def _shed(rng: Generator, axes: _LotAxes, house: _House, lot: Polygon) -> BaseGeometry:
    if rng.random() > 0.35:
        return _NOTHING
    width, depth = rng.uniform(2.2, 4.0, 2)
    x, y = rng.uniform(house.left, house.right), house.back + rng.uniform(9.0, 15.0)
    shed = axes.box(x, y, x + width, y + depth)
    return shed if shed.within(lot.buffer(-0.8)) else _NOTHING


def _patio(rng: Generator, axes: _LotAxes, house: _House) -> BaseGeometry:
    if rng.random() > 0.7:
        return _NOTHING
    x = house.left + rng.uniform(0.1, 0.5) * house.width
    width, depth = rng.uniform(3.0, 6.5), rng.uniform(2.5, 4.5)
    return axes.box(x, house.back - 0.3, x + width, house.back + depth)


def _pool(rng: Generator, axes: _LotAxes, house: _House) -> tuple[BaseGeometry, BaseGeometry]:
    """(water, deck) behind the house."""
    if rng.random() > 0.2:
        return _NOTHING, _NOTHING
    x = house.left + rng.uniform(0.2, 0.5) * house.width
    y = house.back + rng.uniform(3.5, 5.0)
    core = axes.box(x + 1.6, y + 1.6, x + rng.uniform(6.0, 9.0), y + rng.uniform(3.0, 4.2))
    water = core.buffer(1.6)
    return water, water.buffer(rng.uniform(0.9, 1.8))


def _inside(
    shape: BaseGeometry, lot: Polygon, margin_m: float, taken: BaseGeometry
) -> BaseGeometry:
    return _areal(_areal(shape.intersection(lot.buffer(-margin_m))).difference(taken))


def _areal(shape: BaseGeometry) -> BaseGeometry:
    """Only the polygons of an overlay; touching shapes also leave lines and points."""
    parts = shapely.get_parts(shape)
    return unary_union([part for part in parts if part.geom_type == "Polygon"])


def _bare_patches(rng: Generator, lot: Polygon) -> BaseGeometry:
    spots = [_spot(rng, lot) for _ in range(rng.integers(1, 4))]
    return unary_union([grow_crown(rng, x, y, rng.uniform(0.8, 2.4), 0).polygon for x, y in spots])


def _spot(rng: Generator, lot: Polygon) -> tuple[float, float]:
    """A random point in the lot."""
    left, bottom, right, top = lot.bounds
    while True:
        x, y = rng.uniform(left, right), rng.uniform(bottom, top)
        if shapely.contains_xy(lot, x, y):
            return float(x), float(y)


def _foundation_shrubs(rng: Generator, beds: BaseGeometry) -> list[Crown]:
    shrubs = []
    for bed in getattr(beds, "geoms", [beds]):
        middle = bed.buffer(-0.4)
        for _ in range(int(bed.area / 2.2)) if not middle.is_empty else ():
            x, y = _spot(rng, bed)
            if shapely.contains_xy(middle, x, y):
                radius = rng.uniform(0.4, 0.75)
                shrubs.append(grow_crown(rng, x, y, radius, rng.uniform(0.6, 1.4)))
    return shrubs


def _hedge(rng: Generator, lot: Polygon, built: BaseGeometry) -> list[Crown]:
    """A row of shrubs along part of the lot line."""
    line = lot.buffer(-0.9).exterior
    start, shrubs = rng.uniform(0, line.length), []
    for along in np.arange(0, rng.uniform(8, 28), 0.8):
        point = line.interpolate((start + along) % line.length)
        if built.distance(point) > 1.2:
            shrubs.append(grow_crown(rng, point.x, point.y, rng.uniform(0.6, 0.85), 1.6))
    return shrubs


def _trees(rng: Generator, axes: _LotAxes, lot: Polygon, built: BaseGeometry) -> list[Crown]:
    """Trees away from buildings; crowns may overhang them and the lot line."""
    trees: list[Crown] = []
    keep_off = built.buffer(1.0)
    for _ in range(rng.poisson(4.6)):
        x, y = _spot(rng, lot)
        if keep_off.contains(Point(x, y)) or any(
            math.hypot(x - t.x_m, y - t.y_m) < 2.2 for t in trees
        ):
            continue
        radius = float(np.clip(rng.lognormal(math.log(3.3), 0.42), 1.4, 7.0))
        # Always higher than a roof, so that an overhanging crown hides it.
        trees.append(grow_crown(rng, x, y, radius, 4.0 + radius * rng.uniform(0.8, 1.5)))
    if rng.random() < 0.35:
        x, y = axes.xy(rng.uniform(-6, 6), -2.3)
        if not keep_off.contains(Point(x, y)):
            trees.append(grow_crown(rng, x, y, rng.uniform(1.8, 4.5), rng.uniform(6, 9)))
    return trees
