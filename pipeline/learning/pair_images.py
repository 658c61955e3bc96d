"""The files of a pair: the chip as a GeoTIFF without loss, masks as PNG of 0 and 255.

The same pixels always give the same bytes, so that files can be named by their content.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.features import rasterize
from rasterio.io import MemoryFile
from shapely.geometry.base import BaseGeometry

from detection.chip import Chip

BinaryMask = NDArray[np.bool_]


def chip_tiff(chip: Chip) -> bytes:
    """A GeoTIFF of all bands, in the imagery's data type; its mask says which pixels are valid."""
    predictor = 3 if np.issubdtype(chip.pixels.dtype, np.floating) else 2
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", width=chip.width, height=chip.height, count=len(chip.bands),
            dtype=chip.pixels.dtype, crs=chip.crs.to_wkt(), transform=chip.transform,
            compress="deflate", predictor=predictor, interleave="pixel", photometric="minisblack",
        ) as dataset:  # fmt: skip
            dataset.write(chip.pixels)
            dataset.descriptions = chip.bands
            dataset.write_mask(chip.valid)
        return bytes(memory.read())


def mask_png(mask: BinaryMask) -> bytes:
    """A PNG (height, width) of one band: 255 where the mask is true."""
    return gray_png(np.where(mask, np.uint8(255), np.uint8(0)))


def gray_png(values: NDArray[np.uint8]) -> bytes:
    """A PNG of one band with these values (height, width)."""
    height, width = values.shape
    with MemoryFile() as memory:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # it lies on the chip
            with memory.open(
                driver="PNG", width=width, height=height, count=1, dtype="uint8"
            ) as dataset:
                dataset.write(values, 1)
        return bytes(memory.read())


def mask_of_png(data: bytes) -> BinaryMask:
    """The mask (height, width) of `mask_png`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(io.BytesIO(data)) as dataset:
            return np.asarray(dataset.read(1) > 0, bool)


def pixels_of(
    shapes: Sequence[BaseGeometry], size: tuple[int, int], transform: Affine
) -> BinaryMask:
    """The pixels (height, width) whose centre is in one of the shapes, in the chip's CRS."""
    solid = [shape for shape in shapes if not shape.is_empty]
    if not solid:
        return np.zeros(size, bool)
    burnt = rasterize(solid, out_shape=size, transform=transform, dtype="uint8")
    return np.asarray(burnt, bool)
