"""Click to mask on lots: which chip is asked, what of the mask counts, and whose imagery it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from rasterio.enums import ColorInterp
from rasters import LEFT, TOP, boundary, write_tiff
from shapely import Point, box

from detection.chip import Chip
from detection.click_to_mask import ClickToMask
from detection.detector import Detector
from detection.errors import ImageryChanged
from detection.imagery.geotiff_mosaic import GeoTiffMosaic
from detection.imagery.pixel_grid import PixelGrid
from detection.labels import Label
from detection.segmenters.interface import BoxPrompt, ClickPrompt, Mask
from parcels.boundary import Boundary

GRID = PixelGrid("EPSG:32616", 1.0)
COLOURS = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
LAWN = Label("lawn", "grass", "continuous", 4.0)
SIDE = 200


class BrightPixels:
    """Everything bright is the object; it notes what it was asked."""

    name = "bright-1"
    weights_sha256: str | None = None
    labels: tuple[str, ...] | None = None
    gsd_m: float | None = None
    chips_per_batch = 1
    device = "no device"

    def __init__(self, chip_px: int = 256) -> None:
        self.chip_px = chip_px
        self.asked: list[tuple[Chip, ClickPrompt | BoxPrompt]] = []

    def prepare(self, labels: Sequence[Label]) -> None:
        """Nothing to prepare."""

    def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        return [[_bright(chip, label) for label in labels] for chip in chips]

    def mask_at(self, chip: Chip, label: Label, prompt: ClickPrompt | BoxPrompt) -> Mask | None:
        self.asked.append((chip, prompt))
        mask = _bright(chip, label)
        return mask if (mask.field > 0).any() else None


def _bright(chip: Chip, label: Label) -> Mask:
    field = np.where(chip.pixels[0] > 200, 5.0, -5.0).astype(np.float32)
    return Mask(label, field, np.full_like(field, 0.9), field.shape)


@pytest.fixture
def imagery(tmp_path: Path) -> GeoTiffMosaic:
    return _imagery(tmp_path, slice(20, 40))


def _imagery(folder: Path, rows: slice) -> GeoTiffMosaic:
    """Dark, with bright ground of 20 m x 60 m from 30 m east."""
    pixels = np.full((3, SIDE, SIDE), 60, np.uint8)
    pixels[:, rows, 30:90] = 250
    place = Affine(1, 0, LEFT, 0, -1, TOP)
    write_tiff(folder / "here.tif", pixels, colours=COLOURS, transform=place)
    return GeoTiffMosaic(str(folder / "here.tif"))


def _lot(left: float, top: float, width: float, height: float) -> Boundary:
    return boundary(box(LEFT + left, TOP - top - height, LEFT + left + width, TOP - top))


def _at(left: float, top: float) -> Point:
    return GRID.to_lonlat(Point(LEFT + left, TOP - top))


def test_it_is_what_a_run_measures(imagery: GeoTiffMosaic) -> None:
    segmenter = BrightPixels()
    lot = _lot(10, 10, 50, 50)
    [[measured]] = [
        result.detections for result in Detector(segmenter).detect([lot], imagery, [LAWN])
    ]
    found = ClickToMask(segmenter, imagery).object_at(lot, LAWN, _at(40, 30))
    assert found == measured
    assert found is not None
    assert found.relation == "trimmed"
    assert found.clipped_area_m2 == pytest.approx(20 * 30, rel=0.02)


def test_the_prompt_is_in_pixels_of_the_chip(imagery: GeoTiffMosaic) -> None:
    segmenter = BrightPixels()
    clicks = ClickToMask(segmenter, imagery)
    lot = _lot(10, 10, 50, 50)
    clicks.object_at(lot, LAWN, _at(40.25, 30.5))
    drawn = GRID.to_lonlat(box(LEFT + 30, TOP - 40, LEFT + 60, TOP - 20))
    clicks.object_at(lot, LAWN, drawn)
    (chip, click), (_, framed) = segmenter.asked
    assert isinstance(click, ClickPrompt)
    assert chip.pixels[0, int(click.y), int(click.x)] == 250
    assert isinstance(framed, BoxPrompt)
    assert framed.right - framed.left == pytest.approx(30, abs=0.1)
    assert framed.left < click.x < framed.right
    assert framed.top < click.y < framed.bottom


def test_a_chip_is_read_once(imagery: GeoTiffMosaic, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    read = GeoTiffMosaic.read
    monkeypatch.setattr(
        GeoTiffMosaic, "read", lambda self, *key: reads.append(key) or read(self, *key)
    )
    clicks = ClickToMask(BrightPixels(), imagery)
    lot = _lot(10, 10, 50, 50)
    for _ in range(3):
        clicks.object_at(lot, LAWN, _at(40, 30))
    assert len(reads) == 1


def test_far_from_the_object_there_is_nothing(imagery: GeoTiffMosaic) -> None:
    clicks = ClickToMask(BrightPixels(), imagery)
    assert clicks.object_at(_lot(10, 10, 50, 50), LAWN, _at(15, 55)) is None
    assert clicks.object_at(_lot(120, 120, 50, 50), LAWN, _at(140, 140)) is None


def test_a_lot_of_several_chips_is_asked_on_the_nearest(imagery: GeoTiffMosaic) -> None:
    segmenter = BrightPixels(chip_px=64)
    clicks = ClickToMask(segmenter, imagery)
    lot = _lot(5, 5, 180, 180)
    found = clicks.object_at(lot, LAWN, _at(40, 30))
    assert found is not None
    [(chip, click)] = segmenter.asked
    assert isinstance(click, ClickPrompt)
    assert (chip.width, chip.height) == (64, 64)
    assert 0 <= click.x < 64
    assert 0 <= click.y < 64
    assert found.geometry.covers(_at(40, 30))
    assert 0 < found.area_m2 <= 20 * 60


@pytest.mark.parametrize("chip_px", [256, 64])
def test_other_imagery_than_that_of_the_measurement_is_refused(
    tmp_path: Path, chip_px: int
) -> None:
    segmenter = BrightPixels(chip_px)
    lot = _lot(10, 10, 100, 100)
    imagery = _imagery(tmp_path, slice(20, 40))
    [measured] = Detector(segmenter).detect([lot], imagery, [LAWN])
    assert measured.chip is not None
    sha256 = measured.chip.sha256
    clicks = ClickToMask(segmenter, imagery)
    assert clicks.object_at(lot, LAWN, _at(40, 30), sha256) is not None
    changed = ClickToMask(segmenter, _imagery(tmp_path, slice(20, 41)))
    with pytest.raises(ImageryChanged, match="--again"):
        changed.object_at(lot, LAWN, _at(40, 30), sha256)
    assert changed.object_at(lot, LAWN, _at(40, 30)) is not None
