"""Synthetic scenes as tiles for landcover: an exact truth, without near infrared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.nn import functional

from detection.errors import TrainingError
from detection.segmenters.landcover.network import CLASSES
from detection.training.sam3.labels import LABELS, UNSURE
from detection.training.sam3.tiles import read_tiles

# What lies on top of what: a crown hides the roof below it.
_ORDER = ("driveway", "lawn", "roof", "pool", "tree")


def read_synthetic(
    path: Path, gsd_m: float, side_px: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(pixels (n, 4, side, side), codes (n, side, side)) of a file of `sam3.tiles.save_tiles`.

    Near infrared is 0: there is none. Shrubs are unsure, as their class is a matter of taste.

    Args:
        gsd_m, side_px: of the tiles that are returned.

    Raises:
        TrainingError: not such a file, or its tiles cover less ground.
    """
    tiles = read_tiles(path)
    step = round(gsd_m / tiles.gsd_m)
    if step < 1 or abs(step * tiles.gsd_m - gsd_m) > 1e-6:
        raise TrainingError(f"{path}: pixels of {tiles.gsd_m} m do not divide {gsd_m} m evenly")
    if tiles.pixels.shape[-1] < side_px * step:
        raise TrainingError(f"{path}: tiles of {tiles.side_m:.1f} m are too small. Render others")
    part = slice(0, side_px * step)
    colours = functional.avg_pool2d(tiles.pixels[..., part, part].float(), step)
    pixels = np.zeros((len(tiles), 4, side_px, side_px), np.uint8)
    pixels[:, :3] = colours.round().numpy().astype(np.uint8)
    at = slice(step // 2, side_px * step, step)
    targets, weights = (plane[..., at, at].numpy() for plane in (tiles.targets, tiles.weights))
    codes = np.zeros((len(tiles), side_px, side_px), np.uint8)
    codes[targets[:, LABELS.index("vegetation")] > 127] = UNSURE
    for label in _ORDER:
        codes[targets[:, LABELS.index(label)] > 127] = CLASSES.index(label)
    codes[(weights == 0).any(1)] = UNSURE
    return pixels, codes
