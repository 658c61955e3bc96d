"""Downsamples a file by block means, using its overviews where they align.

A county flown at 7.5 cm has sixteen times the pixels that a segmenter needs. Overviews are
averaged already; without them the mean is computed here, so that no pixel is skipped.
"""

from __future__ import annotations

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window

from detection.imagery.nodata import valid_pixels
from detection.imagery.pixel_grid import PixelWindow

# A block with a lower fraction of valid pixels is invalid: another file may cover it.
_MIN_VALID_FRACTION = 0.5

_Read = tuple[NDArray[np.generic], NDArray[np.bool_]]


def read_blocks(
    dataset: DatasetReader, indexes: list[int], part: PixelWindow, factor: int
) -> _Read:
    """Pixels (bands, height, width) and valid mask; each pixel is a `factor` x `factor` block.

    Args:
        indexes: the 1-based bands.
        part: in the file's pixels; complete blocks, which may extend beyond the file.

    Raises:
        rasterio.errors.RasterioError: the file cannot be read.
    """
    shown = part.intersection(PixelWindow(0, 0, dataset.width, dataset.height))
    if shown is None:
        raise ValueError(f"{part} is outside {dataset.name}")
    level, step = _overview(dataset, part, factor)
    if level is None:
        pixels, valid = _read(dataset, indexes, shown)
    else:
        with rasterio.open(dataset.name, driver=dataset.driver, overview_level=level) as overview:
            shown = shown.zoom_out(step)
            pixels, valid = _read(overview, indexes, shown)
    if factor == step:
        return pixels, valid
    return _means(pixels, valid, shown, part.zoom_out(step), factor // step)


def _overview(dataset: DatasetReader, part: PixelWindow, factor: int) -> tuple[int | None, int]:
    """The coarsest overview whose pixels align with the blocks: its level and its factor.

    Where a side is not a multiple of the factor, GDAL stretches the overview, which would shift it.
    """
    sides = (factor, part.column, part.row, dataset.width, dataset.height)
    aligned = [
        (step, level)
        for level, step in enumerate(dataset.overviews(1))
        if all(side % step == 0 for side in sides)
    ]
    step, level = max(aligned, default=(1, None))
    return level, step


def _read(dataset: DatasetReader, indexes: list[int], part: PixelWindow) -> _Read:
    window = Window(part.column, part.row, part.width, part.height)
    pixels = dataset.read(indexes, window=window)
    return pixels, valid_pixels(dataset, indexes, pixels, window)


def _means(
    pixels: NDArray[np.generic],
    valid: NDArray[np.bool_],
    shown: PixelWindow,
    full: PixelWindow,
    side: int,
) -> _Read:
    """Mean of the valid pixels of each block of `full`, of which only `shown` has pixels."""
    at = shown.slices_in(full)
    rows, columns = full.height // side, full.width // side

    def sums(values: NDArray[np.generic]) -> NDArray[np.float64]:
        padded = np.zeros((full.height, full.width), values.dtype)
        padded[at] = values
        blocks = padded.reshape(rows, side, columns, side)
        return np.asarray(blocks.sum(axis=(1, 3), dtype=np.float64))

    counts = sums(valid)
    means = np.zeros((len(pixels), rows, columns), pixels.dtype)
    for mean, band in zip(means, pixels, strict=True):
        values = sums(np.where(valid, band, np.zeros((), band.dtype))) / np.maximum(counts, 1)
        mean[...] = np.rint(values) if np.issubdtype(pixels.dtype, np.integer) else values
    return means, counts >= _MIN_VALID_FRACTION * side**2
