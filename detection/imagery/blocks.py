"""A file's pixels in blocks: the mean of each, through the file's overviews where they fit.

A county flown at 7.5 cm has sixteen times the pixels that a segmenter looks at. Overviews have
them averaged already; without them, the mean is taken here, so that nothing is skipped over.
"""

from __future__ import annotations

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window

from detection.imagery.nodata import valid_pixels
from detection.imagery.pixel_grid import PixelWindow

# A block of which less is shown says nothing: another file may show the rest of it.
_LEAST_SHARE = 0.5

_Read = tuple[NDArray[np.generic], NDArray[np.bool_]]


def read_blocks(
    dataset: DatasetReader, indexes: list[int], part: PixelWindow, factor: int
) -> _Read:
    """Pixels (bands, height, width) and their validity, one for `factor` x `factor` of the file's.

    Args:
        indexes: the 1-based bands.
        part: of the file's pixels, whole blocks that may reach beyond the file.

    Raises:
        rasterio.errors.RasterioError: the file cannot be read.
    """
    shown = part.intersection(PixelWindow(0, 0, dataset.width, dataset.height))
    if shown is None:
        raise ValueError(f"{part} shows nothing of {dataset.name}")
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
    """The coarsest overview whose pixels fill the blocks exactly: its level and its factor.

    Where a side is no multiple of the factor, GDAL stretches the overview: it would lie wrong.
    """
    sides = (factor, part.column, part.row, dataset.width, dataset.height)
    fitting = [
        (step, level)
        for level, step in enumerate(dataset.overviews(1))
        if all(side % step == 0 for side in sides)
    ]
    step, level = max(fitting, default=(1, None))
    return level, step


def _read(dataset: DatasetReader, indexes: list[int], part: PixelWindow) -> _Read:
    window = Window(part.column, part.row, part.width, part.height)
    pixels = dataset.read(indexes, window=window)
    return pixels, valid_pixels(dataset, indexes, pixels, window)


def _means(
    pixels: NDArray[np.generic],
    valid: NDArray[np.bool_],
    shown: PixelWindow,
    whole: PixelWindow,
    side: int,
) -> _Read:
    """Means of the valid pixels of each block of `whole`, of which only `shown` is known."""
    at = shown.slices_in(whole)
    rows, columns = whole.height // side, whole.width // side

    def sums(values: NDArray[np.generic]) -> NDArray[np.float64]:
        padded = np.zeros((whole.height, whole.width), values.dtype)
        padded[at] = values
        blocks = padded.reshape(rows, side, columns, side)
        return np.asarray(blocks.sum(axis=(1, 3), dtype=np.float64))

    counts = sums(valid)
    means = np.zeros((len(pixels), rows, columns), pixels.dtype)
    for mean, band in zip(means, pixels, strict=True):
        values = sums(np.where(valid, band, np.zeros((), band.dtype))) / np.maximum(counts, 1)
        mean[...] = np.rint(values) if np.issubdtype(pixels.dtype, np.integer) else values
    return means, counts >= _LEAST_SHARE * side**2
