"""A file as an image to detect on: georeferenced, or a photograph."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from detection.errors import ImageryError
from detection.image_detection.option_remedies import for_options
from detection.image_detection.photograph import Photograph
from detection.image_detection.picture_file import picture_driver
from detection.imagery.geotiff_mosaic import GeoTiffMosaic
from detection.imagery.interface import ImagerySource
from detection.imagery.pixel_grid import PixelGrid, PixelWindow
from detection.imagery.raster_file import UnreadableRaster, open_raster

# Longer edges are split before they are transformed to another CRS, in which they are curved.
_SEGMENT_PX = 64.0
_DAMAGED = ". It is damaged or incomplete: copy or download it again"

_Geometries = NDArray[np.object_]


class _OwnPixels(Protocol):
    def read_own(
        self, part: PixelWindow, factor: int = 1
    ) -> tuple[NDArray[np.generic], NDArray[np.bool_]]: ...


@dataclass(frozen=True, eq=False)
class OpenedImage:
    """An image, and how its pixels lie on the grid that chips are read on.

    Attributes:
        source: where chips are read; `own_pixels` are those of the file, never warped.
        bands: the names of its bands.
        grid, area: the grid of the chips before any coarsening, and the image's part of it.
        width, height: of the image, upright.
        crs, transform: image pixel (column, row) -> CRS (x, y); crs is None for a photograph.
        is_scale_known: False where the ground sample distance is an assumption.
        notes: what was decided about it that a person should know, a sentence each.
    """

    path: Path
    source: ImagerySource
    own_pixels: _OwnPixels
    bands: tuple[str, ...]
    grid: PixelGrid
    area: PixelWindow
    width: int
    height: int
    crs: str | None
    transform: Affine
    is_scale_known: bool
    notes: tuple[str, ...]

    @property
    def is_georeferenced(self) -> bool:
        """Whether its place on the Earth is known."""
        return self.crs is not None

    def to_pixels(self, polygons: _Geometries) -> _Geometries:
        """Polygons (n,) of the grid's CRS in pixels of the image: columns and rows."""
        to_pixel = ~self.transform
        if self.crs is not None and self.crs != self.grid.crs:
            lonlat = self.to_lonlat(polygons)
            polygons = PixelGrid(self.crs, 1.0).from_lonlat(lonlat)
        in_pixels: _Geometries = shapely.transform(
            polygons, lambda xy: np.column_stack(to_pixel @ (xy[:, 0], xy[:, 1]))
        )
        return in_pixels

    def to_lonlat(self, polygons: _Geometries) -> _Geometries:
        """Polygons (n,) of the grid's CRS in EPSG:4326."""
        dense = shapely.segmentize(polygons, self.grid.pixel_size * _SEGMENT_PX)
        return np.asarray(self.grid.to_lonlat(dense), dtype=object)


def open_image(
    path: Path,
    gsd_m: float | None = None,
    assumed_gsd_m: float = 0.3,
    bands: tuple[str, ...] | None = None,
    crs: str | None = None,
) -> OpenedImage:
    """Open a GeoTIFF, JPEG 2000, ERDAS .img or VRT, or a picture (JPEG, PNG, WebP, GIF, BMP, TIFF).

    Args:
        gsd_m: the ground sample distance of an image without georeference, in metres a pixel.
        assumed_gsd_m: what is assumed where `gsd_m` is None.
        bands: names of the bands, from the first; None to tell them from the file.
        crs: the CRS of an image that has a geotransform, but no CRS of its own.

    Raises:
        ImageryError: it cannot be read or placed, with what to do.
    """
    if path.exists() and not path.is_file():  # to open a pipe would wait for ever
        raise ImageryError(f"{path} cannot be read: it is not a regular file")
    try:
        if picture_driver(path) is not None or _has_no_place(path):
            opened = _photograph(path, gsd_m, assumed_gsd_m, bands)
        else:
            opened = _georeferenced(path, gsd_m, bands, crs)
        return replace(opened, notes=tuple(map(for_options, opened.notes)))
    except ImageryError as error:
        raise ImageryError(for_options(str(error))) from error
    except RasterioError as error:
        # GDAL's own words are in the cause; ours say what to do.
        why = error.__cause__ or error
        advice = "" if isinstance(error, UnreadableRaster) else _DAMAGED
        raise ImageryError(for_options(f"{path} cannot be read: {why}{advice}")) from error
    except OSError as error:
        raise ImageryError(f"{path} cannot be read: {error.strerror or error}") from error


def _has_no_place(path: Path) -> bool:
    """Whether a file says nothing of where it is: no geotransform, control points or RPCs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with open_raster(str(path)) as dataset:
            placed = not dataset.transform.is_identity or dataset.gcps[0] or dataset.rpcs
            return not placed


def _photograph(
    path: Path, gsd_m: float | None, assumed_gsd_m: float, bands: tuple[str, ...] | None
) -> OpenedImage:
    picture = Photograph(str(path), gsd_m or assumed_gsd_m, bands)
    size_m = picture.grid.gsd_m
    notes = ["It has no georeference: its results are in pixels, not in longitude and latitude."]
    notes += picture.notes
    if gsd_m is None:
        notes.append(
            f"Its ground sample distance is unknown; {assumed_gsd_m:g} m a pixel is assumed, and "
            "no area is given. State it with --gsd-m."
        )
    return OpenedImage(
        path, picture, picture, picture.bands, picture.grid, picture.area, picture.area.width,
        picture.area.height, None, Affine(size_m, 0, 0, 0, -size_m, 0), gsd_m is not None,
        tuple(notes),
    )  # fmt: skip


def _georeferenced(
    path: Path, gsd_m: float | None, bands: tuple[str, ...] | None, crs: str | None
) -> OpenedImage:
    if crs is not None:
        with open_raster(str(path)) as dataset:
            crs = crs if dataset.crs is None else None
    mosaic = GeoTiffMosaic(str(path), bands, paths=[str(path)], crs=crs)
    [file] = mosaic.files
    area = file.window
    notes = list(mosaic.notes)
    if area is None:
        corners = file.grid.from_lonlat(np.array([file.footprint], dtype=object))
        area = file.grid.window_from_bounds(tuple(shapely.bounds(corners[0]).tolist()))
        notes.append(
            f"Its pixels are not north-up squares in metres: they are resampled to "
            f"{file.grid.gsd_m:g} m in {file.grid.crs} for detection. Masks are on its own grid."
        )
    if crs is not None:
        notes.append(f"It has no CRS; {crs} is taken, as --crs says.")
    if gsd_m is not None:
        notes.append("--gsd-m is not used: the image is georeferenced.")
    return OpenedImage(
        path, mosaic, file, mosaic.bands, file.grid, area, file.width, file.height, file.crs,
        file.transform, is_scale_known=True, notes=tuple(notes),
    )  # fmt: skip
