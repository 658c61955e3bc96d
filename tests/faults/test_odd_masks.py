"""A segmenter with odd masks: NaN, none at all, ten thousand objects on a chip."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from rasters import ThresholdSegmenter, boundary, chip, pixel_grid
from shapely import box

from detection import Detector, Label, LotResult
from detection.chip import Chip
from detection.imagery.pixel_grid import PixelGrid, PixelWindow
from detection.segmenters.interface import Mask
from parcels import Boundary

POOL = Label("pool", "swimming pool", "discrete", 0.0)
LAWN = Label("lawn", "mowed grass lawn", "continuous", 4.0)
CELLS = 1008
# Memory for the 10,000 masks, and for their polygons and results.
CAP_MIB = 150


class Grey:
    """Grey imagery everywhere."""

    def grid_for(self, _geometry: object) -> PixelGrid:
        return pixel_grid()

    def read(self, shown: PixelGrid, window: PixelWindow) -> Chip:
        pixels = np.zeros((3, window.height, window.width), np.uint8)
        return chip(pixels, transform=shown.transform(window), crs=shown.crs)


class Odd(ThresholdSegmenter):
    """Returns these masks for each chip."""

    def __init__(self, masks: Callable[[], list[Mask]]) -> None:
        super().__init__()
        self._odd = masks

    def segment(self, chips: Sequence[Chip], _labels: Sequence[Label]) -> list[list[Mask]]:
        return [self._odd() for _ in chips]


def lot_of(column: int, row: int, width: int, height: int) -> Boundary:
    """A lot at this pixel window."""
    left, bottom, right, top = pixel_grid().bounds(PixelWindow(column, row, width, height))
    return boundary(box(left, bottom, right, top))


def found_by(
    masks: Callable[[], list[Mask]], lots: list[Boundary], label: Label
) -> list[LotResult]:
    return Detector(Odd(masks)).detect(lots, Grey(), [label])


def squares(count: int, step: int) -> list[Mask]:
    """Objects of 4 x 4 cells in rows over the chip, `step` cells apart."""
    field = np.full((6, 6), -1.0, np.float32)
    field[1:5, 1:5] = 1.0
    sure = np.full((6, 6), 0.9, np.float32)
    across = CELLS // step
    places = (divmod(number, across) for number in range(count))
    return [
        Mask(POOL, field, sure, (CELLS, CELLS), row * step, column * step) for row, column in places
    ]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_nan_mask_fails_its_lots(bad: float) -> None:
    field = np.ones((CELLS, CELLS), np.float32)
    field[500, 500] = bad
    masks = [Mask(LAWN, field, np.ones_like(field), field.shape)]
    [result] = found_by(lambda: masks, [lot_of(300, 300, 400, 400)], LAWN)
    assert (result.status, result.reason) == ("failed", "segmenter")
    assert "lawn has a field that is not finite" in result.detail


def test_no_masks_are_nothing_found() -> None:
    [result] = found_by(list, [lot_of(300, 300, 100, 100)], POOL)
    assert (result.status, result.detections) == ("detected", ())


def test_ten_thousand_objects_on_a_chip_use_bounded_memory() -> None:
    lots = [lot_of(104 + 80 * x, 104 + 80 * y, 80, 80) for x in range(10) for y in range(10)]
    tracemalloc.start()
    results = found_by(lambda: squares(10_000, 10), lots, POOL)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak / 2**20 < CAP_MIB
    # The lot lines are between them.
    assert {len(result.detections) for result in results} == {64}
    assert {d.relation for result in results for d in result.detections} == {"belongs"}


def test_ten_thousand_objects_over_a_seam_use_bounded_memory() -> None:
    tracemalloc.start()
    [result] = found_by(lambda: squares(10_000, 10), [lot_of(300, 300, 1200, 200)], POOL)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak / 2**20 < CAP_MIB
    assert result.status == "detected"
    assert result.detections
