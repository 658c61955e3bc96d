"""The tools of the review panel change what they should, and keep every other vertex exactly."""

from __future__ import annotations

import math

import pytest
import shapely
from shapely import LineString, MultiPolygon, Point, Polygon, box

from parcels.measure import area_m2
from pipeline.errors import InvalidOutline
from pipeline.review import outline_tools as tools

STEP = 0.0001 / 3  # digits that no rounding keeps by chance
LON, LAT = -90.05 / 3 * 3, 35.15


def _box(x: float, y: float, width: float, height: float) -> Polygon:
    return box(LON + x * STEP, LAT + y * STEP, LON + (x + width) * STEP, LAT + (y + height) * STEP)


def _line(*points: tuple[float, float]) -> LineString:
    return LineString([(LON + x * STEP, LAT + y * STEP) for x, y in points])


HOLE = _box(4, 4, 2, 2)
LAWN = MultiPolygon([Polygon(_box(0, 0, 10, 10).exterior, [HOLE.exterior]), _box(20, 0, 2, 2)])


def _vertices(geometry: MultiPolygon) -> set[tuple[float, float]]:
    return {tuple(vertex) for vertex in shapely.get_coordinates(geometry).tolist()}


def test_a_piece_is_cut_out_of_the_edge_and_of_the_middle() -> None:
    cut = tools.cut_out(LAWN, _box(8, 8, 5, 5))
    assert area_m2(cut) == pytest.approx(area_m2(LAWN) - area_m2(_box(8, 8, 2, 2)))
    assert len(_vertices(LAWN) - _vertices(cut)) == 1, "the corner is gone, all others are the same"
    middle = tools.cut_out(LAWN, _box(1, 1, 1, 1))
    assert len(middle.geoms[0].interiors) + len(middle.geoms[1].interiors) == 2


def test_all_of_it_is_not_cut_out() -> None:
    with pytest.raises(InvalidOutline, match="reject it instead"):
        tools.cut_out(LAWN, _box(-5, -5, 50, 50))


def test_a_piece_is_joined_and_parts_become_one() -> None:
    joined = tools.join(LAWN, _box(9, 0, 12, 1))
    assert len(joined.geoms) == 1
    assert len(joined.geoms[0].interiors) == 1


def test_it_is_clipped_to_the_boundary() -> None:
    clipped = tools.clip(LAWN, _box(-1, -1, 6, 20))
    assert shapely.covers(shapely.buffer(_box(-1, -1, 6, 20), 1e-12), clipped)
    with pytest.raises(InvalidOutline, match="inside the boundary"):
        tools.clip(LAWN, _box(100, 100, 1, 1))


def test_a_hole_is_dropped() -> None:
    centre = Point(LON + 5 * STEP, LAT + 5 * STEP)
    filled = tools.drop_hole(LAWN, centre)
    assert area_m2(filled) == pytest.approx(area_m2(LAWN) + area_m2(HOLE))
    with pytest.raises(InvalidOutline, match="no hole"):
        tools.drop_hole(filled, centre)


def test_a_blade_splits_in_two_without_a_loss() -> None:
    larger, smaller = tools.split(LAWN, _line((-1, 2), (11, 3)))
    assert area_m2(larger) > area_m2(smaller)
    assert area_m2(larger) + area_m2(smaller) == pytest.approx(area_m2(LAWN))
    assert len(larger.geoms) == 2, "the part that the blade does not reach stays"
    assert shapely.intersection(larger, smaller).area == pytest.approx(0, abs=1e-16)


@pytest.mark.parametrize(
    "blade", [_line((1, 1), (3, 3)), _line((-5, -5), (-1, -1)), _line((-1, 1), (3, 1))]
)
def test_a_blade_that_does_not_cross_is_an_error(blade: LineString) -> None:
    with pytest.raises(InvalidOutline, match=r"edge to edge: .* outside, or .* \(V goes to them\)"):
        tools.split(LAWN, blade)


def test_a_stroke_outside_adds_ground_and_one_inside_takes_it() -> None:
    out = tools.reshape(LAWN, _line((2, 9), (2, 12), (6, 12), (6, 9)))
    assert area_m2(out) == pytest.approx(area_m2(LAWN) + area_m2(_box(2, 10, 4, 2)), rel=1e-6)
    assert _vertices(LAWN) <= _vertices(out)
    into = tools.reshape(LAWN, _line((2, 11), (2, 8), (6, 8), (6, 11)))
    assert area_m2(into) == pytest.approx(area_m2(LAWN) - area_m2(_box(2, 8, 4, 2)), rel=1e-6)


def test_a_stroke_over_a_corner_replaces_it() -> None:
    corner = tools.reshape(LAWN, _line((7, 11), (11, 7)))
    assert len(_vertices(LAWN) - _vertices(corner)) == 1
    assert area_m2(corner) < area_m2(LAWN)


def test_a_stroke_reshapes_a_hole() -> None:
    larger = tools.reshape(LAWN, _line((4.5, 4.5), (3, 4.5), (3, 5.5), (4.5, 5.5)))
    assert area_m2(larger) < area_m2(LAWN)
    assert len(larger.geoms[0].interiors) + len(larger.geoms[1].interiors) == 1


def test_a_stroke_that_crosses_once_is_an_error() -> None:
    with pytest.raises(InvalidOutline, match="twice"):
        tools.reshape(LAWN, _line((2, 9), (2, 12)))


def test_7500_vertices_are_kept() -> None:
    turns = [2 * math.pi * n / 7_500 for n in range(7_500)]
    round_lawn = MultiPolygon(
        [Polygon([(LON + 9 * STEP * math.cos(a), LAT + 9 * STEP * math.sin(a)) for a in turns])]
    )
    cut = tools.cut_out(round_lawn, _box(-1, -1, 2, 2))
    assert _vertices(round_lawn) <= _vertices(cut)
    bent = tools.reshape(round_lawn, _line((-1, 8), (0, 11), (1, 8)))
    assert len(_vertices(round_lawn) - _vertices(bent)) < 200
