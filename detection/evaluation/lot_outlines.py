"""Outlines of lots: a vector file with a CRS, or lots.json in pixels of the traced tiles."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import shapely
from pyogrio.errors import DataSourceError
from shapely.affinity import affine_transform
from shapely.geometry.base import BaseGeometry

from detection.errors import TruthError
from detection.evaluation.tile_images import TileImages
from detection.evaluation.traced import TracedTile
from detection.imagery.pixel_grid import PixelGrid

_TO_WRITE = "write tile -> [[[x, y], ...], ...] in pixels of the tile, one ring of 3 or more a lot"


@dataclass(frozen=True, slots=True)
class LotOutline:
    """A lot before it is laid on a tile.

    Attributes:
        name: its parcel number, or its place in the file.
        lonlat: its outline in EPSG:4326.
        tile: on whose imagery alone it was drawn; None if it lies on any tile there.
    """

    name: str
    lonlat: BaseGeometry
    tile: str | None = None


def read_lot_outlines(
    path: Path, tiles: Sequence[TracedTile], images: TileImages
) -> list[LotOutline]:
    """The lots of a file; of lots.json those that were drawn on these tiles.

    Raises:
        TruthError: it cannot be read, has no CRS, or is not written as lots.json is.
    """
    rings = _pixel_rings(path)
    if rings is not None:
        return [each for tile in tiles for each in _of_tile(tile, rings, path, images)]
    try:
        frame = gpd.read_file(path)
    except (DataSourceError, OSError) as error:
        raise TruthError(f"the lots {path} cannot be read: {error}") from error
    if frame.crs is None:
        raise TruthError(f"the lots {path} have no CRS: save them with one, as GeoJSON")
    frame = frame.to_crs(4326)
    names = [str(v) for v in frame.get("apn", frame.index)]
    return [
        LotOutline(name, geometry)
        for name, geometry in zip(names, frame.geometry, strict=True)
        if geometry is not None
    ]


def _pixel_rings(path: Path) -> Mapping[str, Any] | None:
    """Tile -> rings; None if it is another format."""
    if path.suffix.lower() != ".json":
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TruthError(f"the lots {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise TruthError(f"{path} has no tiles: {_TO_WRITE}")
    return None if "type" in content else content  # GeoJSON says its type


def _of_tile(
    tile: TracedTile, rings: Mapping[str, Any], path: Path, images: TileImages
) -> Iterable[LotOutline]:
    listed = rings.get(tile.name, [])
    if not isinstance(listed, list):
        raise TruthError(f"{path}: the lots of {tile.name}: {_TO_WRITE}")
    for number, ring in enumerate(listed):
        try:
            polygon = shapely.Polygon(ring)
        except (TypeError, ValueError) as error:
            raise TruthError(f"{path}: lot {number} of {tile.name}: {_TO_WRITE}") from error
        if not polygon.is_valid or polygon.is_empty:
            raise TruthError(
                f"{path}: the outline of lot {number} of {tile.name} crosses itself or is empty: "
                "list its corners in order"
            )
        place = images.place_of(tile)
        ground = affine_transform(polygon, place.transform.to_shapely())
        lonlat = PixelGrid(place.crs, 1.0).to_lonlat(ground)
        yield LotOutline(f"{tile.name}/{number}", lonlat, tile.name)
