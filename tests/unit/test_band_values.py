"""Palettes are expanded, and a file's scale and offset applied, before anything is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasters import noise, write_tiff

from detection.chip import Chip
from detection.errors import ImageryError
from detection.imagery import GeoTiffMosaic
from detection.imagery.pixel_grid import PixelGrid

PALETTE = {
    0: (40, 120, 30, 255),
    1: (200, 190, 180, 255),
    2: (90, 80, 70, 255),
    3: (20, 60, 140, 255),
}


def whole(path: Path, factor: int = 1) -> Chip:
    imagery = GeoTiffMosaic(str(path))
    file = imagery._files[0]
    assert file.window is not None
    return imagery.read(file.grid.zoom_out(factor), file.window.zoom_out(factor))


def write_palette(path: Path, pixels: Any, **profile: Any) -> Path:
    colours = [ColorInterp.palette] + [ColorInterp.alpha] * (len(pixels) - 1)
    write_tiff(path, np.zeros_like(pixels), photometric="palette", **profile)
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, PALETTE)
        dataset.colorinterp = colours
        dataset.write(pixels)
    return path


def checkers() -> Any:
    """(1, 32, 32): the palette's values, in squares of 8 pixels."""
    return np.kron(np.arange(16).reshape(4, 4) % 4, np.ones((8, 8))).astype(np.uint8)[None]


def test_a_palette_is_expanded(tmp_path: Path) -> None:
    pixels = checkers()
    chip = whole(write_palette(tmp_path / "a.tif", pixels))
    assert chip.bands == ("red", "green", "blue")
    expected = np.moveaxis(np.array([PALETTE[i][:3] for i in range(4)], np.uint8)[pixels[0]], -1, 0)
    assert chip.valid.all()
    assert np.array_equal(chip.pixels, expected)
    assert any("palette" in note for note in GeoTiffMosaic(str(tmp_path / "a.tif")).notes)


def test_a_transparent_colour_of_a_palette_is_not_valid(tmp_path: Path) -> None:
    path = write_palette(tmp_path / "a.tif", checkers())
    vrt = tmp_path / "a.vrt"
    with rasterio.open(path) as dataset:
        entries = "".join(
            f'<Entry c1="{r}" c2="{g}" c3="{b}" c4="{0 if value == 1 else 255}"/>'
            for value, (r, g, b, _) in list(dataset.colormap(1).items())[:3]
        )
        vrt.write_text(
            f'<VRTDataset rasterXSize="32" rasterYSize="32"><SRS>{dataset.crs.to_wkt()}</SRS>'
            f"<GeoTransform>{', '.join(map(str, dataset.transform.to_gdal()))}</GeoTransform>"
            '<VRTRasterBand dataType="Byte" band="1"><ColorInterp>Palette</ColorInterp>'
            f"<ColorTable>{entries}</ColorTable><SimpleSource>"
            '<SourceFilename relativeToVRT="1">a.tif</SourceFilename><SourceBand>1</SourceBand>'
            "</SimpleSource></VRTRasterBand></VRTDataset>"
        )
    # 1 is transparent, 3 is beyond the palette.
    assert np.array_equal(whole(vrt).valid, np.isin(checkers()[0], (0, 2)))


def test_a_palette_is_expanded_before_it_is_averaged(tmp_path: Path) -> None:
    pixels = np.tile(np.array([[0, 1], [1, 0]], np.uint8), (16, 16))[None]
    chip = whole(write_palette(tmp_path / "a.tif", pixels), factor=2)
    assert np.unique(chip.pixels.reshape(3, -1), axis=1).T.tolist() == [[120, 155, 105]]


def test_nodata_of_a_palette_is_an_index(tmp_path: Path) -> None:
    chip = whole(write_palette(tmp_path / "a.tif", checkers(), nodata=0))
    assert np.array_equal(chip.valid, checkers()[0] != 0)


