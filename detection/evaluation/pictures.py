"""Pictures of windows: image, truth, each rival's answer and where it is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from detection.evaluation.answers import WindowAnswer
from detection.evaluation.evaluate import Evaluation
from detection.evaluation.traced import (
    DRIVEWAY,
    LAWN,
    OTHER,
    POOL,
    ROOF,
    TREE,
    UNSURE,
    TracedTile,
)  # fmt: skip
from detection.evaluation.window_errors import DRAWN, answer_codes

_COLOURS = {
    OTHER: (200, 196, 188), LAWN: (120, 200, 80), TREE: (20, 100, 50), ROOF: (190, 80, 60),
    DRIVEWAY: (150, 150, 160), POOL: (40, 140, 230), UNSURE: (255, 255, 255),
}  # fmt: skip
_WRONG, _RIGHT = (220, 30, 60), (235, 235, 235)
_DPI = 110

_Image = NDArray[np.uint8]


def draw_windows(
    folder: Path,
    evaluation: Evaluation,
    answers: Mapping[str, Mapping[str, Sequence[WindowAnswer]]],
) -> list[Path]:
    """One PNG for each window: image, truth, and for each rival its answer and its errors.

    Args:
        answers: by rival, by tile.

    Raises:
        ModuleNotFoundError: the extra `evaluation` is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _draw(folder, evaluation, tile, index, answers)
        for tile in evaluation.tiles
        for index in range(len(tile.windows))
    ]


def _draw(
    folder: Path,
    evaluation: Evaluation,
    tile: TracedTile,
    index: int,
    answers: Mapping[str, Mapping[str, Sequence[WindowAnswer]]],
) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    window = tile.windows[index]
    rows = slice(window.row, window.row + window.height)
    columns = slice(window.column, window.column + window.width)
    top: list[tuple[str, _Image]] = []
    bottom: list[tuple[str, _Image]] = []
    for rival, by_tile in answers.items():
        image, truth, (_, answer), errors = window_panels(
            evaluation, tile, index, by_tile[tile.name][index]
        )
        top = [*(top or [image, truth]), (rival, answer)]
        bottom.append(errors)
    figure = Figure(figsize=(3 * len(top), 6.6), dpi=_DPI)
    axes = figure.subplots(2, len(top), squeeze=False)
    for axis in axes.ravel():
        axis.axis("off")
    outlines = [] if evaluation.lots is None else [
        lot.pixels[rows, columns] for lot in evaluation.lots.lots if lot.tile is tile
    ]  # fmt: skip
    for row, first, panels in ((0, 0, top), (1, 2, bottom)):
        for column, (title, panel) in enumerate(panels, first):
            axis = axes[row, column]
            axis.imshow(panel, interpolation="nearest")
            axis.set_title(title, fontsize=8)
            for outline in outlines:
                if outline.any() and not outline.all():
                    axis.contour(outline, levels=[0.5], colors="yellow", linewidths=0.8)
    figure.suptitle(f"{tile.name}, window {index}", fontsize=9)
    figure.tight_layout()
    path = folder / f"{tile.name}_{index}.png"
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=_DPI)
    return path


def window_panels(
    evaluation: Evaluation, tile: TracedTile, index: int, answer: WindowAnswer
) -> list[tuple[str, NDArray[np.uint8]]]:
    """Image, truth, answer and errors of a window, each with its title, as (h, w, 3)."""
    window = tile.windows[index]
    part = Window(window.column, window.row, window.width, window.height)
    with rasterio.open(evaluation.images.path_of(tile)) as dataset:
        image = np.moveaxis(dataset.read([1, 2, 3], window=part), 0, -1)
    codes = tile.codes_in(window)
    found = answer_codes(answer, codes.shape)
    return [
        ("image", image), ("truth (white: unsure)", _colours(codes)), ("answer", _colours(found)),
        ("wrong class (red)", _errors(codes, found, answer)),
    ]  # fmt: skip


def _colours(codes: NDArray[np.uint8]) -> _Image:
    image = np.zeros((*codes.shape, 3), np.uint8)
    for code, colour in _COLOURS.items():
        image[codes == code] = colour
    return image


def _errors(codes: NDArray[np.uint8], found: NDArray[np.uint8], answer: WindowAnswer) -> _Image:
    """Wrong where either side has a class that the rival knows; unsure pixels are white."""
    known = [code for label, code in DRAWN if label in answer.labels]
    image = np.full((*codes.shape, 3), _RIGHT, np.uint8)
    image[(codes != found) & (np.isin(codes, known) | np.isin(found, known))] = _WRONG
    image[codes == UNSURE] = _COLOURS[UNSURE]
    return image
