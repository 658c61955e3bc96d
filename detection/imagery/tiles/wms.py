"""WMS: GetMap requests, on tiles of a fixed grid so that a position always has the same pixels."""

from __future__ import annotations

import math
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from pyproj import CRS

from detection.imagery.tiles.tile_grid import WEB_MERCATOR, TileGrid, TileIndex, rounded_gsd_m

DEFAULT_GSD_M = 0.6
_TILE_PX = 512
_METRES_PER_DEGREE = 111_319.49
_OWN_PARAMETERS = frozenset(
    ("service", "version", "request", "layers", "styles", "format", "transparent", "crs", "srs",
     "bbox", "width", "height")
)  # fmt: skip


class WmsTiles:
    """GetMap of `layers` in tiles of 512 px.

    Attributes:
        label: the URL and the layers as shown; without secrets.
    """

    def __init__(
        self,
        url: str,
        layers: tuple[str, ...],
        *,
        styles: str = "",
        crs: str | None = None,
        gsd_m: float | None = None,
        token: str = "",
    ) -> None:
        self.label = url
        self._token = token
        self._crs = crs or WEB_MERCATOR
        self._gsd_m = gsd_m or DEFAULT_GSD_M
        self._base, written = _split(url)
        self._version = written.pop("version", "1.3.0")
        self._params = {
            **{name: value for name, value in written.items() if name not in _OWN_PARAMETERS},
            "service": "WMS",
            "version": self._version,
            "request": "GetMap",
            "layers": ",".join(layers),
            "styles": styles or written.get("styles", ""),
            "format": written.get("format", "image/png"),
            "transparent": "TRUE",
        }

    def grid_at(self, latitude: float) -> TileGrid:
        """The grid whose pixels have about `gsd_m` on the ground there."""
        crs = CRS.from_user_input(_axis_crs(self._crs))
        if crs.is_geographic:
            size = self._gsd_m / _METRES_PER_DEGREE
        elif self._crs == WEB_MERCATOR:
            size = self._gsd_m / math.cos(math.radians(latitude))
        else:
            size = self._gsd_m / float(crs.axis_info[0].unit_conversion_factor)
        return TileGrid(self._crs_of_pixels(), rounded_gsd_m(size), 0.0, 0.0, _TILE_PX, _TILE_PX)

    def url(self, grid: TileGrid, tile: TileIndex) -> str:
        """The GetMap request of a tile."""
        left, bottom, right, top = grid.bounds(tile)
        is_new = self._version >= "1.3"
        # WMS 1.3.0 has the axis order of the CRS; 1.1.1 always has x, y.
        if is_new and _is_north_first(self._crs):
            box = (bottom, left, top, right)
        else:
            box = (left, bottom, right, top)
        params = {
            **self._params,
            "crs" if is_new else "srs": self._crs,
            "bbox": ",".join(f"{value:.10g}" for value in box),
            "width": str(grid.tile_width),
            "height": str(grid.tile_height),
        }
        query = urlencode(params, quote_via=quote, safe="/,:{}")
        return f"{self._base}?{query}".replace("{token}", self._token)

    def _crs_of_pixels(self) -> str:
        return _axis_crs(self._crs)


def _split(url: str) -> tuple[str, dict[str, str]]:
    """The URL without its query, and the query; names of WMS parameters in lower case."""
    parts = urlsplit(url)
    query = {
        name.lower() if name.lower() in _OWN_PARAMETERS else name: value
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    }
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")), query


def _axis_crs(crs: str) -> str:
    return "OGC:CRS84" if crs.upper() == "CRS:84" else crs


def _is_north_first(crs: str) -> bool:
    if crs.upper() == "CRS:84":
        return False
    return bool(CRS.from_user_input(crs).axis_info[0].direction.lower() in ("north", "south"))
