"""The files of an image's results: masks on its own grid, and polygons.

A GeoJSON is written last and names its image in its first line, so it also says that the image's
other files are complete.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.features import rasterize
from rasterio.io import DatasetWriter
from rasterio.windows import Window
from shapely import STRtree

from detection.image_detection import ImageDetections, OpenedImage
from detection.imagery.pixel_grid import PixelWindow
from pipeline.errors import ImageResultError

INSIDE, OUTSIDE, NO_PIXELS = 1, 0, 255
# Pixels a side that a mask is written in; a multiple of its tiles.
_WRITTEN_PX, _TILE_PX = 2048, 256
_LONLAT_DECIMALS, _PIXEL_DECIMALS = 9, 3
_MAX_HEAD_BYTES = 1_000_000
_FEATURES_AT_ONCE = 1000
_PIXELS_NOTE = (
    "Coordinates are pixels of the upright image from its upper left corner, x to the right and y "
    "downwards. They are not longitude and latitude: the image has no georeference."
)


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` make a temporary file beside `path`, then rename it.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    write_all_atomically([path], lambda parts: write(parts[0]))


def write_all_atomically(paths: Sequence[Path], write: Callable[[list[Path]], None]) -> None:
    """As `write_atomically`, for several files: they are renamed when all are written."""
    parts = [path.with_name(f".{path.name}.{os.getpid()}.part") for path in paths]
    try:
        write(parts)
        for path, part in zip(paths, parts, strict=True):
            part.replace(path)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def write_masks(
    paths: Sequence[Path], image: OpenedImage, polygons_by_label: Sequence[NDArray[np.object_]]
) -> float:
    """Write GeoTIFFs on the image's own grid: 1 inside polygons (n,) of the grid's CRS, else 0.

    A pixel counts as inside if its centre is. Where the image has no pixels it is 255, nodata:
    what cannot be seen is not absent.

    Returns:
        The fraction of the image that has pixels.

    Raises:
        OSError: they cannot be written.
        rasterio.errors.RasterioError: the image or a mask cannot be read or written.
    """
    in_pixels = [image.to_pixels(polygons) for polygons in polygons_by_label]
    trees = [STRtree(polygons) for polygons in in_pixels]
    seen_px = 0

    def write(parts: list[Path]) -> None:
        nonlocal seen_px
        with ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            masks = [stack.enter_context(_new_mask(part, image)) for part in parts]
            for window in _windows(image.width, image.height):
                _, valid = image.own_pixels.read_own(window)
                seen_px += int(np.count_nonzero(valid))
                at = Window(window.column, window.row, window.width, window.height)
                for mask, polygons, tree in zip(masks, in_pixels, trees, strict=True):
                    near = polygons[tree.query(shapely.box(*_bounds(window)))]
                    values = np.where(valid, burn(near, window), NO_PIXELS).astype(np.uint8)
                    mask.write(values, 1, window=at)

    write_all_atomically(paths, write)
    return seen_px / (image.width * image.height)


def _new_mask(path: Path, image: OpenedImage) -> DatasetWriter:
    place: dict[str, Any] = {}
    if image.crs is not None:
        place = {"crs": image.crs, "transform": image.transform}
    return rasterio.open(
        path, "w", driver="GTiff", count=1, dtype="uint8", nodata=NO_PIXELS,
        width=image.width, height=image.height, compress="deflate", tiled=True,
        blockxsize=_TILE_PX, blockysize=_TILE_PX, bigtiff="if_safer", **place,
    )  # fmt: skip


def burn(polygons: NDArray[np.object_], window: PixelWindow) -> NDArray[np.uint8]:
    """(height, width): 1 where the centre of a pixel of the window is in polygons of pixels."""
    shape = (window.height, window.width)
    if not len(polygons):
        return np.zeros(shape, np.uint8)
    corner = Affine.translation(window.column, window.row)
    burnt: NDArray[np.uint8] = rasterize(polygons, shape, transform=corner, dtype="uint8")
    return burnt


def write_polygons(
    path: Path, image: OpenedImage, found: ImageDetections, record: Mapping[str, Any]
) -> None:
    """Write GeoJSON (RFC 7946): longitude and latitude, or pixels for a photograph.

    Args:
        record: what the results are of, for `read_record`.

    Raises:
        OSError: it cannot be written.
    """
    members: dict[str, Any] = {"lotline": dict(record)}
    if not image.is_georeferenced:
        members = {"coordinates_note": _PIXELS_NOTE, **members}

    def write(part: Path) -> None:
        with part.open("w", encoding="utf-8") as file:
            head = json.dumps({"type": "FeatureCollection", **members}, allow_nan=False)
            file.write(f'{head[:-1]}, "features": [\n')
            for number, feature in enumerate(_features(image, found)):
                file.write(f"{',' if number else ''}{feature}\n")
            file.write("]}\n")

    write_atomically(path, write)


def _features(image: OpenedImage, found: ImageDetections) -> Iterator[str]:
    """Each polygon as a GeoJSON feature; some at once, as text takes far more memory."""
    for at in range(0, len(found.polygons), _FEATURES_AT_ONCE):
        some = slice(at, at + _FEATURES_AT_ONCE)
        if image.is_georeferenced:
            geometries, decimals = image.to_lonlat(found.polygons[some]), _LONLAT_DECIMALS
        else:
            geometries, decimals = image.to_pixels(found.polygons[some]), _PIXEL_DECIMALS
        rounded = shapely.transform(geometries, partial(np.round, decimals=decimals))
        shapes = shapely.to_geojson(shapely.orient_polygons(rounded))
        for label, score, area_m2, shape in zip(
            found.label_of[some], found.scores[some], found.areas_m2[some], shapes, strict=True
        ):
            properties = {
                "label": found.labels[label].name,
                "score": round(float(score), 4),
                "area_m2": round(float(area_m2), 2) if image.is_scale_known else None,
            }
            named = json.dumps({"type": "Feature", "properties": properties})
            yield f'{named[:-1]}, "geometry": {shape}}}'


def read_record(path: Path) -> dict[str, Any] | None:
    """The record of a GeoJSON that `write_polygons` wrote; None if there is no such file.

    Raises:
        ImageResultError: another file is there.
    """
    try:
        with path.open("rb") as file:
            head = file.readline(_MAX_HEAD_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ImageResultError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        record: dict[str, Any] = json.loads(head.rstrip() + b"]}")["lotline"]
        _ = record["image"]["path"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ImageResultError(
            f"{path} exists, and is not a result of this command: it is not overwritten. Move it, "
            "or choose another --out"
        ) from error
    return record


def _windows(width: int, height: int) -> Iterator[PixelWindow]:
    for row in range(0, height, _WRITTEN_PX):
        for column in range(0, width, _WRITTEN_PX):
            yield PixelWindow(
                column, row, min(_WRITTEN_PX, width - column), min(_WRITTEN_PX, height - row)
            )


def _bounds(window: PixelWindow) -> tuple[float, float, float, float]:
    right, bottom = window.column + window.width, window.row + window.height
    return (window.column, window.row, right, bottom)
