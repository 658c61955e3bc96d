"""Masks -> polygons: areas below a cell, holes, the mosaic's edge, gaps, scores, crops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from mosaics import LAWN, disc, distances, mask_of, meadow, mosaic, rectangle
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from rasters import LEFT, PIXEL_M, TOP
from shapely import Point, affinity, box

from detection.imagery.pixel_grid import PixelGrid
from detection.labels import Label
from detection.segmenters.interface import Mask
from detection.vectorize import Outlines, crop_mask, vectorize_masks

SIDE_M = 288 * PIXEL_M


def found(field: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> NDArray[np.object_]:
    return vectorize_masks([mask_of(field)], mosaic(valid=valid)).polygons


def at(x_m: float, y_m: float) -> tuple[float, float]:
    """CRS coordinates of a point, in metres right and down of the mosaic's corner."""
    return LEFT + x_m, TOP - y_m


def signs(*rows: str) -> NDArray[np.float64]:
    return np.array([[1.0 if character == "#" else -1.0 for character in row] for row in rows])


def same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Whether two sets of polygons cover the same area, except for rounding errors."""
    one, other = shapely.union_all(a), shapely.union_all(b)
    hair_m2 = 1e-6 * (one.length + other.length + 1)
    return bool(one.symmetric_difference(other).area <= hair_m2)


class TestSubPixel:
    """Cells are 1.5 m wide here; full cells would be off by 5 to 10 % of these areas."""

    @given(st.floats(20, 120), st.floats(20, 120), st.floats(8, 19))
    @settings(max_examples=50)
    def test_discs(self, x: float, y: float, radius: float) -> None:
        [polygon] = vectorize_masks([distances(disc(x, y, radius))], mosaic()).polygons
        truth = Point(at(x, y)).buffer(radius, quad_segs=64)
        assert polygon.area == pytest.approx(truth.area, rel=0.008)
        assert polygon.intersection(truth).area / polygon.union(truth).area > 0.99
        assert shapely.hausdorff_distance(polygon.exterior, truth.exterior) < 0.1

    @given(
        st.floats(40, 100),
        st.floats(40, 100),
        st.floats(12, 40),
        st.floats(12, 40),
        st.floats(0, 3),
    )
    @settings(max_examples=50)
    def test_rotated_rectangles(
        self, x: float, y: float, width: float, height: float, turn: float
    ) -> None:
        mask = distances(rectangle(x, y, width, height, turn))
        [polygon] = vectorize_masks([mask], mosaic()).polygons
        upright = box(-width / 2, -height / 2, width / 2, height / 2)
        truth = affinity.translate(
            affinity.rotate(upright, -turn, (0, 0), use_radians=True), *at(x, y)
        )
        # Only the four corners are cut, each within a cell.
        assert polygon.area == pytest.approx(truth.area, abs=4 * 0.5 * 1.5**2)
        assert polygon.intersection(truth).area / polygon.union(truth).area > 0.98
        assert polygon.difference(truth.buffer(0.05)).area < 0.01

    def test_a_ring_keeps_its_hole(self) -> None:
        def ring(x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
            return 6 - np.abs(np.hypot(x - 70, y - 60) - 20)

        [polygon] = vectorize_masks([distances(ring)], mosaic()).polygons
        assert len(polygon.interiors) == 1
        assert polygon.area == pytest.approx(np.pi * (26**2 - 14**2), rel=0.005)


class TestRings:
    def test_an_island_in_a_hole_is_another_object(self) -> None:
        field = -np.ones((48, 48))
        field[4:44, 4:44] = 1
        field[10:38, 10:38] = -1
        field[16:32, 16:32] = 1
        field[20:28, 20:28] = -1
        lawn, island = sorted(found(field), key=lambda polygon: -polygon.area)
        assert len(lawn.interiors) == len(island.interiors) == 1
        assert lawn.area == pytest.approx((40**2 - 28**2) * 9, rel=1e-3)
        assert island.area == pytest.approx((16**2 - 8**2) * 9, rel=4e-3)

    @given(st.integers(0, 2**32 - 1), st.floats(0.1, 0.9), st.sampled_from([0.0, 0.5, 2.0]))
    @settings(max_examples=60)
    def test_any_field_gives_valid_polygons(self, seed: int, share: float, smooth: float) -> None:
        """Inside cells are in one polygon, outside cells in none; polygons do not overlap."""
        field = meadow(seed, 48, smooth, share)
        polygons = found(field)
        assert shapely.is_valid(polygons).all()
        whole = shapely.union_all(polygons)
        assert whole.area == pytest.approx(shapely.area(polygons).sum(), rel=1e-9)
        middles = (np.arange(48) + 0.5) * 3
        x, y = np.meshgrid(LEFT + middles, TOP - middles)
        assert (shapely.contains_xy(whole, x, y) == (field.astype(np.float32) > 0)).all()

    @given(
        arrays(
            np.float32,
            array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9),
            elements=st.sampled_from([-1e30, -1.0, -1e-30, 0.0, 1e-30, 1e-6, 1.0, 1e30]),
        )
    )
    @settings(max_examples=200)
    def test_extreme_fields_give_valid_polygons(self, field: NDArray[np.float32]) -> None:
        seen = vectorize_masks(
            [mask_of(field, confidence=(field > 0).astype(np.float32))], mosaic()
        )
        assert shapely.is_valid(seen.polygons).all()
        assert (shapely.area(seen.polygons) > 0).all()
        assert seen.scores == pytest.approx(np.ones(len(seen)))
        whole = shapely.union_all(seen.polygons)
        assert whole.area == pytest.approx(shapely.area(seen.polygons).sum(), rel=1e-9)

    def test_objects_that_touch_at_a_corner_are_valid(self) -> None:
        polygons = found(signs("##..", "##..", "..##", "..##"))
        assert shapely.is_valid(polygons).all()


class TestEdges:
    def test_a_full_mask_is_the_mosaics_outline(self) -> None:
        [polygon] = found(np.ones((7, 9)))
        assert polygon.normalize().simplify(0) == box(*at(0, SIDE_M), *at(SIDE_M, 0)).normalize()

    def test_outlines_follow_the_edge_to_its_corners(self) -> None:
        field = -np.ones((48, 48))
        field[:, :10] = 1
        [polygon] = found(field)
        assert polygon.simplify(0).equals(box(*at(0, SIDE_M), *at(30, 0)))

    @given(st.integers(0, 2**32 - 1))
    @settings(max_examples=20)
    def test_outlines_stay_inside_the_edge(self, seed: int) -> None:
        polygons = found(meadow(seed, 36, 2.0))
        left, bottom, right, top = shapely.total_bounds(polygons)
        assert min(left - LEFT, TOP - top) >= 0
        assert max(right - LEFT, TOP - bottom) <= SIDE_M

    def test_a_window_of_the_grid_ends_at_its_own_edge(self) -> None:
        part = mask_of(np.ones((4, 6)))
        mask = replace(part, cells=(96, 96), row=10, column=20)
        [polygon] = vectorize_masks([mask], mosaic()).polygons
        assert polygon.simplify(0).equals(box(*at(30, 21), *at(39, 15)))


class TestGaps:
    def test_invalid_pixels_are_cut_out(self) -> None:
        valid = np.ones((288, 288), bool)
        valid[:, 101:] = False
        valid[11:17, 23:30] = False
        [polygon] = found(np.ones((96, 96)), valid)
        assert polygon.bounds == (*at(0, SIDE_M), *at(101 * PIXEL_M, 0))
        assert polygon.area == pytest.approx(valid.sum() * PIXEL_M**2, rel=1e-12)
        assert len(polygon.interiors) == 1

    def test_a_gap_splits_an_object(self) -> None:
        valid = np.ones((288, 288), bool)
        valid[:, 100:110] = False
        seen = vectorize_masks([mask_of(np.ones((96, 96)), confidence=0.75)], mosaic(valid=valid))
        assert sorted(shapely.area(seen.polygons)) == [288 * 100 / 4, 288 * 178 / 4]
        assert seen.scores == pytest.approx([0.75, 0.75])

    def test_small_pieces_of_a_split_object_are_dropped(self) -> None:
        valid = np.zeros((288, 288), bool)
        valid[:4, :4] = True  # 4 m²
        valid[50:53, 50:55] = True  # 3.75 m²
        mask = mask_of(np.ones((96, 96)), Label("lawn", "grass", "continuous", 4.0))
        [polygon] = vectorize_masks([mask], mosaic(valid=valid)).polygons
        assert polygon.area == 4.0

    @given(st.integers(0, 2**32 - 1), st.floats(0.02, 0.6))
    @settings(max_examples=30)
    def test_any_gaps(self, seed: int, share: float) -> None:
        """Gaps that touch at corners, islands between them, objects that they split."""
        rng = np.random.default_rng(seed)
        valid = rng.random((36, 36)) > share
        everything = vectorize_masks([mask_of(np.ones((12, 12)))], mosaic(36, valid)).polygons
        assert shapely.area(everything).sum() == pytest.approx(valid.sum() * PIXEL_M**2)
        field = mask_of(meadow(seed, 12, 1.0))
        whole = vectorize_masks([field], mosaic(36)).polygons
        shown = vectorize_masks([field], mosaic(36, valid)).polygons
        assert shapely.is_valid(shown).all()
        assert same(shown, shapely.intersection(whole, shapely.union_all(everything)))

    def test_no_valid_pixels(self) -> None:
        assert not len(found(np.ones((96, 96)), np.zeros((288, 288), bool)))


class TestCrops:
    @given(
        st.integers(0, 2**32 - 1),
        st.tuples(st.floats(-20, 150), st.floats(-20, 150)),
        st.tuples(st.floats(1, 90), st.floats(1, 90)),
        st.sampled_from([0, 0, 7]),
    )
    @settings(max_examples=100)
    def test_crops_have_the_outlines_of_the_full_mask(
        self, seed: int, corner: tuple[float, float], size: tuple[float, float], start: int
    ) -> None:
        field = meadow(seed, 96)[start:, start:]
        cells = (96, 96)
        whole = replace(mask_of(field), cells=cells, row=start, column=start)
        left, top = at(*corner)
        bounds = box(left, top - size[1], left + size[0], top)
        place = mosaic()
        [part] = crop_mask(whole, place, np.array([bounds.bounds]))
        mine = vectorize_masks([part] if part else [], place).polygons
        expected = vectorize_masks([whole], place).polygons
        assert same(shapely.intersection(mine, bounds), shapely.intersection(expected, bounds))
        if part:
            assert part.field.shape <= (size[1] / 1.5 + 4, size[0] / 1.5 + 4)

    def test_an_empty_crop_is_none(self) -> None:
        mask = distances(disc(20, 20, 8))
        there, beyond, outside = np.array([at(5, 30), at(60, 100), at(500, 700)])
        bounds = np.hstack([[there, beyond, outside], [there + 20, beyond + 20, outside + 20]])
        crops = crop_mask(mask, mosaic(), bounds)
        assert crops[0] is not None
        assert crops[1:] == [None, None]


class TestScores:
    @given(st.integers(0, 2**32 - 1), st.floats(0.2, 0.8))
    @settings(max_examples=40)
    def test_a_score_is_the_mean_of_the_cell_centres_inside(self, seed: int, share: float) -> None:
        confidence = np.random.default_rng(seed).random((32, 32)).astype(np.float32)
        seen = vectorize_masks(
            [mask_of(meadow(seed, 32, 1.0, share), confidence=confidence)], mosaic(32)
        )
        for polygon, score in zip(seen.polygons, seen.scores, strict=True):
            middles = geometry_mask([polygon], (32, 32), mosaic(32).transform, invert=True)
            assert score == pytest.approx(confidence[middles].mean(), abs=1e-6)

    @pytest.mark.parametrize(
        ("bad", "expected"), [(np.nan, 0.375), (-np.inf, 0.375), (np.inf, 0.625), (7.0, 1.0)]
    )
    def test_a_score_is_always_in_0_to_1(self, bad: float, expected: float) -> None:
        confidence = np.full((2, 2), 0.5, np.float32)
        confidence[0, 0] = bad
        seen = vectorize_masks([mask_of(np.ones((2, 2)), confidence=confidence)], mosaic(2))
        assert seen.scores == pytest.approx([expected])


class TestManyMasks:
    def test_masks_together_equal_each_alone(self) -> None:
        masks = [mask_of(meadow(seed, cells)) for seed, cells in enumerate((12, 96, 48, 96))]
        masks[1] = mask_of(-np.ones((96, 96)))
        masks.append(replace(mask_of(np.ones((3, 5))), cells=(96, 96), row=3, column=9))
        together = vectorize_masks(masks, mosaic())
        for number, mask in enumerate(masks):
            alone = vectorize_masks([mask], mosaic())
            mine = together[together.masks == number]
            assert len(mine) == len(alone)
            assert (mine.polygons == alone.polygons).all()
            assert mine.scores == pytest.approx(alone.scores)

    def test_none(self) -> None:
        assert not len(vectorize_masks([], mosaic()))
        assert not len(vectorize_masks([mask_of(-np.ones((5, 5)))], mosaic()))
        assert not len(vectorize_masks([mask_of(np.zeros((5, 5)))], mosaic()))  # 0 is not inside


class TestMinArea:
    LEAST = Label("lawn", "grass", "continuous", 4.0)

    def test_smaller_objects_are_dropped(self) -> None:
        large, small = disc(30, 30, 1.2), disc(60, 60, 1.1)  # 4.5 and 3.8 m²
        mask = distances(lambda x, y: np.maximum(large(x, y), small(x, y)), self.LEAST, 288, 0.5)
        [polygon] = vectorize_masks([mask], mosaic()).polygons
        assert Point(at(30, 30)).within(polygon)

    def test_min_area_is_in_m2_in_a_crs_in_feet(self) -> None:
        feet = mosaic(20, grid=PixelGrid("EPSG:2274", 2.0))
        field = -np.ones((20, 20))
        field[0, :11] = 1  # 11 pixels of 2 ft, of which the far corner is cut: 4.04 m²
        field[5, 5:15] = 1
        seen: Outlines = vectorize_masks([mask_of(field, self.LEAST)], feet)
        assert len(seen) == 1
        assert seen.polygons[0].area * 0.3048**2 == pytest.approx(4.04, abs=0.01)


class TestRefusals:
    def test_a_confidence_of_another_size(self) -> None:
        mask = replace(mask_of(np.ones((6, 4))), confidence=np.ones((4, 6), np.float32))
        with pytest.raises(ValueError, match=r"lawn .*field \(6, 4\).*confidence \(4, 6\)"):
            vectorize_masks([mask], mosaic())

    @pytest.mark.parametrize(("row", "column"), [(0, 1), (3, 0), (-1, 0)])
    def test_a_window_beyond_its_grid(self, row: int, column: int) -> None:
        mask: Mask = replace(mask_of(np.ones((6, 4))), cells=(8, 4), row=row, column=column)
        with pytest.raises(ValueError, match=rf"\(8, 4\): .*row {row}, column {column},"):
            vectorize_masks([mask], mosaic())

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_a_field_that_is_not_finite(self, bad: float) -> None:
        field = np.ones((4, 4))
        field[3, 3] = bad
        good = mask_of(np.ones((4, 4)), replace(LAWN, name="tree"))
        with pytest.raises(ValueError, match="lawn has a field that is not finite"):
            vectorize_masks([good, mask_of(field), good], mosaic())
