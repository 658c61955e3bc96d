"""Imagery and segmenters that fail: only the lots that need them fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from pictures import at, only, painted
from pyproj import CRS
from rasters import (
    LEFT,
    TOP,
    ThresholdSegmenter,
    boundary,
    noise,
    pixel_grid,
    pixel_mask,
    write_tiff,
)
from shapely import MultiPolygon, box
from shapely.geometry.base import BaseGeometry

from detection import LABELS, Detector, Label
from detection.chip import Chip
from detection.errors import (
    ImageryError,
    ImageryUnavailable,
    LabelError,
    NoImagery,
    SegmenterError,
)
from detection.imagery import GeoTiffMosaic, ImagerySource
from detection.imagery.pixel_grid import PixelGrid, PixelWindow
from detection.segmenters.interface import Mask
from parcels.boundary import Boundary

LAWN = LABELS["lawn"]


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
            [boundary(at(5, 5, 40, 40))], GeoTiffMosaic(str(path)), [LAWN]
        ))  # fmt: skip
        assert (result.status, result.reason) == ("no_imagery", "nodata")

    def test_nodata_on_this_lot_only(self, tmp_path: Path) -> None:
        pixels = np.full((3, 90, 200), 200, np.uint8)
        pixels[:, :, 100:] = 0
        imagery = GeoTiffMosaic(str(write_tiff(tmp_path / "a.tif", pixels, nodata=0)))
        lots = [boundary(at(10, 10, 50, 50)), boundary(at(120, 10, 50, 50))]
        shown, dark = Detector(ThresholdSegmenter()).detect(lots, imagery, [LAWN])
        assert shown.status == "detected"
        assert (dark.status, dark.reason) == ("no_imagery", "nodata")

    def test_corrupt_on_this_lot_only(self, tmp_path: Path) -> None:
        write_tiff(tmp_path / "a.tif", noise(3, 90, 100))
        broken = write_tiff(tmp_path / "b.tif", noise(3, 90, 100), column=100)
        imagery = GeoTiffMosaic(str(tmp_path / "*.tif"))
        broken.write_bytes(broken.read_bytes()[:400])
        lots = [boundary(at(10, 10, 50, 50)), boundary(at(120, 10, 50, 50))]
        shown, lost = Detector(ThresholdSegmenter()).detect(lots, imagery, [LAWN])
        assert shown.status == "detected"
        assert (lost.status, lost.reason) == ("no_imagery", "corrupt")
        assert "b.tif" in lost.detail

    @pytest.mark.parametrize("shown_px", [10, 35, 49])
    def test_coverage_fraction(self, tmp_path: Path, shown_px: int) -> None:
        imagery = painted(tmp_path, (0, 0, 400, 400))
        lot = boundary(at(400 - shown_px, 100, 50, 50))
        result = only(Detector(ThresholdSegmenter()).detect([lot], imagery, [LAWN]))
        assert result.coverage_fraction == pytest.approx(shown_px / 50, abs=1e-9)
        [lawn] = result.detections
        assert lawn.area_m2 == pytest.approx(lot.area_m2 * shown_px / 50, rel=1e-4)

    def test_a_lot_smaller_than_a_pixel(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path)
        result = only(Detector(ThresholdSegmenter()).detect(
            [boundary(at(50.1, 50.1, 0.3, 0.3))], imagery, [LAWN]
        ))  # fmt: skip
        assert (result.status, result.coverage_fraction) == ("detected", 1.0)


class Failing(ThresholdSegmenter):
    """Fails on every batch with a chip that contains this pixel of the tests' imagery."""

    def __init__(self, error: Exception, column: int, row: int, chips_per_batch: int = 1) -> None:
        super().__init__(chip_px=256, chips_per_batch=chips_per_batch)
        self.error = error
        self.point = shapely.Point(LEFT + column / 2, TOP - row / 2)

    def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        if any(box(*chip.bounds).contains(self.point) for chip in chips):
            raise self.error
        return super().segment(chips, labels)


