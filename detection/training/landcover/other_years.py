"""What was traced in one year, carried to the same ground in other years.

Roofs, drives and most lawns and trees stay where they are, while light, season and sharpness of the
imagery change: labels that hold in two years are worth more than the same ones twice. A label is
carried only where near infrared agrees that the ground is as green, or as bare, as it was, and away
from the edges of its class, since the imagery of two years does not lie exactly alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from detection.training.sam3.labels import UNSURE

# Imagery of two years that lies further apart, or looks less alike, is of other ground.
_MAX_SHIFT_PX, _MIN_LIKENESS = 8, 0.25
_MARGIN_PX = 16
# Below, too much has changed to believe the rest.
_MIN_KEPT = 0.4
# Green in both years, or bare in both; between these, either will do.
_GREEN_NDVI, _BARE_NDVI = 0.05, 0.08


def carry_codes(
    names: Sequence[str], pixels: Mapping[str, NDArray[np.uint8]], traced: NDArray[np.uint8]
) -> dict[str, NDArray[np.uint8]]:
    """Codes (side, side) for tiles without any, from the same place traced in the nearest year.

    Args:
        names: of tiles, PLACE_YEAR_NUMBER.
        pixels: (4, side, side) of each name: red, green, blue, near infrared.
        traced: (n, side, side) codes; `UNSURE` where nothing is known.
    """
    rows = {name: row for row, name in enumerate(names) if (traced[row] != UNSURE).any()}
    carried = {}
    for name in names:
        if name in rows:
            continue
        city, year, number = name.rsplit("_", 2)
        sources = [
            (abs(int(other) - int(year)), f"{city}_{other}_{number}")
            for other in _years(rows, city, number)
        ]
        for _, source in sorted(sources):
            codes = carried_to(pixels[source], traced[rows[source]], pixels[name])
            if codes is not None:
                carried[name] = codes
                break
    return carried


def _years(rows: Mapping[str, int], city: str, number: str) -> list[str]:
    parts = (name.rsplit("_", 2) for name in rows)
    return [year for place, year, other in parts if (place, other) == (city, number)]


def carried_to(
    source: NDArray[np.uint8], codes: NDArray[np.uint8], target: NDArray[np.uint8]
) -> NDArray[np.uint8] | None:
    """The codes of `source` that hold on `target` too, on its pixels; None if hardly any do.

    Args:
        source, target: (4, side, side) of the same ground.
        codes: (side, side) of `source`.
    """
    known = codes != UNSURE
    down, across = np.nonzero(known.any(1))[0], np.nonzero(known.any(0))[0]
    side = codes.shape[0]
    window = tuple(
        slice(max(0, int(at[0]) - _MARGIN_PX), min(side, int(at[-1]) + 1 + _MARGIN_PX))
        for at in (down, across)
    )
    found = shift_between(_edges(source)[window], _edges(target)[window])
    if found is None:
        return None
    moved = _moved(np.where(_inner(codes), codes, UNSURE).astype(np.uint8), found)
    same = _same_green(_moved_ndvi(source, found), _ndvi(target))
    kept = np.where(same, moved, UNSURE).astype(np.uint8)
    share = (kept != UNSURE).sum() / max(1, int((moved != UNSURE).sum()))
    return kept if share >= _MIN_KEPT else None


def shift_between(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> tuple[int, int] | None:
    """(rows, columns) by which `second` lies further on than `first`; None if they are not alike.

    By phase correlation, and then the correlation of what overlaps.
    """
    spectrum = np.fft.rfft2(second) * np.conj(np.fft.rfft2(first))
    peaks = np.fft.irfft2(spectrum / np.maximum(np.abs(spectrum), 1e-9), first.shape)
    reach = range(-_MAX_SHIFT_PX, _MAX_SHIFT_PX + 1)
    near = np.array([[peaks[i, j] for j in reach] for i in reach])
    row, column = np.unravel_index(int(near.argmax()), near.shape)
    shift = int(row) - _MAX_SHIFT_PX, int(column) - _MAX_SHIFT_PX
    inner = np.s_[_MAX_SHIFT_PX:-_MAX_SHIFT_PX, _MAX_SHIFT_PX:-_MAX_SHIFT_PX]
    moved = np.roll(first, shift, (0, 1))[inner].ravel()
    likeness = np.corrcoef(moved, second[inner].ravel())[0, 1]
    return shift if likeness >= _MIN_LIKENESS else None


def _edges(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How much the brightness changes at each pixel, the strongest edges cut."""
    grey = pixels[:3].mean(0)
    strength = np.hypot(*np.gradient(grey))
    cut = np.minimum(strength, np.quantile(strength, 0.95))
    normed: NDArray[np.float64] = cut - cut.mean()
    return normed


def _inner(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels whose eight neighbours have the same code."""
    inner = np.ones(codes.shape, bool)
    padded = np.pad(codes, 1, mode="edge")
    height, width = codes.shape
    for i in range(3):
        for j in range(3):
            inner &= padded[i : i + height, j : j + width] == codes
    return inner


def _moved(codes: NDArray[np.uint8], shift: tuple[int, int]) -> NDArray[np.uint8]:
    moved = np.roll(codes, shift, (0, 1))
    for axis, by in enumerate(shift):
        if by:
            gone = slice(0, by) if by > 0 else slice(by, None)
            moved[(gone, slice(None)) if axis == 0 else (slice(None), gone)] = UNSURE
    return moved


def _ndvi(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    red, infrared = pixels[0].astype(np.float64), pixels[3].astype(np.float64)
    ndvi: NDArray[np.float64] = (infrared - red) / (infrared + red + 1)
    return ndvi


def _moved_ndvi(pixels: NDArray[np.uint8], shift: tuple[int, int]) -> NDArray[np.float64]:
    return np.roll(_ndvi(pixels), shift, (0, 1))


def _same_green(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.bool_]:
    green = (first > _GREEN_NDVI) & (second > _GREEN_NDVI)
    bare = (first < _BARE_NDVI) & (second < _BARE_NDVI)
    return green | bare
