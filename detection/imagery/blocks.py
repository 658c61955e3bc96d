"""Downsamples a file by block means, using its overviews where they align and nothing is hidden.

A county flown at 7.5 cm has sixteen times the pixels that a segmenter needs. Overviews are
averaged already; without them the mean is computed here, so that no pixel is skipped.

An overview mixes hidden pixels with others, or not, as the tool that made it pleased, and its mask
may be missing or coarser. So windows in which anything may be hidden are read at full resolution.
"""

from __future__ import annotations

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.io import DatasetReader

from detection.imagery.bands import mask_index
from detection.imagery.fill import window_of
from detection.imagery.nodata import Nodata, may_be_hidden, valid_pixels
from detection.imagery.pixel_grid import PixelWindow

# A block with a lower fraction of valid pixels is invalid: another file may cover it.
_MIN_VALID_FRACTION = 0.5
# Full-resolution pixels that are downsampled at once.
_CHUNK_PIXELS = 16_000_000

_Read = tuple[NDArray[np.generic], NDArray[np.bool_]]


def read_blocks(
    dataset: DatasetReader,
    indexes: list[int],
    part: PixelWindow,
    factor: int,
    nodata: Nodata = None,
) -> _Read:
    """Pixels (bands, height, width) and valid mask; each pixel is a `factor` x `factor` block.

    Args:
        indexes: the 1-based bands.
        part: in the file's pixels; complete blocks, which may extend beyond the file.
        nodata: the entry's, which overrules the file (see `nodata.valid_pixels`).

    Raises:
        rasterio.errors.RasterioError: the file cannot be read.
    """
    file = PixelWindow(0, 0, dataset.width, dataset.height)
    shown = part.intersection(file)
    if shown is None:
        raise ValueError(f"{part} is outside {dataset.name}")
    if factor == 1:
        return _read(dataset, indexes, shown, nodata)
    level, step = _overview(dataset, indexes, part, factor)
    pixels = None if level is None else _from_overview(dataset, level, step, indexes, shown, nodata)
    if pixels is not None:
        shown, part = shown.zoom_out(step), part.zoom_out(step)
        valid = np.ones(pixels.shape[1:], bool)
        return (
            (pixels, valid)
            if factor == step
            else _means(pixels, valid, shown, part, factor // step)
        )
    found = []
    height = factor * max(1, _CHUNK_PIXELS // (part.width * factor))
    for row in range(part.row, part.row + part.height, height):
        rows = min(height, part.row + part.height - row)
        chunk = PixelWindow(part.column, row, part.width, rows)
        shown = chunk.intersection(file)
        if shown is None:
            raise ValueError(f"{part} has blocks outside {dataset.name}")
        found.append(_means(*_read(dataset, indexes, shown, nodata), shown, chunk, factor))
    return (
        np.concatenate([pixels for pixels, _ in found], axis=1),
        np.concatenate([valid for _, valid in found]),
    )


def _overview(
    dataset: DatasetReader, indexes: list[int], part: PixelWindow, factor: int
) -> tuple[int | None, int]:
    """The coarsest overview whose pixels align with the blocks: its level and its factor.

    Where a side is not a multiple of the factor, GDAL stretches the overview, which would shift it.
    """
    sides = (factor, part.column, part.row, dataset.width, dataset.height)
    alpha = mask_index(dataset, indexes)
    levels = {tuple(dataset.overviews(i)) for i in (*indexes, *([alpha] if alpha else ()))}
    if len(levels) > 1:  # bands with different overviews: a level means several things
        return None, 1
    aligned = [
        (step, level)
        for level, step in enumerate(levels.pop())
        if all(side % step == 0 for side in sides)
    ]
    step, level = max(aligned, default=(1, None))
    return level, step


def _from_overview(
    dataset: DatasetReader,
    level: int,
    step: int,
    indexes: list[int],
    shown: PixelWindow,
    nodata: Nodata,
) -> NDArray[np.generic] | None:
    """An overview's pixels of a window; None if anything in it or beside it may be hidden."""
    with rasterio.open(dataset.name, driver=dataset.driver, overview_level=level) as overview:
        window = shown.zoom_out(step)
        around = window.pad(1).intersection(PixelWindow(0, 0, overview.width, overview.height))
        if around is None or may_be_hidden(dataset, overview, indexes, around, nodata):
            return None
        return np.asarray(overview.read(indexes, window=window_of(window)))


def _read(dataset: DatasetReader, indexes: list[int], part: PixelWindow, nodata: Nodata) -> _Read:
    pixels = dataset.read(indexes, window=window_of(part))
    return pixels, valid_pixels(dataset, indexes, pixels, part, nodata)


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
