"""Boundaries and imagery -> results: areas, faults that stay where they are, and the counts."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Geod
from rasters import (
    CRS_NAME,
    LEFT,
    PIXEL_M,
    TOP,
    ThresholdSegmenter,
    boundary,
    frame,
    noise,
    pixel_mask,
    write_tiff,
)
from shapely import MultiPolygon, affinity, box
from shapely.geometry.base import BaseGeometry

from detection import LABELS, Detector, Label, LotResult
from detection.chip import Chip
from detection.clock import Clock
from detection.detector import FirstChips
from detection.errors import (
    ImageryError,
    ImageryUnavailable,
    LabelError,
    NoImagery,
    SegmenterError,
)
from detection.imagery import Imagery, LocalImagery
from detection.imagery.frame import Frame, PixelWindow
from detection.segmenters.protocol import Mask
from parcels.boundary import Boundary

LAWN = LABELS["lawn"]
POOL = Label("pool", "swimming pool", "discrete", 1.0)
GEOD = Geod(ellps="WGS84")


def at(column: float, row: float, width: float, height: float) -> shapely.Polygon:
    """A rectangle in the tests' pixels from their upper left corner, in the CRS."""
    left, top = LEFT + column / 2, TOP - row / 2
    return box(left, top - height / 2, left + width / 2, top)


def painted(folder: Path, *things: tuple[int, int, int, int], size_px: int = 400) -> LocalImagery:
    """One file, dark but for bright rectangles (column, row, width, height)."""
    pixels = np.full((3, size_px, size_px), 20, np.uint8)
    for column, row, width, height in things:
        pixels[:, row : row + height, column : column + width] = 200
    return LocalImagery(str(write_tiff(folder / "a_2020.tif", pixels)))


def only(results: Sequence[LotResult]) -> LotResult:
    assert len(results) == 1
    return results[0]


