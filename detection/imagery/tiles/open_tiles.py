"""A registry entry -> the tile source that it describes."""

from __future__ import annotations

import os

from detection.errors import ImageryError
from detection.imagery.tiles.tiled_imagery import TiledImagery, TileService
from detection.imagery.tiles.wms import WmsTiles
from detection.imagery.tiles.wmts import WmtsTiles
from detection.imagery.tiles.xyz import XyzTiles
from detection.registry.imagery_entry import ImageryEntry
from parcels.arcgis.http.byte_client import ByteClient


def open_tiles(entry: ImageryEntry, *, allow_private: bool = False) -> TiledImagery:
    """The source of an entry of the kind xyz, wmts or wms; without a request.

    Raises:
        ImageryError: the environment variable of its token is not set.
    """
    token = _token(entry)
    client = ByteClient(secrets=(token,), allow_private=allow_private)
    return TiledImagery(
        _service(entry, client, token),
        client,
        licence=entry.licence or "",
        captured_on=entry.captured_on,
    )


def _service(entry: ImageryEntry, client: ByteClient, token: str) -> TileService:
    url, zoom, layers = entry.url or "", entry.zoom or 0, entry.layers or ()
    if entry.kind == "xyz":
        return XyzTiles(url, zoom, entry.tile_px, token)
    if entry.kind == "wmts":
        return WmtsTiles(
            url,
            zoom,
            client,
            layer=layers[0] if layers else None,
            matrix_set=entry.matrix_set,
            tile_px=entry.tile_px,
            token=token,
        )
    return WmsTiles(
        url,
        layers,
        styles=entry.styles or "",
        crs=entry.crs,
        gsd_m=entry.gsd_m,
        token=token,
    )


def _token(entry: ImageryEntry) -> str:
    if entry.token is None:
        return ""
    value = os.environ.get(entry.token.env, "")
    if not value:
        raise ImageryError(
            f"{entry.url} needs the key in the environment variable {entry.token.env}, which is "
            f"not set: export {entry.token.env}=…"
        )
    return value
