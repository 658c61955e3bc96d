"""Windows of real imagery that were traced by eye, as lots of which all but unsure ground is known.

A window is corrected as one lot; the lots that are judged are those of lots.json. What one tile, or
another year of its ground, shows is never divided between training and test.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import shapes
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from benchmarks.loop.known_lots import LABELS, KnownLot, known_lot
from detection.evaluation.lot_outlines import read_lot_outlines
from detection.evaluation.tile_images import TileImages, TilePlace
from detection.evaluation.traced import CODES_OF, UNSURE, TracedTile, read_traced
from detection.imagery.pixel_grid import PixelGrid, PixelWindow
from parcels.measure import polygonal


@dataclass(frozen=True, slots=True)
class TracedPlace:
    """The lots of one tile's ground.

    Attributes:
        ground: the same for all years of a place, such as "riverside 28".
        windows: to correct.
        lots: to judge; empty if none were drawn.
    """

    ground: str
    windows: Sequence[KnownLot]
    lots: Sequence[KnownLot]


def traced_places(
    folder: Path, imagery: TileImages, tiles: Sequence[str] = (), lots: Path | None = None
) -> list[TracedPlace]:
    """The places of a folder of traced windows.

    Args:
        tiles: names or patterns; empty for all.
        lots: lots.json.

    Raises:
        TruthError: the truth, the lots or the imagery of a tile cannot be read.
    """
    places = []
    for tile in read_traced(folder, tiles):
        ground = f"{tile.city} {tile.name.rpartition('_')[2]}"
        windows = list(_windows(tile, imagery, ground, folder.name))
        outlined = [] if lots is None else list(_lots(tile, imagery, ground, lots))
        places.append(TracedPlace(ground, windows, outlined))
    return places


def _windows(tile: TracedTile, images: TileImages, ground: str, source: str) -> Iterator[KnownLot]:
    place, opened = images.place_of(tile), images.open(tile)
    for number, window in enumerate(tile.windows):
        outline = polygonal(_lonlat(place, place.box(window)))
        codes = np.full_like(tile.codes, UNSURE)
        part = window.slices_in(PixelWindow(0, 0, codes.shape[1], codes.shape[0]))
        codes[part] = tile.codes[part]
        objects, unsure = _shapes(codes, place)
        name = (f"{source} {tile.name}", f"window {number}")
        yield known_lot(name, number + 1, outline, objects, opened, ground, unsure)


def _lots(tile: TracedTile, images: TileImages, ground: str, path: Path) -> Iterator[KnownLot]:
    place, opened = images.place_of(tile), images.open(tile)
    objects, unsure = _shapes(tile.codes, place)
    for number, each in enumerate(read_lot_outlines(path, [tile], images)):
        outline = polygonal(each.lonlat)
        own = [(label, _clipped(found, outline)) for label, found in objects]
        kept = [(label, found) for label, found in own if not found.is_empty]
        name = (tile.name, f"lot {number}")
        yield known_lot(name, 100 + number, outline, kept, opened, ground, unsure)


def _clipped(found: BaseGeometry, outline: BaseGeometry) -> BaseGeometry:
    inside = found.intersection(outline)
    return polygonal(inside) if inside.area > 0 else shapely.Polygon()  # it may touch in a point


def _shapes(
    codes: NDArray[np.uint8], place: TilePlace
) -> tuple[list[tuple[str, BaseGeometry]], BaseGeometry]:
    """(label and outline of each connected part, the unsure ground), EPSG:4326."""
    found = [
        (int(code), shape(geometry)) for geometry, code in shapes(codes, transform=place.transform)
    ]
    label_of = {CODES_OF[label][0]: label for label in LABELS}
    objects = [
        (label_of[code], polygonal(_lonlat(place, each)))
        for code, each in found
        if code in label_of
    ]
    unsure = shapely.union_all([each for code, each in found if code == UNSURE])
    return objects, _lonlat(place, unsure)


def _lonlat(place: TilePlace, geometry: BaseGeometry) -> BaseGeometry:
    return PixelGrid(place.crs, 1.0).to_lonlat(geometry)
