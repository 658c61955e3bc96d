"""Where the tiles of one zoom level are, in the server's CRS."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import shapely
from affine import Affine

from detection.imagery.pixel_grid import PixelGrid, utm_crs

WEB_MERCATOR = "EPSG:3857"
# Half the side of the world in Web Mercator: pi times the radius of its sphere.
WORLD_HALF_M = math.pi * 6378137.0
_KEPT_DIGITS = 3


@dataclass(frozen=True, slots=True, order=True)
class TileIndex:
    """A tile: columns go right, rows go down."""

    column: int
    row: int


@dataclass(frozen=True, slots=True)
class TileGrid:
    """A grid of tiles whose pixels are squares in a CRS.

    Attributes:
        crs: "EPSG:n" or WKT; coordinates are x, y whatever its axis order.
        pixel_size: the side of a pixel in units of the CRS.
        left, top: the upper left corner of tile (0, 0).
        tile_width, tile_height: in pixels.
        columns, rows: (first, last) that exist; None where all do.
        wraps_at: number of columns around the world; None if columns end.
    """

    crs: str
    pixel_size: float
    left: float
    top: float
    tile_width: int
    tile_height: int
    columns: tuple[int, int] | None = None
    rows: tuple[int, int] | None = None
    wraps_at: int | None = None

    @classmethod
    def web_mercator(cls, zoom: int, tile_px: int = 256) -> TileGrid:
        """The XYZ grid of a zoom level (tiles of `tile_px` cover the same area at any size)."""
        count = 2**zoom
        return cls(
            WEB_MERCATOR,
            2 * WORLD_HALF_M / (tile_px * count),
            -WORLD_HALF_M,
            WORLD_HALF_M,
            tile_px,
            tile_px,
            rows=(0, count - 1),
            wraps_at=count,
        )

    def bounds(self, tile: TileIndex) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) of a tile in the CRS."""
        width, height = self.tile_width * self.pixel_size, self.tile_height * self.pixel_size
        left, top = self.left + tile.column * width, self.top - tile.row * height
        return (left, top - height, left + width, top)

    def transform(self, tile: TileIndex) -> Affine:
        """Pixel (column, row) from a tile's upper left corner -> CRS (x, y)."""
        left, _, _, top = self.bounds(tile)
        return Affine(self.pixel_size, 0.0, left, 0.0, -self.pixel_size, top)

    def tiles_of(self, xs: np.ndarray, ys: np.ndarray, pad_px: int) -> tuple[TileIndex, TileIndex]:
        """The first and the last tile around CRS positions, with a margin of pixels.

        Raises:
            ValueError: a position is outside of the area of the CRS.
        """
        if not (np.isfinite(xs).all() and np.isfinite(ys).all()):
            raise ValueError(f"outside of the area of {self.crs}")
        pad = pad_px * self.pixel_size
        width, height = self.tile_width * self.pixel_size, self.tile_height * self.pixel_size
        first_column = math.floor((float(xs.min()) - pad - self.left) / width)
        last_column = math.floor((float(xs.max()) + pad - self.left) / width)
        first_row = math.floor((self.top - float(ys.max()) - pad) / height)
        last_row = math.floor((self.top - float(ys.min()) + pad) / height)
        return TileIndex(first_column, first_row), TileIndex(last_column, last_row)

    def existing(self, tile: TileIndex) -> TileIndex | None:
        """The tile, around the world if the grid wraps; None if there is no such tile."""
        column = tile.column if self.wraps_at is None else tile.column % self.wraps_at
        for value, limits in ((column, self.columns), (tile.row, self.rows)):
            if limits is not None and not limits[0] <= value <= limits[1]:
                return None
        return TileIndex(column, tile.row)

    def gsd_m(self, longitude: float, latitude: float) -> float:
        """The side of a pixel on the ground in metres, at a position.

        In Web Mercator it is smaller than `pixel_size`, by the cosine of the latitude.
        """
        here = PixelGrid(self.crs, 1.0).from_lonlat(shapely.Point(longitude, latitude))
        steps = [(here.x, here.y), (here.x + self.pixel_size, here.y),
                 (here.x, here.y + self.pixel_size)]  # fmt: skip
        lonlat = PixelGrid(self.crs, 1.0).to_lonlat(shapely.MultiPoint(steps))
        utm = PixelGrid(utm_crs(longitude, latitude), 1.0).from_lonlat(lonlat)
        origin, right, up = shapely.get_parts(utm)
        return float(min(origin.distance(right), origin.distance(up)))


def rounded_gsd_m(gsd_m: float) -> float:
    """The size rounded down to three digits, so that neighbours share a grid and lose nothing."""
    unit = 10.0 ** (math.floor(math.log10(gsd_m)) - (_KEPT_DIGITS - 1))
    return round(math.floor(gsd_m / unit * (1 + 1e-9)) * unit, 9)
