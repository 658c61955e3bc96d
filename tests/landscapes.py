"""A drawn suburb with four bands, whose statistics are like those of an aerial picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

# Red, green, blue and near infrared of what is drawn (8 bits).
SOIL, LAWN, TREE, ROOF, WATER = (
    (150, 130, 105, 160),
    (110, 130, 80, 190),
    (75, 88, 58, 140),
    (165, 160, 150, 150),
    (35, 50, 60, 0),
)


def landscape(
    height: int = 256, width: int = 256, seed: int = 0, water: float = 0.0
) -> NDArray[np.uint8]:
    """(4, height, width) red, green, blue, near infrared.

    The texture is shared by all bands; haze gives blue less of it, and near infrared has some
    of its own, more of it shared with red.

    Args:
        water: the share of columns, in the middle, that a lake covers; its near infrared is 0.
    """
    rng = np.random.default_rng(seed)
    kinds = ndimage.gaussian_filter(rng.standard_normal((height, width)), 12)
    edges = np.quantile(kinds, [0.4, 0.65, 0.85])
    ground = np.array([SOIL, LAWN, TREE, ROOF], float)[np.digitize(kinds, edges)]
    light = _texture(rng, height, width, 22.0)
    tint = _texture(rng, height, width, 6.0)
    own = _texture(rng, height, width, 12.0)
    noise = rng.normal(0, 1.5, (4, height, width))
    bands = np.moveaxis(ground, -1, 0) + noise
    bands += light * np.array([1.0, 0.95, 0.85, 0.9])[:, None, None]
    bands += tint * np.array([1.0, 0.0, -1.0, 0.8])[:, None, None]
    bands[3] += own
    if water:
        left = round(width * (1 - water) / 2)
        lake = slice(left, width - left)
        ripples = rng.normal(0, 2.0, (4, height, width))[:, :, lake]
        bands[:, :, lake] = np.array(WATER, float)[:, None, None] + ripples
        bands[3, :, lake] = 0
    bands[:3] = bands[:3].clip(2)
    return bands.round().clip(0, 255).astype(np.uint8)


def with_lawn(pixels: NDArray[np.uint8], side_px: int, value: int = 20) -> NDArray[np.uint8]:
    """Bare ground with one square lawn in the middle, in the landscape's texture."""
    drawn = pixels.astype(float)
    bare = np.array(SOIL, float)[:, None, None]
    texture = (drawn - drawn.mean(axis=(1, 2), keepdims=True)) * value / 100
    drawn = bare + texture
    top, left = (drawn.shape[1] - side_px) // 2, (drawn.shape[2] - side_px) // 2
    square = (slice(None), slice(top, top + side_px), slice(left, left + side_px))
    lawn = np.array(LAWN, float)[:, None, None]
    drawn[square] += lawn - bare
    return drawn.round().clip(1, 255).astype(np.uint8)


def _texture(
    rng: np.random.Generator, height: int, width: int, spread: float
) -> NDArray[np.float64]:
    texture = ndimage.gaussian_filter(rng.standard_normal((height, width)), 0.8)
    made: NDArray[np.float64] = texture * spread / texture.std()
    return made
