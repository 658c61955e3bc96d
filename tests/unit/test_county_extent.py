"""The extent of a county, also across longitude 180."""

from __future__ import annotations

import pytest
from recordingsource import RecordingSource
from shapely import Point

from parcels import County
from parcels.county_extent import ExtentCheck


@pytest.mark.parametrize(
    ("extent", "inside", "outside"),
    [
        ((-90.0, 35.0, -89.0, 36.0), [(-90, 35), (-89.5, 35.5)], [(-91, 35.5), (-89.5, 34)]),
        (
            (177.0, -19.0, -178.0, -16.0),
            [(177, -19), (179.9, -17), (180, -17), (-180, -17), (-178.1, -17)],
            [(176, -17), (-177, -17), (0, -17), (179.9, -15)],
        ),
    ],
)
def test_points_outside_the_extent_are_rejected(
    extent: tuple[float, float, float, float],
    inside: list[tuple[float, float]],
    outside: list[tuple[float, float]],
) -> None:
    county = County(key="fiji", name="Fiji", path="/parcels.gpkg", extent=extent)
    check = ExtentCheck(county, RecordingSource())
    assert [check.problem(Point(*point), 0) for point in inside] == [None] * len(inside)
    assert all("km outside Fiji" in (check.problem(Point(*point), 0) or "") for point in outside)


def test_the_distance_is_that_to_the_nearer_side() -> None:
    county = County(key="fiji", name="Fiji", path="/x.gpkg", extent=(177.0, -19.0, -178.0, -16.0))
    problem = ExtentCheck(county, RecordingSource()).problem(Point(-177, -17), 0)
    assert problem is not None
    assert " 106" in problem
