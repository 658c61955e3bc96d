"""The synthetic scene: ground plan, yards, parked cars, wild trees, and the imaged bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.random import Generator
from shapely import Polygon

from detection.sample.layout import PAVEMENT_HALF_M, RIGHT_OF_WAY_HALF_M, GroundPlan, lay_out
from detection.sample.palette import DEFAULT_STYLE, Palette, palette_of
from detection.sample.things import Crown, Yard, furnish, grow_crown

GSD_M = 0.3
_MARGIN_M = 12.0
_LOTS_PARTLY_IMAGED = 2
_CAR_M = (4.6, 1.8)


@dataclass(frozen=True, slots=True)
class SyntheticScene:
    """A synthetic neighbourhood, in EPSG:26916 metres.

    Attributes:
        wild_trees: outside the lots, in parks and around the neighbourhood.
        bounds: (left, bottom, right, top) of the imagery, in full pixels.
        palette: of its style.
    """

    seed: int
    plan: GroundPlan
    yards: tuple[Yard, ...]
    wild_trees: tuple[Crown, ...]
    cars: tuple[Polygon, ...]
    bounds: tuple[float, float, float, float]
    palette: Palette

    @property
    def crowns(self) -> list[Crown]:
        """All trees."""
        return [tree for yard in self.yards for tree in yard.trees] + list(self.wild_trees)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the imagery in pixels."""
        left, bottom, right, top = self.bounds
        return round((top - bottom) / GSD_M), round((right - left) / GSD_M)


def build_scene(seed: int, lots: int, style: str = DEFAULT_STYLE) -> SyntheticScene:
    """The scene of a seed. Every lot has its own random stream.

    Raises:
        ValueError: no style has this name.
    """
    palette = palette_of(style)
    rng = np.random.default_rng([seed, 0])
    plan = lay_out(rng, lots)
    right_of_way = plan.pavement(RIGHT_OF_WAY_HALF_M)
    yards = tuple(
        furnish(np.random.default_rng([seed, 1, number]), lot, right_of_way)
        for number, lot in enumerate(plan.lots)
    )
    bounds = _imaged_bounds(plan)
    return SyntheticScene(
        seed=seed,
        plan=plan,
        yards=yards,
        wild_trees=tuple(_wild_trees(rng, plan, bounds)),
        cars=tuple(_parked_cars(rng, plan)),
        bounds=bounds,
        palette=palette,
    )


def _imaged_bounds(plan: GroundPlan) -> tuple[float, float, float, float]:
    """All lots with a margin, except the easternmost two, which are only partly imaged."""
    edges = np.array([lot.polygon.bounds for lot in plan.lots])
    left, bottom = edges[:, :2].min(axis=0) - _MARGIN_M
    top = edges[:, 3].max() + _MARGIN_M
    eastern = np.sort(edges[:, 2])
    cut = min(_LOTS_PARTLY_IMAGED, len(eastern) - 1)
    right = max(eastern[-1 - cut] + 0.3, eastern[-1] - 8.0)
    # The grid starts at the upper left corner, so that tile corners are on full pixels.
    width, height = math.floor((right - left) / GSD_M), math.ceil((top - bottom) / GSD_M)
    left, top = math.floor(left), math.ceil(top)
    return (left, top - height * GSD_M, left + width * GSD_M, float(top))


def _wild_trees(
    rng: Generator, plan: GroundPlan, bounds: tuple[float, float, float, float]
) -> list[Crown]:
    """Clumps of trees outside lots and streets."""
    taken = shapely.unary_union(
        [plan.pavement(PAVEMENT_HALF_M + 6), *(lot.polygon.buffer(2) for lot in plan.lots)]
    )
    shapely.prepare(taken)
    left, bottom, right, top = bounds
    trees = []
    for _ in range(int((right - left) * (top - bottom) / 1500)):
        x, y = rng.uniform(left, right), rng.uniform(bottom, top)
        for _ in range(rng.integers(1, 5)):
            tree_x, tree_y = x + rng.normal(0, 4), y + rng.normal(0, 4)
            if not shapely.intersects_xy(taken, tree_x, tree_y):
                radius = rng.uniform(2.0, 6.0)
                trees.append(grow_crown(rng, tree_x, tree_y, radius, 3 + 1.4 * radius))
    return trees


def _parked_cars(rng: Generator, plan: GroundPlan) -> list[Polygon]:
    """Cars at the kerb in front of some of the lots."""
    cars = []
    for lot in plan.lots:
        if rng.random() > 0.3:
            continue
        (x, y), (nx, ny) = lot.front_xy_m, lot.inward
        along, out = rng.uniform(-8, 8), -4.3
        centre = np.array([x + along * ny + out * nx, y - along * nx + out * ny])
        half_along = np.array([ny, -nx]) * _CAR_M[0] / 2
        half_across = np.array([nx, ny]) * _CAR_M[1] / 2
        cars.append(
            Polygon(
                [
                    centre + a * half_along + b * half_across
                    for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))
                ]
            )
        )
    return cars
