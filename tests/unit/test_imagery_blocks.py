"""Downsampling by block means, with and without overviews."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasters import CRS_NAME, LEFT, PIXEL_M, TOP, boundary, noise, pixel_grid, smooth, write_tiff

from detection.chip_plan import plan_chips
from detection.imagery.geotiff_mosaic import GeoTiffMosaic
from detection.imagery.pixel_grid import PixelGrid, PixelWindow


def corner(factor: int) -> PixelWindow:
    """The pixel of a coarser grid that contains the tests' corner."""
    return pixel_grid().zoom_out(factor).window_from_bounds((LEFT, TOP - 0.01, LEFT + 0.01, TOP))


def means(pixels: NDArray[np.generic], factor: int) -> NDArray[np.float64]:
    bands, height, width = pixels.shape
    blocks = pixels.reshape(bands, height // factor, factor, width // factor, factor)
    return np.asarray(blocks.mean(axis=(2, 4)))


# The corner is on the grid of every even factor up to 8, and of 5.
@pytest.mark.parametrize("factor", [2, 4, 5, 8])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_pixel_is_the_mean_of_its_block(tmp_path: Path, factor: int, dtype: str) -> None:
    pixels = noise(3, 160, 240, dtype=dtype)
    imagery = GeoTiffMosaic(str(write_tiff(tmp_path / "a.tif", pixels)))
    at = corner(factor)
    window = PixelWindow(at.column - 2, at.row + 1, 12, 9)
    chip = imagery.read(pixel_grid().zoom_out(factor), window)
    assert chip.pixels.dtype == pixels.dtype
    assert chip.gsd_m == factor * PIXEL_M
    assert not chip.valid[:, :2].any()
    assert chip.valid[:, 2:].all()
    expected = means(pixels, factor)[:, 1:10, :10]
    assert np.abs(chip.pixels[:, :, 2:] - expected).max() <= 0.5


def test_overviews_are_read_where_they_fit(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", smooth(3, 256, 256))
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4], Resampling.average)
    exact = GeoTiffMosaic(str(path)).read(pixel_grid(), PixelWindow(*_at(0, 0), 256, 256)).pixels
    coarse = pixel_grid().zoom_out(8)
    window = PixelWindow(corner(8).column, corner(8).row, 32, 32)
    shown = GeoTiffMosaic(str(path)).read(coarse, window)
    # Rounded three times.
    assert np.abs(shown.pixels - means(exact, 8)).max() <= 1.5
    # Damage to the full-resolution pixels does not matter: they were not read.
    with rasterio.open(path, "r+") as dataset:
        dataset.write(np.zeros_like(exact))
    assert np.array_equal(GeoTiffMosaic(str(path)).read(coarse, window).pixels, shown.pixels)


def _at(column: int, row: int) -> tuple[int, int]:
    at = pixel_grid().window_from_bounds((LEFT, TOP - 0.01, LEFT + 0.01, TOP))
    return at.column + column, at.row + row


