"""Roofs and pools of each lot: objects are split at lot lines, as a user's results are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from detection.evaluation.answers import WindowAnswer
from detection.evaluation.instances import WindowObjects, object_figures, window_objects
from detection.evaluation.lot_areas import TracedLot, TracedLots
from detection.evaluation.segmenter_report import OBJECT_LABELS
from detection.labels import LABELS


def lot_object_figures(
    lots: TracedLots, answers: Mapping[str, Sequence[WindowAnswer]], labels: Sequence[str]
) -> dict[str, Any]:
    """As `object_figures` of each label, with each lot as one image.

    Args:
        answers: by tile.
        labels: that the rival can detect.
    """
    tiles = [lot.tile.name for lot in lots.lots]
    return {
        label: object_figures(
            [_objects_on(lot, lots, answers[lot.tile.name], label) for lot in lots.lots], tiles
        )
        for label in OBJECT_LABELS
        if label in labels
    }


def _objects_on(
    lot: TracedLot, lots: TracedLots, answers: Sequence[WindowAnswer], label: str
) -> WindowObjects:
    index = window_of(lot)
    window = lot.tile.windows[index]
    rows = slice(window.row, window.row + window.height)
    columns = slice(window.column, window.column + window.width)
    pixel_m2 = lots.images.place_of(lot.tile).pixel_m2
    return window_objects(
        label, lot.tile.codes_in(window), answers[index].labels[label], lot.pixels[rows, columns],
        answers[index].decided, LABELS[label].min_area_m2 / pixel_m2,
    )  # fmt: skip


def window_of(lot: TracedLot) -> int:
    """The window that has most of the lot."""
    shares = [
        lot.pixels[w.row : w.row + w.height, w.column : w.column + w.width].sum()
        for w in lot.tile.windows
    ]
    return max(range(len(shares)), key=shares.__getitem__)
