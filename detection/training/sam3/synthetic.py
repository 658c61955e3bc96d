"""Synthetic scenes as tiles: an exact truth, with colours far more varied than the sample county's.

Each roof, yard and driveway gets colours of its own: pale and dark roofs, dry and patchy lawns,
bare ground. The sun's direction varies with the turn of a view, sharpness and haze with `augment`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from detection.sample.chip_truth import Neighbourhood, neighbourhood
from detection.sample.scene import GSD_M
from detection.training.sam3.instances import MAX_NUMBER, connected_parts
from detection.training.sam3.labels import LABELS, OBJECT_LABELS, WEIGHT_UNIT
from detection.training.sam3.tiles import Tiles

# A tile of 153.6 m, as a NAIP tile.
TILE_PX = 512
# The spread of brightness (as a logarithm) and of tint of what is painted anew.
_ROOFS, _PAVING = (0.7, 0.12), (0.45, 0.06)
_GROUND, _LAWNS, _LEAVES = (0.35, 0.10), (0.3, 0.04), (0.25, 0.06)
_DRY_GRASS = np.array([1.18, 1.04, 0.74], np.float32)
_DRY_SHARE, _PATCH_PX = 0.4, 24.0


def synthetic_tiles(seeds: Iterable[int], lots: int) -> Tiles:
    """The tiles of scenes: as many as fit into each.

    Args:
        lots: of each scene.
    """
    pixels, targets, weights, objects = [], [], [], []
    for seed in seeds:
        place = neighbourhood(seed, lots)
        rng = np.random.default_rng([seed, 71])
        image = _repaint(place, rng)
        masks = np.stack([_mask(place, label) for label in LABELS])
        numbers = np.stack([_numbers(place, label) for label in OBJECT_LABELS])
        known = np.stack([~place.ignored[label] for label in LABELS])
        for window in _windows(place):
            pixels.append(image[(slice(None), *window)])
            targets.append(masks[(slice(None), *window)] * np.uint8(255))
            objects.append(numbers[(slice(None), *window)])
            weights.append(known[(slice(None), *window)] * np.uint8(WEIGHT_UNIT))
    arrays = (np.stack(part) for part in (pixels, targets, weights, objects))
    return Tiles(GSD_M, *(torch.from_numpy(array) for array in arrays))


def _mask(place: Neighbourhood, label: str) -> NDArray[np.bool_]:
    return place.stuff[label] if label in place.stuff else place.things[label] > 0


def _numbers(place: Neighbourhood, label: str) -> NDArray[np.int16]:
    """The number of the object of each pixel."""
    if label in place.stuff:
        return connected_parts(place.stuff[label], GSD_M)
    numbers = place.things[label]
    return np.where(numbers <= MAX_NUMBER, numbers, 0).astype(np.int16)


def _windows(place: Neighbourhood) -> list[tuple[slice, slice]]:
    """Windows side by side over the scene, which has a grey border of at least one pixel."""
    built = place.lots > 0
    rows, columns = (np.flatnonzero(built.any(axis)) for axis in (1, 0))
    tops = range(int(rows[0]), int(rows[-1]) + 2 - TILE_PX, TILE_PX)
    lefts = range(int(columns[0]), int(columns[-1]) + 2 - TILE_PX, TILE_PX)
    return [
        (slice(top, top + TILE_PX), slice(left, left + TILE_PX)) for top in tops for left in lefts
    ]


def _repaint(place: Neighbourhood, rng: Generator) -> NDArray[np.uint8]:
    """The image with new colours for each thing and each lot's ground."""
    image = place.rgb.astype(np.float32)
    tree = place.stuff["tree"]
    shrubs = place.stuff["vegetation"] & ~place.stuff["lawn"] & ~tree
    lots = np.where(tree | shrubs, 0, place.lots)
    gains = _gains(lots, _GROUND, rng)
    lawns = np.where(place.stuff["lawn"], place.lots, 0)
    gains = np.where(lawns > 0, _gains(lawns, _LAWNS, rng), gains)
    for label, spread in (("roof", _ROOFS), ("driveway", _PAVING), ("pool", _PAVING)):
        things = place.things[label]
        gains = np.where(things > 0, _gains(things, spread, rng), gains)
    leaves = (tree | shrubs).astype(np.int32)
    gains = np.where(leaves > 0, _gains(leaves, _LEAVES, rng), gains)
    image = _dry_lawns(image * gains, place, rng)
    return image.round().clip(0, 255).astype(np.uint8)


def _gains(
    numbers: NDArray[np.int32], spread: tuple[float, float], rng: Generator
) -> NDArray[np.float32]:
    """(3, h, w): a random factor for the colours of each number; 1 for number 0."""
    brightness, tint = spread
    things = int(numbers.max()) + 1
    logarithm = rng.uniform(-brightness, brightness, (1, things)) + rng.normal(0, tint, (3, things))
    logarithm[:, 0] = 0
    return np.exp(logarithm).astype(np.float32)[:, numbers]


def _dry_lawns(
    image: NDArray[np.float32], place: Neighbourhood, rng: Generator
) -> NDArray[np.float32]:
    """The image (3, h, w) with some lots' lawns yellow, evenly or in patches."""
    lots = int(place.lots.max()) + 1
    dryness = rng.uniform(0.3, 1, lots) * (rng.random(lots) < _DRY_SHARE)
    patches = ndimage.gaussian_filter(rng.standard_normal(place.lots.shape), _PATCH_PX / 4)
    patches /= patches.std()
    patchiness = rng.uniform(0, 0.5, lots)[place.lots]
    share = (dryness[place.lots] * (1 + patchiness * patches)).clip(0, 1) * place.stuff["lawn"]
    share = share.astype(np.float32)
    dry = image.mean(0, keepdims=True) * _DRY_GRASS[:, None, None] * 1.1
    mixed: NDArray[np.float32] = image * (1 - share) + dry * share
    return mixed
