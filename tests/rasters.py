"""Small synthetic GeoTIFFs, boundaries and a segmenter for the tests of `detection`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.enums import ColorInterp
from scipy import ndimage
from shapely.geometry.base import BaseGeometry

from detection.chip import Chip
from detection.imagery.pixel_grid import PixelGrid
from detection.labels import Label
from detection.segmenters.interface import Mask
from parcels.boundary import Boundary
from parcels.measure import area_m2, polygonal

# The upper left corner of the tests' imagery: at the centre of UTM zone 16 north.
CRS_NAME = "EPSG:32616"
LEFT, TOP, PIXEL_M = 500_000.0, 3_880_000.0, 0.5


def noise(
    bands: int, height: int, width: int, seed: int = 0, dtype: str = "uint8"
) -> NDArray[np.generic]:
    """Random pixels (bands, height, width), never 0."""
    high = 256 if dtype == "uint8" else 4000
    rng = np.random.default_rng(seed)
    return rng.integers(1, high, (bands, height, width)).astype(dtype)


def smooth(bands: int, height: int, width: int) -> NDArray[np.uint8]:
    """Pixels that change slowly, so that their difference shows the size of a shift."""
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(rows / (9 + b)) + np.cos(columns / (7 + b)) for b in range(bands)]
    return (128 + 50 * np.stack(waves)).astype(np.uint8)


def write_tiff(
    path: Path,
    pixels: NDArray[np.generic],
    *,
    column: int = 0,
    row: int = 0,
    crs: str | None = CRS_NAME,
    transform: Affine | None = None,
    colours: Sequence[ColorInterp] | None = None,
    descriptions: Sequence[str] | None = None,
    mask: NDArray[np.bool_] | None = None,
    tags: dict[str, str] | None = None,
    **profile: Any,
) -> Path:
    """A GeoTIFF whose upper left pixel is pixel (column, row) of the tests' grid."""
    if transform is None:
        left, top = LEFT + column * PIXEL_M, TOP - row * PIXEL_M
        transform = Affine(PIXEL_M, 0, left, 0, -PIXEL_M, top)
    count, height, width = pixels.shape
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path,
            "w",
            driver="GTiff",
            count=count,
            height=height,
            width=width,
            dtype=pixels.dtype,
            crs=crs,
            transform=transform,
            **profile,
        ) as dataset,
    ):
        dataset.colorinterp = colours or [ColorInterp.gray] + [ColorInterp.undefined] * (count - 1)
        for index, text in enumerate(descriptions or (), start=1):
            dataset.set_band_description(index, text)
        dataset.update_tags(**(tags or {}))
        dataset.write(pixels)
        if mask is not None:
            dataset.write_mask(mask)
    return path


def pixel_grid() -> PixelGrid:
    """The grid of the tests' imagery, aligned with its upper left corner."""
    return PixelGrid(CRS_NAME, PIXEL_M, LEFT % PIXEL_M, TOP % PIXEL_M)


def boundary(geometry: BaseGeometry, crs: str = CRS_NAME) -> Boundary:
    """A lot of this geometry in a projected CRS."""
    lonlat = polygonal(PixelGrid(crs, 1.0).to_lonlat(geometry))
    return Boundary(lonlat, "lot", area_m2(lonlat), "parcel_id", "a test")


def chip(
    pixels: NDArray[np.generic],
    valid: NDArray[np.bool_] | None = None,
    *,
    transform: Affine | None = None,
    crs: str = CRS_NAME,
) -> Chip:
    """A chip in memory at the upper left corner of the tests' imagery."""
    return Chip(
        pixels,
        np.ones(pixels.shape[1:], bool) if valid is None else valid,
        transform or Affine(PIXEL_M, 0, LEFT, 0, -PIXEL_M, TOP),
        CRS.from_user_input(crs),
        tuple(f"band{index}" for index in range(1, len(pixels) + 1)),
    )


class ThresholdSegmenter:
    """A fake for tests: a label is wherever the first band is above a threshold."""

    name = "threshold"
    weights_sha256 = None
    labels: tuple[str, ...] | None = ("lawn", "tree", "pool")
    gsd_m: float | None = None
    device = "a test"

    def __init__(self, threshold: int = 100, chip_px: int = 1008, chips_per_batch: int = 1) -> None:
        self.threshold = threshold
        self.chip_px = chip_px
        self.chips_per_batch = chips_per_batch
        self.chips: list[Chip] = []

    def prepare(self, labels: Sequence[Label]) -> None:
        """Nothing to prepare."""

    def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        self.chips += chips
        return [[m for label in labels for m in self._masks(chip, label)] for chip in chips]

    def _masks(self, chip: Chip, label: Label) -> list[Mask]:
        """One mask of the full chip for a continuous label, one per object for a discrete one."""
        above = chip.pixels[0] > self.threshold
        if label.kind == "continuous":
            return [pixel_mask(label, above)]
        numbers, _ = ndimage.label(above)
        return [
            pixel_mask(label, numbers[rows, columns] == number, above.shape, rows, columns)
            for number, (rows, columns) in enumerate(ndimage.find_objects(numbers), start=1)
        ]


def pixel_mask(
    label: Label,
    inside: NDArray[np.bool_],
    cells: tuple[int, int] | None = None,
    rows: slice = slice(0, None),
    columns: slice = slice(0, None),
) -> Mask:
    """A mask with a field of 1 inside and -1 outside, on `rows` and `columns` of `cells`."""
    field = np.where(inside, 1, -1).astype(np.float32)
    confidence = np.full(inside.shape, 0.75, np.float32)
    return Mask(label, field, confidence, cells or field.shape, rows.start, columns.start)
