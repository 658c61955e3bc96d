"""A file as the search for fill reads it: in full, or by an overview if ranges cost requests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Compression
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from detection.imagery.masks import mask_shown

_LOSSY = {Compression.jpeg, Compression.webp, Compression.jpeg2000}
# Remote files, and local ones of more pixels, are searched by an overview.
_MAX_PIXELS = 400_000_000
_MAX_SIDE_PX = 4_000_000
_OVERVIEW_PX = 512
# A file of at most this many pixels is read at once; of a larger one the edges come first.
_SMALL_PIXELS = 1_000_000
_BLOCKS_A_SIDE = 8

_Shown = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class FillView:
    """Pixels of a file, each `step` x `step` of its own.

    Attributes:
        dataset: open at that resolution.
        lossy: its compression changes pixels.
    """

    dataset: DatasetReader
    indexes: list[int]
    step: int
    lossy: bool

    @property
    def width(self) -> int:
        """In pixels of the view."""
        return int(self.dataset.width)

    @property
    def height(self) -> int:
        """In pixels of the view."""
        return int(self.dataset.height)

    def read(
        self, row: int, column: int, height: int, width: int
    ) -> tuple[NDArray[np.generic], _Shown]:
        """Pixels (bands, height, width), and where no mask hides them."""
        window = Window(column, row, width, height)
        pixels = self.dataset.read(self.indexes, window=window)
        # The mask of an overview may be misplaced (gdal#2021), but here it only spares a search.
        shown = mask_shown(self.dataset, self.indexes, window)
        return pixels, np.ones(pixels.shape[1:], bool) if shown is None else shown

    def edges(self) -> NDArray[np.generic]:
        """Pixels (bands, n) of its four sides; of a large file, of blocks spread along them."""
        width, height = self.width, self.height
        windows = [(0, 0, height, width)]
        if width * height > _SMALL_PIXELS:
            tall, wide = self.dataset.block_shapes[0]
            rows = [(row, min(tall, height - row)) for row in _spread(height, tall)]
            columns = [(column, min(wide, width - column)) for column in _spread(width, wide)]
            windows = [(row, at, tall, 1) for row, tall in rows for at in (0, width - 1)]
            windows += [(at, column, 1, wide) for column, wide in columns for at in (0, height - 1)]
        found = [np.zeros((len(self.indexes), 0), self.dataset.dtypes[self.indexes[0] - 1])]
        for row, column, tall, wide in windows:
            with suppress(RasterioError):
                pixels, shown = self.read(row, column, tall, wide)
                at_edge = np.zeros((tall, wide), bool)
                at_edge[0] |= row == 0
                at_edge[-1] |= row + tall == height
                at_edge[:, 0] |= column == 0
                at_edge[:, -1] |= column + wide == width
                found.append(pixels[:, at_edge & shown])
        return np.concatenate(found, axis=1)


@contextmanager
def fill_view(dataset: DatasetReader, indexes: list[int]) -> Iterator[FillView | None]:
    """The view of a file; None without an overview of a remote file, or of a vast one."""
    lossy = is_lossy(dataset)
    remote = is_remote(dataset)
    if not remote and dataset.width * dataset.height <= _MAX_PIXELS:
        yield FillView(dataset, indexes, 1, lossy)
        return
    longest = max(dataset.width, dataset.height)
    steps = [(step, level) for level, step in enumerate(dataset.overviews(1))]
    # The finest of the small ones; else the coarsest, if it is not much larger.
    small = [item for item in steps if longest / item[0] <= _OVERVIEW_PX]
    step, level = min(small) if small else max(steps, default=(1, -1))
    if step > 1 and longest / step <= 2 * _OVERVIEW_PX:
        with rasterio.open(dataset.name, driver=dataset.driver, overview_level=level) as overview:
            yield FillView(overview, indexes, step, lossy)
    elif longest <= _OVERVIEW_PX or (not remote and longest <= _MAX_SIDE_PX):
        yield FillView(dataset, indexes, 1, lossy)
    else:
        yield None


def is_remote(dataset: DatasetReader) -> bool:
    """Whether every block of a file is a request."""
    return dataset.name.startswith("/vsi") and not dataset.name.startswith("/vsimem/")


def is_lossy(dataset: DatasetReader) -> bool:
    """Whether the compression of a file changes pixels."""
    return dataset.compression in _LOSSY or dataset.driver == "JP2OpenJPEG"


def _spread(length: int, block: int) -> list[int]:
    """The starts of up to `_BLOCKS_A_SIDE` blocks along a side, first and last among them."""
    count = -(-length // block)
    chosen = np.unique(np.linspace(0, count - 1, min(count, _BLOCKS_A_SIDE)).round().astype(int))
    return [int(index) * block for index in chosen]
