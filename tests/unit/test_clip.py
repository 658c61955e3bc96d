"""What of an object counts for a lot: belongs, shared, trimmed."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasters import PIXEL_M, chip, frame
from shapely import MultiPolygon, Polygon, affinity, box

from detection.clip import LINE_TOLERANCE_M, MIN_PART_M2, Part, parts_on_lot
from detection.labels import Kind, Label
from detection.segmenters.protocol import Mask
from detection.vectorize import outlines

LEFT_LOT = MultiPolygon([box(0, 0, 20, 40)])
RIGHT_LOT = MultiPolygon([box(20, 0, 40, 40)])


def one(thing: Polygon, lot: MultiPolygon, kind: Kind, unit_m: float = 1.0) -> Part | None:
    parts = parts_on_lot([thing], lot, kind, unit_m)
    assert len(parts) <= 1
    return parts[0] if parts else None


class TestContinuous:
    def test_inside_it_belongs(self) -> None:
        lawn = box(2, 2, 18, 30)
        part = one(lawn, LEFT_LOT, "continuous")
        assert part is not None
        assert (part.index, part.relation, part.measured) == (0, "belongs", lawn)
        assert part.inside.equals(lawn)

    def test_up_to_the_line_it_belongs(self) -> None:
        part = one(box(0, 0, 20, 10), LEFT_LOT, "continuous")
        assert part is not None
        assert part.relation == "belongs"

    def test_across_the_line_it_is_trimmed(self) -> None:
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
        assert left.measured.area + right.measured.area == pytest.approx(lawn.area, rel=1e-6)

    def test_a_sliver_is_the_lines_own_inaccuracy(self) -> None:
        length = 10.0
        just_less = box(20 - 0.99 * MIN_PART_M2 / length, 0, 30, length)
        just_more = box(20 - 1.01 * MIN_PART_M2 / length, 0, 30, length)
        assert one(just_less, LEFT_LOT, "continuous") is None
        assert one(just_more, LEFT_LOT, "continuous") is not None

    def test_the_sliver_is_measured_in_metres(self) -> None:
        feet = 0.3048
        shown = 0.9 * MIN_PART_M2 / feet**2 / 10
        assert one(box(20 - shown, 0, 30, 10), LEFT_LOT, "continuous", feet) is None
        assert one(box(20 - shown, 0, 30, 10), LEFT_LOT, "continuous") is not None

    def test_a_hole_in_the_lot_is_not_the_lots(self) -> None:
        lot = MultiPolygon([box(0, 0, 40, 40).difference(box(10, 10, 20, 20))])
        part = one(box(5, 5, 25, 25), lot, "continuous")
        assert part is not None
        assert part.measured.area == 400 - 100
        assert one(box(12, 12, 18, 18), lot, "continuous") is None

    def test_both_parts_of_a_lot_count(self) -> None:
        lot = MultiPolygon([box(0, 0, 10, 10), box(20, 0, 30, 10)])
        part = one(box(5, 0, 25, 10), lot, "continuous")
        assert part is not None
        assert part.measured.geom_type == "MultiPolygon"
        assert part.measured.area == 100


class TestDiscrete:
    @pytest.mark.parametrize("off_m", [0.0, 1.0, LINE_TOLERANCE_M])
    def test_a_lot_line_a_metre_off_shaves_no_roof(self, off_m: float) -> None:
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

    def test_a_thing_thinner_than_the_tolerance_is_of_the_lot_with_most_of_it(self) -> None:
        fence = box(18.9, 0, 20.4, 30)
        part = one(fence, LEFT_LOT, "discrete")
        assert part is not None
        assert part.measured.equals(fence)
        assert one(fence, RIGHT_LOT, "discrete") is None

    def test_a_lot_narrower_than_the_tolerance_has_its_things(self) -> None:
        strip = MultiPolygon([box(0, 0, 2, 40)])
        shed = box(0.2, 5, 1.8, 8)
        part = one(shed, strip, "discrete")
        assert part is not None
        assert part.relation == "belongs"

    def test_a_thing_in_the_lots_hole_is_not_the_lots(self) -> None:
        lot = MultiPolygon([box(0, 0, 40, 40).difference(box(10, 10, 30, 30))])
        assert one(box(15, 15, 25, 25), lot, "discrete") is None


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
class TestEveryKind:
    @pytest.mark.parametrize("thing", [box(20, 0, 30, 40), box(20, 40, 30, 50), box(30, 0, 35, 5)])
    def test_what_only_touches_is_nothing(self, kind: Kind, thing: Polygon) -> None:
        assert one(thing, LEFT_LOT, kind) is None

    def test_a_touch_beside_an_overlap_leaves_only_areas(self, kind: Kind) -> None:
        # A U over the line: it crosses with one arm and only touches with the other.
        arms = box(10, 5, 30, 15).union(box(28, 5, 30, 35)).union(box(20, 25, 30, 35))
        part = one(arms, LEFT_LOT, kind)
        assert part is not None
        assert part.inside.geom_type == "Polygon"
        assert part.inside.area == 100

    def test_no_objects(self, kind: Kind) -> None:
        assert parts_on_lot([], LEFT_LOT, kind) == []

    def test_indexes_are_the_objects(self, kind: Kind) -> None:
        things = [box(50, 0, 60, 9), box(2, 2, 8, 8), box(60, 0, 70, 9), box(2, 20, 8, 28)]
        parts = parts_on_lot(things, LEFT_LOT, kind)
        assert [part.index for part in parts] == [1, 3]
        assert [part.measured for part in parts] == [things[1], things[3]]


def test_lot_lines_along_pixels_leave_no_needles() -> None:
    """Lots that follow the pixels' edges but for a rounding: the parts are valid in degrees."""
    rng = np.random.default_rng(5)
    pixels = np.kron(rng.random((40, 40)) < 0.55, np.ones((5, 5))).astype(bool)
    picture = chip(np.ones((1, *pixels.shape), np.uint8))
    label = Label("lawn", "grass", "continuous", 0.0)
    things = [o.polygon for o in outlines(_mask(label, pixels), picture)]
    left, _, _, top = picture.bounds
    parts = []
    for x in range(0, 100, 20):
        for y in range(0, 80, 40):
            lot = box(left + x, top - y - 40, left + x + 18, top - y)
            rounded = frame().from_lonlat(frame().to_lonlat(MultiPolygon([lot])))
            parts += parts_on_lot(things, rounded, "continuous")
    assert len(parts) > 50
    assert all(frame().to_lonlat(part.measured).is_valid for part in parts)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 6),
    st.floats(0, 90),
    st.floats(0.3, 0.8),
)
@settings(max_examples=60)
def test_the_parts_on_lots_that_tile_a_block_add_up_to_it(
    seed: int, lots: int, turn_degrees: float, share: float
) -> None:
    """Random masks over a random partition: nothing is lost or counted twice but slivers."""
    rng = np.random.default_rng(seed)
    blocks = rng.random((8, 8)) < share
    pixels = np.kron(blocks, np.ones((6, 6))).astype(bool)
    picture = chip(np.ones((1, *pixels.shape), np.uint8))
    label = Label("lawn", "grass", "continuous", 0.0)
    things = [o.polygon for o in outlines(_mask(label, pixels), picture)]
    left, bottom, right, top = picture.bounds
    centre = ((left + right) / 2, (bottom + top) / 2)
    block = affinity.rotate(box(left - 30, bottom - 30, right + 30, top + 30), turn_degrees, centre)
    points = shapely.MultiPoint(rng.uniform((left, bottom), (right, top), (lots, 2)))
    cells = shapely.get_parts(shapely.voronoi_polygons(points, extend_to=block))
    partition = [MultiPolygon([cell]) for cell in cells] or [MultiPolygon([block])]
    parts = [part for lot in partition for part in parts_on_lot(things, lot, "continuous")]
    # A sliver that is left out is below MIN_PART_M2; each lot can leave out a few.
    crossed = sum(len(things) for _ in partition)
    whole = pixels.sum() * PIXEL_M**2
    found = sum(part.measured.area for part in parts)
    assert whole - MIN_PART_M2 * crossed <= found <= whole * (1 + 1e-9)
    kept = shapely.union_all([part.measured for part in parts]) if parts else Polygon()
    assert kept.area == pytest.approx(found, rel=1e-6, abs=1e-6)  # no place is counted twice


def _mask(label: Label, pixels: np.ndarray) -> Mask:
    return Mask(label, pixels, np.ones(pixels.shape, np.float32))
