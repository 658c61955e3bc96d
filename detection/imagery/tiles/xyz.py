"""XYZ and TMS tile URLs: {z}, {x}, {y}, {-y}, {q}, {s}, {switch:a,b}, {r}, {token}."""

from __future__ import annotations

import re

from detection.imagery.tiles.tile_grid import TileGrid, TileIndex

_PLACEHOLDER = re.compile(r"\$?\{([^{}]*)\}")
_DEFAULT_SUBDOMAINS = ("a", "b", "c")


class XyzTiles:
    """The tiles of one zoom level in Web Mercator.

    Attributes:
        label: the URL as shown; without secrets.
    """

    def __init__(self, url: str, zoom: int, tile_px: int | None, token: str = "") -> None:
        self.label = url
        self._zoom, self._token = zoom, token
        if tile_px is None:
            tile_px = 512 if "@2x" in url or "{r}" in url else 256
        self._grid = TileGrid.web_mercator(zoom, tile_px)

    def grid_at(self, latitude: float) -> TileGrid:  # noqa: ARG002 - the protocol
        """The grid of the zoom level; the same everywhere."""
        return self._grid

    def url(self, grid: TileGrid, tile: TileIndex) -> str:  # noqa: ARG002 - the protocol
        """The address of a tile."""

        def value(match: re.Match[str]) -> str:
            return self._value(match[1], tile)

        return _PLACEHOLDER.sub(value, self.label)

    def _value(self, name: str, tile: TileIndex) -> str:
        if name.startswith("switch:") or name == "s":
            hosts = name[7:].split(",") if name != "s" else _DEFAULT_SUBDOMAINS
            return hosts[(tile.column + tile.row) % len(hosts)]
        values = {
            "z": str(self._zoom),
            "x": str(tile.column),
            "y": str(tile.row),
            "-y": str(2**self._zoom - 1 - tile.row),
            "q": quadkey(self._zoom, tile),
            "r": "@2x" if self._grid.tile_width >= 512 else "",
            "token": self._token,
        }
        return values[name]


def quadkey(zoom: int, tile: TileIndex) -> str:
    """The tile's name in Bing's scheme: a digit 0 to 3 for each level."""
    bits = range(zoom - 1, -1, -1)
    return "".join(str((tile.column >> b & 1) + 2 * (tile.row >> b & 1)) for b in bits)
