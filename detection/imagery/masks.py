"""What a file declares as no data: its alpha band, its mask, its nodata value."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader
from rasterio.windows import Window

from detection.imagery.bands import mask_index


def has_mask(dataset: DatasetReader, indexes: list[int]) -> bool:
    """Whether the file has a mask of its own: an alpha band, an internal mask or a .msk file."""
    return mask_index(dataset, indexes) is not None or _has_mask_band(dataset)


def mask_shown(
    dataset: DatasetReader, indexes: list[int], window: Window | None = None
) -> NDArray[np.bool_] | None:
    """(height, width): where the file's alpha band or mask shows a window; None without one."""
    alpha = mask_index(dataset, indexes)
    if alpha is not None:
        return np.asarray(dataset.read(alpha, window=window) > 0)
    if _has_mask_band(dataset):
        return np.asarray(dataset.read_masks(1, window=window) > 0)
    return None


def matches(
    pixels: NDArray[np.generic], colour: tuple[float, ...], tolerance: float = 0.0
) -> NDArray[np.bool_]:
    """(height, width): pixels (bands, height, width) within `tolerance` of a colour in every band.

    A colour of one value holds for all bands. NaN matches NaN.
    """
    values = colour * len(pixels) if len(colour) == 1 else colour
    found = np.ones(pixels.shape[1:], bool)
    for band, value in zip(pixels, values, strict=True):
        found &= _is_near(band, value, tolerance)
    return found


def _is_near(band: NDArray[Any], value: float, tolerance: float) -> NDArray[np.bool_]:
    if np.isnan(value):
        return np.asarray(np.isnan(band))
    low, high = value - tolerance, value + tolerance
    if band.dtype.kind in "iu" and np.isfinite(value):
        # Bounds as integers: with floats, numpy would compare copies of the band as float64.
        low, high = math.ceil(low), math.floor(high)
    if low == high:
        return np.asarray(band == low)
    return np.asarray((band >= low) & (band <= high))


def _has_mask_band(dataset: DatasetReader) -> bool:
    flags = dataset.mask_flag_enums[0]
    return MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags
