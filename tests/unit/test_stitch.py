"""Stitching of overlapping chips' masks: fields, objects over seams, identity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasters import chip as picture
from rasters import noise, pixel_grid
from scipy import ndimage

from detection.imagery.pixel_grid import PixelWindow, union
from detection.labels import Label
from detection.mosaic import join_mosaics, mosaic_of
from detection.segmenters.interface import Mask
from detection.stitch import stitch

LAWN = Label("lawn", "lawn", "continuous", 1.0)
POOL = Label("pool", "pool", "discrete", 1.0)
# Chips of 64 pixels with masks of 32 cells: they are 28 cells apart and share 4.
SIDE_PX, CELL_PX, CELLS, STEP = 64, 56, 32, 28

Field = NDArray[np.float32]


def grid(columns: int, rows: int) -> list[PixelWindow]:
    """The windows of adjacent chips at any position."""
    return [
        PixelWindow(1000 * CELL_PX - 4 + CELL_PX * column, 9 * CELL_PX - 4 + CELL_PX * row, 64, 64)
        for row in range(rows)
        for column in range(columns)
    ]


def part(field: Field, column: int, row: int) -> Field:
    """The part of a mosaic's field on the chip at this position of the grid."""
    return field[row * STEP : row * STEP + CELLS, column * STEP : column * STEP + CELLS]


def stitched(
    masks: Sequence[Sequence[Mask]], columns: int, rows: int = 1, label: Label = LAWN
) -> list[Mask]:
    """The masks of chips, row by row of a grid, stitched."""
    chips = grid(columns, rows)
    window = union(chips)
    seen = dict(zip(chips, masks, strict=True))
    return list(stitch(seen, [label], window, window))


def full_field(mask: Mask, outside: float = -1.0) -> Field:
    """A mask's field on its full grid."""
    field = np.full(mask.cells, outside, np.float32)
    height, width = mask.field.shape
    field[mask.row : mask.row + height, mask.column : mask.column + width] = mask.field
    return field


def lawn(field: Field, confidence: float = 0.5) -> Mask:
    return Mask(LAWN, field.copy(), np.full_like(field, confidence), field.shape)


def object_masks(field: Field) -> list[Mask]:
    """A mask for each connected object of a chip's field, with one cell around it."""
    numbers, _ = ndimage.label(field > 0)
    masks = []
    for number, place in enumerate(ndimage.find_objects(numbers), start=1):
        rows, columns = (slice(max(0, s.start - 1), s.stop + 1) for s in place)
        its = np.where((field > 0) & (numbers != number), -0.5, field)[rows, columns]
        its = its.astype(np.float32)
        confidence = np.full_like(its, 0.5)
        masks.append(Mask(POOL, its, confidence, field.shape, rows.start, columns.start))
    return masks


