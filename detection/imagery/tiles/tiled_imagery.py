"""Imagery in tiles (XYZ, WMTS, WMS): the tiles of a chip, joined and warped.

Most tiles are in Web Mercator, whose pixels are not as large as they say (19 % at 36° latitude).
So tiles are warped (bilinear) to a grid of the local UTM zone with the ground size of their
pixels: areas and `gsd_m` are true.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict, defaultdict
from threading import Lock
from typing import Protocol

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.enums import Resampling
from rasterio.warp import reproject
from shapely.geometry.base import BaseGeometry

from detection.chip import Chip
from detection.errors import ImageryError, NoImagery
from detection.imagery.pixel_grid import PixelGrid, PixelWindow, utm_crs
from detection.imagery.remote_calls import RemoteCalls
from detection.imagery.tiles.tile_grid import TileGrid, TileIndex, rounded_gsd_m
from detection.imagery.tiles.tile_image import TileImage, parse_tile
from parcels.antimeridian import centre_lonlat
from parcels.arcgis.http.byte_client import ByteClient
from parcels.errors import ParcelsError

log = logging.getLogger(__name__)

BANDS = ("red", "green", "blue")
_CACHE_BYTES = 128 * 1024 * 1024
# Bilinear interpolation reads neighbours.
_PAD_PX = 3
_OPAQUE, _HALF_OPAQUE = 255, 128
# The same bytes at so many places are a placeholder ("no imagery at this zoom"), no photograph.
_PLACEHOLDER_PLACES = 3
_MAX_TILES = 1024


class TileService(Protocol):
    """A kind of tile server.

    Attributes:
        label: the URL as shown in messages and results; without secrets.
    """

    label: str

    def grid_at(self, latitude: float) -> TileGrid:
        """The tiles that serve a latitude."""
        ...

    def url(self, grid: TileGrid, tile: TileIndex) -> str:
        """The address of a tile."""
        ...


class TiledImagery:
    """A tile server as an imagery source; red, green and blue, without near infrared.

    Args:
        licence: what the imagery may be used for, by its owner's terms; shown in reports.
        captured_on: an ISO 8601 date or year; tile servers do not report it.
    """

    bands = BANDS

    def __init__(
        self,
        service: TileService,
        client: ByteClient,
        *,
        licence: str,
        captured_on: str | None = None,
        calls: RemoteCalls | None = None,
    ) -> None:
        self.label = service.label
        self._service, self._client = service, client
        self._licence, self._captured_on = licence, captured_on
        self._calls = calls or RemoteCalls()
        self._lock = Lock()
        self._cache: OrderedDict[str, TileImage | None] = OrderedDict()
        self._cached_bytes = 0
        self._places: defaultdict[str, set[TileIndex]] = defaultdict(set)
        self._missing = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """The licence, what kind of imagery it is, and that no tile was found so far."""
        notes = [
            f"{self.label}: licence as written in the registry: {self._licence}",
            f"{self.label} has no near infrared, and its tiles may be of several dates.",
        ]
        with self._lock:
            missing = 0 if self._calls.has_served else self._missing
            placeholders = self._placeholders()
        if missing:
            notes.append(
                f"{self.label} has served no tile, and answered {missing} requests with 'no such "
                "tile': check `url` and `zoom` in the county's `imagery:`."
            )
        if placeholders:
            notes.append(
                f"{self.label} sends the same picture for different places ('no imagery at this "
                "zoom'); it counts as no imagery. Try a smaller `zoom:`."
            )
        return tuple(notes)

    def grid_for(self, geometry: BaseGeometry) -> PixelGrid:
        """The UTM grid of a geometry (EPSG:4326); pixels as large as a tile's on the ground.

        Raises:
            NoImagery: outside of the tiles' CRS ("missing").
        """
        longitude, centre_latitude = centre_lonlat(geometry)
        # By whole degrees, so that neighbours share a grid.
        latitude = min(max(math.floor(centre_latitude) + 0.5, -89.5), 89.5)
        tiles = self._grid_at(latitude)
        gsd_m = tiles.gsd_m(longitude, latitude)
        if not math.isfinite(gsd_m) or gsd_m <= 0:
            raise NoImagery("missing", f"{self.label} has no imagery here ({tiles.crs})")
        return PixelGrid(utm_crs(longitude, centre_latitude), rounded_gsd_m(gsd_m))

    def read(self, grid: PixelGrid, window: PixelWindow) -> Chip:
        """The window's pixels, from the tiles that cover it.

        Raises:
            NoImagery: not one valid pixel ("nodata").
            ImageryUnavailable: the server is temporarily unavailable, or fails at this position.
            ImageryError: the entry is wrong.
        """
        outline = shapely.segmentize(shapely.box(*grid.bounds(window)), grid.pixel_size * 64)
        lonlat = grid.to_lonlat(outline)
        tiles = self._grid_at(math.floor(centre_lonlat(lonlat)[1]) + 0.5)
        pixels = np.zeros((len(BANDS), window.height, window.width), np.uint8)
        valid = np.zeros((window.height, window.width), bool)
        # Two parts if it crosses the antimeridian, where the coordinates of most CRSs jump.
        for part in shapely.get_parts(lonlat):
            found, found_valid = self._read_part(tiles, part, grid, window)
            take = found_valid & ~valid
            pixels[:, take] = found[:, take]
            valid |= take
        if not valid.any():
            raise NoImagery("nodata", f"{self.label} has no imagery here")
        return Chip(
            pixels,
            valid,
            grid.transform(window),
            CRS.from_user_input(grid.crs),
            BANDS,
            self._captured_on,
            (self.label,),
        )

    def _read_part(
        self, tiles: TileGrid, lonlat: BaseGeometry, grid: PixelGrid, window: PixelWindow
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The window's pixels from the tiles of a part of it (EPSG:4326)."""
        xy = shapely.get_coordinates(PixelGrid(tiles.crs, 1.0).from_lonlat(lonlat))
        try:
            first, last = tiles.tiles_of(xy[:, 0], xy[:, 1], _PAD_PX)
        except ValueError as error:
            raise NoImagery("missing", f"{self.label} has no imagery here: {error}") from error
        return self._warp(tiles, first, self._join(tiles, first, last), grid, window)

    def _grid_at(self, latitude: float) -> TileGrid:
        try:
            return self._calls.make(lambda: self._service.grid_at(latitude))
        except ParcelsError as error:
            raise ImageryError(f"imagery: {error}") from error

    def _join(self, grid: TileGrid, first: TileIndex, last: TileIndex) -> TileImage:
        columns, rows = last.column - first.column + 1, last.row - first.row + 1
        if columns * rows > _MAX_TILES:
            raise ImageryError(
                f"{self.label}: a chip needs {columns * rows} tiles, more than {_MAX_TILES}; set "
                "a smaller `zoom:`, or a larger `gsd_m:`"
            )
        height, width = grid.tile_height, grid.tile_width
        pixels = np.zeros((3, rows * height, columns * width), np.uint8)
        valid = np.zeros(pixels.shape[1:], bool)
        found: list[tuple[tuple[slice, slice], str]] = []
        for row in range(rows):
            for column in range(columns):
                tile = grid.existing(TileIndex(first.column + column, first.row + row))
                if tile is None:
                    continue
                url = self._service.url(grid, tile)
                image = self._tile(grid, tile, url)
                if image is None:
                    continue
                at = (slice(row * height, (row + 1) * height),
                      slice(column * width, (column + 1) * width))  # fmt: skip
                pixels[:, *at], valid[at] = image.pixels, image.valid
                found.append((at, image.digest))
        with self._lock:
            placeholders = self._placeholders()
        # After all are there: the first one looks like any other.
        for at, digest in found:
            valid[at] &= digest not in placeholders
        return TileImage(pixels, valid)

    def _warp(
        self,
        tiles: TileGrid,
        first: TileIndex,
        joined: TileImage,
        grid: PixelGrid,
        window: PixelWindow,
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        # The valid mask is warped as an alpha band, so that no value is mixed with nodata.
        stack = np.concatenate([joined.pixels, np.where(joined.valid, _OPAQUE, 0)[None]])
        warped = np.zeros((len(stack), window.height, window.width), np.uint8)
        centre = centre_lonlat(grid.to_lonlat(shapely.box(*grid.bounds(window))))
        is_coarse = grid.gsd_m >= 2 * tiles.gsd_m(*centre)
        reproject(
            stack.astype(np.uint8),
            warped,
            src_transform=tiles.transform(first),
            src_crs=tiles.crs,
            dst_transform=grid.transform(window),
            dst_crs=grid.crs,
            src_alpha=len(stack),
            dst_alpha=len(stack),
            resampling=Resampling.average if is_coarse else Resampling.bilinear,
        )
        return warped[:-1], warped[-1] >= _HALF_OPAQUE

    def _tile(self, grid: TileGrid, tile: TileIndex, url: str) -> TileImage | None:
        with self._lock:
            if url in self._cache:
                self._cache.move_to_end(url)
                return self._cache[url]
        shown = self._client.redact(url)
        image = self._calls.make(
            lambda: self._client.get(
                url, lambda reply: parse_tile(shown, reply, grid.tile_width, grid.tile_height)
            )
        )
        if image is None:
            with self._lock:
                self._missing += 1
        else:
            self._calls.has_served = True
            if image.is_blank:
                image = None
        self._remember(url, tile, image)
        return image

    def _remember(self, url: str, tile: TileIndex, image: TileImage | None) -> None:
        with self._lock:
            if url in self._cache:
                return
            self._cache[url] = image
            self._cached_bytes += _size(image)
            if image is not None:
                self._places[image.digest].add(tile)
            while self._cached_bytes > _CACHE_BYTES:
                _, dropped = self._cache.popitem(last=False)
                self._cached_bytes -= _size(dropped)
                if dropped is not None:
                    self._forget(dropped.digest)

    def _forget(self, digest: str) -> None:
        """Keep what is known of placeholders; a tile that was seen once is no news."""
        if len(self._places[digest]) < _PLACEHOLDER_PLACES:
            del self._places[digest]

    def _placeholders(self) -> set[str]:
        """The digests of pictures that are no photographs; call it with the lock."""
        return {d for d, places in self._places.items() if len(places) >= _PLACEHOLDER_PLACES}


def _size(image: TileImage | None) -> int:
    return 256 if image is None else image.pixels.nbytes + image.valid.nbytes
