"""Boundaries and imagery -> results: areas, faults that stay where they are, and the counts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Geod
from rasters import CRS_NAME, LEFT, TOP, ThresholdSegmenter, boundary, frame, noise, write_tiff
from shapely import MultiPolygon, affinity, box
from shapely.geometry.base import BaseGeometry

from detection import LABELS, Detector, Label, LotResult
from detection.chip import Chip
from detection.clock import Clock
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
        assert lawn.area_m2 == lawn.clipped_area_m2 == lawn.whole_area_m2
        # A UTM metre is 0.9996 of a metre in the middle of its zone.
        assert lawn.area_m2 == pytest.approx(600 / 0.9996**2, rel=1e-5)
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
        assert left.whole_area_m2 == right.whole_area_m2
        assert left.area_m2 + right.area_m2 == pytest.approx(left.whole_area_m2, rel=1e-3)
        assert left.area_m2 + right.area_m2 == pytest.approx(left.whole_area_m2, rel=1e-7)

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
        [lawn] = result.detections
        assert lawn.area_m2 == pytest.approx(lot.area_m2, rel=1e-6)
        assert len(lawn.geometry.geoms) == 2
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

    def read(self, frame: Frame, _window: PixelWindow) -> Chip:
        shown = np.ones(self.pixels.shape[1:], bool)
        transform = frame.transform(self.place)
        return Chip(self.pixels, shown, transform, CRS.from_user_input(frame.crs), ("red",))


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
    """Fails on the first chip."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error: Exception | None = error

    def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        if self.error:
            error, self.error = self.error, None
            raise error
        return super().segment(chips, labels)


class Misshapen(ThresholdSegmenter):
    """Answers with masks of another size."""

    def segment(self, _chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        small = np.ones((8, 8), bool)
        return [[Mask(label, small, small.astype(np.float32)) for label in labels]]


class Down:
    """Imagery that cannot be read."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def frame_for(self, _geometry: BaseGeometry) -> Frame:
        return frame()

    def read(self, _frame: Frame, _window: PixelWindow) -> Chip:
        raise self.error


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
        failed, found = Detector(Failing(error)).detect(lots, imagery, [LAWN])
        assert (failed.status, failed.reason) == ("failed", "segmenter")
        assert failed.detail == f"threshold failed: {error}"
        assert (found.status, len(found.detections)) == ("detected", 1)

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
        lots = [boundary(at(0, 0, 9000, 9000)), boundary(at(0, 0, 40, 40))]
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
            def _mask(self, chip: Chip, label: Label) -> Mask:
                pixels = chip.pixels[0] > self.threshold
                return Mask(label, pixels, np.full(pixels.shape, np.nan, np.float32))

        imagery = painted(tmp_path, (0, 0, 40, 40))
        [lawn] = only(
            Detector(NotANumber()).detect([boundary(at(0, 0, 40, 40))], imagery, [LAWN])
        ).detections
        assert lawn.score == 0.0
