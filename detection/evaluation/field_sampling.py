"""Masks on their grid of cells -> values at the pixels of a traced window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from detection.evaluation.answers import LabelAnswer
from detection.imagery.pixel_grid import PixelWindow
from detection.mosaic import Mosaic
from detection.segmenters.interface import Mask

_Floats = NDArray[np.float32]


def label_answer(
    masks: Sequence[Mask], mosaic: Mosaic, transform: Affine, window: PixelWindow
) -> LabelAnswer:
    """Where the masks of one label are, at the pixel centres of a window.

    The fields are interpolated linearly between cell centres, as outlines are, and are constant in
    the outer half of a grid's outer cells. Invalid pixels of the mosaic have no label.

    Args:
        transform: pixel (column, row) of the tile -> CRS of the mosaic.
        window: of the tile.
    """
    shape = (window.height, window.width)
    inside = np.zeros(shape, bool)
    confidence = np.zeros(shape, np.float32)
    columns, rows = _mosaic_pixels(mosaic, transform, window)
    for mask in masks:
        place = _cells(mask, mosaic, columns, rows)
        inside |= _sample(mask.field, *place, outside=-1.0) > 0
        confidence = np.maximum(confidence, _sample(mask.confidence, *place, outside=0.0))
    valid = mosaic.valid[
        np.clip(np.floor(rows).astype(int), 0, mosaic.valid.shape[0] - 1)[:, None],
        np.clip(np.floor(columns).astype(int), 0, mosaic.valid.shape[1] - 1)[None, :],
    ]
    return LabelAnswer(inside & valid, np.where(valid, confidence, 0).astype(np.float32))


def _mosaic_pixels(
    mosaic: Mosaic, transform: Affine, window: PixelWindow
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Columns (w,) and rows (h,) of the window's pixel centres, in pixels of the mosaic."""
    to_mosaic = ~mosaic.transform @ transform
    columns = window.column + np.arange(window.width) + 0.5
    rows = window.row + np.arange(window.height) + 0.5
    return to_mosaic.a * columns + to_mosaic.c, to_mosaic.e * rows + to_mosaic.f


def _cells(
    mask: Mask, mosaic: Mosaic, columns: NDArray[np.float64], rows: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Columns and rows of those centres in the mask's field, where a cell's centre is whole."""
    height, width = mosaic.valid.shape
    grid_rows, grid_columns = mask.cells
    return (
        columns * (grid_columns / width) - 0.5 - mask.column,
        rows * (grid_rows / height) - 0.5 - mask.row,
    )


def _sample(
    plane: _Floats, columns: NDArray[np.float64], rows: NDArray[np.float64], outside: float
) -> _Floats:
    height, width = plane.shape
    beyond_row = (rows < -0.5) | (rows >= height - 0.5)
    beyond_column = (columns < -0.5) | (columns >= width - 0.5)
    # A coordinate like 3.0000000001 must not mix in the next cell: planes have sharp edges.
    at = np.meshgrid(
        np.clip(np.round(rows, 6), 0, height - 1),
        np.clip(np.round(columns, 6), 0, width - 1),
        indexing="ij",
    )
    values: _Floats = map_coordinates(np.asarray(plane, np.float32), at, order=1, mode="nearest")
    values[beyond_row[:, None] | beyond_column[None, :]] = outside
    return values
