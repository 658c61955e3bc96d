"""Clipping of objects to lots: belongs, shared, trimmed; and the offset of lot lines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from mosaics import mask_of, meadow, mosaic
from rasters import pixel_grid
from shapely import MultiPolygon, Polygon, affinity, box
from shapely.geometry.base import BaseGeometry

from detection.clip import MIN_PART_M2, LotLines, Parts, continuous_parts, discrete_parts
from detection.labels import LabelKind
from detection.vectorize import vectorize_masks
from parcels import Boundary

LEFT_LOT = MultiPolygon([box(0, 0, 20, 40)])
RIGHT_LOT = MultiPolygon([box(20, 0, 40, 40)])
TOLERANCE_M = LotLines().tolerance_m


@dataclass
class Part:
    index: int
    relation: str
    measured: BaseGeometry
    inside: BaseGeometry


def parts_on(
    polygons: list[Polygon], lot: MultiPolygon, kind: LabelKind, unit_m: float = 1.0
) -> list[Part]:
    objects, lots = np.array(polygons, dtype=object), np.array([lot], dtype=object)
    of_lot = np.zeros(len(objects), dtype=np.intp)
    found: Parts = (
        discrete_parts(objects, lots, of_lot, TOLERANCE_M, unit_m)
        if kind == "discrete"
        else continuous_parts(objects, lots, of_lot, unit_m)
    )
    rows = zip(found.objects, found.relations, found.measured, found.inside, strict=True)
    return [Part(int(index), *row) for index, *row in rows]


def one(polygon: Polygon, lot: MultiPolygon, kind: LabelKind, unit_m: float = 1.0) -> Part | None:
    parts = parts_on([polygon], lot, kind, unit_m)
    assert len(parts) <= 1
    return parts[0] if parts else None


class TestContinuous:
    def test_an_object_inside_belongs(self) -> None:
        lawn = box(2, 2, 18, 30)
        part = one(lawn, LEFT_LOT, "continuous")
        assert part == Part(0, "belongs", lawn, lawn)

    def test_an_object_that_ends_at_the_line_belongs(self) -> None:
        part = one(box(0, 0, 20, 10), LEFT_LOT, "continuous")
        assert part is not None
        assert part.relation == "belongs"

    def test_an_object_over_the_line_by_a_rounding_error_belongs(self) -> None:
        lawn = box(0, 0, 20 + 1e-7, 10)
        part = one(lawn, LEFT_LOT, "continuous")
        assert part == Part(0, "belongs", lawn, lawn)

    def test_a_rounding_error_does_not_split_an_object(self) -> None:
        small = box(19.5, 2, 20 + 1e-7, 2.5)  # under MIN_PART_M2, and no sliver
        assert one(small, LEFT_LOT, "continuous") == Part(0, "belongs", small, small)
        # Its far side is outside by less than a rounding error, which would split the inside.
        arms = box(10, 0, 20, 10).union(box(10, 20, 20, 30)).union(box(20 - 1e-9, 0, 20 + 1e-7, 30))
        assert one(arms, LEFT_LOT, "continuous") == Part(0, "belongs", arms, arms)

    def test_an_object_across_the_line_is_trimmed(self) -> None:
        part = one(box(10, 10, 30, 20), LEFT_LOT, "continuous")
        assert part is not None
        assert part.relation == "trimmed"
        assert part.measured.equals(box(10, 10, 20, 20))
        assert part.inside.equals(part.measured)

    def test_a_lawn_split_by_a_line_gives_two_rows_that_add_up(self) -> None:
        lawn = Polygon([(3, 3), (37, 5), (36, 35), (5, 33)], [[(15, 15), (26, 15), (24, 25)]])
        left, right = (one(lawn, lot, "continuous") for lot in (LEFT_LOT, RIGHT_LOT))
        assert left is not None
        assert right is not None
        assert left.measured.area + right.measured.area == pytest.approx(lawn.area, rel=1e-9)

    def test_front_and_back_are_two_parts(self) -> None:
        round_the_house = box(10, 0, 30, 40).difference(box(10, 12, 22, 25))
        front, back = parts_on([round_the_house], LEFT_LOT, "continuous")
        assert {front.relation, back.relation} == {"trimmed"}
        assert sorted([front.measured.area, back.measured.area]) == [120, 150]
        assert front.index == back.index == 0

    def test_a_sliver_is_dropped(self) -> None:
        length = 10.0
        just_less = box(20 - 0.99 * MIN_PART_M2 / length, 0, 30, length)
        just_more = box(20 - 1.01 * MIN_PART_M2 / length, 0, 30, length)
        assert one(just_less, LEFT_LOT, "continuous") is None
        assert one(just_more, LEFT_LOT, "continuous") is not None

    def test_a_small_object_inside_is_not_a_sliver(self) -> None:
        assert one(box(2, 2, 2.5, 2.5), LEFT_LOT, "continuous") is not None

    def test_the_sliver_is_measured_in_metres(self) -> None:
        feet = 0.3048
        shown = 0.9 * MIN_PART_M2 / feet**2 / 10
        assert one(box(20 - shown, 0, 30, 10), LEFT_LOT, "continuous", feet) is None
        assert one(box(20 - shown, 0, 30, 10), LEFT_LOT, "continuous") is not None

    def test_a_hole_in_the_lot_is_excluded(self) -> None:
        lot = MultiPolygon([box(0, 0, 40, 40).difference(box(10, 10, 20, 20))])
        part = one(box(5, 5, 25, 25), lot, "continuous")
        assert part is not None
        assert part.measured.area == 400 - 100
        assert one(box(12, 12, 18, 18), lot, "continuous") is None

    def test_both_parts_of_a_lot_count(self) -> None:
        lot = MultiPolygon([box(0, 0, 10, 10), box(20, 0, 30, 10)])
        parts = parts_on([box(5, 0, 25, 10)], lot, "continuous")
        assert [part.measured.area for part in parts] == [50, 50]


class TestDiscrete:
    @pytest.mark.parametrize("off_m", [0.0, 1.0, TOLERANCE_M])
    def test_a_lot_line_one_metre_off_does_not_cut_a_roof(self, off_m: float) -> None:
        roof = box(20 - 10 + off_m, 10, 20 + off_m, 22)  # it sticks out to the right
        part = one(roof, LEFT_LOT, "discrete")
        assert part is not None
        assert part.relation == "belongs"
        assert part.measured.equals(roof)
        assert part.inside.area == pytest.approx((10 - off_m) * 12)
        assert one(roof, RIGHT_LOT, "discrete") is None

    def test_a_roof_on_both_lots_is_shared(self) -> None:
        roof = box(12, 10, 26, 20)
        left, right = (one(roof, lot, "discrete") for lot in (LEFT_LOT, RIGHT_LOT))
        assert left is not None
        assert right is not None
        assert {left.relation, right.relation} == {"shared"}
        assert left.measured.area == 80
        assert right.measured.area == 60
        assert left.measured.equals(left.inside)

    def test_the_tolerance_is_in_metres(self) -> None:
        roof = box(10, 10, 24, 20)  # four units out: 1.2 m where a unit is a foot
        in_feet, in_metres = (one(roof, LEFT_LOT, "discrete", unit_m) for unit_m in (0.3048, 1.0))
        assert in_feet is not None
        assert in_metres is not None
        assert (in_feet.relation, in_metres.relation) == ("belongs", "shared")

    def test_an_object_thinner_than_the_tolerance_belongs_to_the_lot_with_most_of_it(self) -> None:
        fence = box(18.9, 0, 20.4, 30)
        part = one(fence, LEFT_LOT, "discrete")
        assert part is not None
        assert part.measured.equals(fence)
        assert one(fence, RIGHT_LOT, "discrete") is None

    def test_a_lot_narrower_than_the_tolerance_keeps_its_objects(self) -> None:
        strip = MultiPolygon([box(0, 0, 2, 40)])
        shed = box(0.2, 5, 1.8, 8)
        part = one(shed, strip, "discrete")
        assert part is not None
        assert part.relation == "belongs"

    def test_an_object_in_the_lots_hole_is_excluded(self) -> None:
        lot = MultiPolygon([box(0, 0, 40, 40).difference(box(10, 10, 30, 30))])
        assert one(box(15, 15, 25, 25), lot, "discrete") is None

    def test_each_object_is_compared_with_its_own_lot(self) -> None:
        roofs = np.array([box(2, 2, 12, 12), box(25, 2, 35, 12), box(25, 2, 35, 12)])
        lots = np.array([LEFT_LOT, RIGHT_LOT])
        found = discrete_parts(roofs, lots, np.array([0, 0, 1]), TOLERANCE_M)
        assert found.objects.tolist() == [0, 2]


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
class TestEveryKind:
    @pytest.mark.parametrize(
        "polygon", [box(20, 0, 30, 40), box(20, 40, 30, 50), box(30, 0, 35, 5)]
    )
    def test_an_object_that_only_touches_is_dropped(
        self, kind: LabelKind, polygon: Polygon
    ) -> None:
        assert one(polygon, LEFT_LOT, kind) is None

    def test_a_touch_beside_an_overlap_gives_only_polygons(self, kind: LabelKind) -> None:
        # A U over the line: it crosses with one arm and only touches with the other.
        arms = box(10, 5, 30, 15).union(box(28, 5, 30, 35)).union(box(20, 25, 30, 35))
        part = one(arms, LEFT_LOT, kind)
        assert part is not None
        assert part.inside.geom_type == "Polygon"
        assert part.inside.area == 100

    def test_two_overlaps_and_a_touch_give_only_polygons(self, kind: LabelKind) -> None:
        back = box(26, 2, 30, 38)
        arms = [box(10, 2, 28, 8), box(10, 32, 28, 38), box(20, 15, 28, 20)]
        parts = parts_on([shapely.union_all([back, *arms])], LEFT_LOT, kind)
        assert sum(part.inside.area for part in parts) == 120
        assert all(part.inside.is_valid for part in parts)

    def test_no_objects(self, kind: LabelKind) -> None:
        assert parts_on([], LEFT_LOT, kind) == []

    def test_indexes_are_the_objects(self, kind: LabelKind) -> None:
        polygons = [box(50, 0, 60, 9), box(2, 2, 8, 8), box(60, 0, 70, 9), box(2, 20, 8, 28)]
        parts = parts_on(polygons, LEFT_LOT, kind)
        assert [part.index for part in parts] == [1, 3]
        assert [part.measured for part in parts] == [polygons[1], polygons[3]]


class TestLotLines:
    def test_lots_shift_east_and_north(self) -> None:
        [moved] = LotLines((3.0, -2.0)).shift(np.array([LEFT_LOT]))
        assert moved.bounds == (3, -2, 23, 38)

    def test_the_shift_is_in_metres_in_a_crs_in_feet(self) -> None:
        [moved] = LotLines((3.048, 0.0)).shift(np.array([LEFT_LOT]), unit_m=0.3048)
        assert moved.bounds == pytest.approx((10, 0, 30, 40))

    def test_point_buffers_are_not_shifted(self) -> None:
        boundaries = [
            Boundary(LEFT_LOT, source, 800.0, "point", "a test") for source in ("lot", "buffer_30m")
        ]
        shapes = np.array([LEFT_LOT, LEFT_LOT])
        lot, circle = LotLines((3.0, -2.0)).align_to_imagery(boundaries, shapes)
        assert lot.bounds == (3, -2, 23, 38)
        assert circle is LEFT_LOT
        assert LotLines().align_to_imagery(boundaries, shapes)[0] is LEFT_LOT


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 6),
    st.floats(0, 90),
    st.floats(0.3, 0.8),
)
@settings(max_examples=60)
def test_parts_on_lots_that_tile_a_block_add_up(
    seed: int, count: int, turn_degrees: float, share: float
) -> None:
    """Random fields over a random partition: only slivers are lost, and no area counts twice."""
    place = mosaic()
    polygons = vectorize_masks([mask_of(meadow(seed, 48, 1.5, share))], place).polygons
    left, bottom, right, top = place.grid.bounds(place.window)
    centre = ((left + right) / 2, (bottom + top) / 2)
    block = affinity.rotate(box(left - 60, bottom - 60, right + 60, top + 60), turn_degrees, centre)
    points = shapely.MultiPoint(
        np.random.default_rng(seed).uniform((left, bottom), (right, top), (count, 2))
    )
    cells = shapely.get_parts(shapely.voronoi_polygons(points, extend_to=block))
    lots = np.array([MultiPolygon([cell]) for cell in cells] or [MultiPolygon([block])])
    objects = np.tile(polygons, len(lots))
    parts = continuous_parts(objects, lots, np.repeat(np.arange(len(lots)), len(polygons)))
    whole = shapely.area(polygons).sum()
    found = shapely.area(parts.measured).sum()
    slivers = [
        piece.area
        for polygon in polygons
        for lot in lots
        for piece in shapely.get_parts(polygon.intersection(lot))
        if piece.area < MIN_PART_M2 and not lot.covers(polygon)
    ]
    assert found == pytest.approx(whole - sum(slivers), rel=1e-6)
    kept = shapely.union_all(parts.measured) if len(parts) else Polygon()
    assert kept.area == pytest.approx(found, rel=1e-6, abs=1e-6)  # no area is counted twice
    lonlat = pixel_grid().to_lonlat(parts.measured)
    assert shapely.is_valid(lonlat).mean() >= 0.99
