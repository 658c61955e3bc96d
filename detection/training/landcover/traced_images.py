"""Images with traced windows, each at its own ground sample distance: to train on and to judge by.

`DATA/traced` has windows.json and a PNG of class codes for each image, as the evaluation reads
them; `DATA/imagery` has the images, NAME.tif, 8 bits of red, green, blue
and perhaps near infrared.
"""

from __future__ import annotations

import math
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detection.errors import DetectionError, TrainingError
from detection.training.held_out import HELD_OUT_PREFIXES
from detection.training.landcover.pack import LandcoverTiles
from detection.training.sam3.labels import UNSURE

# Imagery around a window that its turned views may show.
_MARGIN_M = 40.0
_BANDS = 3, 4


@dataclass(frozen=True, slots=True, eq=False)
class TracedImage:
    """A square image, of which parts were traced.

    Attributes:
        name: of the tile that it is a part of.
        pixels: (4, side, side) uint8: red, green, blue, near infrared.
        codes: (side, side) uint8 of the classes; `UNSURE` where nothing is known.
        gsd_m: the size of a pixel.
        has_infrared: else that plane is 0.
    """

    name: str
    pixels: NDArray[np.uint8]
    codes: NDArray[np.uint8]
    gsd_m: float
    has_infrared: bool = True


def images_of_tiles(tiles: LandcoverTiles, gsd_m: float) -> list[TracedImage]:
    """The tiles of a pack on which anything was traced."""
    return [
        TracedImage(name, pixels, codes, gsd_m)
        for name, pixels, codes in zip(tiles.names, tiles.pixels, tiles.traced, strict=True)
        if bool((codes != UNSURE).any())
    ]


def read_traced_images(data: Path) -> list[TracedImage]:
    """The windows of `data/traced`, with their surroundings; none of the test city.

    Raises:
        TrainingError: a folder is missing or wrong, an image cannot be used, or all are of the
            test city.
    """
    # Reading images needs rasterio; training on a pack does not.
    from detection.evaluation.tile_images import TileImages
    from detection.evaluation.traced import read_traced

    try:
        images = TileImages([data / "imagery"], data)  # nothing is resampled into `data`
        tiles = [
            t for t in read_traced(data / "traced") if not t.name.startswith(HELD_OUT_PREFIXES)
        ]
        found = [
            image
            for tile in tiles
            for image in _parts(
                tile.name, images.path_of(tile), tile.codes,
                math.sqrt(images.place_of(tile).pixel_m2),
                [(w.row, w.column, w.height, w.width) for w in tile.windows],
            )
        ]  # fmt: skip
    except DetectionError as error:
        raise TrainingError(str(error)) from error
    if not found:
        raise TrainingError(
            f"all windows of {data / 'traced'} are of {', '.join(HELD_OUT_PREFIXES)}, which no "
            "training uses: trace other images"
        )
    return found


def split_judged(
    images: Sequence[TracedImage], one_in: int, prefixes: Sequence[str]
) -> tuple[list[TracedImage], list[TracedImage]]:
    """(to train on, to judge by): those with a prefix, and one name in so many by its hash.

    Args:
        one_in: 0 leaves none out by its hash.
    """
    judged = {
        image.name
        for image in images
        if image.name.startswith(tuple(prefixes))
        or (one_in and zlib.crc32(image.name.encode()) % one_in == 0)
    }
    return (
        [image for image in images if image.name not in judged],
        [image for image in images if image.name in judged],
    )


def _parts(
    name: str,
    path: Path,
    codes: NDArray[np.uint8],
    gsd_m: float,
    windows: Sequence[tuple[int, int, int, int]],
) -> Iterator[TracedImage]:
    """An image around each window (row, column, height, width) of a tile."""
    pixels = _read_pixels(path)
    whole = np.concatenate(
        [pixels, np.zeros((4 - len(pixels), *pixels.shape[1:]), np.uint8)]
    )  # fmt: skip
    margin = math.ceil(_MARGIN_M / gsd_m)
    for row, column, height, width in windows:
        rows = slice(max(0, row - margin), row + height + margin)
        columns = slice(max(0, column - margin), column + width + margin)
        known = np.full_like(codes, UNSURE)
        inside = (slice(row, row + height), slice(column, column + width))
        known[inside] = codes[inside]
        part, part_codes = whole[:, rows, columns], known[rows, columns]
        side = max(part_codes.shape)
        pad = [(0, side - length) for length in part_codes.shape]
        yield TracedImage(
            name,
            np.pad(part, ((0, 0), *pad), mode="edge"),
            np.pad(part_codes, pad, constant_values=UNSURE),
            gsd_m,
            len(pixels) == max(_BANDS),
        )


def _read_pixels(path: Path) -> NDArray[np.uint8]:
    """
    Raises:
        TrainingError: the file cannot be read, is not of 8 bits, or has not three or four bands.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as dataset:
                pixels = dataset.read()
    except RasterioError as error:
        raise TrainingError(f"{path} cannot be read ({error})") from error
    if len(pixels) not in _BANDS or pixels.dtype != np.uint8:
        raise TrainingError(
            f"{path} has {len(pixels)} bands of {pixels.dtype}: training needs red, green, blue "
            "and perhaps near infrared, of 8 bits. Convert it with gdal_translate -ot Byte -scale"
        )
    return np.asarray(pixels, np.uint8)