class Misshapen(ThresholdSegmenter):
    """Returns masks of a wrong size."""

    def segment(self, _chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        small = np.ones((8, 8), np.float32)
        return [[Mask(label, small, small, (4, 4)) for label in labels]]


class Down:
    """Imagery that cannot be read."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def grid_for(self, _geometry: BaseGeometry) -> PixelGrid:
        return pixel_grid()

    def read(self, _frame: PixelGrid, _window: PixelWindow) -> Chip:
        raise self.error


class Partly:
    """Imagery that is bright, or missing for chips that start right of pixel 100."""

    def __init__(self, error: Exception, *, dark: bool = False) -> None:
        self.error, self.dark = error, dark

    def grid_for(self, _geometry: BaseGeometry) -> PixelGrid:
        return pixel_grid()

    def read(self, pixel_grid: PixelGrid, window: PixelWindow) -> Chip:
        left, *_ = pixel_grid.bounds(window)
        if left >= LEFT + 50:
            raise self.error
        pixels = np.full((1, window.height, window.width), 200, np.uint8)
        shown = np.ones((window.height, window.width), bool)
        if self.dark:
            shown[:] = False
            shown[-1, 0] = True
        crs = CRS.from_user_input(pixel_grid.crs)
        return Chip(pixels, shown, pixel_grid.transform(window), crs, ("red",))


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

    def test_a_failing_batch_is_retried_chip_by_chip(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path, (0, 0, 1500, 1500), size_px=1500)
        lots = [boundary(at(x + 90, y + 90, 20, 20)) for x in range(0, 1300, 224) for y in (0, 672)]
        segmenter = Failing(RuntimeError("out of memory"), 324, 100, chips_per_batch=8)
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
        assert "the mask of lawn does not fit its grid of (4, 4): field (8, 8)" in result.detail

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

    def test_a_chip_that_a_server_fails_on_defers_its_lots(self) -> None:
        imagery = Partly(ImageryUnavailable("it is down"))
        lots = [boundary(at(20, 20, 400, 60)), boundary(at(20, 100, 20, 20))]
        large, small = Detector(ThresholdSegmenter(100, 256)).detect(lots, imagery, [LAWN])
        assert (large.status, large.reason, large.detail) == (
            "unavailable", "imagery", "it is down",
        )  # fmt: skip
        assert (small.status, small.coverage_fraction) == ("detected", 1.0)

    def test_a_chip_without_imagery_leaves_a_lot_partly_imaged(self) -> None:
        imagery = Partly(NoImagery("corrupt", "b.tif is broken", ("b.tif",)))
        lots = [boundary(at(20, 20, 400, 60)), boundary(at(100, 160, 130, 60))]
        large, lost = Detector(ThresholdSegmenter(100, 256)).detect(lots, imagery, [LAWN])
        # The chip on the left ends at pixel 176.
        assert large.status == "detected"
        assert large.coverage_fraction == pytest.approx(156 / 400, abs=1e-9)
        [lawn] = large.detections
        assert lawn.area_m2 == pytest.approx(156 * 60 / 4, rel=2e-3)
        assert lost.status == "detected"
        assert lost.coverage_fraction == pytest.approx(76 / 130, abs=1e-9)

    def test_unreadable_files_are_named(self) -> None:
        imagery = Partly(NoImagery("corrupt", "b.tif is broken", ("b.tif",)), dark=True)
        lot = boundary(at(20, 20, 400, 60))
        result = only(Detector(ThresholdSegmenter(100, 256)).detect([lot], imagery, [LAWN]))
        assert (result.status, result.reason) == ("no_imagery", "corrupt")
        assert "b.tif" in result.detail

    @pytest.mark.parametrize("reason", ["missing", "corrupt", "nodata"])
    def test_reasons_of_no_imagery_are_passed_on(self, reason: Any) -> None:
        lot = boundary(at(5, 5, 40, 40))
        imagery: ImagerySource = Down(NoImagery(reason, "why"))
        result = only(Detector(ThresholdSegmenter()).detect([lot], imagery, [LAWN]))
        assert (result.status, result.reason, result.detail) == ("no_imagery", reason, "why")

    def test_misconfigured_imagery_raises(self) -> None:
        imagery = Down(ImageryError("wrong url"))
        with pytest.raises(ImageryError, match="wrong url"):
            Detector(ThresholdSegmenter()).detect([boundary(at(5, 5, 9, 9))], imagery, [LAWN])

    def test_a_label_that_the_segmenter_cannot_detect(self, tmp_path: Path) -> None:
        roof = Label("roof", "roof", "discrete", 4.0)
        with pytest.raises(LabelError, match="threshold cannot detect 'roof', only lawn, "):
            Detector(ThresholdSegmenter()).detect([], painted(tmp_path), [LAWN, roof])

    def test_a_lot_that_is_too_large_does_not_stop_others(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path, (0, 0, 40, 40))
        lots = [boundary(at(0, 0, 9 * 1008, 9 * 1008)), boundary(at(0, 0, 40, 40))]
        refused, found = Detector(ThresholdSegmenter()).detect(lots, imagery, [LAWN])
        assert (refused.status, refused.reason) == ("failed", "too_large")
        assert found.status == "detected"

    def test_a_lot_that_cannot_be_clipped_fails_alone(self, tmp_path: Path) -> None:
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
