"""One imagery file: its header, and its pixels on any grid."""

from __future__ import annotations

import math
import warnings
from dataclasses import astuple, dataclass, replace

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError as ProjError
from rasterio.enums import Resampling
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.warp import reproject
from shapely import GEOSException, MultiPolygon, Polygon

from detection.errors import ImageryError
from detection.imagery.band_layout import BandLayout, NamedBands
from detection.imagery.band_values import BandValues
from detection.imagery.bands import capture_date
from detection.imagery.blocks import read_blocks
from detection.imagery.fill import fill_of
from detection.imagery.georeference import crs_of
from detection.imagery.nodata import Nodata, hidden_by_mask_alone
from detection.imagery.pixel_grid import PixelGrid, PixelWindow, is_metric, utm_crs
from detection.imagery.placement import check_placement
from detection.imagery.raster_file import open_raster
from parcels.antimeridian import centre_lonlat
from parcels.errors import GeometryError

# Two grids are the same if they differ by less than this fraction of a pixel.
GRID_TOLERANCE = 0.01
# Bilinear interpolation reads neighbours, and the warp's transformer is approximate.
_WARP_PAD_PX = 3
_OPAQUE, _HALF_OPAQUE = 255, 128
_MAX_LATITUDE = 90.000001
_NOT_CHOSEN = BandValues((), "uint8")