class TestContinuous:
    @settings(max_examples=30)
    @given(seed=st.integers(0, 2**32 - 1), columns=st.integers(1, 3), rows=st.integers(1, 3))
    def test_a_split_field_is_restored(self, seed: int, columns: int, rows: int) -> None:
        shape = (STEP * (rows - 1) + CELLS, STEP * (columns - 1) + CELLS)
        field = np.random.default_rng(seed).normal(0, 9, shape).astype(np.float32)
        cut = [[lawn(part(field, c, r))] for r in range(rows) for c in range(columns)]
        [mask] = stitched(cut, columns, rows)
        assert mask.cells == shape
        assert np.allclose(full_field(mask), field, rtol=1e-5, atol=1e-5)
        assert np.allclose(mask.confidence, 0.5)

    def test_feather_blending_prefers_the_nearer_chip(self) -> None:
        one, other = (np.full((CELLS, CELLS), value, np.float32) for value in (1.0, -1.0))
        [mask] = stitched([[lawn(one, 0.9)], [lawn(other, 0.1)]], 2)
        across = mask.field[5]
        assert across[:STEP] == pytest.approx(1.0)
        assert across[STEP:CELLS] == pytest.approx([0.75, 0.25, -0.25, -0.75])
        assert across[CELLS:] == pytest.approx(-1.0)
        assert mask.confidence[5, STEP:CELLS] == pytest.approx([0.8, 0.6, 0.4, 0.2])

    def test_a_missing_chip_has_no_weight(self) -> None:
        first, _, third = grid(3, 1)
        window = union([first, third])
        field = np.full((CELLS, CELLS), 2.0, np.float32)
        seen = {first: [lawn(field)], third: [lawn(field)]}
        [mask] = stitch(seen, [LAWN], window, window)
        assert (full_field(mask)[:, :CELLS] == 2.0).all()
        assert (full_field(mask)[:, CELLS : 2 * STEP] == -2.0).all()
        assert (full_field(mask)[:, 2 * STEP :] == 2.0).all()

    def test_only_the_needed_window_is_blended(self) -> None:
        field = np.random.default_rng(3).normal(0, 1, (CELLS, STEP + CELLS)).astype(np.float32)
        chips = grid(2, 1)
        window = union(chips)
        seen = {one: [lawn(part(field, i, 0))] for i, one in enumerate(chips)}
        within = PixelWindow(window.column + 41, window.row + 20, 30, 9)
        [mask] = stitch(seen, [LAWN], window, within)
        # From cell 20.5 to 35.5 and 10 to 14.5, and two more on each side.
        assert (mask.column, mask.row, mask.field.shape) == (18, 8, (9, 20))
        assert mask.cells == field.shape
        assert mask.field == pytest.approx(field[8:17, 18:38], rel=1e-5, abs=1e-5)

    def test_labels_keep_their_order(self) -> None:
        chips = grid(2, 1)
        field = np.ones((CELLS, CELLS), np.float32)
        seen = {chips[0]: [lawn(field)], chips[1]: [*object_masks(field), lawn(field)]}
        window = union(chips)
        found = [mask.label.name for mask in stitch(seen, [POOL, LAWN], window, window)]
        assert found == ["pool", "lawn"]

    @pytest.mark.parametrize("cells", [(31, 32), (32, 30)])
    def test_grids_that_do_not_fit_the_overlap_are_refused(self, cells: tuple[int, int]) -> None:
        field = np.ones(cells, np.float32)
        with pytest.raises(ValueError, match="multiples of 16"):
            stitched([[lawn(field)], [lawn(field)]], 2)

    def test_different_grids_are_refused(self) -> None:
        fields = [np.ones((side, side), np.float32) for side in (16, 32)]
        with pytest.raises(ValueError, match="lawn are on different grids"):
            stitched([[lawn(field)] for field in fields], 2)


def empty_field(columns: int = 2, rows: int = 1) -> Field:
    """An empty field of a mosaic."""
    shape = (STEP * (rows - 1) + CELLS, STEP * (columns - 1) + CELLS)
    return np.full(shape, -1, np.float32)


def cut(field: Field, columns: int = 2, rows: int = 1) -> list[Mask]:
    """A field's objects, split into chips and stitched."""
    masks = [object_masks(part(field, c, r)) for r in range(rows) for c in range(columns)]
    return stitched(masks, columns, rows, POOL)


