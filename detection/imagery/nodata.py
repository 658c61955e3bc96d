"""Valid pixels: from declared masks and nodata values, and from undeclared black collars."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.features import sieve
from rasterio.io import DatasetReader
from rasterio.windows import Window

from detection.imagery.bands import mask_index

# Aerial tiles are often filled with zeros where nothing was flown, without declaring it. Patches
# of at least this size with zero in every band are such a collar; smaller ones are shadows and
# dead pixels, which are data.
MIN_COLLAR_PIXELS = 64


def valid_pixels(
    dataset: DatasetReader,
    indexes: list[int],
    pixels: NDArray[np.generic],
    window: Window | None = None,
) -> NDArray[np.bool_]:
    """(height, width) bool for `pixels` (bands, height, width): the bands `indexes` of a window.

    Uses the file's mask, else its nodata value (where every band has it), else large black
    patches. NaN and infinite values are never valid.
    """
    valid = np.ones(pixels.shape[1:], bool)
    if np.issubdtype(pixels.dtype, np.floating):
        valid &= np.isfinite(pixels).all(axis=0)
    alpha = mask_index(dataset, indexes)
    flags = dataset.mask_flag_enums[0]
    if alpha is not None:
        valid &= dataset.read(alpha, window=window) > 0
    elif MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
        valid &= dataset.read_masks(1, window=window) > 0
    elif dataset.nodata is not None:
        valid &= (pixels != dataset.nodata).any(axis=0)
    else:
        valid &= ~_black_collar(pixels)
    return valid


def _black_collar(pixels: NDArray[np.generic]) -> NDArray[np.bool_]:
    black: NDArray[np.bool_] = ~np.asarray(pixels.any(axis=0))
    if black.any():
        black &= sieve(black.astype(np.uint8), MIN_COLLAR_PIXELS) > 0
    return black
