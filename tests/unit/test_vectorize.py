"""Masks -> polygons: areas to the pixel, holes, diagonal contacts, scores."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from rasters import LEFT, PIXEL_M, TOP, chip

from detection.labels import Label
from detection.segmenters.protocol import Mask
from detection.vectorize import Outline, outlines

SPECK = Label("lawn", "grass", "continuous", 0.0)
PIXEL_M2 = PIXEL_M**2


def mask(pixels: NDArray[np.bool_], score: float = 0.5, label: Label = SPECK) -> Mask:
    return Mask(label, pixels, np.full(pixels.shape, score, np.float32))


def outlined(
    pixels: NDArray[np.bool_], valid: NDArray[np.bool_] | None = None, label: Label = SPECK
) -> list[Outline]:
    picture = chip(np.ones((1, *pixels.shape), np.uint8), valid)
    return outlines(mask(pixels, label=label), picture)


def drawn(*rows: str) -> NDArray[np.bool_]:
    return np.array([[character == "#" for character in row] for row in rows])


def test_a_rectangle_lies_on_its_pixels_edges() -> None:
    pixels = np.zeros((20, 30), bool)
    pixels[4:10, 5:25] = True
    [found] = outlined(pixels)
    expected = shapely.box(LEFT + 2.5, TOP - 5, LEFT + 12.5, TOP - 2)
    assert found.polygon.equals(expected)


def test_holes_are_kept_and_what_is_in_them_is_another_object() -> None:
    pixels = np.ones((30, 30), bool)
    pixels[5:25, 5:25] = False
    pixels[10:20, 10:20] = True
    lawn, island = sorted(outlined(pixels), key=lambda o: -o.polygon.area)
    assert len(lawn.polygon.interiors) == 1
    assert lawn.polygon.area == (900 - 400) * PIXEL_M2
    assert island.polygon.area == 100 * PIXEL_M2


def test_pixels_that_touch_by_a_corner_are_two_objects() -> None:
    found = outlined(drawn("##..", "##..", "..##", "..##"))
    assert [outline.polygon.area for outline in found] == [1.0, 1.0]


@pytest.mark.parametrize(
    "rows",
    [
        ("####", "#.##", "##.#", "####"),  # two holes that touch by a corner
        ("####.", "#.###", "##.#.", ".####"),
        (".####", "#.###", "#####"),  # a hole that touches the outside by a corner
    ],
)
def test_diagonal_contacts_are_valid(rows: tuple[str, ...]) -> None:
    pixels = drawn(*rows)
    found = outlined(pixels)
    assert all(outline.polygon.is_valid for outline in found)
    assert sum(outline.polygon.area for outline in found) == pixels.sum() * PIXEL_M2


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)))
@settings(max_examples=200)
def test_any_masks_polygons_add_up_to_its_pixels(pixels: NDArray[np.bool_]) -> None:
    found = [outline.polygon for outline in outlined(pixels)]
    assert sum(polygon.area for polygon in found) == pixels.sum() * PIXEL_M2
    assert all(polygon.is_valid for polygon in found)
    assert shapely.union_all(found).area == pixels.sum() * PIXEL_M2  # none lie on each other


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 0.9))
@settings(max_examples=25)
def test_large_masks_add_up_too(seed: int, share: float) -> None:
    pixels = np.random.default_rng(seed).random((120, 130)) < share
    found = outlined(pixels)
    assert sum(outline.polygon.area for outline in found) == pixels.sum() * PIXEL_M2
    assert all(outline.polygon.is_valid for outline in found)


def test_an_empty_mask_has_no_objects() -> None:
    assert outlined(np.zeros((5, 5), bool)) == []


def test_what_the_imagery_does_not_show_is_no_object() -> None:
    valid = np.ones((10, 10), bool)
    valid[:, 4:] = False
    [found] = outlined(np.ones((10, 10), bool), valid)
    assert found.polygon.area == 40 * PIXEL_M2


def test_smaller_than_the_labels_least_is_noise() -> None:
    pixels = np.zeros((20, 20), bool)
    pixels[0, :16] = True  # 4.0 m²
    pixels[5, :15] = True  # 3.75 m²
    [found] = outlined(pixels, label=Label("lawn", "grass", "continuous", 4.0))
    assert found.polygon.area == 4.0


def test_nothing_but_noise() -> None:
    assert outlined(np.eye(9, dtype=bool), label=Label("lawn", "grass", "continuous", 4.0)) == []


def test_the_least_is_in_metres_where_the_crs_is_in_feet() -> None:
    pixels = np.zeros((20, 20), bool)
    pixels[0, :11] = True  # 11 pixels of 2 ft: 4.09 m²
    pixels[5, :10] = True  # 3.72 m²
    feet = Affine(2.0, 0, 800_000, 0, -2.0, 300_000)
    picture = chip(np.ones((1, 20, 20), np.uint8), transform=feet, crs="EPSG:2274")
    label = Label("lawn", "grass", "continuous", 4.0)
    [found] = outlines(mask(pixels, label=label), picture)
    assert found.polygon.area == 44.0  # square feet, as the chip's CRS has it


def test_a_score_is_the_mean_inside() -> None:
    pixels = drawn("##..#", "##..#")
    confidence = np.array([[0.2, 0.4, 9, 9, 0.9], [0.6, 0.8, 9, 9, 0.7]], np.float32)
    picture = chip(np.ones((1, 2, 5), np.uint8))
    found = outlines(Mask(SPECK, pixels, confidence), picture)
    assert [round(outline.score, 6) for outline in found] == [0.5, 0.8]


@pytest.mark.parametrize(
    ("bad", "expected"), [(np.nan, 0.375), (-np.inf, 0.375), (np.inf, 0.625), (7.0, 1.0)]
)
def test_a_score_is_always_a_share(bad: float, expected: float) -> None:
    confidence = np.full((2, 2), 0.5, np.float32)
    confidence[0, 0] = bad
    picture = chip(np.ones((1, 2, 2), np.uint8))
    [found] = outlines(Mask(SPECK, np.ones((2, 2), bool), confidence), picture)
    assert found.score == pytest.approx(expected)


def test_a_mask_of_another_size_is_refused() -> None:
    picture = chip(np.ones((1, 4, 6), np.uint8))
    with pytest.raises(ValueError, match=r"lawn is \(6, 4\).*but the chip is \(4, 6\)"):
        outlines(mask(np.ones((6, 4), bool)), picture)
