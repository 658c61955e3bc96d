"""Colours that may be fill: those that repeat exactly along the edges of a file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# JPEG moves a fill of 0 or 255 by at most this in blocks without any picture.
_NEAR_PURE = 5
_TOLERANCES = (0.0, 2.0, 5.0)
# A colour needs this many pixels of the edges, and this share, to be looked at; and this one if it
# is not pure.
_MIN_PIXELS, _MIN_SHARE, _MIN_PLAIN_SHARE = 16, 0.005, 0.2
_MAX_COLOURS = 6
# What other types than 8 bit are filled with, beside the ends of their range.
_SENTINELS = (0.0, -9999.0, -32767.0, -32768.0, 65535.0)


@dataclass(frozen=True, slots=True)
class FillColour:
    """A colour, one value per band.

    Attributes:
        tolerance: how far fill may be from it in each band.
        pure: every value is an end of the range (white, black, a key colour) or a sentinel. Other
            colours need more evidence: real roofs saturate at them.
    """

    values: tuple[float, ...]
    tolerance: float
    pure: bool

    @property
    def is_zero(self) -> bool:
        """Exactly 0 in every band."""
        return self.tolerance == 0 and not any(self.values)

    @property
    def is_noisy(self) -> bool:
        """Its pixels differ as much as JPEG makes them."""
        return self.pure and self.tolerance >= _NEAR_PURE


def edge_colours(edges: NDArray[np.generic], lossy: bool) -> list[FillColour]:
    """The colours of edge pixels (bands, n) that may be fill, the most frequent first."""
    finite = np.isfinite(edges).all(axis=0) if edges.dtype.kind == "f" else slice(None)
    pixels = edges[:, finite].T
    if not len(pixels):
        return []
    least = max(_MIN_PIXELS, _MIN_SHARE * len(edges.T))
    found: list[tuple[int, FillColour]] = []
    if pixels.dtype == np.uint8:
        bytes_ = pixels.astype(np.uint8, copy=False)
        pure = _near_pure(bytes_)
        found += _pure_colours(bytes_[pure], lossy, least)
        pixels = pixels[~pure]
    values, counts = np.unique(pixels, axis=0, return_counts=True)
    for index in np.argsort(-counts, kind="stable")[:_MAX_COLOURS]:
        colour = tuple(float(value) for value in values[index])
        is_pure = pixels.dtype != np.uint8 and _is_sentinel(colour, pixels.dtype)
        if counts[index] >= (least if is_pure else max(least, _MIN_PLAIN_SHARE * len(edges.T))):
            found.append((int(counts[index]), FillColour(colour, 0.0, is_pure)))
    found.sort(key=lambda item: -item[0])
    return [colour for _, colour in found[:_MAX_COLOURS]]


def _near_pure(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    near = (pixels <= _NEAR_PURE) | (pixels >= 255 - _NEAR_PURE)
    return np.asarray(near.all(axis=1))


def _pure_colours(
    pixels: NDArray[np.uint8], lossy: bool, least: float
) -> list[tuple[int, FillColour]]:
    """White, black and key colours, with the tolerance that their noise needs."""
    ends = np.where(pixels > 127, 255, 0)
    found = []
    for end in np.unique(ends, axis=0):
        of_end = pixels[(ends == end).all(axis=1)].astype(np.int16)
        if len(of_end) < least:
            continue
        off = np.abs(of_end - end).max(axis=1)
        steps = [t for t in _TOLERANCES if (off <= t).mean() >= 0.995]
        tolerance = max(steps[0], 2.0) if lossy else steps[0]
        values = tuple(float(value) for value in end)
        found.append((len(of_end), FillColour(values, tolerance, pure=True)))
    return found


def _is_sentinel(colour: tuple[float, ...], dtype: np.dtype[np.generic]) -> bool:
    about = np.iinfo(dtype.name) if dtype.kind in "iu" else np.finfo(dtype.name)
    ends = {*_SENTINELS, float(about.min), float(about.max)}
    return all(value in ends for value in colour)
