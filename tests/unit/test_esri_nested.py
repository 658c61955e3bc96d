"""Random nested polygons survive the conversion, however their rings are shuffled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import Polygon

from parcels.crs import from_wgs84
from parcels.errors import GeometryError
from parcels.esri import crs_from_esri, polygon_from_esri
from parcels.measure import area_m2

TENNESSEE_FEET = {"wkid": 102736, "latestWkid": 2274}
ORIGIN = (760_000.0, 320_000.0)

Ring = list[list[float]]


@dataclass(frozen=True)
class Nest:
    """A star-shaped outline around a centre, with disjoint nests inside."""

    ring: Ring
    inside: list[Nest]

    @property
    def area(self) -> float:
        """By construction: the outline minus its nests."""
        return ring_area(self.ring) - sum(nest.area for nest in self.inside)

    @property
    def rings(self) -> list[Ring]:
        return [self.ring, *(ring for nest in self.inside for ring in nest.rings)]

    def contains(self, x: float, y: float) -> bool:
        """By construction: in the outline and in no nest, or in an even number of levels."""
        return ring_contains(self.ring, x, y) and not any(
            nest.contains(x, y) for nest in self.inside
        )


def ring_area(ring: Ring) -> float:
    """The shoelace formula."""
    pairs = zip(ring, [*ring[1:], ring[0]], strict=True)
    return abs(sum((x - ORIGIN[0]) * (v - ORIGIN[1]) - (u - ORIGIN[0]) * (y - ORIGIN[1])
                   for (x, y), (u, v) in pairs)) / 2  # fmt: skip


def ring_contains(ring: Ring, x: float, y: float) -> bool:
    """Crossings of a ray to the east."""
    crossings = 0
    for (ax, ay), (bx, by) in zip(ring, [*ring[1:], ring[0]], strict=True):
        crossings += (ay > y) != (by > y) and x < ax + (y - ay) / (by - ay) * (bx - ax)
    return crossings % 2 == 1


def nest(random: Random, x: float, y: float, radius: float, levels: int) -> Nest:
    """Within `radius` of (x, y); its nests are in squares inside the disc that it contains."""
    corners = random.randint(4, 9)
    turn = random.random()
    ring = []
    for corner in range(corners):
        angle = math.tau * (corner + turn) / corners
        reach = radius * random.uniform(0.8, 1.0)
        ring.append([x + reach * math.cos(angle), y + reach * math.sin(angle)])
    # A square's disc is the least that corners of 0.8 r leave free: 0.8 cos 45° = 0.56 r.
    free = 0.5 * radius
    places = random.sample([(-1, -1), (-1, 1), (1, -1), (1, 1)], random.randint(0, 4))
    if levels == 0:
        places = []
    step = free / 2 / math.sqrt(2) * 1.2
    inside = [
        nest(random, x + across * step, y + up * step, 0.35 * free, levels - 1)
        for across, up in places
    ]
    return Nest(ring, inside)


def as_sent(random: Random, ring: Ring) -> Ring:
    """From any start, in either winding, closed or not, with repeated points, z and m."""
    start = random.randrange(len(ring))
    turned = ring[start:] + ring[:start]
    if random.random() < 0.5:
        turned.reverse()
    if random.random() < 0.5:
        turned.append(turned[0])
    if random.random() < 0.3:
        turned.insert(1, turned[1])
    if random.random() < 0.3:
        turned = [[*point, random.random(), random.random()] for point in turned]
    return turned


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(0, 3))
def test_shells_holes_and_islands_survive_the_round_trip(
    seed: int, shells: int, levels: int
) -> None:
    random = Random(seed)
    nests = [
        nest(random, ORIGIN[0] + 450.0 * i, ORIGIN[1] + random.uniform(-200, 200), 200.0, levels)
        for i in range(shells)
    ]
    built = [ring for one in nests for ring in one.rings]
    sent = [as_sent(random, ring) for ring in built]
    random.shuffle(sent)
    degenerate = [[sent[0][0]], sent[0][:2], [sent[0][0][:2], sent[0][1][:2], sent[0][0][:2]]]
    sent.insert(random.randrange(len(sent) + 1), random.choice([[], *degenerate]))

    lot = polygon_from_esri({"rings": sent}, TENNESSEE_FEET)

    assert lot is not None
    assert lot.is_valid
    [flat] = from_wgs84(np.array([lot], dtype=object), crs_from_esri(TENNESSEE_FEET))
    area = sum(one.area for one in nests)
    assert flat.area == pytest.approx(area, rel=1e-7)
    # State plane scale is correct to 1 part in 10,000; areas to twice that.
    assert area_m2(lot) == pytest.approx(area * (1200 / 3937) ** 2, rel=4e-4)
    x = np.array([ORIGIN[0] + random.uniform(-250, 450 * shells) for _ in range(80)])
    y = np.array([ORIGIN[1] + random.uniform(-450, 450) for _ in range(80)])
    edges = shapely.union_all([Polygon(ring).exterior for ring in built])
    clear = shapely.distance(edges, shapely.points(x, y)) > 1e-3
    expected = np.array([any(one.contains(*xy) for one in nests) for xy in zip(x, y, strict=True)])
    assert (shapely.contains_xy(flat, x, y) == expected)[clear].all()


@settings(deadline=None, max_examples=150)
@given(st.lists(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=9), max_size=5))
def test_rings_that_cross_touch_and_fold_are_valid_or_an_error(
    rings: list[list[tuple[int, int]]],
) -> None:
    """Corners on a 5 x 5 grid cover every kind of invalid ring."""
    sent = [[[x / 8, y / 8] for x, y in ring] for ring in rings]
    try:
        lot = polygon_from_esri({"rings": sent}, {"wkid": 4326})
    except GeometryError:
        return
    if lot is None:
        assert not sent
        return
    assert lot.is_valid
    assert shapely.box(0, 0, 0.5, 0.5).covers(lot)
