"""A few small windows of a mosaic's files, from which its bands are judged.

Which windows are read depends on the files alone, so every process judges alike. Their number is
bounded: a mosaic of 10,000 files costs as much as one of 64. Of a remote file one overview is read,
which the search for fill reads too, or without any one window.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from detection.imagery.nodata import are_numbers

log = logging.getLogger(__name__)

MAX_FILES, MAX_REMOTE_FILES = 64, 8
_WINDOW_PX = 64
_MAX_WINDOWS = 256
_OVERVIEW_PX = 512
# Windows in a row and a column of one file: a small mosaic is looked at more closely.
_MOST_PLACES, _FEWEST_PLACES = 4, 2
_REMOTE = ("/vsi", "http:", "https:", "s3:")


@dataclass(frozen=True, eq=False)
class BandSample:
    """One window of one file.

    Attributes:
        pixels: (bands, height, width) float32: the file's pixels, not scaled.
        valid: (height, width) bool: not nodata, not masked, and not black in every colour.
    """

    path: str
    pixels: NDArray[np.float32]
    valid: NDArray[np.bool_]

    def textured(self) -> BandSample:
        """Only pixels that differ from their neighbours.

        Others are undeclared fill, whose sharp edges would be detail of all bands, or drawn.
        """
        flat = np.zeros(self.valid.shape, bool)
        right = (self.pixels[:, :, 1:] == self.pixels[:, :, :-1]).all(axis=0)
        below = (self.pixels[:, 1:] == self.pixels[:, :-1]).all(axis=0)
        flat[:, 1:] |= right
        flat[:, :-1] |= right
        flat[1:] |= below
        flat[:-1] |= below
        return BandSample(self.path, self.pixels, self.valid & ~flat)


def spread(paths: Sequence[str]) -> list[str]:
    """The files to look at: evenly spread, fewer if they are remote."""
    most = MAX_REMOTE_FILES if any(path.startswith(_REMOTE) for path in paths) else MAX_FILES
    if len(paths) <= most:
        return list(paths)
    places = np.linspace(0, len(paths) - 1, most).round().astype(int)
    return [paths[place] for place in places]


def read_samples(
    path: str, indexes: Sequence[int], files: int, open_file: Callable[[str], DatasetReader]
) -> list[BandSample]:
    """The windows of a file; fewer where it cannot be read.

    Args:
        indexes: the 1-based bands.
        files: how many files share the budget of windows.
    """
    most = int(np.sqrt(_MAX_WINDOWS / files))
    places = min(max(most, _FEWEST_PLACES), _MOST_PLACES)
    is_remote = path.startswith(_REMOTE)
    samples = []
    try:
        with open_file(path) as dataset:
            shape = _overview_shape(dataset) if is_remote else None
            whole = Window(0, 0, dataset.width, dataset.height)
            windows = [whole] if shape else _windows(dataset, 1 if is_remote else places)
            for window in windows:
                try:
                    samples.append(_sample(path, dataset, list(indexes), window, shape))
                except RasterioError as error:  # a damaged part; lots on it report it
                    log.debug("%s: a sample cannot be read: %s", path, error)
    except RasterioError as error:
        log.debug("%s: no sample can be read: %s", path, error)
    return samples


def _overview_shape(dataset: DatasetReader) -> tuple[int, int] | None:
    """(height, width) of the finest small overview; None if there is none."""
    longest = max(dataset.width, dataset.height)
    steps = [step for step in dataset.overviews(1) if longest / step <= _OVERVIEW_PX]
    return (-(-dataset.height // min(steps)), -(-dataset.width // min(steps))) if steps else None


def _windows(dataset: DatasetReader, places: int) -> list[Window]:
    """Windows at the centres of `places` x `places` equal parts of a file."""

    def spans(length: int) -> list[tuple[int, int]]:
        if length <= places * _WINDOW_PX:
            return [(0, length)]
        centres = (np.arange(places) + 0.5) * length / places
        return [(int(centre) - _WINDOW_PX // 2, _WINDOW_PX) for centre in centres]

    return [
        Window(left, top, width, height)
        for top, height in spans(dataset.height)
        for left, width in spans(dataset.width)
    ]


def _sample(
    path: str,
    dataset: DatasetReader,
    indexes: list[int],
    window: Window,
    shape: tuple[int, int] | None = None,
) -> BandSample:
    out_shape = None if shape is None else (len(indexes), *shape)
    pixels = dataset.read(indexes, window=window, out_shape=out_shape)
    valid = pixels[:3].any(axis=0)
    numbers = are_numbers(pixels)
    # A window of one colour is fill, and would make a mask of a fourth band.
    valid &= numbers & bool((pixels != pixels[:, :1, :1]).any())
    flags = dataset.mask_flag_enums[0]
    if dataset.nodata is not None:
        valid &= (pixels != dataset.nodata).any(axis=0)
    elif MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
        valid &= dataset.read_masks(1, window=window, out_shape=shape) > 0
    plain = np.where(numbers, pixels, np.zeros((), pixels.dtype)).astype(np.float32)
    return BandSample(path, plain, valid)
