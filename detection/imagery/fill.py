"""Fill of a file, found once, and where it hides the pixels of a window.

The answer for a pixel depends on the survey of the file and on the pixels within a fixed distance
of it, never on the window, so that chips of neighbouring lots agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window
from scipy import ndimage

from detection.imagery.file_surveys import FileSurveys
from detection.imagery.fill_cells import SOFT_TOLERANCE
from detection.imagery.fill_colours import FillColour
from detection.imagery.fill_survey import RIM_PX, Fill, find_fill
from detection.imagery.masks import matches
from detection.imagery.pixel_grid import PixelWindow

# Pixels beside the rim are mixed with fill (bilinear, subsampled colour).
_MIXED_PX = 2
_SQUARE = np.ones((3, 3), bool)
# How far from fill its rim reaches.
RIM_REACH_PX = RIM_PX + _MIXED_PX
_surveys: FileSurveys[tuple[Fill, ...]] = FileSurveys()


def fill_of(dataset: DatasetReader, indexes: list[int]) -> tuple[Fill, ...]:
    """The fill of a file or of one of its overviews, from a survey at its first use."""
    return _surveys.of(dataset, indexes, find_fill)


def is_near_fill(dataset: DatasetReader, indexes: list[int], window: PixelWindow) -> bool:
    """Whether a window may have fill, from the survey alone."""
    return any(
        _Part.around(fill, window, dataset).of_cells(fill.nearby).any()
        for fill in fill_of(dataset, indexes)
    )


def fill_in(
    dataset: DatasetReader, indexes: list[int], window: PixelWindow
) -> NDArray[np.bool_] | None:
    """(height, width): the pixels of a window that are fill; None if it is far from any."""
    found: NDArray[np.bool_] | None = None
    for fill in fill_of(dataset, indexes):
        part = _Part.around(fill, window, dataset)
        if not part.of_cells(fill.nearby).any():
            continue
        hidden = _hidden(fill, part, dataset.read(indexes, window=window_of(part.window)))
        inner = hidden[window.slices_in(part.window)]
        found = inner if found is None else found | inner
    return found


def with_rim(
    pixels: NDArray[np.generic], hidden: NDArray[np.bool_], colour: FillColour
) -> NDArray[np.bool_]:
    """Fill (height, width) with the noise that JPEG made around it."""
    noise = matches(pixels, colour.values, SOFT_TOLERANCE)
    rim = _grown(hidden, hidden | noise, RIM_PX)
    return np.asarray(ndimage.binary_dilation(rim, _SQUARE, iterations=_MIXED_PX))


def window_of(part: PixelWindow) -> Window:
    """The same window for rasterio."""
    return Window(part.column, part.row, part.width, part.height)


@dataclass(frozen=True, slots=True)
class _Part:
    """A window of a file and as much around it as decides about its pixels."""

    window: PixelWindow
    file: PixelWindow
    cell_px: int
    reach: int

    @classmethod
    def around(cls, fill: Fill, window: PixelWindow, dataset: DatasetReader) -> _Part:
        reach = 2 * fill.cell_px
        pad = reach + (RIM_REACH_PX if fill.soft else 0)
        file = PixelWindow(0, 0, dataset.width, dataset.height)
        padded = window.pad(pad).intersection(file)
        if padded is None:
            raise ValueError(f"{window} is outside {dataset.name}")
        return cls(padded, file, fill.cell_px, reach)

    def of_cells(self, cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The cells that it meets."""
        met = self.window.zoom_out(self.cell_px)
        return cells[met.row : met.row + met.height, met.column : met.column + met.width]

    def upsampled(self, cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Cells as pixels."""
        # The last cell of an overview's row may be narrower than the pixels that it stands for.
        last = np.subtract(cells.shape, 1)
        rows = self.window.row + np.arange(self.window.height)
        columns = self.window.column + np.arange(self.window.width)
        return cells[
            np.ix_(
                np.minimum(rows // self.cell_px, last[0]),
                np.minimum(columns // self.cell_px, last[1]),
            )
        ]

    def file_edge(self) -> NDArray[np.bool_]:
        """Pixels on the edge of the file."""
        window, file = self.window, self.file
        edge = np.zeros((window.height, window.width), bool)
        edge[0] |= window.row == 0
        edge[-1] |= window.row + window.height == file.height
        edge[:, 0] |= window.column == 0
        edge[:, -1] |= window.column + window.width == file.width
        return edge


def _hidden(fill: Fill, part: _Part, pixels: NDArray[np.generic]) -> NDArray[np.bool_]:
    near = matches(pixels, fill.colour.values, fill.colour.tolerance)
    at_edge = part.upsampled(fill.nearby) & part.file_edge()
    seeds = near & (part.upsampled(fill.solid) | at_edge)
    hidden = _grown(seeds, near, part.reach)
    if not fill.soft:
        return hidden
    # A collar as thin as its noise has no other pixels.
    hidden |= at_edge & matches(pixels, fill.colour.values, SOFT_TOLERANCE)
    return with_rim(pixels, hidden, fill.colour)


def _grown(seeds: NDArray[np.bool_], into: NDArray[np.bool_], steps: int) -> NDArray[np.bool_]:
    if not seeds.any():
        return seeds
    return np.asarray(ndimage.binary_dilation(seeds, iterations=steps, mask=into))
