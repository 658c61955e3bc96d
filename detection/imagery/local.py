"""Local GeoTIFFs: a glob is a mosaic, also across files in several UTM zones."""

from __future__ import annotations

import glob
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window
from shapely import STRtree
from shapely.geometry.base import BaseGeometry

from detection.chip import Chip
from detection.errors import ImageryError, NoImagery
from detection.imagery.bands import band_names, capture_date, colour_indexes, date_span
from detection.imagery.frame import Frame, PixelWindow, is_metric, utm_crs
from detection.imagery.nodata import valid_pixels

log = logging.getLogger(__name__)

# Two grids are one where they differ by less than this share of a pixel.
GRID_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True)
class _File:
    """What a file's header says."""

    path: str
    crs: str
    frame: Frame
    window: PixelWindow
    aligned: bool  # its pixels are the frame's, and `window` is where they lie in it
    footprint: BaseGeometry
    bands: tuple[str, ...]
    dtype: str
    captured_on: str | None


class LocalImagery:
    """The GeoTIFFs that a glob matches, as one mosaic; newer files lie over older ones.

    Files on one pixel grid are read as they are. Where a chip reaches into a file on another
    grid or in another UTM zone, that file is warped (bilinear) into the chip's frame.

    Raises:
        ImageryError: no file matches, none can be read, one says no CRS, or bands differ.
    """

    def __init__(
        self,
        pattern: str,
        bands: tuple[str, ...] | None = None,
        captured_on: str | None = None,
    ) -> None:
        paths = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - absolute patterns
        if not paths:
            raise ImageryError(
                f"no imagery file matches {pattern}: mend `imagery: {{path: …}}` of the county"
            )
        self.unreadable: dict[str, str] = {}
        files = [self._inspect(path, bands, captured_on) for path in paths]
        self._files = sorted(
            (file for file in files if file),
            key=lambda file: (file.captured_on or "", file.path),
            reverse=True,
        )
        if not self._files:
            path, error = next(iter(self.unreadable.items()))
            raise ImageryError(
                f"none of the {len(paths)} imagery files of {pattern} can be read; "
                f"{path}: {error}"
            )
        self.bands = self._common_bands()
        self._dtype = self._files[0].dtype
        self._tree = STRtree([file.footprint for file in self._files])

    def frame_for(self, geometry: BaseGeometry) -> Frame:
        """The grid of the files that show most of the geometry (EPSG:4326).

        Raises:
            NoImagery: no readable file covers any of it.
        """
        shown: dict[Frame, float] = {}
        for index in self._tree.query(geometry, predicate="intersects"):
            file = self._files[int(index)]
            share = geometry.intersection(file.footprint).area
            shown[file.frame] = shown.get(file.frame, 0.0) + share
        if shown:
            return max(shown, key=lambda frame: (shown[frame], -frame.pixel, frame.crs))
        if self.unreadable:
            raise NoImagery(
                "corrupt",
                "no readable imagery file covers it, and these could not be read: "
                + ", ".join(self.unreadable),
            )
        raise NoImagery("missing", "no imagery file covers it")

    def read(self, frame: Frame, window: PixelWindow) -> Chip:
        """The window of the mosaic; files that cannot be read leave their part invalid.

        Raises:
            NoImagery: not one valid pixel ("corrupt" where a file failed, else "nodata").
        """
        transform = frame.transform(window)
        outline = shapely.box(
            *_bounds(transform.c, transform.f, frame.pixel, window.width, window.height)
        )
        pixels = np.zeros((len(self.bands), window.height, window.width), self._dtype)
        valid = np.zeros((window.height, window.width), bool)
        used: list[_File] = []
        failed: list[str] = []
        for index in sorted(self._tree.query(frame.to_lonlat(outline), predicate="intersects")):
            file = self._files[int(index)]
            try:
                there = _read_file(file, frame, window, self.bands, pixels, valid)
            except RasterioError as error:
                self.unreadable[file.path] = _first_line(error)
                failed.append(file.path)
                log.warning("%s cannot be read: %s", file.path, _first_line(error))
                continue
            if there:
                used.append(file)
        if not valid.any():
            if failed:
                raise NoImagery("corrupt", f"imagery cannot be read: {', '.join(failed)}")
            raise NoImagery("nodata", "the imagery here is all nodata")
        return Chip(
            pixels,
            valid,
            transform,
            CRS.from_user_input(frame.crs),
            self.bands,
            date_span(file.captured_on for file in used),
            tuple(file.path for file in used),
            tuple(failed),
        )

    def _inspect(
        self, path: str, bands: tuple[str, ...] | None, captured_on: str | None
    ) -> _File | None:
        try:
            with rasterio.open(path) as dataset:
                return _describe(dataset, bands, captured_on)
        except RasterioError as error:
            self.unreadable[path] = _first_line(error)
            log.warning("%s cannot be read: %s", path, _first_line(error))
            return None

    def _common_bands(self) -> tuple[str, ...]:
        first = self._files[0]
        for file in self._files:
            if (file.bands, file.dtype) != (first.bands, first.dtype):
                raise ImageryError(
                    f"{file.path} has bands {', '.join(file.bands)} ({file.dtype}), but "
                    f"{first.path} has {', '.join(first.bands)} ({first.dtype}): a mosaic's "
                    "files must have the same ones; narrow `imagery: {path: …}` or set `bands:`"
                )
        return first.bands


