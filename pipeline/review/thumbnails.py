"""A detection as a small picture: the imagery around it, with its outline drawn on it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from detection.imagery.interface import ImagerySource
from pipeline.report.aerial_image import rgba_image
from pipeline.report.palette import NO_IMAGERY_COLOUR, label_colour

if TYPE_CHECKING:
    from PIL.Image import Image

MIN_PX, MAX_PX = 64, 512
# What lies around an object tells what it is: at least this much ground, and a margin.
_MIN_SIDE_M = 12.0
_MARGIN = 0.2
# The outline is drawn this many times larger, for smooth lines. Dark below, its colour above.
_OVERSAMPLING = 3
_HALO_PX, _LINE_PX = 5.0, 2.7
_HALO = "#101820"
# A line may leave out what is smaller: outlines have thousands of vertices.
_TOLERANCE_PX = 0.3


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture as WebP.

    Attributes:
        imagery_files: what its pixels come from.
    """

    webp: bytes
    imagery_files: tuple[str, ...]


def thumbnail(source: ImagerySource, outline: BaseGeometry, label: str, size_px: int) -> Thumbnail:
    """A square picture around an outline (EPSG:4326), north up in the imagery's CRS.

    Raises:
        NoImagery: there is none around it.
        ImageryUnavailable: the server is temporarily unavailable.
    """
    grid = source.grid_for(outline)
    shape = grid.from_lonlat(outline)
    left, bottom, right, top = shape.bounds
    side = max(max(right - left, top - bottom) * (1 + 2 * _MARGIN), _MIN_SIDE_M / grid.unit_m)
    x, y = (left + right) / 2, (bottom + top) / 2
    view = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
    grid = grid.zoom_out(grid.coarsening_factor(side * grid.unit_m / size_px))
    chip = source.read(grid, grid.window_from_bounds(view))
    to_pixel = ~chip.transform
    columns, rows = zip(to_pixel @ (view[0], view[3]), to_pixel @ (view[2], view[1]), strict=True)
    picture = _on_ground(rgba_image(chip))
    # A window is whole pixels: the view is cut out of it exactly.
    crop = (
        max(columns[0], 0.0), max(rows[0], 0.0),
        min(columns[1], chip.width), min(rows[1], chip.height),
    )  # fmt: skip
    picture = picture.resize((size_px, size_px), _resampling(crop, size_px), box=crop)
    scale = size_px / side
    rings = [
        [((px - view[0]) * scale, (view[3] - py) * scale) for px, py in ring]
        for ring in _rings(shapely.simplify(shape, _TOLERANCE_PX / scale))
    ]
    _draw(picture, rings, label_colour(label))
    encoded = io.BytesIO()
    picture.save(encoded, "WEBP", quality=85, method=0)
    return Thumbnail(encoded.getvalue(), tuple(chip.sources))


def _on_ground(rgba: NDArray[np.uint8]) -> Image:
    """The picture with the maps' grey where there is no imagery."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(rgba))
    ground = Image.new("RGBA", picture.size, NO_IMAGERY_COLOUR)
    return Image.alpha_composite(ground, picture).convert("RGB")


def _resampling(crop: tuple[float, ...], size_px: int) -> int:
    from PIL import Image

    is_enlarged = crop[2] - crop[0] < size_px
    return Image.Resampling.BILINEAR if is_enlarged else Image.Resampling.BOX


def _rings(shape: BaseGeometry) -> Iterator[NDArray[np.float64]]:
    for part in shapely.get_parts(shape):
        for ring in (part.exterior, *part.interiors):
            yield shapely.get_coordinates(ring)


def _draw(picture: Image, rings: Sequence[Sequence[tuple[float, float]]], colour: str) -> None:
    from PIL import Image, ImageDraw

    large = (picture.width * _OVERSAMPLING, picture.height * _OVERSAMPLING)
    scaled = [[(x * _OVERSAMPLING, y * _OVERSAMPLING) for x, y in ring] for ring in rings]
    for ink, width_px in ((_HALO, _HALO_PX), (colour, _LINE_PX)):
        mask = Image.new("L", large)
        pen = ImageDraw.Draw(mask)
        for ring in scaled:
            pen.line(ring, fill=255, width=round(width_px * _OVERSAMPLING), joint="curve")
        picture.paste(ink, mask=mask.resize(picture.size, Image.Resampling.BOX))