class TestObjects:
    @settings(max_examples=100)
    @given(seed=st.integers(0, 2**32 - 1), columns=st.integers(1, 3), rows=st.integers(1, 2))
    def test_all_objects_are_restored_once(self, seed: int, columns: int, rows: int) -> None:
        """Random ellipses, split and stitched: the same number of objects, and the same cells."""
        rng = np.random.default_rng(seed)
        field = empty_field(columns, rows)
        height, width = field.shape
        y, x = np.mgrid[0:height, 0:width]
        for _ in range(6):
            centre, radius = rng.uniform(0, (width, height)), rng.uniform(2, 12, 2)
            reach = 1 - np.hypot((x - centre[0]) / radius[0], (y - centre[1]) / radius[1])
            field = np.maximum(field, reach.astype(np.float32))
        count = ndimage.label(field > 0)[1]
        found = cut(field, columns, rows)
        drawn = np.max([full_field(mask) for mask in found] or [empty_field(columns, rows)], axis=0)
        assert ((drawn > 0) == (field > 0)).all()
        assert len(found) == count

    def test_an_object_over_a_seam_is_one(self) -> None:
        field = empty_field()
        field[10:20, 8:50] = 1
        [mask] = cut(field)
        assert (full_field(mask) == field).all()
        assert mask.field[1:-1, 1:-1] == pytest.approx(1.0)

    def test_an_object_over_four_chips_is_one(self) -> None:
        field = empty_field(2, 2)
        field[12:45, 15:47] = 1
        [mask] = cut(field, 2, 2)
        assert (full_field(mask) == field).all()

    def test_an_object_along_all_chips_is_one(self) -> None:
        field = empty_field(4)
        field[12:16, 1:-1] = 1
        [mask] = cut(field, 4)
        assert (full_field(mask) == field).all()

    def test_neighbours_in_the_overlap_stay_separate(self) -> None:
        field = empty_field()
        field[4:14, 12:48] = 1
        field[15:25, 12:48] = 1
        assert len(cut(field)) == 2

    def test_neighbours_that_overlap_a_little_stay_separate(self) -> None:
        left, right = (np.full((CELLS, CELLS), -1, np.float32) for _ in range(2))
        left[8:24, 8 : STEP + 1] = 1  # a cell too far: there the other one begins
        right[8:24, 0:20] = 1
        assert len(stitched([object_masks(left), object_masks(right)], 2, label=POOL)) == 2

    def test_a_part_inside_an_object_is_merged(self) -> None:
        left, right = (np.full((CELLS, CELLS), -1, np.float32) for _ in range(2))
        left[8:24, 20:32] = 1
        right[9:14, 0:3] = 1  # what a chip draws of it at its edge
        [mask] = stitched([object_masks(left), object_masks(right)], 2, label=POOL)
        assert (full_field(mask) > 0)[8:24, 20:29].all()

    def test_an_object_of_one_chip_is_kept(self) -> None:
        left, right = (np.full((CELLS, CELLS), -1, np.float32) for _ in range(2))
        left[4:9, STEP : STEP + 3] = 1
        right[20:25, 1:4] = 1
        found = stitched([object_masks(left), object_masks(right)], 2, label=POOL)
        assert [int((mask.field > 0).sum()) for mask in found] == [15, 15]

    def test_two_parts_are_joined_by_a_part_in_the_other_chip(self) -> None:
        field = empty_field()
        field[4:24, 40:48] = 1  # a U, open to the left
        field[4:8, 16:48] = 1
        field[20:24, 16:48] = 1
        [mask] = cut(field)
        assert (full_field(mask) == field).all()

    def test_chips_without_the_object_have_equal_weight(self) -> None:
        left, right = (np.full((CELLS, CELLS), -1, np.float32) for _ in range(2))
        left[8:24, STEP - 3 : STEP + 1] = 3  # it has only the beginning
        left[8, STEP - 3] = -9
        right[8:24, 0:20] = 3
        [mask] = stitched([object_masks(left), object_masks(right)], 2, label=POOL)
        assert (full_field(mask)[10] > 0)[STEP - 3 : STEP + 20].all()

    def test_a_mask_of_one_chip_is_moved_without_a_copy(self) -> None:
        field = empty_field()
        field[3:6, 40:44] = 1
        masks = [object_masks(part(field, 0, 0)), object_masks(part(field, 1, 0))]
        [mask] = stitched(masks, 2, label=POOL)
        assert mask.field is masks[1][0].field
        assert (mask.row, mask.column) == (2, 39)


class TestJoinMosaics:
    def test_mosaic_of_chips(self) -> None:
        first, second = grid(2, 1)
        window = union([first, second])
        shown = np.ones((64, 64), bool)
        shown[:, 60:] = False
        one = mosaic_of(picture(noise(2, 64, 64), shown), pixel_grid(), first)
        other = mosaic_of(picture(noise(2, 64, 64, seed=1)), pixel_grid(), second)
        both = join_mosaics([one, other], window, ("c.tif",))
        assert both.valid.shape == (64, 120)
        assert both.valid.all()  # the other one covers what one lacks
        assert not join_mosaics([one], window).valid[:, 60:].any()
        assert both.transform == one.transform == pixel_grid().transform(window)
        assert both.failed_sources == ("c.tif",)
        assert both.info.bounds == pixel_grid().bounds(window)
        assert len(both.info.sha256) == 64
        assert join_mosaics([one, other], window).info.sha256 == both.info.sha256
        assert join_mosaics([other, one], window).info.sha256 != both.info.sha256
        assert both.info.bands == ("band1", "band2")

    @pytest.mark.parametrize(
        ("dates", "span"),
        [
            (("2020", "2020"), "2020"),
            ((None, "2020"), "2020"),
            ((None, None), None),
            (("2018/2020", "2019"), "2018/2020"),
        ],
    )
    def test_dates_and_sources_are_merged(
        self, dates: tuple[str | None, str | None], span: str | None
    ) -> None:
        windows = grid(2, 1)
        mosaics = [
            mosaic_of(
                replace(picture(noise(1, 64, 64)), captured_on=date, sources=("a.tif", name)),
                pixel_grid(),
                window,
            )
            for window, date, name in zip(windows, dates, "bc", strict=True)
        ]
        info = join_mosaics(mosaics, union(windows)).info
        assert info.captured_on == span
        assert info.sources == ("a.tif", "b", "c")