class TestAreas:
    def test_a_lawn_on_a_lot(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path, (100, 100, 40, 60))
        result = only(Detector(ThresholdSegmenter()).detect(
            [boundary(at(90, 90, 80, 90))], imagery, [LAWN]
        ))  # fmt: skip
        assert result.status == "detected"
        assert result.imaged_share == 1.0
        [lawn] = result.detections
        assert (lawn.label, lawn.prompt, lawn.relation) == ("lawn", LAWN.prompt, "belongs")
        assert lawn.score == pytest.approx(0.75)
        assert lawn.area_m2 == pytest.approx(lawn.clipped_area_m2, rel=1e-9)
        assert lawn.area_m2 == pytest.approx(lawn.whole_area_m2, rel=1e-9)
        # An outline cuts a sharp corner by an eighth of a pixel; and a UTM metre is 0.9996 of a
        # metre in the middle of its zone.
        expected_m2 = (600 - 4 / 8 * PIXEL_M**2) / 0.9996**2
        assert lawn.area_m2 == pytest.approx(expected_m2, rel=1e-5)
        assert result.chip is not None
        assert result.chip.captured_on == "2020"
        assert result.chip.crs == CRS_NAME
        assert len(result.chip.sha256) == 64

    def test_a_lawn_split_by_a_lot_line_adds_up(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path, (60, 50, 201, 77))
        line = affinity.rotate(box(LEFT - 500, TOP - 500, LEFT + 77.7, TOP + 500), 7)
        block = at(20, 20, 300, 300)
        lots = [boundary(block & line), boundary(block - line)]
        results = Detector(ThresholdSegmenter()).detect(lots, imagery, [LAWN])
        [left], [right] = (result.detections for result in results)
        assert {left.relation, right.relation} == {"trimmed"}
        [whole] = only(
            Detector(ThresholdSegmenter()).detect([boundary(block)], imagery, [LAWN])
        ).detections
        assert whole.area_m2 == pytest.approx(whole.whole_area_m2, rel=1e-9)
        assert whole.area_m2 == pytest.approx(201 * 77 / 4, rel=2e-3)
        assert left.area_m2 + right.area_m2 == pytest.approx(whole.area_m2, rel=1e-6)

    def test_clipped_and_whole_are_both_kept(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path, (100, 100, 40, 40))
        lot = boundary(at(60, 60, 78, 100))  # ends one metre before the pool does
        result = only(Detector(ThresholdSegmenter()).detect([lot], imagery, [POOL]))
        [pool] = result.detections
        assert pool.relation == "belongs"
        assert pool.area_m2 == pool.whole_area_m2
        assert pool.clipped_area_m2 / pool.whole_area_m2 == pytest.approx(38 / 40, rel=1e-4)

    @settings(max_examples=25)
    @given(
        zone=st.sampled_from([32610, 32616, 32619, 26911, 32733]),
        east_m=st.floats(170_000, 830_000),
        north_m=st.floats(1_000_000, 6_500_000),
        seed=st.integers(0, 2**32 - 1),
    )
    def test_areas_are_geods(self, zone: int, east_m: float, north_m: float, seed: int) -> None:
        """Anywhere in a UTM zone, whose own metres are up to 0.2 % off in area."""
        rng = np.random.default_rng(seed)
        blocks = np.kron(rng.random((20, 20)) < 0.6, np.ones((8, 8))).astype(np.uint8)
        imagery = InMemory(200 * blocks[None], Frame(f"EPSG:{zone}", 0.6), east_m, north_m)
        lot = boundary(box(east_m, north_m - 90, east_m + 90, north_m), f"EPSG:{zone}")
        result = only(Detector(ThresholdSegmenter()).detect([lot], imagery, [LAWN]))
        assert result.detections
        for lawn in result.detections:
            true_m2 = abs(GEOD.geometry_area_perimeter(oriented(lawn.geometry))[0])
            assert lawn.area_m2 == pytest.approx(true_m2, rel=1e-4)
            assert lawn.geometry.is_valid

    def test_lots_with_holes_and_several_parts(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path, (0, 0, 400, 400))
        ring = at(20, 20, 100, 100) - at(50, 50, 40, 40)
        lot = boundary(MultiPolygon([ring, at(200, 20, 50, 50)]))
        result = only(Detector(ThresholdSegmenter()).detect([lot], imagery, [LAWN]))
        assert sum(lawn.area_m2 for lawn in result.detections) == pytest.approx(
            lot.area_m2, rel=1e-6
        )
        assert len(result.detections) == 2
        for lawn in result.detections:
            assert lawn.geometry.difference(lot.geometry.buffer(1e-9)).is_empty


def oriented(geometry: MultiPolygon) -> BaseGeometry:
    return MultiPolygon([shapely.geometry.polygon.orient(part) for part in geometry.geoms])


class InMemory:
    """Pixels at a place of any frame."""

    def __init__(self, pixels: Any, frame: Frame, left: float, top: float) -> None:
        self.pixels, self.frame = pixels, frame
        corner = frame.window_over((left, top - 1, left + 1, top))
        self.place = PixelWindow(corner.column, corner.row, pixels.shape[2], pixels.shape[1])

    def frame_for(self, _geometry: BaseGeometry) -> Frame:
        return self.frame

    def read(self, frame: Frame, window: PixelWindow) -> Chip:
        pixels = np.zeros((len(self.pixels), window.height, window.width), self.pixels.dtype)
        shown = np.zeros((window.height, window.width), bool)
        if part := self.place.meet(window):
            at = part.slices_in(window)
            pixels[:, *at] = self.pixels[:, *part.slices_in(self.place)]
            shown[at] = True
        crs = CRS.from_user_input(frame.crs)
        return Chip(pixels, shown, frame.transform(window), crs, ("red",))


