"""Simplified outlines: the bound on area, holes, and neighbours that must not overlap."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from mosaics import LAWN, disc, distances, mask_of, meadow, mosaic
from shapely import Point, Polygon, box

from detection.simplify import simplify_polygons
from detection.vectorize import vectorize_masks

CELL_M = 1.5
# The bound plus the rounding error of a small area with coordinates of seven digits.
ROUNDING = 1e-6


@given(st.integers(0, 2**32 - 1), st.floats(0.2, 0.8), st.sampled_from([1e-4, 0.01, 0.1, 1.0]))
@settings(max_examples=60)
def test_no_area_changes_by_more_than_its_bound(seed: int, share: float, bound: float) -> None:
    before = vectorize_masks([mask_of(meadow(seed, 96, 2.0, share))], mosaic()).polygons
    after = simplify_polygons(before, bound, CELL_M)
    change = np.abs(shapely.area(after) / shapely.area(before) - 1)
    assert (change <= bound + ROUNDING).all()
    assert shapely.is_valid(after).all()
    rings = [shapely.get_num_interior_rings(polygons) for polygons in (before, after)]
    assert (rings[0] == rings[1]).all()
    overlaps = shapely.area(after).sum() - shapely.union_all(after).area
    assert overlaps == pytest.approx(0, abs=1e-6)
    # A ring's end point may be removed too, which adds a second step of at most the tolerance.
    pairs = zip(before, after, strict=True)
    assert all(shapely.hausdorff_distance(*pair) <= 2 * CELL_M for pair in pairs)


def test_vertices_are_removed() -> None:
    mask = distances(disc(70, 70, 30))
    [before] = vectorize_masks([mask], mosaic()).polygons
    [after] = vectorize_masks(
        [replace(mask, label=replace(LAWN, simplify_share=0.01))], mosaic()
    ).polygons
    assert shapely.get_num_coordinates(after) < shapely.get_num_coordinates(before) / 4
    assert after.area == pytest.approx(before.area, rel=0.01)


def test_collinear_vertices_are_removed() -> None:
    dented = Polygon([(0, 0), (5, 0), (10, 0), (10, 10), (5, 10.0), (0, 10)])
    [plain] = simplify_polygons(np.array([dented]), 1e-9, 1.0)
    assert plain.normalize() == box(0, 0, 10, 10).normalize()


def test_a_small_hole_in_a_large_lawn_stays() -> None:
    hole = Point(500, 500).buffer(1.0)
    lawn = Point(500, 500).buffer(400).difference(hole)
    [plain] = simplify_polygons(np.array([lawn]), 0.05, 1.5)
    assert len(plain.interiors) == 1
    assert plain.interiors[0].length > 4


def test_an_island_stays_in_its_hole() -> None:
    """Simplified independently, they would overlap."""
    hole = Point(0, 0).buffer(10.0)
    lawn = Point(0, 0).buffer(30).difference(hole)
    island = Point(0, 0).buffer(9.9)
    together = simplify_polygons(np.array([lawn, island]), 0.5, 3.0)
    assert shapely.area(shapely.intersection(*together)) == 0
    alone = [simplify_polygons(np.array([each]), 0.5, 3.0)[0] for each in (lawn, island)]
    assert shapely.area(shapely.intersection(*alone)) > 0


def test_none() -> None:
    assert not len(simplify_polygons(np.empty(0, object), 0.1, 1.0))
