"""Local imagery files: a folder or a glob is one mosaic, also with several UTM zones."""

from __future__ import annotations

import logging
from itertools import islice

import numpy as np
import shapely
from pyproj import CRS
from rasterio.errors import RasterioError
from shapely import STRtree
from shapely.geometry.base import BaseGeometry

from detection.chip import Chip
from detection.dates import date_span
from detection.errors import ImageryError, NoImagery
from detection.footage import Footage, SourceImage
from detection.imagery.band_choice import choose_bands
from detection.imagery.file_list import imagery_files
from detection.imagery.fill_notes import fill_note
from detection.imagery.geotiff import GeoTiff
from detection.imagery.nodata import Nodata
from detection.imagery.pixel_grid import PixelGrid, PixelWindow, union
from detection.imagery.precedence import by_precedence, main_grid, native_gsd_m
from detection.imagery.raster_file import UnreadableRaster, open_raster
from parcels.untrusted import printable, sanitize_text

log = logging.getLogger(__name__)

# Names that a message lists.
_MAX_LISTED = 8


class GeoTiffMosaic:
    """The files of a folder or of a glob as one mosaic; newer files cover older (`precedence`).

    A file on the chip's grid is read without resampling, or as block means if the chip's grid is
    coarser. A file on another grid or in another UTM zone is warped (bilinear) to the chip's.

    Attributes:
        bands: the band names, in the order of a chip's pixels, and `dtype`, their data type.
        unreadable: files whose header cannot be read -> why. They are skipped.

    Raises:
        ImageryError: no file matches, none can be read, one has no CRS, or bands differ.
    """

    def __init__(
        self,
        pattern: str,
        bands: tuple[str, ...] | None = None,
        captured_on: str | None = None,
        crs: str | None = None,
        *,
        nodata: Nodata = None,
        paths: list[str] | None = None,
    ) -> None:
        paths = imagery_files(pattern) if paths is None else paths
        self.unreadable: dict[str, str] = {}
        files = [f for path in paths if (f := self._open(path, captured_on, crs, nodata))]
        if not files:
            path, error = next(iter(self.unreadable.items()))
            raise ImageryError(
                f"none of the {len(paths)} imagery files of {pattern} can be read. {path}: {error}"
            )
        choice = choose_bands({file.path: file.layout for file in files}, bands, open_raster)
        left_out = _unreadable_note(self.unreadable, len(paths))
        self._notes = (*left_out, *choice.notes, *_entered_nodata_note(nodata))
        self._files = [file.with_bands(choice.bands[file.path]) for file in files]
        self.bands = self._common_bands()
        self.dtype = self._files[0].dtype
        self._tree = STRtree([file.footprint for file in self._files])

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided about the files; the first call looks for fill in some of them."""
        found = fill_note([file.fill_share for file in self._files])
        return (*self._notes, found) if found else self._notes

    @property
    def files(self) -> tuple[GeoTiff, ...]:
        """The readable files, with their bands chosen."""
        return tuple(self._files)

    def grid_for(self, geometry: BaseGeometry) -> PixelGrid:
        """The grid of the files that give most of the pixels in the geometry (EPSG:4326).

        Raises:
            NoImagery: no readable file covers any of it ("missing", or "corrupt" if an unreadable
                file might cover it).
        """
        covering = self._covering(geometry)
        if covering:
            return main_grid(covering, geometry)
        if self.unreadable:
            raise NoImagery(
                "corrupt",
                "no readable imagery file covers it; these files could not be read: "
                + ", ".join(self.unreadable),
            )
        raise NoImagery("missing", "no imagery file covers it")

    def read(self, grid: PixelGrid, window: PixelWindow) -> Chip:
        """The pixels of a window; where a file cannot be read, its part stays invalid.

        Raises:
            NoImagery: not one valid pixel ("corrupt" if a file failed, else "nodata").
        """
        pixels = np.zeros((len(self.bands), window.height, window.width), self.dtype)
        valid = np.zeros((window.height, window.width), bool)
        index = np.zeros(valid.shape, np.uint16)
        used: list[GeoTiff] = []
        failed: list[str] = []
        outline = grid.to_lonlat(shapely.box(*grid.bounds(window)))
        for file in by_precedence(self._covering(outline), grid):
            if valid.all():
                break
            filled = valid.copy()
            try:
                if file.read_into(grid, window, pixels, valid):
                    index[valid & ~filled] = len(used)
                    used.append(file)
            except RasterioError as error:
                failed.append(file.path)
                log.warning(
                    "a part of %s cannot be read: the file is damaged, incomplete or not available",
                    file.path,
                )
                log.debug("%s: %s", file.path, _first_line(error))
        if not valid.any():
            if failed:
                detail = f"imagery cannot be read: {', '.join(failed)}"
                raise NoImagery("corrupt", detail, tuple(failed))
            raise NoImagery("nodata", self._why_hidden(outline))
        images = tuple(SourceImage(f.path, f.captured_on, native_gsd_m(f)) for f in used)
        return Chip(
            pixels,
            valid,
            grid.transform(window),
            CRS.from_user_input(grid.crs),
            self.bands,
            date_span(file.captured_on for file in used),
            tuple(file.path for file in used),
            tuple(failed),
            Footage(images, index if len(images) > 1 else None),
        )

    def extent_around(self, grid: PixelGrid, window: PixelWindow) -> PixelWindow:
        """The window that contains the pixels of all files that meet a window."""
        outline = grid.to_lonlat(shapely.box(*grid.bounds(window)))
        extents = [file.extent_on(grid) for file in self._covering(outline)]
        return union(extents) if extents else window

    def _covering(self, geometry: BaseGeometry) -> list[GeoTiff]:
        """The files whose outline meets a geometry (EPSG:4326)."""
        found = self._tree.query(geometry, predicate="intersects")
        return [self._files[int(index)] for index in found]

    def _why_hidden(self, outline: BaseGeometry) -> str:
        hidden = [file.path for file in self._covering(outline) if file.is_hidden_by_mask_alone()]
        if not hidden:
            return "the imagery is all nodata here"
        return (
            f"the imagery is all nodata here: the mask of {', '.join(hidden)} hides every pixel, "
            "although the pixels differ. If the mask is wrong, set `imagery: {nodata: none}`"
        )

    def _open(
        self, path: str, captured_on: str | None, crs: str | None, nodata: Nodata
    ) -> GeoTiff | None:
        try:
            return GeoTiff.open(path, captured_on, crs, nodata=nodata)
        except RasterioError as error:
            self._skip(path, error)
            return None

    def _skip(self, path: str, error: Exception) -> None:
        self.unreadable[path] = _first_line(error)
        log.warning("%s cannot be read: %s", path, _first_line(error))

    def _common_bands(self) -> tuple[str, ...]:
        first = self._files[0]
        for file in self._files:
            if (file.bands, file.dtype) != (first.bands, first.dtype):
                raise ImageryError(
                    f"{file.path} has {_listed(file.bands)} ({file.dtype}), but "
                    f"{first.path} has {_listed(first.bands)} ({first.dtype}). All files "
                    "of a mosaic need the same bands: narrow `imagery: {path: …}`, or set its "
                    "`bands:`"
                )
        return first.bands


def _listed(bands: tuple[str, ...]) -> str:
    return f"bands {', '.join(bands)}" if len(bands) <= _MAX_LISTED else f"{len(bands)} bands"


def _unreadable_note(unreadable: dict[str, str], count: int) -> tuple[str, ...]:
    """Which files are left out, and why."""
    if not unreadable:
        return ()
    named = [
        f"{printable(path)} ({reason.partition('. ')[0]})"
        for path, reason in islice(unreadable.items(), _MAX_LISTED)
    ]
    more = len(unreadable) - len(named)
    rest = f"; and {more:,} more" if more else ""
    return (
        f"{len(unreadable):,} of {count:,} imagery files cannot be read and are left out: "
        f"{'; '.join(named)}{rest}.",
    )


def _entered_nodata_note(nodata: Nodata) -> tuple[str, ...]:
    if nodata is None:
        return ()
    if not nodata:
        return ("`nodata: none` of the entry: every pixel of the imagery files counts as imaged.",)
    values = ", ".join(f"{value:g}" for value in nodata)
    return (f"`nodata: {values}` of the entry replaces masks and nodata of the imagery files.",)


def _first_line(error: Exception) -> str:
    # A message of ours says it all; rasterio's is general, and its cause GDAL's own.
    text = str(error if isinstance(error, UnreadableRaster) else error.__cause__ or error)
    return sanitize_text(text.splitlines()[0]) if text.strip() else type(error).__name__