class TestSharing:
    def test_the_segmenter_sees_each_chip_once(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path, (0, 0, 400, 400), size_px=1500)
        lots = [boundary(at(x, y, 30, 30)) for x in range(10, 1450, 120) for y in (10, 700, 1400)]
        segmenter, clock = ThresholdSegmenter(), Clock()
        found = dict(Detector(segmenter).detect_iter(lots, imagery, [LAWN, POOL], clock))
        assert sorted(found) == list(range(len(lots)))
        hashes = {result.chip.sha256 for result in found.values() if result.chip}
        assert len(segmenter.chips) == len(hashes) == clock.calls["segment"]
        assert len(hashes) < len(lots) / 3

    def test_a_lot_has_the_same_result_alone_and_among_others(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path, (30, 30, 60, 60), (110, 40, 80, 70))
        lots = [boundary(at(20 + 90 * i, 20, 90, 120)) for i in range(3)]
        detector = Detector(ThresholdSegmenter())
        assert (
            detector.detect(lots[1:2], imagery, [LAWN])
            == detector.detect(lots, imagery, [LAWN])[1:2]
        )

    def test_results_are_in_the_boundaries_order(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path, (0, 0, 40, 40), size_px=1500)
        far, near = boundary(at(1400, 1400, 40, 40)), boundary(at(0, 0, 40, 40))
        away = boundary(at(9000, 0, 40, 40))
        results = Detector(ThresholdSegmenter()).detect([far, away, near], imagery, [LAWN])
        assert [len(r.detections) for r in results] == [0, 0, 1]
        assert [r.status for r in results] == ["detected", "no_imagery", "detected"]

    def test_nothing_to_detect(self, tmp_path: Path) -> None:
        assert Detector(ThresholdSegmenter()).detect([], painted(tmp_path), [LAWN]) == []


class TestLargeLots:
    """Lots that no chip holds, on imagery that is cut into chips of 256 pixels."""

    @pytest.mark.parametrize("label", [LAWN, POOL])
    @pytest.mark.parametrize("chips_at_once", [1, 3])
    def test_a_thing_over_seams_is_one_as_if_there_were_none(
        self, tmp_path: Path, label: Label, chips_at_once: int
    ) -> None:
        # Synthetic: from one end to the other over three chips, and down over two.
        imagery = painted(tmp_path, (40, 90, 600, 50), (300, 90, 40, 300), size_px=700)
        lot = boundary(at(20, 20, 660, 600))
        cut = ThresholdSegmenter(100, 256, chips_at_once)
        whole = ThresholdSegmenter(100, chip_px=2048)
        [small] = only(Detector(cut).detect([lot], imagery, [label])).detections
        [large] = only(Detector(whole).detect([lot], imagery, [label])).detections
        assert len(cut.chips) == 12
        assert len(whole.chips) == 1
        assert small.geometry.symmetric_difference(large.geometry).area < 1e-9 * large.geometry.area
        assert small.area_m2 == pytest.approx(large.area_m2, rel=1e-9)
        assert small.score == pytest.approx(large.score, rel=1e-5)
        exact_m2 = (600 * 50 + 40 * 250) / 4 / 0.9996**2
        assert small.area_m2 == pytest.approx(exact_m2, rel=1e-4)

    @settings(max_examples=20)
    @given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from([LAWN, POOL]))
    def test_chips_change_nothing(self, seed: int, kind: Label) -> None:
        """Rectangles at random, in chips of 128 pixels and in one, for lots at random."""
        rng = np.random.default_rng(seed)
        pixels = np.full((1, 500, 500), 20, np.uint8)
        for column, row, width, height in rng.integers((0, 0, 3, 3), (450, 450, 200, 90), (9, 4)):
            pixels[:, row : row + height, column : column + width] = 200
        imagery = InMemory(pixels, frame(), LEFT, TOP)
        sizes = rng.uniform((0, 0, 20, 20), (250, 250, 240, 240), (3, 4))
        lots = [boundary(at(*size)) for size in sizes]
        cut, whole = ThresholdSegmenter(100, 128, 4), ThresholdSegmenter(100, 2048)
        for small, large in zip(
            Detector(cut).detect(lots, imagery, [kind]),
            Detector(whole).detect(lots, imagery, [kind]),
            strict=True,
        ):
            areas = [sorted(d.area_m2 for d in each.detections) for each in (small, large)]
            # A corner that lies on a mask's own edge is not cut, elsewhere by an eighth of a pixel.
            corners_m2 = PIXEL_M**2 / 8 if kind == POOL else 0.0
            assert areas[0] == pytest.approx(areas[1], rel=1e-6, abs=4.01 * corners_m2)

    @settings(max_examples=10)
    @given(st.permutations(range(6)), st.integers(1, 6), st.integers(1, 4))
    def test_a_lots_result_does_not_depend_on_the_others(
        self, order: list[int], count: int, chips_at_once: int
    ) -> None:
        rng = np.random.default_rng(5)
        blocks = np.kron(rng.random((40, 40)) < 0.4, np.ones((12, 12))).astype(np.uint8)
        imagery = InMemory(200 * blocks[None], frame(), LEFT, TOP)
        places = [
            (5, 5, 50, 50),
            (60, 5, 300, 40),
            (100, 50, 30, 30),
            (100, 80, 30, 300),
            (9, 9, 400, 400),
            (60, 20, 300, 45),
        ]
        lots = [boundary(at(*place)) for place in places]
        segmenter = ThresholdSegmenter(100, 128, chips_at_once)
        asked = [lots[i] for i in order[:count]]
        labels = [LAWN, POOL, replace(LABELS["tree"], simplify_share=0.05)]
        results = Detector(segmenter).detect(asked, imagery, labels)
        assert len(segmenter.chips) == len({chip.bounds for chip in segmenter.chips})
        for lot, result in zip(asked, results, strict=True):
            [alone] = Detector(ThresholdSegmenter(100, 128)).detect([lot], imagery, labels)
            assert result == alone

    def test_masks_are_dropped_after_the_last_plan(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path, (0, 0, 40, 40), size_px=1500)
        lots = [
            boundary(at(x, y, 60, 60)) for x in range(10, 1400, 70) for y in range(10, 1400, 140)
        ]
        alive: weakref.WeakSet[Mask] = weakref.WeakSet()
        most = 0

        class Counting(ThresholdSegmenter):
            def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
                nonlocal most
                most = max(most, len(alive))
                made = super().segment(chips, labels)
                alive.update(mask for masks in made for mask in masks)
                self.chips.clear()
                return made

        segmenter = Counting(100, 256)
        assert len(Detector(segmenter).detect(lots, imagery, [LAWN])) == len(lots)
        # Seven chips by seven: a row of them waits for the next, never all.
        assert 3 <= most <= 10
        assert not alive


