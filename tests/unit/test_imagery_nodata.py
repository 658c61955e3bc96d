"""Valid pixels: declared and undeclared nodata, masks, alpha, and NaN."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasters import noise, pixel_grid, write_tiff
from test_geotiff_mosaic import window

from detection.errors import NoImagery
from detection.imagery import GeoTiffMosaic

RGBA = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
CORNER = np.zeros((40, 40), bool)
CORNER[:15, :20] = True


def valid(path: Path) -> NDArray[np.bool_]:
    return GeoTiffMosaic(str(path)).read(pixel_grid(), window(0, 0, 40, 40)).valid


def picture(bands: int = 3, fill: int = 0, dtype: str = "uint8") -> NDArray[np.generic]:
    pixels = noise(bands, 40, 40, dtype=dtype)
    pixels[:, CORNER] = fill
    return pixels


@pytest.mark.parametrize(("nodata", "dtype"), [(0, "uint8"), (255, "uint8"), (3999, "uint16")])
def test_declared_nodata(tmp_path: Path, nodata: int, dtype: str) -> None:
    path = write_tiff(tmp_path / "a.tif", picture(fill=nodata, dtype=dtype), nodata=nodata)
    assert np.array_equal(valid(path), ~CORNER)


def test_nodata_in_one_band_is_data(tmp_path: Path) -> None:
    pixels = noise(3, 40, 40)
    pixels[0] = 0
    assert valid(write_tiff(tmp_path / "a.tif", pixels, nodata=0)).all()


def test_nodata_that_is_not_a_number(tmp_path: Path) -> None:
    pixels = picture(fill=0, dtype="float32")
    pixels[:, CORNER] = np.nan
    assert np.array_equal(valid(write_tiff(tmp_path / "a.tif", pixels, nodata=np.nan)), ~CORNER)
    assert np.array_equal(valid(write_tiff(tmp_path / "b.tif", pixels)), ~CORNER)


def test_an_undeclared_black_collar_is_nodata(tmp_path: Path) -> None:
    assert np.array_equal(valid(write_tiff(tmp_path / "a.tif", picture())), ~CORNER)


def test_small_black_patches_are_data(tmp_path: Path) -> None:
    pixels = noise(3, 40, 40)
    pixels[:, 5:12, 5:12] = 0
    assert valid(write_tiff(tmp_path / "a.tif", pixels)).all()


def test_a_speck_in_a_black_collar_is_data(tmp_path: Path) -> None:
    pixels = picture()
    pixels[:, 5, 5] = 9
    expected = ~CORNER
    expected[5, 5] = True
    assert np.array_equal(valid(write_tiff(tmp_path / "a.tif", pixels)), expected)


def test_an_alpha_band_is_the_mask(tmp_path: Path) -> None:
    pixels = noise(4, 40, 40)
    pixels[3] = np.where(CORNER, 0, 255)
    path = write_tiff(tmp_path / "a.tif", pixels, colours=RGBA)
    chip = GeoTiffMosaic(str(path)).read(pixel_grid(), window(0, 0, 40, 40))
    assert np.array_equal(chip.valid, ~CORNER)
    assert chip.bands == ("red", "green", "blue")


def test_near_infrared_tagged_as_alpha_loses_no_pixel(tmp_path: Path) -> None:
    pixels = noise(4, 40, 40)
    pixels[3, 20:, 20:] = 0  # deep water, black in the near infrared
    path = write_tiff(tmp_path / "a.tif", pixels, colours=RGBA)
    chip = GeoTiffMosaic(str(path)).read(pixel_grid(), window(0, 0, 40, 40))
    assert chip.valid.all()
    assert np.array_equal(chip.band("nir"), pixels[3])


def test_a_mask_inside_the_file(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", noise(3, 40, 40), mask=~CORNER)
    assert np.array_equal(valid(path), ~CORNER)


@pytest.mark.parametrize("nodata", [0, None])
def test_all_nodata_is_no_imagery(tmp_path: Path, nodata: int | None) -> None:
    path = write_tiff(tmp_path / "a.tif", np.zeros((3, 40, 40), np.uint8), nodata=nodata)
    with pytest.raises(NoImagery, match="all nodata") as caught:
        valid(path)
    assert caught.value.reason == "nodata"