def test_a_palette_with_an_alpha_band(tmp_path: Path) -> None:
    alpha = np.full((1, 32, 32), 255, np.uint8)
    alpha[0, :, 16:] = 0
    pixels = np.concatenate([checkers(), alpha])
    path = tmp_path / "a.tif"
    write_tiff(path, pixels, colours=[ColorInterp.gray, ColorInterp.alpha])
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, PALETTE)
    with rasterio.open(path) as dataset:
        if dataset.colorinterp[0] != ColorInterp.palette:
            pytest.skip("this GDAL writes no palette beside an alpha band")
    chip = whole(path)
    assert chip.bands == ("red", "green", "blue")
    assert not chip.valid[:, 16:].any()
    assert chip.valid[0, 0]


def test_names_for_a_palette(tmp_path: Path) -> None:
    path = str(write_palette(tmp_path / "a.tif", checkers()))
    assert GeoTiffMosaic(path, ("red", "green", "blue")).bands == ("red", "green", "blue")
    with pytest.raises(ImageryError, match="has 3 bands"):
        GeoTiffMosaic(path, ("red", "green", "blue", "nir"))


def write_scaled(path: Path, pixels: Any, scale: float, offset: float, **more: Any) -> Path:
    write_tiff(path, pixels, **more)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales = (scale,) * dataset.count
        dataset.offsets = (offset,) * dataset.count
    return path


def test_scale_and_offset_are_applied(tmp_path: Path) -> None:
    pixels = noise(4, 40, 40, dtype="uint16")
    path = write_scaled(tmp_path / "a.tif", pixels, 1e-4, -0.1)
    chip = whole(path)
    assert chip.pixels.dtype == np.float32
    assert np.allclose(chip.pixels, pixels * 1e-4 - 0.1, atol=1e-6)
    assert "scale and offset are applied: 0.0001 and -0.1" in GeoTiffMosaic(str(path)).notes[-1]


def test_nodata_is_compared_before_scaling(tmp_path: Path) -> None:
    pixels = noise(3, 40, 40, dtype="uint16") + np.uint16(10)
    pixels[:, :10] = 7
    chip = whole(write_scaled(tmp_path / "a.tif", pixels, 2.0, -14.0, nodata=7))
    assert not chip.valid[:10].any()
    assert chip.valid[10:].all()


def test_files_with_different_scales_are_one_mosaic(tmp_path: Path) -> None:
    pixels = noise(3, 40, 40, dtype="uint16") * np.uint16(2)
    write_scaled(tmp_path / "a.tif", pixels, 1e-4, 0.0)
    write_scaled(tmp_path / "b.tif", pixels // 2, 2e-4, 0.0, column=40)
    imagery = GeoTiffMosaic(str(tmp_path / "*.tif"))
    chips = [imagery.read(f.grid, f.window) for f in imagery._files if f.window is not None]
    assert np.allclose(chips[0].pixels, chips[1].pixels)


def test_a_scaled_file_beside_one_that_is_not_is_refused(tmp_path: Path) -> None:
    pixels = noise(3, 40, 40, dtype="uint16")
    write_scaled(tmp_path / "a.tif", pixels, 1e-4, 0.0)
    write_tiff(tmp_path / "b.tif", pixels, column=40)
    with pytest.raises(ImageryError, match=r"uint16.*float32"):
        GeoTiffMosaic(str(tmp_path / "*.tif"))


def test_a_scale_of_zero_is_refused(tmp_path: Path) -> None:
    path = write_scaled(tmp_path / "a.tif", noise(3, 8, 8), 0.0, 0.0)
    with pytest.raises(ImageryError, match="gdal_edit"):
        GeoTiffMosaic(str(path))


def test_a_scaled_file_is_warped(tmp_path: Path) -> None:
    pixels = np.full((3, 40, 40), 5000, np.uint16)
    imagery = GeoTiffMosaic(str(write_scaled(tmp_path / "a.tif", pixels, 1e-4, -0.1)))
    file = imagery._files[0]
    shifted = PixelGrid(file.grid.crs, 0.6)
    left, bottom, right, top = file.grid.bounds(file.window)  # type: ignore[arg-type]
    window = shifted.window_from_bounds((left + 3, bottom + 3, right - 3, top - 3))
    chip = imagery.read(shifted, window)
    assert np.allclose(chip.pixels, 0.4, atol=1e-6)