class TestFirstChips:
    def test_the_first_chips_say_how_fast_it_goes(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path, size_px=1500)
        lots = [boundary(at(x + 90, 90, 20, 20)) for x in range(0, 1300, 224)]
        lots.append(boundary(at(90_000, 0, 20, 20)))
        told: list[FirstChips] = []
        detector = Detector(ThresholdSegmenter(100, 256, chips_at_once=4))
        for _ in detector.detect_iter(lots, imagery, [LAWN, POOL], on_first=told.append):
            pass
        [first] = told
        assert (first.device, first.chips, first.prompts) == ("the tests' own", 4, 2)
        assert (first.planned_chips, first.planned_lots) == (6, 6)
        assert first.seconds > 0

    def test_nothing_is_said_where_nothing_is_seen(self, tmp_path: Path) -> None:
        told: list[FirstChips] = []
        away = [boundary(at(90_000, 0, 20, 20))]
        detector = Detector(ThresholdSegmenter())
        found = detector.detect_iter(away, painted(tmp_path), [LAWN], on_first=told.append)
        assert [result.status for _, result in found] == ["no_imagery"]
        assert not told


class TestNoImagery:
    def test_no_imagery_is_not_nothing_found(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path)
        inside, outside = boundary(at(50, 50, 40, 40)), boundary(at(5000, 0, 40, 40))
        found, none = Detector(ThresholdSegmenter()).detect([inside, outside], imagery, [LAWN])
        assert (found.status, found.detections) == ("detected", ())
        assert found.chip is not None
        assert (none.status, none.reason) == ("no_imagery", "missing")
        assert none.detail
        assert none.chip is None

    def test_all_nodata(self, tmp_path: Path) -> None:
        path = write_tiff(tmp_path / "a.tif", np.zeros((3, 90, 90), np.uint8), nodata=0)
        result = only(Detector(ThresholdSegmenter()).detect(
            [boundary(at(5, 5, 40, 40))], LocalImagery(str(path)), [LAWN]
        ))  # fmt: skip
        assert (result.status, result.reason) == ("no_imagery", "nodata")

    def test_nodata_on_this_lot_only(self, tmp_path: Path) -> None:
        pixels = np.full((3, 90, 200), 200, np.uint8)
        pixels[:, :, 100:] = 0
        imagery = LocalImagery(str(write_tiff(tmp_path / "a.tif", pixels, nodata=0)))
        lots = [boundary(at(10, 10, 50, 50)), boundary(at(120, 10, 50, 50))]
        shown, dark = Detector(ThresholdSegmenter()).detect(lots, imagery, [LAWN])
        assert shown.status == "detected"
        assert (dark.status, dark.reason) == ("no_imagery", "nodata")

    def test_corrupt_on_this_lot_only(self, tmp_path: Path) -> None:
        write_tiff(tmp_path / "a.tif", noise(3, 90, 100))
        broken = write_tiff(tmp_path / "b.tif", noise(3, 90, 100), column=100)
        imagery = LocalImagery(str(tmp_path / "*.tif"))
        broken.write_bytes(broken.read_bytes()[:400])
        lots = [boundary(at(10, 10, 50, 50)), boundary(at(120, 10, 50, 50))]
        shown, lost = Detector(ThresholdSegmenter()).detect(lots, imagery, [LAWN])
        assert shown.status == "detected"
        assert (lost.status, lost.reason) == ("no_imagery", "corrupt")
        assert "b.tif" in lost.detail

    @pytest.mark.parametrize("shown_px", [10, 35, 49])
    def test_the_share_that_is_imaged(self, tmp_path: Path, shown_px: int) -> None:
        imagery = painted(tmp_path, (0, 0, 400, 400))
        lot = boundary(at(400 - shown_px, 100, 50, 50))
        result = only(Detector(ThresholdSegmenter()).detect([lot], imagery, [LAWN]))
        assert result.imaged_share == pytest.approx(shown_px / 50, abs=1e-9)
        [lawn] = result.detections
        assert lawn.area_m2 == pytest.approx(lot.area_m2 * shown_px / 50, rel=1e-4)

    def test_a_lot_smaller_than_a_pixel(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path)
        result = only(Detector(ThresholdSegmenter()).detect(
            [boundary(at(50.1, 50.1, 0.3, 0.3))], imagery, [LAWN]
        ))  # fmt: skip
        assert (result.status, result.imaged_share) == ("detected", 1.0)


