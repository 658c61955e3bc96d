"""A picture without georeference as an imagery source: JPEG, PNG, WebP, GIF, BMP or TIFF.

It is read whole, upright as its EXIF orientation says, on a grid of its own pixels: one unit of
the grid is a metre of the stated, or assumed, ground sample distance.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader
from shapely.geometry.base import BaseGeometry

from detection.chip import Chip
from detection.errors import ImageryError, NoImagery
from detection.footage import Footage, SourceImage
from detection.image_detection.picture_file import check_complete, picture_driver, unused_parts
from detection.imagery.band_layout import BandLayout, declared_bands, marked_bands
from detection.imagery.palette import with_colours
from detection.imagery.pixel_grid import PixelGrid, PixelWindow
from detection.imagery.raster_file import open_raster

# A plane of pixels, which is nowhere on the Earth; in metres, so that its pixels have a size.
PHOTOGRAPH_CRS = CRS.from_wkt(
    'ENGCRS["pixels of a photograph",EDATUM["upper left corner"],CS[Cartesian,2],'
    'AXIS["(x)",east],AXIS["(y)",north],LENGTHUNIT["metre",1]]'
).to_wkt()
# A picture is in memory as a whole: a JPEG cannot be read from its middle.
_MAX_PIXELS = 250_000_000
_OPAQUE_FROM = 128
# Neither files beside the picture nor its metadata may make GDAL open anything else; and a
# truncated JPEG is an error, not grey.
_ENVIRONMENT = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "TRUE",
}


class Photograph:
    """The pixels of a picture, upright.

    Attributes:
        grid: of its own pixels, with the origin at its upper left corner.
        pixels: (bands, height, width).
        valid: (height, width) bool; False where it is transparent.
        bands: their names; `dtype`, the data type of the pixels.
        notes: what the file has that is not used, a sentence each.
    """

    def __init__(self, path: str, gsd_m: float, bands: tuple[str, ...] | None = None) -> None:
        """Read a picture.

        Args:
            gsd_m: the ground sample distance of its pixels.
            bands: names of its bands from the first; None to tell them from the file's marks.

        Raises:
            ImageryError: it is too large or incomplete, or `bands` does not fit.
            rasterio.errors.RasterioError: it cannot be read.
        """
        self.path = path
        with _opened(path) as dataset:
            if dataset.width * dataset.height > _MAX_PIXELS:
                raise ImageryError(
                    f"{path} has {dataset.width:,} x {dataset.height:,} pixels and no "
                    f"georeference; without one, an image may have {_MAX_PIXELS:,} pixels. Cut it "
                    "into parts, or give it its CRS and its corners: gdal_translate -of COG "
                    "-a_srs EPSG:… -a_ullr LEFT TOP RIGHT BOTTOM …"
                )
            layout = BandLayout.of(dataset)
            named = declared_bands(layout, bands, path) if bands else marked_bands(layout)
            self.bands = named.names
            pixels = dataset.read(list(named.indexes))
            valid = _opaque(dataset, named.indexes)
            turn = _orientation(dataset)
            notes = unused_parts(Path(path), dataset)
        self.pixels = np.ascontiguousarray(_upright(pixels, turn))
        self.valid = np.ascontiguousarray(_upright(valid, turn))
        self.dtype = str(self.pixels.dtype)
        self.notes = notes
        self.grid = PixelGrid(PHOTOGRAPH_CRS, gsd_m)

    @property
    def area(self) -> PixelWindow:
        """All of its pixels."""
        height, width = self.valid.shape
        return PixelWindow(0, 0, width, height)

    def grid_for(self, geometry: BaseGeometry) -> PixelGrid:  # noqa: ARG002 - it has one
        """Its grid."""
        return self.grid

    def read(self, grid: PixelGrid, window: PixelWindow) -> Chip:
        """The pixels of a window of its grid, or of one coarser by an integer factor.

        Raises:
            NoImagery: not one valid pixel ("nodata").
        """
        factor = round(grid.pixel_size / self.grid.pixel_size)
        pixels, valid = self.read_own(
            PixelWindow(*(factor * n for n in (window.column, window.row, window.width,
                                               window.height))),
            factor,
        )  # fmt: skip
        if not valid.any():
            raise NoImagery("nodata", "the picture is transparent here, or ends")
        image = SourceImage(self.path, None, self.grid.gsd_m)
        return Chip(
            pixels, valid, grid.transform(window), CRS.from_user_input(grid.crs), self.bands,
            sources=(self.path,), footage=Footage((image,)),
        )  # fmt: skip

    def read_own(
        self, part: PixelWindow, factor: int = 1
    ) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        """Pixels (bands, height, width) and valid mask of complete blocks of a part.

        Beyond its edges nothing is valid; a block is valid if half of its pixels are.
        """
        shape = (part.height, part.width)
        pixels = np.zeros((len(self.pixels), *shape), self.pixels.dtype)
        valid = np.zeros(shape, bool)
        if shown := part.intersection(self.area):
            at, of = shown.slices_in(part), shown.slices_in(self.area)
            pixels[:, *at], valid[at] = self.pixels[:, *of], self.valid[of]
        return (pixels, valid) if factor == 1 else _block_means(pixels, valid, factor)


@contextmanager
def _opened(path: str) -> Iterator[DatasetReader]:
    driver = picture_driver(Path(path))
    if driver is not None:
        check_complete(Path(path), driver)
    with warnings.catch_warnings(), rasterio.Env(**_ENVIRONMENT):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        dataset = (
            open_raster(path) if driver is None
            else with_colours(rasterio.open(path, driver=driver))
        )  # fmt: skip
        with dataset:
            yield dataset


def _opaque(dataset: DatasetReader, indexes: tuple[int, ...]) -> NDArray[np.bool_]:
    """(height, width): where the alpha band, or the mask of a transparent colour, shows pixels."""
    alpha = [
        index for index in dataset.indexes
        if dataset.colorinterp[index - 1] == ColorInterp.alpha and index not in indexes
    ]  # fmt: skip
    if alpha:
        values = dataset.read(alpha[0])
        scale = np.iinfo(values.dtype).max / 255 if values.dtype.kind == "u" else 1
        return np.asarray(values >= _OPAQUE_FROM * scale)
    if MaskFlags.all_valid in dataset.mask_flag_enums[0]:
        return np.ones((dataset.height, dataset.width), bool)
    return np.asarray(dataset.read_masks(1) > 0)


def _orientation(dataset: DatasetReader) -> int:
    """EXIF's orientation, 1 to 8; 1 where the file has none."""
    text = dataset.tags().get("EXIF_Orientation", "1")
    return int(text) if text in {"1", "2", "3", "4", "5", "6", "7", "8"} else 1


def _upright(pixels: NDArray[np.generic], orientation: int) -> NDArray[np.generic]:
    """Pixels (..., height, width) turned as EXIF's orientation says (CIPA DC-008, 4.6.5.1.5)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(-1, -2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[..., ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[..., ::-1, :]
    return pixels


def _block_means(
    pixels: NDArray[np.generic], valid: NDArray[np.bool_], factor: int
) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """Means of the valid pixels of blocks of `factor` x `factor`."""
    rows, columns = (math.ceil(side / factor) for side in valid.shape)
    padding = ((0, rows * factor - valid.shape[0]), (0, columns * factor - valid.shape[1]))
    shown = np.pad(valid, padding).reshape(rows, factor, columns, factor)
    counts = shown.sum(axis=(1, 3))
    means = np.zeros((len(pixels), rows, columns), pixels.dtype)
    for mean, band in zip(means, pixels, strict=True):
        blocks = np.pad(band, padding).reshape(shown.shape)
        values = np.where(shown, blocks, 0).sum(axis=(1, 3), dtype=np.float64)
        values /= np.maximum(counts, 1)
        mean[...] = np.rint(values) if pixels.dtype.kind in "iu" else values
    return means, counts * 2 >= factor**2
