"""Which pixels say something: declared nodata and alpha, and undeclared black collars."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rasterio.features import sieve
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

# Aerial tiles often fill what was not flown with zeros and declare nothing. A patch of pixels
# that are zero in every band is taken for such a fill from this size on; smaller ones are
# shadows and dead pixels, which are part of the picture.
MIN_COLLAR_PIXELS = 64


def valid_pixels(
    dataset: DatasetReader | WarpedVRT, pixels: NDArray[np.generic], window: Window | None
) -> NDArray[np.bool_]:
    """(height, width) bool for `pixels` (bands, height, width) read from a window."""
    valid = np.asarray(dataset.dataset_mask(window=window)) > 0
    if np.issubdtype(pixels.dtype, np.floating):
        valid &= np.isfinite(pixels).all(axis=0)
    if dataset.nodata is None:
        black = ~pixels.any(axis=0)
        if black.any():
            collar = sieve(black.astype(np.uint8), MIN_COLLAR_PIXELS).astype(bool)
            valid &= ~(collar & black)
    return valid
