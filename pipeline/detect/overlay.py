"""The picture of an image with the polygons that were found on it, and a legend."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray

from detection.image_detection import ImageDetections, OpenedImage
from detection.imagery.pixel_grid import PixelWindow
from pipeline.detect.result_files import burn, write_atomically
from pipeline.report.palette import NO_IMAGERY_COLOUR, label_colour

if TYPE_CHECKING:
    from PIL.Image import Image

# Pixels of the longer side: larger images are reduced, smaller ones enlarged by a whole factor.
_MAX_SIDE_PX, _WANTED_SIDE_PX, _MAX_ENLARGING = 2048, 800, 8
_FILL_ALPHA = 0.35
# A label that contains others is drawn as an outline, or it would hide them.
_LEGEND_PX, _MARGIN_PX, _SQUARE_PX, _TEXT_PX = 26, 8, 12, 13
# Pixels of more than 8 bits are stretched between these quantiles.
_DARKEST, _BRIGHTEST = 0.02, 0.98

_Colours = NDArray[np.float32]


def write_overlay(path: Path, image: OpenedImage, found: ImageDetections) -> None:
    """Write a PNG of at most 2048 pixels a side. Where the image has no pixels it is grey.

    Raises:
        OSError: it cannot be written.
        rasterio.errors.RasterioError: the image cannot be read.
    """
    longest = max(image.width, image.height)
    reduced = math.ceil(longest / _MAX_SIDE_PX)
    enlarged = 1 if reduced > 1 else max(1, min(_MAX_ENLARGING, _WANTED_SIDE_PX // longest))
    picture = _pixels(image, reduced).repeat(enlarged, 0).repeat(enlarged, 1)
    window = PixelWindow(0, 0, picture.shape[1], picture.shape[0])
    for index, label in enumerate(found.labels):
        polygons = shapely.transform(
            image.to_pixels(found.of_label(index)), lambda xy: xy * (enlarged / reduced)
        )
        inside = burn(polygons, window) > 0
        edge = inside & ~_eroded(inside)
        colour = np.array(_rgb(label_colour(label.name)), np.float32)
        if not label.contains or len(found.labels) == 1:
            picture[inside] += _FILL_ALPHA * (colour - picture[inside])
        picture[edge] = colour
    drawn = _with_legend(picture, found)
    write_atomically(path, lambda part: drawn.save(part, format="PNG"))


def _pixels(image: OpenedImage, reduced: int) -> _Colours:
    """(height, width, 3) in 0..255."""
    columns, rows = math.ceil(image.width / reduced), math.ceil(image.height / reduced)
    whole = PixelWindow(0, 0, columns * reduced, rows * reduced)
    if reduced == 1:
        whole = PixelWindow(0, 0, image.width, image.height)
    bands, valid = image.own_pixels.read_own(whole, reduced)
    names = [name for name in ("red", "green", "blue") if name in image.bands]
    chosen = [image.bands.index(name) for name in names] if len(names) == 3 else [0, 0, 0]
    picture = np.moveaxis(bands[chosen], 0, -1).astype(np.float32)
    if bands.dtype != np.uint8 and valid.any():
        low, high = np.quantile(picture[valid], (_DARKEST, _BRIGHTEST))
        picture = np.clip((picture - low) / max(float(high - low), 1e-9), 0, 1) * 255
    picture[~valid] = _rgb(NO_IMAGERY_COLOUR)
    return picture


def _eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels whose four neighbours are inside too; the picture's border counts as outside."""
    padded = np.pad(mask, 1)
    core = padded[1:-1, 1:-1] & padded[:-2, 1:-1] & padded[2:, 1:-1]
    eroded: NDArray[np.bool_] = core & padded[1:-1, :-2] & padded[1:-1, 2:]
    return eroded


def _with_legend(picture: _Colours, found: ImageDetections) -> Image:
    """The picture with a line of label colours and counts below it."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(_TEXT_PX)
    entries = [
        (label_colour(label.name), f"{label.name}: {(found.label_of == index).sum():,}")
        for index, label in enumerate(found.labels)
    ]
    widths = [_SQUARE_PX + 2 * _MARGIN_PX + math.ceil(font.getlength(text)) for _, text in entries]
    rows: list[list[int]] = [[]]
    for index, width in enumerate(widths):
        if rows[-1] and sum(widths[i] for i in rows[-1]) + width > picture.shape[1]:
            rows.append([])
        rows[-1].append(index)
    height, width = picture.shape[:2]
    total_width = max(width, max(widths) + _MARGIN_PX)
    whole = Image.new("RGB", (total_width, height + _LEGEND_PX * len(rows)), "white")
    whole.paste(Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)), (0, 0))
    draw = ImageDraw.Draw(whole)
    for number, row in enumerate(rows):
        x, y = _MARGIN_PX, height + number * _LEGEND_PX + (_LEGEND_PX - _SQUARE_PX) // 2
        for index in row:
            colour, text = entries[index]
            draw.rectangle((x, y, x + _SQUARE_PX, y + _SQUARE_PX), fill=colour, outline="black")
            draw.text((x + _SQUARE_PX + _MARGIN_PX // 2, y - 2), text, fill="black", font=font)
            x += widths[index]
    return whole


def _rgb(colour: str) -> tuple[int, int, int]:
    """#rrggbb as numbers."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue
