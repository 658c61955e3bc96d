"""At the edge of the imagery the segmenter sees a chip inside, and results stay in their place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasters import LEFT, PIXEL_M, TOP, ThresholdSegmenter, boundary, pixel_mask, smooth, write_tiff
from shapely import box

from detection import Detector
from detection.chip import Chip
from detection.edge_view import masks_on_chip, view_window
from detection.imagery import GeoTiffMosaic
from detection.imagery.pixel_grid import PixelGrid, PixelWindow
from detection.labels import LABELS
from detection.segmenters.interface import Mask

_STARTS = st.integers(-400, 400)


@given(_STARTS, _STARTS, st.integers(1, 20), st.integers(1, 600), st.integers(1, 600))
def test_a_view_shows_what_the_chip_does_and_as_much_imagery_as_it_can(
    column: int, row: int, step: int, width: int, height: int
) -> None:
    chip, extent = (
        PixelWindow(column, row, 16 * step, 16 * step),
        PixelWindow(0, 0, width, height),
    )
    visible = chip.intersection(extent)
    view = view_window(chip, extent)
    assert (view.width, view.height) == (chip.width, chip.height)
    assert (view.column - chip.column) % step == (view.row - chip.row) % step == 0
    if visible is None:
        return
    assert view.contains(visible)
    seen = view.intersection(extent)
    assert seen is not None
    for side, of_extent in ((seen.width, width), (seen.height, height)):
        assert side > min(of_extent, 16 * step) - step


def test_a_chip_inside_is_its_own_view() -> None:
    window = PixelWindow(10, 0, 64, 64)
    assert view_window(window, PixelWindow(0, 0, 100, 64)) == window


class _WithoutExtent:
    """Imagery whose extent is unknown, as a server's is."""

    def __init__(self, files: GeoTiffMosaic) -> None:
        self._files = files
        self.notes = files.notes
        self.bands = files.bands
        self.grid_for = files.grid_for

    def read(self, grid: PixelGrid, window: PixelWindow) -> Chip:
        return self._files.read(grid, window)


@pytest.mark.parametrize("corner", ["upper left", "lower right", "inside"])
def test_masks_of_a_view_are_where_those_of_the_chip_are(tmp_path: Path, corner: str) -> None:
    imagery = GeoTiffMosaic(str(write_tiff(tmp_path / "a.tif", smooth(1, 150, 170))))
    column, row = {"upper left": (0, 0), "lower right": (132, 118), "inside": (60, 60)}[corner]
    x, y = LEFT + column * PIXEL_M, TOP - row * PIXEL_M
    lot = boundary(box(x, y - 16, x + 19, y))
    labels = [LABELS["lawn"], LABELS["pool"]]
    segmenter, plain = ThresholdSegmenter(130, chip_px=64), ThresholdSegmenter(130, chip_px=64)
    [found] = Detector(segmenter).detect([lot], imagery, labels)
    [expected] = Detector(plain).detect([lot], _WithoutExtent(imagery), labels)

    assert len(segmenter.chips) == len(plain.chips)
    assert all(chip.valid.mean() > 0.85 for chip in segmenter.chips)
    at_edge = corner != "inside"
    assert (min(chip.valid.mean() for chip in plain.chips) < 0.85) == at_edge
    assert found.chip == expected.chip
    # Beyond the imagery a fake finds nothing, so that its outlines cut a corner at the edge.
    assert found.areas_m2 == pytest.approx(expected.areas_m2, rel=2e-3 if at_edge else 1e-12)
    assert {"lawn", "pool"} == {detection.label for detection in found.detections}
    for one, other in zip(found.detections, expected.detections, strict=True):
        assert one.label == other.label
        difference = one.geometry.symmetric_difference(other.geometry)
        assert difference.area <= (5e-3 * one.geometry.area if at_edge else 0)


def test_objects_beside_the_chip_are_left_out() -> None:
    inside = np.ones((4, 4), bool)
    pools = [
        pixel_mask(LABELS["pool"], inside, (32, 32), slice(at, None), slice(at, None))
        for at in (0, 8, 20)
    ]
    view, window = PixelWindow(8, 8, 32, 32), PixelWindow(0, 0, 32, 32)
    moved = masks_on_chip(pools, view, window)
    assert [(mask.row, mask.column) for mask in moved] == [(8, 8), (16, 16), (28, 28)]
    assert masks_on_chip(pools, PixelWindow(-24, 0, 32, 32), window) == []
    assert masks_on_chip([], view, window) == []


def test_masks_on_another_grid_are_refused() -> None:
    odd = Mask(LABELS["lawn"], np.ones((9, 9), np.float32), np.ones((9, 9), np.float32), (9, 9))
    with pytest.raises(ValueError, match="multiples of 16"):
        masks_on_chip([odd], PixelWindow(2, 0, 32, 32), PixelWindow(0, 0, 32, 32))