@dataclass(frozen=True, slots=True)
class GeoTiff:
    """A file's header.

    Attributes:
        grid: the file's own grid if it is square, north-up and metric, else one of the local UTM
            zone with pixels at least as fine.
        window: the file's pixels in `grid`; None if the file must be warped to it.
        footprint: its outline in EPSG:4326; in two parts if it crosses 180°.
        layout: what the file says of its bands.
        nodata: the entry's nodata, which overrules the file's.
        bands: their names, and `values`: how they are read; both empty until the mosaic has
            chosen them (`with_bands`).
    """

    path: str
    crs: str
    transform: Affine
    width: int
    height: int
    grid: PixelGrid
    window: PixelWindow | None
    footprint: Polygon | MultiPolygon
    layout: BandLayout
    captured_on: str | None
    nodata: Nodata = None
    bands: tuple[str, ...] = ()
    values: BandValues = _NOT_CHOSEN

    @classmethod
    def open(
        cls,
        path: str,
        captured_on: str | None = None,
        declared_crs: str | None = None,
        *,
        nodata: Nodata = None,
    ) -> GeoTiff:
        """Read a file's header.

        `declared_crs` takes precedence over the file's own CRS.

        Raises:
            ImageryError: not georeferenced, or no CRS.
            rasterio.errors.RasterioError: it cannot be read, or its pixels cannot be imagery.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # an error below
            dataset = open_raster(path)
        with dataset:
            try:
                crs = crs_of(path, dataset, declared_crs)
                check_placement(dataset, crs)
                footprint = _footprint(dataset, crs)
                grid, window = _native_grid(dataset, crs, footprint)
            except (
                GeometryError, CRSError, ProjError, GEOSException, ArithmeticError, ValueError,
            ) as error:  # fmt: skip
                # For example a local or engineering CRS, which has no relation to the Earth.
                raise ImageryError(
                    f"{path}: its CRS cannot be transformed to longitude and latitude ({error}). "
                    "Set the right CRS (gdal_edit.py -a_srs …), or warp the file to another one"
                ) from error
            return cls(
                path,
                crs,
                dataset.transform,
                dataset.width,
                dataset.height,
                grid,
                window,
                footprint,
                BandLayout.of(dataset),
                captured_on or capture_date(dataset),
                nodata,
            )

    @property
    def dtype(self) -> str:
        """The data type of a chip's pixels."""
        return self.values.dtype

    def with_bands(self, bands: NamedBands) -> GeoTiff:
        """The file with its bands chosen.

        Raises:
            ImageryError: a scale that leaves no values.
        """
        values = BandValues.of(self.layout, bands, self.path)
        return replace(self, bands=bands.names, values=values)

    def integer_factor_to(self, grid: PixelGrid) -> int | None:
        """The integer factor from the file's pixels to the grid's; None if the grids differ."""
        factor = round(grid.pixel_size / self.grid.pixel_size)
        same = self.window is not None and factor > 0 and self.grid.zoom_out(factor) == grid
        return factor if same else None

    def extent_on(self, grid: PixelGrid) -> PixelWindow:
        """The smallest window of a grid that contains all its pixels."""
        factor = self.integer_factor_to(grid)
        if factor is not None and self.window is not None:
            return self.window.zoom_out(factor)
        return grid.window_from_bounds(grid.from_lonlat(self.footprint).bounds)

    def fill_share(self) -> float:
        """The fraction of the file that is undeclared fill; 0 where the entry says what is not."""
        if self.nodata is not None:
            return 0.0
        try:
            with open_raster(self.path) as dataset:
                return sum(fill.share for fill in fill_of(dataset, list(self.values.indexes)))
        except RasterioError:
            return 0.0

    def is_hidden_by_mask_alone(self) -> bool:
        """Whether the file's mask hides all of it, although its pixels differ."""
        if self.nodata is not None:
            return False
        try:
            with open_raster(self.path) as dataset:
                return hidden_by_mask_alone(dataset, list(self.values.indexes))
        except RasterioError:
            return False

    def read_own(
        self, part: PixelWindow, factor: int = 1
    ) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        """Pixels (bands, height, width) and valid mask of a part of the file, never warped.

        Args:
            part: in the file's own pixels, whatever its rotation; complete blocks.
            factor: the side of a block of pixels that becomes one.

        Raises:
            rasterio.errors.RasterioError: the file cannot be read.
        """
        with open_raster(self.path) as dataset:
            return self._read_blocks(dataset, part, factor)

    def read_into(
        self,
        grid: PixelGrid,
        window: PixelWindow,
        pixels: NDArray[np.generic],
        valid: NDArray[np.bool_],
    ) -> bool:
        """Fill the pixels (bands, height, width) of a window that are not `valid` yet.

        On the file's own grid pixels are copied, on one coarser by an integer factor they are
        block means; on any other grid the file is warped (bilinear).

        Returns:
            Whether it filled any pixel.

        Raises:
            rasterio.errors.RasterioError: the file cannot be read; no pixel has been filled.
        """
        factor = self.integer_factor_to(grid)
        with open_raster(self.path) as dataset:
            if self.window is not None and factor is not None:
                overlap = self.window.zoom_out(factor).intersection(window)
                if overlap is None:
                    return False
                rows, columns = overlap.slices_in(window)
                source = PixelWindow(
                    overlap.column * factor - self.window.column,
                    overlap.row * factor - self.window.row,
                    overlap.width * factor,
                    overlap.height * factor,
                )
                found, found_valid = self._read_blocks(dataset, source, factor)
            else:
                rows, columns = slice(None), slice(None)
                warped = self._warp(dataset, grid, window)
                if warped is None:
                    return False
                found, found_valid = warped
        take = found_valid & ~valid[rows, columns]
        pixels[:, rows, columns][:, take] = found[:, take]
        valid[rows, columns] |= take
        return bool(take.any())

    def _read_blocks(
        self, dataset: DatasetReader, part: PixelWindow, factor: int
    ) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        indexes = list(self.values.indexes)
        pixels, valid = read_blocks(dataset, indexes, part, factor, self.nodata)
        # Scaled last, because nodata is a pixel's value before.
        return self.values.of_pixels(pixels), valid

    def _warp(
        self, dataset: rasterio.DatasetReader, grid: PixelGrid, window: PixelWindow
    ) -> tuple[NDArray[np.generic], NDArray[np.bool_]] | None:
        """The file's pixels warped to a window; None if it covers none of it."""
        factor = self.grid.coarsening_factor(grid.gsd_m)
        source = _source_window(self, grid, window, factor)
        if source is None:
            return None
        found, found_valid = self._read_blocks(dataset, source, factor)
        # The valid mask is warped as an alpha band, so that no value is mixed with nodata.
        stack = np.concatenate([found, np.where(found_valid, _OPAQUE, 0)[None].astype(found.dtype)])
        warped = np.zeros((len(stack), window.height, window.width), stack.dtype)
        corner = self.transform @ Affine.translation(source.column, source.row)
        reproject(
            stack,
            warped,
            src_transform=corner @ Affine.scale(factor),
            src_crs=self.crs,
            dst_transform=grid.transform(window),
            dst_crs=grid.crs,
            src_alpha=len(stack),
            dst_alpha=len(stack),
            resampling=Resampling.bilinear,
            SRC_ALPHA_MAX=_OPAQUE,
            DST_ALPHA_MAX=_OPAQUE,
        )
        return warped[:-1], warped[-1] >= _HALF_OPAQUE


