"""Whether a file is a drawn picture, in which large parts have one colour, or a photograph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from detection.imagery.file_surveys import FileSurveys
from detection.imagery.fill_view import fill_view

# Cells of one colour say nothing. Of the others, those of a drawing have few edges.
_CELL_PX = 8
_MAX_EQUAL_SHARE = 0.5
_WINDOW_PX, _PLACES, _MAX_BLOCKS = 64, 8, 100_000
_surveys: FileSurveys[bool] = FileSurveys()


def is_drawn(dataset: DatasetReader, indexes: list[int]) -> bool:
    """Whether most neighbours are equal where colours change: synthetic, or enlarged.

    A sample decides, or the whole file if the sample has one colour; of a remote file, its
    smallest overview. A file without any change of colour counts as drawn: `fill_survey` finds it.
    """
    return _surveys.of(dataset, indexes, _looks_drawn)


def _looks_drawn(dataset: DatasetReader, indexes: list[int]) -> bool:
    with fill_view(dataset, indexes) as view:
        if view is None:  # remote, without an overview: nothing is known
            return True
        equal, pairs = _counted(view.dataset, indexes, _windows(view.dataset, _PLACES))
        if not pairs:
            blocks = (window for _, window in view.dataset.block_windows(indexes[0]))
            equal, pairs = _counted(view.dataset, indexes, islice(blocks, _MAX_BLOCKS))
    return equal >= _MAX_EQUAL_SHARE * pairs


def _counted(
    dataset: DatasetReader, indexes: list[int], windows: Iterable[Window]
) -> tuple[int, int]:
    equal, pairs = 0, 0
    for window in windows:
        with suppress(RasterioError):
            found = _equal_pairs(dataset.read(indexes, window=window))
            equal, pairs = equal + found[0], pairs + found[1]
    return equal, pairs


def _windows(dataset: DatasetReader, places: int) -> Iterator[Window]:
    """Up to `places` x `places` windows spread over a file."""
    rows, columns = (
        np.unique(np.linspace(0, max(length - _WINDOW_PX, 0), places).round().astype(int))
        for length in (dataset.height, dataset.width)
    )
    for row in rows:
        for column in columns:
            height = min(_WINDOW_PX, dataset.height - int(row))
            width = min(_WINDOW_PX, dataset.width - int(column))
            yield Window(int(column), int(row), width, height)


def _equal_pairs(pixels: NDArray[np.generic]) -> tuple[int, int]:
    """Equal neighbours in a row, and all of them, in cells of more than one colour."""
    height, width = (length // _CELL_PX * _CELL_PX for length in pixels.shape[1:])
    if not height or not width:
        return 0, 0
    cells = pixels[:, :height, :width].reshape(
        len(pixels), height // _CELL_PX, _CELL_PX, width // _CELL_PX, _CELL_PX
    )
    plain = (cells == cells[:, :, :1, :, :1]).all(axis=(0, 2, 4))
    equal = (cells[..., 1:] == cells[..., :-1]).all(axis=0).sum(axis=(1, 3))
    return int(equal[~plain].sum()), int((~plain).sum()) * _CELL_PX * (_CELL_PX - 1)
