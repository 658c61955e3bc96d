from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from pyproj import CRS

from detection.chip import Chip
from detection.segmenters.sam3.preprocess import preprocess

REFERENCE = Path(__file__).resolve().parents[2] / "data" / "sam3_reference.npz"


def _chip(pixels: np.ndarray, valid: np.ndarray | None = None) -> Chip:
    valid = np.ones(pixels.shape[1:], bool) if valid is None else valid
    bands = ("red", "green", "blue")
    return Chip(pixels, valid, Affine(0.3, 0, 5e5, 0, -0.3, 4e6), CRS.from_epsg(26916), bands)


@pytest.mark.parametrize("side_px", [28, 112])
def test_pixels_equal_the_reference_within_a_grey_level(side_px: int) -> None:
    kept = np.load(REFERENCE)  # made by transformers 5.23's Sam3ImageProcessor
    chip = _chip(kept["image"].transpose(2, 0, 1))
    ours = preprocess([chip], side_px)[0].numpy()
    assert np.abs(ours - kept[f"pixels_{side_px}"]).max() <= 1 / 127.5 + 1e-6


def test_a_chip_of_the_right_size_is_not_resampled() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 56, 56), dtype=np.uint8)
    ours = preprocess([_chip(pixels)], 56)[0].numpy()
    assert np.allclose((ours + 1) * 127.5, pixels, atol=1e-3)


def test_bands_are_chosen_by_name() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    chip = _chip(pixels)
    turned = Chip(pixels[::-1], chip.valid, chip.transform, chip.crs, ("blue", "green", "red"))
    assert np.array_equal(preprocess([chip], 28).numpy(), preprocess([turned], 28).numpy())


def test_invalid_pixels_are_neutral_grey() -> None:
    valid = np.zeros((28, 28), bool)
    pixels = np.full((3, 28, 28), 255, np.uint8)
    assert not preprocess([_chip(pixels, valid)], 28).any()


def test_a_read_only_chip_is_accepted() -> None:
    """As those that come from another process."""
    pixels, valid = np.full((3, 28, 28), 7, np.uint8), np.zeros((28, 28), bool)
    pixels.flags.writeable = valid.flags.writeable = False
    assert not preprocess([_chip(pixels, valid)], 28).any()