def _footprint(dataset: rasterio.DatasetReader, crs: str) -> Polygon | MultiPolygon:
    width, height = dataset.width, dataset.height
    corners = [(0, 0), (width, 0), (width, height), (0, height)]
    outline = Polygon([dataset.transform @ corner for corner in corners])
    # Straight sides are curved in degrees, so they are densified.
    lonlat: Polygon | MultiPolygon = PixelGrid(crs, 1.0).to_lonlat(
        shapely.segmentize(outline, outline.length / 64)
    )
    _, south, _, north = lonlat.bounds if not lonlat.is_empty else [math.nan] * 4
    on_earth = south >= -_MAX_LATITUDE and north <= _MAX_LATITUDE
    if not (on_earth and np.isfinite(shapely.get_coordinates(lonlat)).all()):
        raise GeometryError("its corners are outside the area of use of the CRS")
    return lonlat


def _native_grid(
    dataset: rasterio.DatasetReader, crs: str, footprint: Polygon | MultiPolygon
) -> tuple[PixelGrid, PixelWindow | None]:
    transform = dataset.transform
    longitude, latitude = centre_lonlat(footprint)
    square = np.isclose(transform.a, -transform.e, rtol=1e-4) and transform.a > 0
    north_up = transform.b == transform.d == 0
    if not (square and north_up and is_metric(CRS.from_user_input(crs), longitude, latitude)):
        return _utm_grid(dataset, crs, utm_crs(longitude, latitude)), None
    pixel = round(transform.a, 9)
    grid = PixelGrid(crs, pixel, _phase(transform.c, pixel), _phase(transform.f, pixel))
    window = PixelWindow(
        round((transform.c - grid.x_origin) / pixel),
        round((grid.y_origin - transform.f) / pixel),
        dataset.width,
        dataset.height,
    )
    return grid, window


def _utm_grid(dataset: rasterio.DatasetReader, crs: str, utm: str) -> PixelGrid:
    """A UTM grid for a file whose pixels are not north-up squares in metres."""
    steps = [(0, 0), (dataset.width, 0), (0, dataset.height)]
    corners = shapely.MultiPoint([dataset.transform @ step for step in steps])
    lonlat = PixelGrid(crs, 1.0).to_lonlat(corners)
    origin, right, down = shapely.get_parts(PixelGrid(utm, 1.0).from_lonlat(lonlat))
    pixel = min(origin.distance(right) / dataset.width, origin.distance(down) / dataset.height)
    if not (math.isfinite(pixel) and pixel > 0):
        raise GeometryError("it covers too much of the Earth for a UTM zone")
    # Rounded down to two digits, so that neighbouring files get one grid and lose no detail.
    unit = 10.0 ** (math.floor(math.log10(pixel)) - 1)
    return PixelGrid(utm, round(math.floor(pixel / unit) * unit, 9))


def _source_window(
    file: GeoTiff, grid: PixelGrid, window: PixelWindow, factor: int
) -> PixelWindow | None:
    """The blocks of a file that the warp to a window needs; None if the file covers none of it."""
    outline = shapely.segmentize(shapely.box(*grid.bounds(window)), grid.pixel_size * 64)
    in_file = PixelGrid(file.crs, 1.0).from_lonlat(grid.to_lonlat(outline))
    xy = shapely.get_coordinates(in_file)
    columns, rows = ~file.transform @ (xy[:, 0], xy[:, 1])
    left, top = math.floor(columns.min()), math.floor(rows.min())
    width, height = math.ceil(columns.max()) - left, math.ceil(rows.max()) - top
    needed = PixelWindow(left, top, width, height).pad(_WARP_PAD_PX * factor)
    shown = needed.intersection(PixelWindow(0, 0, file.width, file.height))
    if shown is None:
        return None
    blocks = shown.zoom_out(factor)
    return PixelWindow(*(factor * value for value in astuple(blocks)))


def _phase(origin: float, pixel: float) -> float:
    """The offset of a grid in 0..pixel, snapped so that rounding errors make no new grids."""
    steps = (origin / pixel) % 1.0
    steps = round(steps / GRID_TOLERANCE) * GRID_TOLERANCE % 1.0
    return round(steps * pixel, 6)