class Failing(ThresholdSegmenter):
    """Fails on every batch that has a chip with this point of the tests' pictures, in pixels."""

    def __init__(self, error: Exception, column: int, row: int, chips_at_once: int = 1) -> None:
        super().__init__(chip_px=256, chips_at_once=chips_at_once)
        self.error = error
        self.point = shapely.Point(LEFT + column / 2, TOP - row / 2)

    def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        if any(box(*chip.bounds).contains(self.point) for chip in chips):
            raise self.error
        return super().segment(chips, labels)


class Misshapen(ThresholdSegmenter):
    """Answers with masks of another size."""

    def segment(self, _chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        small = np.ones((8, 8), np.float32)
        return [[Mask(label, small, small, (4, 4)) for label in labels]]


class Down:
    """Imagery that cannot be read."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def frame_for(self, _geometry: BaseGeometry) -> Frame:
        return frame()

    def read(self, _frame: Frame, _window: PixelWindow) -> Chip:
        raise self.error


class Partly:
    """Imagery that is bright, or not there, but for chips that begin right of pixel 100."""

    def __init__(self, error: Exception, *, dark: bool = False) -> None:
        self.error, self.dark = error, dark

    def frame_for(self, _geometry: BaseGeometry) -> Frame:
        return frame()

    def read(self, frame: Frame, window: PixelWindow) -> Chip:
        left, *_ = frame.bounds(window)
        if left >= LEFT + 50:
            raise self.error
        pixels = np.full((1, window.height, window.width), 200, np.uint8)
        shown = np.ones((window.height, window.width), bool)
        if self.dark:
            shown[:] = False
            shown[-1, 0] = True
        crs = CRS.from_user_input(frame.crs)
        return Chip(pixels, shown, frame.transform(window), crs, ("red",))


class TestFaults:
    @pytest.mark.parametrize(
        "error",
        [
            SegmenterError("no such prompt"),
            RuntimeError("CUDA error: out of memory"),
            MemoryError("no"),
            ValueError("shapes"),
        ],
    )
    def test_a_failing_segmenter_fails_its_chip_only(
        self, tmp_path: Path, error: Exception
    ) -> None:
        imagery = painted(tmp_path, (0, 0, 40, 40), (1400, 1400, 40, 40), size_px=1500)
        lots = [boundary(at(1400, 1400, 40, 40)), boundary(at(0, 0, 40, 40))]
        failed, found = Detector(Failing(error, 1420, 1420)).detect(lots, imagery, [LAWN])
        assert (failed.status, failed.reason) == ("failed", "segmenter")
        assert failed.detail == f"threshold failed: {error}"
        assert (found.status, len(found.detections)) == ("detected", 1)

    def test_a_failing_batch_is_tried_chip_by_chip(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path, (0, 0, 1500, 1500), size_px=1500)
        lots = [boundary(at(x + 90, y + 90, 20, 20)) for x in range(0, 1300, 224) for y in (0, 672)]
        segmenter = Failing(RuntimeError("out of memory"), 324, 100, chips_at_once=8)
        results = Detector(segmenter).detect(lots, imagery, [LAWN])
        assert [r.status for r in results] == ["detected"] * 2 + ["failed"] + ["detected"] * 9
        assert len(segmenter.chips) == len({chip.sha256 for chip in segmenter.chips}) == 11

    def test_a_failing_chip_fails_the_large_lots_that_need_it(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path, (0, 0, 900, 900), size_px=900)
        lots = [boundary(at(20, 20, 400, 60)), boundary(at(300, 90, 20, 20)),
                boundary(at(20, 100, 20, 20))]  # fmt: skip
        results = Detector(Failing(RuntimeError("no"), 324, 100)).detect(lots, imagery, [LAWN])
        assert [r.status for r in results] == ["failed", "failed", "detected"]

    def test_masks_of_another_size_fail_their_chip(self, tmp_path: Path) -> None:
        lot = boundary(at(5, 5, 40, 40))
        result = only(Detector(Misshapen()).detect([lot], painted(tmp_path), [LAWN]))
        assert (result.status, result.reason) == ("failed", "segmenter")
        assert "the mask of lawn is (8, 8)" in result.detail

    def test_a_server_that_is_down_is_unavailable(self) -> None:
        lot = boundary(at(5, 5, 40, 40))
        result = only(Detector(ThresholdSegmenter()).detect(
            [lot], Down(ImageryUnavailable("it is down")), [LAWN]
        ))  # fmt: skip
        assert (result.status, result.reason, result.detail) == (
            "unavailable",
            "imagery",
            "it is down",
        )

    def test_a_chip_that_a_server_does_not_give_defers_the_lots_that_need_it(self) -> None:
        imagery = Partly(ImageryUnavailable("it is down"))
        lots = [boundary(at(20, 20, 400, 60)), boundary(at(20, 100, 20, 20))]
        large, small = Detector(ThresholdSegmenter(100, 256)).detect(lots, imagery, [LAWN])
        assert (large.status, large.reason, large.detail) == (
            "unavailable", "imagery", "it is down",
        )  # fmt: skip
        assert (small.status, small.imaged_share) == ("detected", 1.0)

    def test_a_chip_without_imagery_leaves_its_part_of_a_lot_out(self) -> None:
        imagery = Partly(NoImagery("corrupt", "b.tif is broken", ("b.tif",)))
        lots = [boundary(at(20, 20, 400, 60)), boundary(at(100, 160, 130, 60))]
        large, lost = Detector(ThresholdSegmenter(100, 256)).detect(lots, imagery, [LAWN])
        # The chip on the left ends at pixel 176.
        assert large.status == "detected"
        assert large.imaged_share == pytest.approx(156 / 400, abs=1e-9)
        [lawn] = large.detections
        assert lawn.area_m2 == pytest.approx(156 * 60 / 4, rel=2e-3)
        assert lost.status == "detected"
        assert lost.imaged_share == pytest.approx(76 / 130, abs=1e-9)

    def test_what_could_not_be_read_is_named(self) -> None:
        imagery = Partly(NoImagery("corrupt", "b.tif is broken", ("b.tif",)), dark=True)
        lot = boundary(at(20, 20, 400, 60))
        result = only(Detector(ThresholdSegmenter(100, 256)).detect([lot], imagery, [LAWN]))
        assert (result.status, result.reason) == ("no_imagery", "corrupt")
        assert "b.tif" in result.detail

    @pytest.mark.parametrize("reason", ["missing", "corrupt", "nodata"])
    def test_reasons_of_imagery_are_kept(self, reason: Any) -> None:
        lot = boundary(at(5, 5, 40, 40))
        imagery: Imagery = Down(NoImagery(reason, "why"))
        result = only(Detector(ThresholdSegmenter()).detect([lot], imagery, [LAWN]))
        assert (result.status, result.reason, result.detail) == ("no_imagery", reason, "why")

    def test_imagery_that_is_configured_wrongly_stops_all(self) -> None:
        imagery = Down(ImageryError("wrong url"))
        with pytest.raises(ImageryError, match="wrong url"):
            Detector(ThresholdSegmenter()).detect([boundary(at(5, 5, 9, 9))], imagery, [LAWN])

    def test_a_label_that_the_segmenter_does_not_find(self, tmp_path: Path) -> None:
        roof = Label("roof", "roof", "discrete", 4.0)
        with pytest.raises(LabelError, match="threshold does not find 'roof': choose from lawn, "):
            Detector(ThresholdSegmenter()).detect([], painted(tmp_path), [LAWN, roof])

    def test_a_lot_too_large_stops_no_other(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path, (0, 0, 40, 40))
        lots = [boundary(at(0, 0, 9 * 1008, 9 * 1008)), boundary(at(0, 0, 40, 40))]
        refused, found = Detector(ThresholdSegmenter()).detect(lots, imagery, [LAWN])
        assert (refused.status, refused.reason) == ("failed", "too_large")
        assert found.status == "detected"

    def test_a_lot_that_cannot_be_cut_fails_alone(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path, (0, 0, 80, 40))
        good = boundary(at(0, 0, 40, 40))
        corner = good.geometry.centroid.coords[0]
        flat = MultiPolygon([shapely.Polygon([corner] * 4)])
        bad = Boundary(flat, "lot", 0.0, "point", "a test")
        failed, found = Detector(ThresholdSegmenter()).detect([bad, good], imagery, [LAWN])
        assert (failed.status, failed.reason) == ("failed", "bad_geometry")
        assert found.status == "detected"

    def test_confidence_that_is_not_a_number(self, tmp_path: Path) -> None:
        class NotANumber(ThresholdSegmenter):
            def _masks(self, chip: Chip, label: Label) -> list[Mask]:
                mask = pixel_mask(label, chip.pixels[0] > self.threshold)
                return [replace(mask, confidence=np.full_like(mask.confidence, np.nan))]

        imagery = painted(tmp_path, (0, 0, 40, 40))
        [lawn] = only(
            Detector(NotANumber()).detect([boundary(at(0, 0, 40, 40))], imagery, [LAWN])
        ).detections
        assert lawn.score == 0.0
