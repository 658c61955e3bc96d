"""Overviews stand for the pixels only where nothing is hidden, whatever made them (gdal#2021)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasters import pixel_grid, smooth, write_tiff
from test_geotiff_mosaic import window
from test_imagery_blocks import corner

from detection.chip import Chip
from detection.imagery import GeoTiffMosaic, blocks
from detection.imagery.pixel_grid import PixelWindow

SIDE, FACTOR = 256, 8
RGBA = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
ROWS, COLUMNS = np.mgrid[0:SIDE, 0:SIDE]
# Ragged, so that every level of an overview mixes hidden pixels with others somewhere.
HIDDEN = COLUMNS + ROWS // 3 > 150
KINDS = ("mask", "msk", "alpha", "nodata", "late nodata", "white", "black", "nan")


def picture() -> NDArray[np.uint8]:
    return np.clip(smooth(3, SIDE, SIDE), 20, 230)


def packed(
    folder: Path, kind: str, resampling: Resampling, *, external: bool, scale: int = 1
) -> Path:
    """A file that hides `HIDDEN` in one way, with overviews for the pixels as GDAL makes them."""
    path, pixels = folder / "a.tif", picture()
    pixels, hidden = (np.kron(a, np.ones((scale, scale), a.dtype)) for a in (pixels, HIDDEN))
    fills = {"white": 255, "black": 0, "nodata": 7, "late nodata": 7}
    if kind in fills:
        pixels[:, hidden] = fills[kind]
        write_tiff(path, pixels, nodata=7 if kind == "nodata" else None)
    elif kind == "nan":
        write_tiff(path, np.where(hidden, np.nan, pixels).astype("float32"))
    elif kind == "alpha":
        alpha = np.where(hidden, 0, 255).astype(np.uint8)[None]
        write_tiff(path, np.concatenate([pixels, alpha]), colours=RGBA)
    else:
        pixels[:, hidden] = 90  # what a mask hides may look like ground
        write_tiff(path, pixels)
    with (
        rasterio.Env(TIFF_USE_OVR=external),
        rasterio.open(path, "r+") as dataset,
    ):
        dataset.build_overviews([2, 4, 8], resampling)
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=kind == "mask"),
        rasterio.open(path, "r+") as dataset,
    ):
        if kind in ("mask", "msk"):
            dataset.write_mask(~hidden)  # after the overviews: it has none
        if kind == "late nodata":
            dataset.nodata = 7
    assert (folder / "a.tif.msk").exists() == (kind == "msk")
    assert (folder / "a.tif.ovr").exists() == external
    return path


def coarse(path: Path, factor: int = FACTOR) -> Chip:
    at = corner(factor)
    part = PixelWindow(at.column, at.row, SIDE // factor, SIDE // factor)
    return GeoTiffMosaic(str(path)).read(pixel_grid().zoom_out(factor), part)


@pytest.mark.parametrize("external", [False, True], ids=["internal", "ovr"])
@pytest.mark.parametrize("resampling", [Resampling.average, Resampling.nearest])
@pytest.mark.parametrize("kind", KINDS)
def test_the_mask_is_where_it_is_at_full_resolution(
    tmp_path: Path, kind: str, resampling: Resampling, external: bool
) -> None:
    path = packed(tmp_path, kind, resampling, external=external)
    shown = ~HIDDEN.reshape(SIDE // FACTOR, FACTOR, -1, FACTOR)
    share = shown.mean(axis=(1, 3))
    chip = coarse(path)
    assert np.array_equal(chip.valid, share >= 0.5)
    sums = (picture().reshape(3, SIDE // FACTOR, FACTOR, -1, FACTOR) * shown).sum(axis=(2, 4))
    means = sums / np.maximum(share * FACTOR**2, 1)
    assert np.abs(chip.pixels - means)[:, chip.valid].max() <= 0.5


@pytest.mark.parametrize("kind", ["mask", "msk", "alpha", "white"])
def test_away_from_what_is_hidden_overviews_are_read(tmp_path: Path, kind: str) -> None:
    path = packed(tmp_path, kind, Resampling.average, external=False, scale=4)
    at = corner(FACTOR)
    part = PixelWindow(at.column, at.row, 4, 4)
    before = GeoTiffMosaic(str(path)).read(pixel_grid().zoom_out(FACTOR), part)
    with rasterio.open(path, "r+") as dataset:  # damage that only full resolution has
        square = rasterio.windows.Window(0, 0, 32, 32)
        dataset.write(np.full((3, 32, 32), 123, np.uint8), [1, 2, 3], window=square)
    after = GeoTiffMosaic(str(path)).read(pixel_grid().zoom_out(FACTOR), part)
    assert np.array_equal(before.pixels, after.pixels)


@pytest.mark.parametrize("size", [(250, 243), (256, 249), (8, 300)])
@pytest.mark.parametrize("kind", ["mask", "nodata"])
def test_sizes_that_no_factor_divides(tmp_path: Path, size: tuple[int, int], kind: str) -> None:
    height, width = size
    pixels = np.clip(smooth(1, height, width), 20, 230)
    hidden = np.add.outer(np.arange(height), np.arange(width)) > 200
    pixels[:, hidden] = 7
    path = write_tiff(tmp_path / "a.tif", pixels, nodata=7 if kind == "nodata" else None)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4], Resampling.average)
    if kind == "mask":
        with rasterio.open(path, "r+") as dataset:
            dataset.write_mask(~hidden)
    at = corner(4)
    part = PixelWindow(at.column, at.row, -(-width // 4), -(-height // 4))
    chip = GeoTiffMosaic(str(path)).read(pixel_grid().zoom_out(4), part)
    padded = np.zeros((part.height * 4, part.width * 4), bool)
    padded[:height, :width] = ~hidden
    share = padded.reshape(part.height, 4, part.width, 4).mean(axis=(1, 3))
    assert np.array_equal(chip.valid, share >= 0.5)


@pytest.mark.parametrize("kind", ["white", "mask", "black"])
def test_large_windows_are_averaged_in_parts(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path, kind, Resampling.average, external=False)
    whole = coarse(path)
    monkeypatch.setattr(blocks, "_CHUNK_PIXELS", SIDE * FACTOR * 3)
    parts = coarse(path)
    assert np.array_equal(whole.valid, parts.valid)
    assert np.array_equal(whole.pixels, parts.pixels)


def test_every_coarse_window_agrees_with_the_whole(tmp_path: Path) -> None:
    """Also where one window is read from an overview and the other is not."""
    path = packed(tmp_path, "late nodata", Resampling.average, external=False)
    imagery, grid, at = GeoTiffMosaic(str(path)), pixel_grid().zoom_out(FACTOR), corner(FACTOR)
    whole = coarse(path)
    for row in range(0, 32, 8):
        for column in range(0, 16, 8):
            chip = imagery.read(grid, PixelWindow(at.column + column, at.row + row, 8, 8))
            part = whole.valid[row : row + 8, column : column + 8]
            assert np.array_equal(chip.valid, part)
            pixels = whole.pixels[:, row : row + 8, column : column + 8].astype(int)
            assert np.abs(chip.pixels - pixels)[:, part].max(initial=0) <= 2  # rounded thrice


def test_a_window_in_pixels_of_the_file_needs_no_overview(tmp_path: Path) -> None:
    path = packed(tmp_path, "mask", Resampling.average, external=False)
    chip = GeoTiffMosaic(str(path)).read(pixel_grid(), window(0, 0, SIDE, SIDE))
    assert np.array_equal(chip.valid, ~HIDDEN)
