"""From a file's pixels to the values of its bands: scale and offset applied."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection.errors import ImageryError
from detection.imagery.band_layout import BandLayout, NamedBands


@dataclass(frozen=True, slots=True)
class BandValues:
    """How bands are read.

    Attributes:
        indexes: the 1-based bands to read.
        dtype: of the values: float32 if scaled, else the file's.
        scales, offsets: of each of these bands; empty where the values are the pixels.
    """

    indexes: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()

    @classmethod
    def of(cls, layout: BandLayout, bands: NamedBands, path: str) -> BandValues:
        """How the bands of a file are read.

        Raises:
            ImageryError: a scale of 0, or one that is not a number.
        """
        scales = tuple(layout.scales[index - 1] for index in bands.indexes)
        offsets = tuple(layout.offsets[index - 1] for index in bands.indexes)
        if not np.isfinite([*scales, *offsets]).all() or 0 in scales:
            raise ImageryError(
                f"{path} has the scale {scales} and the offset {offsets}, which leaves no values. "
                "Correct them, for example with gdal_edit.py -scale 1 -offset 0"
            )
        if set(scales) == {1.0} and set(offsets) == {0.0}:
            return cls(bands.indexes, layout.dtypes[bands.indexes[0] - 1])
        return cls(bands.indexes, "float32", scales, offsets)

    def of_pixels(self, pixels: NDArray[np.generic]) -> NDArray[np.generic]:
        """The values of a file's pixels (bands, height, width): `pixel * scale + offset`."""
        if not self.scales:
            return pixels
        scales = np.array(self.scales)[:, None, None]
        offsets = np.array(self.offsets)[:, None, None]
        return np.asarray((pixels * scales + offsets).astype(np.float32))