def _describe(
    dataset: DatasetReader, bands: tuple[str, ...] | None, captured_on: str | None
) -> _File:
    if dataset.crs is None or dataset.transform.is_identity:
        raise ImageryError(
            f"{dataset.name} says no CRS or no place: imagery must be georeferenced "
            "(gdal_edit.py -a_srs … -a_ullr …)"
        )
    crs = _short_name(dataset.crs.to_wkt())
    outline = shapely.box(*dataset.bounds)
    footprint = Frame(crs, 1.0).to_lonlat(shapely.segmentize(outline, outline.length / 64))
    longitude, latitude = footprint.centroid.x, footprint.centroid.y
    pixel = abs(dataset.transform.a)
    square = np.isclose(pixel, abs(dataset.transform.e), rtol=1e-4)
    upright = dataset.transform.b == dataset.transform.d == 0 and dataset.transform.e < 0
    if is_metric(CRS.from_user_input(crs), longitude, latitude) and square and upright:
        frame = Frame(
            crs,
            round(pixel, 9),
            _phase(dataset.transform.c, pixel),
            _phase(dataset.transform.f, pixel),
        )
        aligned = True
    else:
        # Pixels that are no squares of ground are warped to the local UTM zone, no coarser.
        utm = utm_crs(longitude, latitude)
        left, bottom, right, top = Frame(utm, 1.0).from_lonlat(footprint).bounds
        frame = Frame(
            utm, round(min((right - left) / dataset.width, (top - bottom) / dataset.height), 3)
        )
        aligned = False
    window = PixelWindow(
        round((dataset.transform.c - frame.x_origin) / frame.pixel),
        round((frame.y_origin - dataset.transform.f) / frame.pixel),
        dataset.width,
        dataset.height,
    )
    return _File(
        dataset.name,
        crs,
        frame,
        window,
        aligned,
        footprint,
        band_names(dataset, bands),
        dataset.dtypes[0],
        captured_on or capture_date(dataset),
    )


def _read_file(
    file: _File,
    frame: Frame,
    window: PixelWindow,
    bands: Sequence[str],
    pixels: NDArray[np.generic],
    valid: NDArray[np.bool_],
) -> bool:
    """Fill what is not valid yet from one file; whether it gave anything."""
    with rasterio.open(file.path) as dataset:
        indexes = colour_indexes(dataset)[: len(bands)]
        if file.aligned and file.frame == frame:
            rows, columns, source = _overlap(file.window, window)
            if source is None:
                return False
            found = dataset.read(indexes, window=source)
            found_valid = valid_pixels(dataset, found, source)
        else:
            rows, columns = slice(None), slice(None)
            masked = dataset.nodata is not None or len(indexes) < dataset.count
            with WarpedVRT(
                dataset,
                crs=frame.crs,
                transform=frame.transform(window),
                width=window.width,
                height=window.height,
                resampling=Resampling.bilinear,
                add_alpha=not masked,
            ) as warped:
                found = warped.read(indexes)
                found_valid = valid_pixels(warped, found, None)
    take = found_valid & ~valid[rows, columns]
    pixels[:, rows, columns][:, take] = found[:, take]
    valid[rows, columns] |= take
    return bool(take.any())


def _overlap(file: PixelWindow, chip: PixelWindow) -> tuple[slice, slice, Window | None]:
    """Where a file lies on a chip of the same frame (rows, columns), and its own window."""
    left, right = (
        max(file.column, chip.column),
        min(file.column + file.width, chip.column + chip.width),
    )
    top, bottom = max(file.row, chip.row), min(file.row + file.height, chip.row + chip.height)
    if left >= right or top >= bottom:
        return slice(0), slice(0), None
    rows = slice(top - chip.row, bottom - chip.row)
    columns = slice(left - chip.column, right - chip.column)
    return rows, columns, Window(left - file.column, top - file.row, right - left, bottom - top)


def _phase(origin: float, pixel: float) -> float:
    """The offset of a grid in 0..pixel, with offsets that differ by a rounding made one."""
    steps = (origin / pixel) % 1.0
    steps = round(steps / GRID_TOLERANCE) * GRID_TOLERANCE % 1.0
    return round(steps * pixel, 6)


def _bounds(
    left: float, top: float, pixel: float, width: int, height: int
) -> tuple[float, float, float, float]:
    return left, top - height * pixel, left + width * pixel, top


def _short_name(wkt: str) -> str:
    """EPSG:n where the CRS is one, else its WKT."""
    crs = CRS.from_wkt(wkt)
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else wkt


def _first_line(error: Exception) -> str:
    text = str(error.__cause__ or error)
    return text.splitlines()[0] if text else type(error).__name__