@settings(max_examples=25)
@given(
    left=st.sampled_from([0, 1, 3, 4, 6, 8]),
    top=st.sampled_from([0, 2, 4, 5]),
    seam=st.sampled_from([20, 22, 32, 41, 59, 60]),
    factor=st.sampled_from([2, 3, 4]),
    overviews=st.booleans(),
)
def test_files_that_end_inside_a_block(
    tmp_path_factory: pytest.TempPathFactory,
    left: int, top: int, seam: int, factor: int, overviews: bool,
) -> None:  # fmt: skip
    """Wherever two files meet and a chip starts, there is no gap and no shift."""
    folder = tmp_path_factory.mktemp("mosaic")
    whole = smooth(1, 80, 92)
    places = {"a": (whole[:, :, :seam], 0), "b": (whole[:, :, seam:], seam)}
    for name, (pixels, column) in places.items():
        path = write_tiff(folder / f"{name}.tif", pixels, column=left + column, row=top)
        if overviews:
            with rasterio.open(path, "r+") as dataset:
                dataset.build_overviews([2, 4], Resampling.average)
    coarse = pixel_grid().zoom_out(factor)
    column, row = _at(left, top)
    inside = PixelWindow(-(-column // factor), -(-row // factor), 80 // factor, 70 // factor)
    chip = GeoTiffMosaic(str(folder / "*.tif")).read(coarse, inside)
    assert chip.valid.all()
    x, y = inside.column * factor - column, inside.row * factor - row
    expected = means(
        whole[:, y : y + inside.height * factor, x : x + inside.width * factor], factor
    )
    # A block that a seam cuts is of one file alone; these pixels change by 12 a pixel at most.
    assert np.abs(chip.pixels - expected).max() <= 6.0 * factor
    assert np.abs(chip.pixels - expected).mean() <= 1.0


def test_nodata_is_not_averaged(tmp_path: Path) -> None:
    pixels = np.full((1, 64, 64), 100, np.uint8)
    pixels[:, :, 30:] = 0
    imagery = GeoTiffMosaic(str(write_tiff(tmp_path / "a.tif", pixels, nodata=0)))
    at = corner(4)
    chip = imagery.read(pixel_grid().zoom_out(4), PixelWindow(at.column, at.row, 16, 16))
    # Half of the eighth block is valid.
    assert chip.valid[:, :8].all()
    assert not chip.valid[:, 8:].any()
    assert (chip.pixels[:, chip.valid] == 100).all()


def test_zero_in_near_infrared_is_not_nodata(tmp_path: Path) -> None:
    """Water: GDAL's averages would take the fourth band for a mask, and drop it."""
    pixels = noise(4, 64, 64)
    pixels[3, 10:40, 10:40] = 0
    path = write_tiff(tmp_path / "a.tif", pixels, photometric="RGB", alpha="YES")
    imagery = GeoTiffMosaic(str(path), ("red", "green", "blue", "nir"))
    at = corner(4)
    chip = imagery.read(pixel_grid().zoom_out(4), PixelWindow(at.column, at.row, 16, 16))
    assert chip.valid.all()
    assert np.abs(chip.pixels - means(pixels, 4)).max() <= 0.5


def test_another_zones_file_is_warped_from_its_blocks(tmp_path: Path) -> None:
    """The same image on its own grid and on the next zone's, both four times coarser."""
    own = write_tiff(tmp_path / "own.tif", smooth(1, 400, 400))
    coarse = pixel_grid().zoom_out(4)
    at = corner(4)
    window = PixelWindow(at.column + 10, at.row + 10, 60, 60)
    expected = GeoTiffMosaic(str(own)).read(coarse, window).pixels

    next_zone = PixelGrid("EPSG:32615", PIXEL_M)
    outline = shapely.box(LEFT, TOP - 200, LEFT + 200, TOP)
    there = next_zone.from_lonlat(pixel_grid().to_lonlat(outline))
    warped = GeoTiffMosaic(str(own)).read(next_zone, next_zone.window_from_bounds(there.bounds))
    other = write_tiff(
        tmp_path / "other.tif",
        warped.pixels,
        crs="EPSG:32615",
        transform=warped.transform,
        nodata=0,
    )
    found = GeoTiffMosaic(str(other)).read(coarse, window)
    assert found.valid.all()
    off = np.abs(found.pixels.astype(int) - expected).mean()
    off_by_one = np.abs(np.diff(expected.astype(int))).mean()
    assert off < off_by_one / 5


def test_fine_imagery_is_downsampled(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", smooth(1, 400, 400))
    lot = boundary(shapely.box(LEFT + 20, TOP - 60, LEFT + 60, TOP - 20), CRS_NAME)
    imagery = GeoTiffMosaic(str(path))
    [plan], _ = plan_chips([lot], imagery, 128, gsd_m=2.1)
    assert plan.grid == pixel_grid().zoom_out(4)
    chip = imagery.read(plan.grid, plan.windows[0])
    assert chip.pixels.shape == (1, 128, 128)
    assert chip.gsd_m == 2.0
