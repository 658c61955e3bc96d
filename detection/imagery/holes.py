"""Holes inside a file: parts that show nothing, far from its edge, which nothing declares.

A hole is a square of one colour. Ground has noise: the largest square of one exact colour in 60
million pixels of NAIP has a side of 20 pixels. The answer for a pixel depends on the pixels within
a fixed distance and on the file, never on the window that is read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from scipy import ndimage

from detection.imagery.drawn import is_drawn
from detection.imagery.fill import RIM_REACH_PX, window_of, with_rim
from detection.imagery.fill_colours import FillColour
from detection.imagery.fill_view import is_lossy
from detection.imagery.masks import matches
from detection.imagery.pixel_grid import PixelWindow

# The side of a hole with 0 in every band, and with any other colour, which water in JPEG has on up
# to 56 pixels. Roofs and snow have the greatest value of a type in every band.
BLACK_HOLE_PX = 32
HOLE_PX = 128
SATURATED_HOLE_PX = 256
_SATURATED = 0.98
_GLANCE_PX = 8


def black_holes(
    dataset: DatasetReader, indexes: list[int], pixels: NDArray[np.generic], window: PixelWindow
) -> NDArray[np.bool_]:
    """(height, width): the pixels of squares of `BLACK_HOLE_PX` with 0 in every band."""
    black = matches(pixels, (0.0,))
    if not black.any():
        return black
    # If all around the window were black, there would be most: without any, no more is read.
    pad = BLACK_HOLE_PX - 1
    if not (_opened(np.pad(black, pad, constant_values=True))[pad:-pad, pad:-pad] & black).any():
        return np.zeros_like(black)
    padded = _padded(dataset, window, pad)
    around = dataset.read(indexes, window=window_of(padded))
    return _opened(matches(around, (0.0,)))[window.slices_in(padded)]


def flat_holes(
    dataset: DatasetReader, indexes: list[int], pixels: NDArray[np.generic], window: PixelWindow,
    shown: NDArray[np.bool_],
) -> NDArray[np.bool_]:  # fmt: skip
    """(height, width): the pixels of squares of `HOLE_PX` of one colour, but for drawn pictures.

    Squares of saturated pixels are larger (`SATURATED_HOLE_PX`). In a lossy file the noise around
    them is hidden too.

    Args:
        shown: pixels that nothing else hides; if none of them may be in a hole, no more is read.
    """
    nothing = np.zeros(pixels.shape[1:], bool)
    rim = RIM_REACH_PX if is_lossy(dataset) else 0
    if not rim and not (_may_be_flat(pixels, HOLE_PX) & shown).any():
        return nothing
    # Most candidates are pixels at the window's edge: a few pixels more tell.
    inner, near = (_padded(dataset, window, rim + more) for more in (0, _GLANCE_PX))
    candidates = _may_be_flat(dataset.read(indexes, window=window_of(near)), HOLE_PX)
    if not candidates[inner.slices_in(near)].any():
        return nothing
    flat, padded, around = _found_around(dataset, indexes, window, HOLE_PX, rim)
    saturated = flat & _are_saturated(around)
    if saturated.any():
        flat, padded, around = _found_around(dataset, indexes, window, SATURATED_HOLE_PX, rim)
        flat |= _flat(around, HOLE_PX) & ~_are_saturated(around)
    if not flat.any() or is_drawn(dataset, indexes):
        return nothing
    if rim:
        flat = _with_rims(around, flat)
    return flat[window.slices_in(padded)]


def may_have_flat_holes(
    overview: DatasetReader, indexes: list[int], pixels: NDArray[np.generic], part: PixelWindow,
    step: int,
) -> bool:  # fmt: skip
    """Whether pixels of an overview, each `step` of the file's, may have any of a hole."""
    # The outermost pixels of a hole are mixed with others in an overview.
    side = max(HOLE_PX // step - 2, 2)
    if not _may_be_flat(pixels, side).any():
        return False
    padded = _padded(overview, part, side - 1)
    around = overview.read(indexes, window=window_of(padded))
    return bool(_flat(around, side)[part.slices_in(padded)].any())


def _padded(dataset: DatasetReader, window: PixelWindow, pad: int) -> PixelWindow:
    file = PixelWindow(0, 0, dataset.width, dataset.height)
    padded = window.pad(pad).intersection(file)
    if padded is None:
        raise ValueError(f"{window} is outside {dataset.name}")
    return padded


def _found_around(
    dataset: DatasetReader, indexes: list[int], window: PixelWindow, side: int, rim: int
) -> tuple[NDArray[np.bool_], PixelWindow, NDArray[np.generic]]:
    """Flat squares in and around a window, the window that they are in, and its pixels."""
    padded = _padded(dataset, window, side - 1 + rim)
    around = dataset.read(indexes, window=window_of(padded))
    return _flat(around, side), padded, around


def _may_be_flat(pixels: NDArray[np.generic], side: int) -> NDArray[np.bool_]:
    """Pixels in a square of one colour, if all around were of that colour."""
    pad = side - 1
    even = np.pad(_even(pixels), pad, constant_values=True)
    return _opened(even, pad)[pad:-pad, pad:-pad]


def _are_saturated(pixels: NDArray[Any]) -> NDArray[np.bool_]:
    if pixels.dtype.kind not in "iu":
        return np.zeros(pixels.shape[1:], bool)
    return np.asarray((pixels >= _SATURATED * np.iinfo(pixels.dtype.name).max).all(axis=0))


def _even(pixels: NDArray[np.generic]) -> NDArray[np.bool_]:
    """(height, width): pixels equal to the next ones, right of them and below."""
    even = np.ones(pixels.shape[1:], bool)
    for band in pixels:
        even[:, :-1] &= band[:, :-1] == band[:, 1:]
        even[:-1] &= band[:-1] == band[1:]
    return even


def _flat(pixels: NDArray[np.generic], side: int) -> NDArray[np.bool_]:
    """Pixels in any square of this side and of one colour."""
    even = _even(pixels)
    even[-1], even[:, -1] = False, False  # their next ones are not known
    corners = _opened(even, side - 1)
    flat = corners.copy()
    flat[1:] |= corners[:-1]
    flat[:, 1:] |= flat[:, :-1].copy()
    return flat


def _with_rims(pixels: NDArray[np.generic], flat: NDArray[np.bool_]) -> NDArray[np.bool_]:
    parts, number = ndimage.label(flat)
    hidden = flat.copy()
    for part in range(1, number + 1):
        inside = parts == part
        row, column = np.argwhere(inside)[0]
        values = tuple(float(value) for value in pixels[:, row, column])
        hidden |= with_rim(pixels, inside, FillColour(values, 0.0, pure=True))
    return hidden


def _opened(found: NDArray[np.bool_], side: int = BLACK_HOLE_PX) -> NDArray[np.bool_]:
    """Pixels in any square of this side in which all are found."""
    least = ndimage.minimum_filter(found, side, mode="constant", cval=False)
    # A filter of even size is centred half a pixel off: the second is mirrored.
    origin = -1 if side % 2 == 0 else 0
    return np.asarray(
        ndimage.maximum_filter(least, side, mode="constant", cval=False, origin=origin)
    )
