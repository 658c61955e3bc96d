"""`python -m benchmarks.loop.pictures DIR RUN PATH`: held-out lots before and after, as a picture.

Each row is a lot: image, truth, what sam3-nano finds as it is shipped, and what the run's weights
find. The lots are evenly spaced in the county, not chosen.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.loop.judged import JudgedGround, segmenter_of
from benchmarks.loop.known_lots import LABELS
from benchmarks.loop.runs import BASE, RunResults
from benchmarks.loop.shifted import ShiftedCounty, ShiftedSizes
from detection.segmenters.interface import Segmenter
from pipeline.learning.judging.judged_lots import LotPairs, ReviewedLot, open_lot
from pipeline.learning.judging.lot_answers import detect_on_lot, pixels_on_lot

_COLOURS: Final = {
    "lawn": (120, 200, 80), "tree": (20, 100, 50), "roof": (190, 60, 50),
    "driveway": (120, 120, 200), "pool": (40, 160, 240),
}  # fmt: skip
_LOTS, _DPI = 5, 100
_DIM, _TINT = 0.35, 0.6

_Image = NDArray[np.uint8]


def draw_lots(
    path: Path,
    ground: JudgedGround,
    rivals: Mapping[str, tuple[Segmenter, Mapping[str, float]]],
    lots: Sequence[LotPairs],
) -> None:
    """Write the picture.

    Args:
        rivals: by title, a segmenter with its score thresholds.
    """
    titles = ["image", "truth", *rivals]
    figure = Figure(figsize=(2.1 * len(titles), 2.5 * len(lots)), layout="constrained")
    FigureCanvasAgg(figure)
    grid: Any = figure.subplots(len(lots), len(titles), squeeze=False)
    for axes_of_lot, pairs in zip(grid, lots, strict=True):
        lot = open_lot(ground.objects, pairs)
        image = _image(lot)
        masks = [{}, lot.truths, *(_found(ground, lot, *rival) for rival in rivals.values())]
        for axes, title, of_labels in zip(axes_of_lot, titles, masks, strict=True):
            axes.imshow(_cropped(lot, _tinted(image, lot, of_labels)))
            axes.set_title(title, fontsize=9)
            axes.axis("off")
    figure.savefig(path, dpi=_DPI)


def _found(
    ground: JudgedGround,
    lot: ReviewedLot,
    segmenter: Segmenter,
    thresholds: Mapping[str, float],
) -> dict[str, NDArray[np.bool_]]:
    found = detect_on_lot(lot, segmenter, ground.labels(thresholds))
    return {
        label: pixels_on_lot(lot, [each for each in found if each.label == label])
        for label in LABELS
    }


def _image(lot: ReviewedLot) -> _Image:
    """(h, w, 3) of the canvas."""
    image = np.zeros((lot.window.height, lot.window.width, 3), np.uint8)
    for (_, window), chip in lot.chips.items():
        image[window.slices_in(lot.window)] = np.moveaxis(chip.pixels[:3], 0, -1)
    return image


def _tinted(image: _Image, lot: ReviewedLot, masks: Mapping[str, NDArray[np.bool_]]) -> _Image:
    drawn = image.astype(np.float32)
    drawn[~lot.lot] *= _DIM
    for label, mask in masks.items():
        colour = np.array(_COLOURS[label], np.float32)
        drawn[mask] = (1 - _TINT) * drawn[mask] + _TINT * colour
    return drawn.astype(np.uint8)


def _cropped(lot: ReviewedLot, image: _Image, margin_px: int = 10) -> _Image:
    rows, columns = np.flatnonzero(lot.lot.any(1)), np.flatnonzero(lot.lot.any(0))
    top, left = max(0, int(rows[0]) - margin_px), max(0, int(columns[0]) - margin_px)
    return image[top : int(rows[-1]) + margin_px, left : int(columns[-1]) + margin_px]


def main() -> None:
    """Draw lots of the shifted county's test."""
    folder, run, path = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    results = RunResults(folder)
    ground = ShiftedCounty(folder, ShiftedSizes()).judged_by().test
    judged = results.judged(run)
    if judged is None:
        raise SystemExit(f"{run} is not finished: {', '.join(results.finished())} are")
    rivals = {
        "sam3-nano": (segmenter_of(results.weights_of(BASE)), {}),
        run: (segmenter_of(results.weights_of(run)), judged.thresholds),
    }
    draw_lots(path, ground, rivals, ground.lots[:: max(1, len(ground.lots) // _LOTS)][:_LOTS])


if __name__ == "__main__":
    main()
