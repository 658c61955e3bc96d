"""Fake segmenters that cost nothing or fail on purpose, for tests and benchmarks of the pipeline.

They can be pickled: they depend only on `largecounty` and their arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from largecounty import (
    BACK_LAWN,
    FRONT_LAWN,
    GSD_M,
    LOT_M,
    POOL,
    POOL_EVERY,
    ROOF,
    SOUTH_M,
    TREE_RADIUS_M,
    TREE_XY_M,
    WEST_M,
    Box,
)
from numpy.typing import NDArray

from detection.chip import Chip
from detection.labels import Label
from detection.segmenters.interface import Mask

_Field = NDArray[np.float32]

_PX_PER_CELL = 2
_CONFIDENCE = 0.9


class FreeSegmenter:
    """Draws the known objects of a large county without reading pixels.

    Its masks have the number and size of a network's: a field over the full chip for a lawn, one
    mask for each roof, in cells of 1.2 m.

    Args:
        log: the centre of each processed chip is appended here, in metres of the CRS.
    """

    name = "free (synthetic)"
    weights_sha256: str | None = None
    labels: tuple[str, ...] | None = ("lawn", "tree", "roof", "pool")
    chip_px = 512
    gsd_m: float | None = GSD_M
    chips_per_batch = 8
    device = "no device"

    def __init__(self, log: Path | None = None) -> None:
        self._log = log

    def prepare(self, labels: Sequence[Label]) -> None:
        """Nothing to prepare."""

    def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        """See `Segmenter`."""
        if self._log is not None:
            with self._log.open("a", encoding="ascii") as log:
                for left, bottom, right, top in (chip.bounds for chip in chips):
                    log.write(f"{(left + right) / 2} {(bottom + top) / 2}\n")
        return [_masks(chip, labels) for chip in chips]


def build_free(_name: str, _weights: str | None, log: Path | None = None) -> FreeSegmenter:
    """A segmenter factory for `run_batch`."""
    return FreeSegmenter(log)


def _masks(chip: Chip, labels: Sequence[Label]) -> list[Mask]:
    cell_m = _PX_PER_CELL * chip.gsd_m
    left, _, _, top = chip.bounds
    x = left - WEST_M + (np.arange(chip.width // _PX_PER_CELL) + 0.5) * cell_m
    y = top - SOUTH_M - (np.arange(chip.height // _PX_PER_CELL) + 0.5) * cell_m
    things = {"lawn": _lawn, "tree": _tree, "roof": _roofs, "pool": _pools}
    return [mask for label in labels for mask in things[label.name](label, x, y)]


def _lawn(label: Label, x: _Field, y: _Field) -> list[Mask]:
    u, v = x % LOT_M[0], y % LOT_M[1]
    depth = np.maximum(_inside(v, FRONT_LAWN.bottom, FRONT_LAWN.top),
                       _inside(v, BACK_LAWN.bottom, BACK_LAWN.top))  # fmt: skip
    grass = np.minimum.outer(depth, _inside(u, FRONT_LAWN.left, FRONT_LAWN.right))
    return [_mask(label, np.minimum(grass, -_canopy(u, v)))]


def _tree(label: Label, x: _Field, y: _Field) -> list[Mask]:
    return [_mask(label, _canopy(x % LOT_M[0], y % LOT_M[1]))]


def _roofs(label: Label, x: _Field, y: _Field) -> list[Mask]:
    return _boxes(label, x, y, ROOF, 1)


def _pools(label: Label, x: _Field, y: _Field) -> list[Mask]:
    return _boxes(label, x, y, POOL, POOL_EVERY)


def _boxes(label: Label, x: _Field, y: _Field, box: Box, every: int) -> list[Mask]:
    """A mask for each box, cropped to it."""
    field = np.minimum.outer(
        _inside(y % LOT_M[1], box.bottom, box.top), _inside(x % LOT_M[0], box.left, box.right)
    )
    columns = _windows(x, LOT_M[0], box.left, box.right, every)
    rows = _windows(y[::-1], LOT_M[1], box.bottom, box.top)
    cells = (len(y), len(x))
    masks = []
    for below, above in rows:
        first, end = len(y) - above, len(y) - below
        for start, stop in columns:
            part = field[first:end, start:stop].astype(np.float32)
            confidence = np.full(part.shape, _CONFIDENCE, np.float32)
            masks.append(Mask(label, part, confidence, cells, first, start))
    return masks


def _windows(
    at: _Field, period: float, low: float, high: float, every: int = 1
) -> list[tuple[int, int]]:
    """(start, end) of each box along rising coordinates, with one cell around it."""
    lots = np.arange(np.floor(at[0] / period), np.floor(at[-1] / period) + 1)
    lots = lots[lots % every == 0]
    starts = np.searchsorted(at, lots * period + low) - 1
    ends = np.searchsorted(at, lots * period + high) + 1
    last = len(at)
    return [
        (max(int(start), 0), min(int(end), last))
        for start, end in zip(starts, ends, strict=True)
        if end > 1 and start < last - 1
    ]


def _inside(at: _Field, low: float, high: float) -> _Field:
    """The distance in metres to an interval's ends; negative outside."""
    inside: _Field = np.minimum(at - low, high - at)
    return inside


def _canopy(u: _Field, v: _Field) -> _Field:
    across, along = (u - TREE_XY_M[0]) ** 2, (v - TREE_XY_M[1]) ** 2
    crown: _Field = TREE_RADIUS_M - np.sqrt(np.add.outer(along, across))
    return crown


def _mask(label: Label, field: _Field) -> Mask:
    field = field.astype(np.float32)
    return Mask(label, field, np.full(field.shape, _CONFIDENCE, np.float32), field.shape)
