"""One GeoTIFF: what its header says, and its pixels in a grid."""

from __future__ import annotations

import math
import warnings
from dataclasses import astuple, dataclass

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.enums import Resampling
from rasterio.errors import CRSError, NotGeoreferencedWarning
from rasterio.io import DatasetReader
from rasterio.warp import reproject
from shapely import Polygon

from detection.errors import ImageryError
from detection.imagery.bands import band_names, capture_date, data_indexes
from detection.imagery.blocks import read_blocks
from detection.imagery.pixel_grid import PixelGrid, PixelWindow, is_metric, utm_crs
from parcels.errors import GeometryError

# Two grids are one where they differ by less than this share of a pixel.
GRID_TOLERANCE = 0.01
# What bilinear interpolation reads round a pixel, and the error of the warp's approximation.
_WARP_MARGIN_PX = 3
_OPEN, _HALF_OPEN = 255, 128
# GDAL goes by the content, and a VRT or WMS file of any name would reach out to any address.
_DRIVER = "GTiff"


@dataclass(frozen=True, slots=True)
class GeoTiff:
    """What a file's header says.

    Attributes:
        grid: the file's own grid where that is square, upright and metric, else one of the
            local UTM zone with pixels no coarser.
        window: where the file's pixels lie in `grid`; None where they are not the grid's.
        footprint: its outline in EPSG:4326.
        indexes: the 1-based bands that are read, named by `bands`.
    """

    path: str
    crs: str
    transform: Affine
    width: int
    height: int
    grid: PixelGrid
    window: PixelWindow | None
    footprint: Polygon
    indexes: tuple[int, ...]
    bands: tuple[str, ...]
    dtype: str
    captured_on: str | None

    @classmethod
    def open(
        cls, path: str, bands: tuple[str, ...] | None = None, captured_on: str | None = None
    ) -> GeoTiff:
        """Read a file's header.

        Raises:
            ImageryError: it says no place or no CRS, or has fewer bands than `bands` names.
            rasterio.errors.RasterioError: it cannot be read.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # an error below
            dataset = rasterio.open(path, driver=_DRIVER)
        with dataset:
            if dataset.crs is None or dataset.transform.is_identity:
                raise ImageryError(
                    f"{path} says no CRS or no place: imagery must be georeferenced "
                    "(gdal_edit.py -a_srs … -a_ullr …)"
                )
            try:
                crs = _short_name(dataset.crs.to_wkt())
                footprint = _footprint(dataset, crs)
                grid, window = _own_grid(dataset, crs, footprint)
            except (GeometryError, CRSError) as error:
                # A local or engineering CRS, say, which nobody can tie to the Earth.
                raise ImageryError(
                    f"{path}: its CRS cannot be brought to longitude and latitude ({error}): "
                    "warp it to another one, or set the right one (gdal_edit.py -a_srs …)"
                ) from error
            indexes = data_indexes(dataset, bands)
            names = band_names(dataset, indexes, bands)
            return cls(
                path,
                crs,
                dataset.transform,
                dataset.width,
                dataset.height,
                grid,
                window,
                footprint,
                tuple(indexes[: len(names)]),
                names,
                dataset.dtypes[indexes[0] - 1],
                captured_on or capture_date(dataset),
            )

    def factor_to(self, grid: PixelGrid) -> int | None:
        """How many of the file's pixels make one of a grid's; None where their grids differ."""
        factor = round(grid.pixel_size / self.grid.pixel_size)
        same = self.window is not None and factor > 0 and self.grid.zoom_out(factor) == grid
        return factor if same else None

    def read_into(
        self,
        grid: PixelGrid,
        window: PixelWindow,
        pixels: NDArray[np.generic],
        valid: NDArray[np.bool_],
    ) -> bool:
        """Fill what is not `valid` yet in `pixels` (bands, height, width) of a grid's window.

        On its own grid the file is read as it is, and on one a whole number coarser by blocks;
        else it is warped (bilinear).

        Returns:
            Whether it filled anything.

        Raises:
            rasterio.errors.RasterioError: the file cannot be read; nothing has been filled.
        """
        factor = self.factor_to(grid)
        with rasterio.open(self.path, driver=_DRIVER) as dataset:
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
                found, found_valid = read_blocks(dataset, list(self.indexes), source, factor)
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

    def _warp(
        self, dataset: DatasetReader, grid: PixelGrid, window: PixelWindow
    ) -> tuple[NDArray[np.generic], NDArray[np.bool_]] | None:
        """The file's pixels on a grid's window, or None where it shows none of it."""
        factor = self.grid.coarsening_factor(grid.gsd_m)
        source = _source_window(self, grid, window, factor)
        if source is None:
            return None
        found, found_valid = read_blocks(dataset, list(self.indexes), source, factor)
        # Validity goes along as an alpha band, so that no colour is mixed with nodata.
        stack = np.concatenate([found, np.where(found_valid, _OPEN, 0)[None].astype(found.dtype)])
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
            SRC_ALPHA_MAX=_OPEN,
            DST_ALPHA_MAX=_OPEN,
        )
        return warped[:-1], warped[-1] >= _HALF_OPEN


def _footprint(dataset: DatasetReader, crs: str) -> Polygon:
    width, height = dataset.width, dataset.height
    corners = [(0, 0), (width, 0), (width, height), (0, height)]
    outline = Polygon([dataset.transform @ corner for corner in corners])
    # Straight sides are curved in degrees, so they get more corners.
    lonlat: Polygon = PixelGrid(crs, 1.0).to_lonlat(
        shapely.segmentize(outline, outline.length / 64)
    )
    if not np.isfinite(shapely.get_coordinates(lonlat)).all():
        raise GeometryError("its corners lie beyond what the CRS covers")
    return lonlat


def _own_grid(
    dataset: DatasetReader, crs: str, footprint: Polygon
) -> tuple[PixelGrid, PixelWindow | None]:
    transform = dataset.transform
    longitude, latitude = footprint.centroid.x, footprint.centroid.y
    square = np.isclose(transform.a, -transform.e, rtol=1e-4) and transform.a > 0
    upright = transform.b == transform.d == 0
    if not (square and upright and is_metric(CRS.from_user_input(crs), longitude, latitude)):
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


def _utm_grid(dataset: DatasetReader, crs: str, utm: str) -> PixelGrid:
    """A grid of a UTM zone for a file whose pixels are no upright squares of ground."""
    steps = [(0, 0), (dataset.width, 0), (0, dataset.height)]
    corners = shapely.MultiPoint([dataset.transform @ step for step in steps])
    lonlat = PixelGrid(crs, 1.0).to_lonlat(corners)
    origin, right, down = shapely.get_parts(PixelGrid(utm, 1.0).from_lonlat(lonlat))
    pixel = min(origin.distance(right) / dataset.width, origin.distance(down) / dataset.height)
    # Two digits, rounded down: neighbouring files come out alike, and lose no detail.
    unit = 10.0 ** (math.floor(math.log10(pixel)) - 1)
    return PixelGrid(utm, round(math.floor(pixel / unit) * unit, 9))


def _source_window(
    file: GeoTiff, grid: PixelGrid, window: PixelWindow, factor: int
) -> PixelWindow | None:
    """The blocks of a file (as many as the warp needs) that show a grid's window."""
    outline = shapely.segmentize(shapely.box(*grid.bounds(window)), grid.pixel_size * 64)
    in_file = PixelGrid(file.crs, 1.0).from_lonlat(grid.to_lonlat(outline))
    xy = shapely.get_coordinates(in_file)
    columns, rows = ~file.transform @ (xy[:, 0], xy[:, 1])
    left, top = math.floor(columns.min()), math.floor(rows.min())
    width, height = math.ceil(columns.max()) - left, math.ceil(rows.max()) - top
    needed = PixelWindow(left, top, width, height).pad(_WARP_MARGIN_PX * factor)
    shown = needed.intersection(PixelWindow(0, 0, file.width, file.height))
    if shown is None:
        return None
    blocks = shown.zoom_out(factor)
    return PixelWindow(*(factor * value for value in astuple(blocks)))


def _phase(origin: float, pixel: float) -> float:
    """The offset of a grid in 0..pixel, with offsets that differ by a rounding made one."""
    steps = (origin / pixel) % 1.0
    steps = round(steps / GRID_TOLERANCE) * GRID_TOLERANCE % 1.0
    return round(steps * pixel, 6)


def _short_name(wkt: str) -> str:
    """EPSG:n where the CRS is one, else its WKT."""
    crs = CRS.from_wkt(wkt)
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else wkt
