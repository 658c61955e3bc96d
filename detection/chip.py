"""A chip: one window of imagery, segmented once for all the lots in it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS

from detection.footage import Footage


@dataclass(frozen=True, eq=False)
class Chip:
    """Pixels of one window, with their georeference and provenance.

    Attributes:
        pixels: (bands, height, width), in the imagery's data type.
        valid: (height, width) bool; False where there is no usable pixel (nodata).
        transform: pixel (column, row) -> CRS (x, y) of the pixel's upper left corner.
        crs: projected, so that a pixel has a size in metres.
        bands: the name of each band: "red", "green", "blue", "nir", or "band5".
        captured_on: ISO 8601 date, interval or year; None where unknown.
        sources: the files, or the service, that the pixels come from.
        failed_sources: files that cover a part of it but could not be read.
        footage: which source each pixel comes from; None where only `sources` is known.
        view: what the segmenter sees instead of a chip that lies partly beyond the imagery: the
            chip moved inwards, of the same size; None for itself.
    """

    pixels: NDArray[np.generic]
    valid: NDArray[np.bool_]
    transform: Affine
    crs: CRS
    bands: tuple[str, ...]
    captured_on: str | None = None
    sources: tuple[str, ...] = ()
    failed_sources: tuple[str, ...] = ()
    footage: Footage | None = None
    view: Chip | None = None

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return int(self.pixels.shape[1])

    @property
    def width(self) -> int:
        """Columns of pixels."""
        return int(self.pixels.shape[2])

    @property
    def gsd_m(self) -> float:
        """Ground sample distance: the side of a pixel in metres (of the CRS)."""
        unit_m = float(self.crs.axis_info[0].unit_conversion_factor)
        return float(abs(self.transform.a)) * unit_m

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) in the chip's CRS."""
        left, top = self.transform @ (0, 0)
        right, bottom = self.transform @ (self.width, self.height)
        return (left, bottom, right, top)

    def band(self, name: str) -> NDArray[np.generic] | None:
        """The pixels (height, width) of the band with this name, or None."""
        return self.pixels[self.bands.index(name)] if name in self.bands else None

    @cached_property
    def sha256(self) -> str:
        """Hash of pixels, validity, position and bands: equal chips have equal hashes."""
        digest = hashlib.sha256(repr((self.pixels.shape, str(self.pixels.dtype))).encode())
        digest.update(repr((tuple(self.transform)[:6], self.crs.to_string(), self.bands)).encode())
        digest.update(np.ascontiguousarray(self.pixels).tobytes())
        digest.update(np.packbits(self.valid).tobytes())
        return digest.hexdigest()
