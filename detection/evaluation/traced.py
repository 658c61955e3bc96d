"""Truth traced by eye: a PNG of class codes for each imagery tile, and the windows traced in it.

A folder has `windows.json` (tile -> windows [x0, y0, x1, y1] in pixels, x1 and y1 exclusive) and
`TILE.png`, single band, 8 bit, of the tile's size. Inside a window every pixel has a class;
`UNSURE` is one that the tracer could not decide, and everything outside the windows.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from detection.errors import TruthError
from detection.imagery.pixel_grid import PixelWindow

OTHER, LAWN, TREE, ROOF, DRIVEWAY, POOL, UNSURE = 0, 1, 2, 3, 4, 5, 255
CODES_OF: Mapping[str, tuple[int, ...]] = MappingProxyType({
    "lawn": (LAWN,),
    "tree": (TREE,),
    "vegetation": (LAWN, TREE),
    "roof": (ROOF,),
    "driveway": (DRIVEWAY,),
    "pool": (POOL,),
})  # fmt: skip
"""The class codes that a label consists of."""

_KNOWN = (OTHER, LAWN, TREE, ROOF, DRIVEWAY, POOL, UNSURE)
_WINDOWS = "windows.json"
_NAME = re.compile(r"(?P<city>.+)_(?P<year>(?:19|20)\d\d)_[^_]+")
_TO_WRITE = "write tile -> [[x0, y0, x1, y1], ...] in pixels, x1 and y1 exclusive"


@dataclass(frozen=True, slots=True, eq=False)
class TracedTile:
    """The traced windows of one imagery tile.

    Attributes:
        name: of the tile's file, without its suffix, such as "riverside_2020_59".
        codes: (height, width) uint8, a class code for each pixel of the tile.
        windows: of the tile's pixels.
        city, year: from the name; "" and None where it has none.
    """

    name: str
    codes: NDArray[np.uint8]
    windows: tuple[PixelWindow, ...]
    city: str = ""
    year: int | None = None

    def codes_in(self, window: PixelWindow) -> NDArray[np.uint8]:
        """The class codes (h, w) of a window."""
        return self.codes[_slices(window)]

    def counted_in(self, index: int) -> NDArray[np.bool_]:
        """Where the pixels (h, w) of a window are not in an earlier one: none counts twice."""
        first = np.full(self.codes.shape, -1, np.int16)
        for i in reversed(range(index + 1)):
            first[_slices(self.windows[i])] = i
        counted: NDArray[np.bool_] = first[_slices(self.windows[index])] == index
        return counted


def truth_of(codes: NDArray[np.uint8], label: str) -> NDArray[np.bool_]:
    """Where the class codes (h, w) are those of a label of `CODES_OF`; unsure pixels are not."""
    return np.isin(codes, CODES_OF[label])


def read_traced(folder: Path, tiles: Sequence[str] = ()) -> list[TracedTile]:
    """The traced tiles of a folder, by name.

    Args:
        tiles: names or patterns (`riverside_*`) of those to read; empty for all.

    Raises:
        TruthError: the folder has no traced windows, a file is missing or wrong, or no tile has
            such a name.
    """
    windows = _read_windows(folder / _WINDOWS)
    unlisted = sorted(path.stem for path in folder.glob("*.png") if path.stem not in windows)
    if unlisted:
        raise TruthError(
            f"{folder / _WINDOWS} has no windows of {', '.join(unlisted)}: {_TO_WRITE}"
        )
    chosen = sorted(n for n in windows if not tiles or any(fnmatch(n, each) for each in tiles))
    if not chosen:
        raise TruthError(
            f"no traced tile of {folder} is named {', '.join(tiles) or 'anything'}: choose from "
            f"{', '.join(sorted(windows)[:5])} …"
        )
    return [_read_tile(folder, name, windows[name]) for name in chosen]


def _read_windows(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TruthError(
            f"{path} does not exist: give a folder with {_WINDOWS} and a PNG for each tile"
        ) from None
    except (OSError, ValueError) as error:
        raise TruthError(f"{path} cannot be read ({error}): {_TO_WRITE}") from error
    if not isinstance(content, dict) or not content:
        raise TruthError(f"{path} has no tiles: {_TO_WRITE}")
    return content


def _read_tile(folder: Path, name: str, windows: object) -> TracedTile:
    path = folder / f"{name}.png"
    codes = read_codes(path)
    boxes = tuple(_window(each, path, codes.shape) for each in _list(windows, path))
    named = _NAME.fullmatch(name)
    city, year = (named["city"], int(named["year"])) if named else ("", None)
    return TracedTile(name, codes, boxes, city, year)


def read_codes(path: Path) -> NDArray[np.uint8]:
    """The class codes (height, width) of a PNG.

    Raises:
        TruthError: it is missing, is not one band of 8 bits, or has an unknown code.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # the imagery has the place
            with rasterio.open(path, driver="PNG") as dataset:
                bands, dtype = dataset.count, dataset.dtypes[0]
                codes = dataset.read(1)
    except RasterioError as error:
        missing = "does not exist" if not path.exists() else f"cannot be read ({error})"
        raise TruthError(f"{path} {missing}: every traced tile needs its class codes") from error
    if bands != 1 or dtype != "uint8":
        raise TruthError(
            f"{path} has {bands} bands of {dtype}: save class codes as one band of 8 bits, without "
            "a palette"
        )
    unknown = sorted(set(np.unique(codes).tolist()) - set(_KNOWN))
    if unknown:
        places = np.argwhere(codes == unknown[0])[0].tolist()
        raise TruthError(
            f"{path} has the class code {unknown[0]} (row {places[0]}, column {places[1]}): use "
            f"{', '.join(map(str, _KNOWN))}"
        )
    return np.asarray(codes, dtype=np.uint8)


def _list(windows: object, path: Path) -> list[Any]:
    if not isinstance(windows, list) or not windows:
        raise TruthError(f"{_WINDOWS}: no windows of {path.stem}: {_TO_WRITE}")
    return windows


def _window(box: object, path: Path, shape: tuple[int, ...]) -> PixelWindow:
    numbers = isinstance(box, list) and len(box) == 4 and all(type(v) is int for v in box)
    if not numbers or not isinstance(box, list):
        raise TruthError(f"{_WINDOWS}: the window {box!r} of {path.stem}: {_TO_WRITE}")
    left, top, right, bottom = box
    height, width = shape
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise TruthError(
            f"{_WINDOWS}: the window {box} of {path.stem} is not inside its PNG of "
            f"{width} x {height} px: {_TO_WRITE}"
        )
    return PixelWindow(left, top, right - left, bottom - top)


def _slices(window: PixelWindow) -> tuple[slice, slice]:
    return (
        slice(window.row, window.row + window.height),
        slice(window.column, window.column + window.width),
    )
