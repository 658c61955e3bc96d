"""Imagery that shows nothing, which nothing declares: whole files, tiles of a mosaic, holes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from pictures import at, only
from rasterio.enums import Resampling
from rasters import LEFT, PIXEL_M, TOP, ThresholdSegmenter, boundary, pixel_grid, write_tiff
from test_geotiff_mosaic import window
from test_imagery_fill import PACKING, SIDE, photograph

from detection import LABELS, Detector
from detection.errors import NoImagery
from detection.imagery import GeoTiffMosaic
from detection.imagery.pixel_grid import PixelWindow

BIG = 480
HOLE = (slice(130, 350), slice(120, 340))
VALUES = [
    ("uint8", 0), ("uint8", 77), ("uint8", 254), ("uint8", 255), ("uint16", 0), ("uint16", 65535),
    ("uint16", 1234), ("int16", -9999), ("int16", -32768), ("int16", -1), ("int32", -(2**31)),
    ("float32", 0), ("float32", -9999), ("float32", -3.4e38), ("float32", 3.4e38),
    ("float32", np.nan), ("float32", np.inf), ("float32", -np.inf), ("float32", 1e20),
    ("float32", 255), ("float64", -9999), ("float64", 1.7976931348623157e308),
    ("float64", -3.4028234663852886e38), ("float64", -1.7976931348623157e308),
]  # fmt: skip
# Found in a hole of any size: no pixel has such a value.
SENTINELS = [(t, v) for t, v in VALUES if v in (-9999, -32768, -(2**31)) or not abs(v) < 1e19]


def ground(dtype: str = "uint8", side: int = SIDE, bands: int = 3) -> NDArray[np.generic]:
    pixels = np.tile(photograph(bands), (1, 2, 2))[:, :side, :side].astype(dtype)
    return pixels if dtype == "uint8" else pixels * np.asarray(10, dtype)


def read(folder: Path, side: int = SIDE) -> Any:
    return GeoTiffMosaic(str(folder / "*.tif")).read(pixel_grid(), window(0, 0, side, side))


@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize(("dtype", "value"), VALUES)
def test_a_file_of_one_value_is_no_imagery(
    tmp_path: Path, dtype: str, value: float, bands: int
) -> None:
    write_tiff(tmp_path / "a.tif", np.full((bands, SIDE, SIDE), value, dtype))
    with pytest.raises(NoImagery, match="all nodata") as caught:
        read(tmp_path)
    assert caught.value.reason == "nodata"


@pytest.mark.parametrize("packing", PACKING)
@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_jpeg_of_one_value_is_no_imagery(tmp_path: Path, value: int, packing: str) -> None:
    write_tiff(tmp_path / "a.tif", np.full((3, SIDE, SIDE), value, np.uint8), **PACKING[packing])
    with pytest.raises(NoImagery):
        read(tmp_path)


def test_a_file_with_another_value_in_each_band(tmp_path: Path) -> None:
    pixels = np.ones((3, SIDE, SIDE), np.uint8) * np.array([[[9]], [[120]], [[61]]], np.uint8)
    write_tiff(tmp_path / "a.tif", pixels)
    with pytest.raises(NoImagery):
        read(tmp_path)


def test_a_palette_of_one_value_is_no_imagery(tmp_path: Path) -> None:
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", count=1, height=SIDE, width=SIDE, dtype="uint8",
        crs="EPSG:32616", transform=rasterio.Affine(PIXEL_M, 0, LEFT, 0, -PIXEL_M, TOP),
        photometric="palette",
    ) as file:  # fmt: skip
        file.write(np.full((1, SIDE, SIDE), 3, np.uint8))
        file.write_colormap(1, {i: (40 * i, 90, 10, 255) for i in range(5)})
    with pytest.raises(NoImagery):
        read(tmp_path)


@pytest.mark.parametrize(("dtype", "value"), VALUES)
def test_an_older_file_shows_behind_a_tile_of_one_value(
    tmp_path: Path, dtype: str, value: float
) -> None:
    """The bands are those of the older file: the newer one proves nothing of its fourth."""
    older = ground(dtype, bands=4)
    write_tiff(tmp_path / "a_2018.tif", older)
    write_tiff(tmp_path / "b_2020.tif", np.full((4, SIDE, SIDE), value, dtype))
    chip = read(tmp_path)
    assert chip.bands == ("red", "green", "blue", "nir")
    assert np.array_equal(chip.pixels, older)
    assert chip.captured_on == "2018"


@pytest.mark.parametrize("overviews", [False, True])
@pytest.mark.parametrize(("dtype", "value"), VALUES)
def test_a_hole_inside_a_file(tmp_path: Path, dtype: str, value: float, overviews: bool) -> None:
    is_saturated = dtype.startswith("u") and value > 0.98 * np.iinfo(dtype).max
    rows, columns = (slice(100, 400), slice(90, 390)) if is_saturated else HOLE
    pixels = ground(dtype, BIG)
    pixels[:, rows, columns] = value
    path = write_tiff(tmp_path / "a.tif", pixels, tiled=True)
    if overviews:
        with rasterio.open(path, "r+") as file:
            file.build_overviews([2, 4], Resampling.average)
    imagery = GeoTiffMosaic(str(path))
    shown = np.ones((BIG, BIG), bool)
    shown[rows, columns] = False
    whole = imagery.read(pixel_grid(), window(0, 0, BIG, BIG))
    assert np.array_equal(whole.valid, shown)
    with pytest.raises(NoImagery):
        imagery.read(pixel_grid(), window(columns.start + 8, rows.start + 8, 60, 60))

    origin = window(0, 0, 1, 1)
    assert origin.column % 4 == origin.row % 4 == 0
    part = PixelWindow(origin.column // 4, origin.row // 4, BIG // 4, BIG // 4)
    share = shown.reshape(BIG // 4, 4, BIG // 4, 4).mean(axis=(1, 3))
    assert np.array_equal(imagery.read(pixel_grid().zoom_out(4), part).valid, share >= 0.5)


@pytest.mark.parametrize(("dtype", "value"), SENTINELS)
def test_a_small_hole_of_a_value_that_no_pixel_has(
    tmp_path: Path, dtype: str, value: float
) -> None:
    pixels = ground(dtype)
    pixels[:, 100:103, 50] = value
    write_tiff(tmp_path / "a.tif", pixels)
    shown = np.ones((SIDE, SIDE), bool)
    shown[100:103, 50] = False
    assert np.array_equal(read(tmp_path).valid, shown)


@pytest.mark.parametrize("packing", ["jpeg", "tiled jpeg"])
@pytest.mark.parametrize("value", [0, 90, 255])
def test_a_hole_in_jpeg_goes_with_its_rim(tmp_path: Path, value: int, packing: str) -> None:
    rows, columns = slice(100, 400), slice(90, 390)
    pixels = ground(side=BIG)
    pixels[:, rows, columns] = value
    write_tiff(tmp_path / "a.tif", pixels, **PACKING[packing])
    hidden = ~read(tmp_path, BIG).valid
    away = np.ones((BIG, BIG), bool)
    away[rows.start - 19 : rows.stop + 19, columns.start - 19 : columns.stop + 19] = False
    assert hidden[rows.start + 8 : rows.stop - 8, columns.start + 8 : columns.stop - 8].all()
    assert not hidden[away].any()


def test_every_window_of_a_hole_agrees_with_the_whole(tmp_path: Path) -> None:
    pixels = ground(side=BIG)
    pixels[:, *HOLE] = 90
    write_tiff(tmp_path / "a.tif", pixels, **PACKING["jpeg"])
    imagery, whole = GeoTiffMosaic(str(tmp_path / "a.tif")), read(tmp_path, BIG).valid
    rng = np.random.default_rng(0)
    for column, row, side in rng.integers((60, 60, 4), (300, 300, 170), (25, 3)):
        part = whole[row : row + side, column : column + side]
        try:
            chip = imagery.read(pixel_grid(), window(column, row, side, side))
        except NoImagery:
            assert not part.any()
        else:
            assert np.array_equal(chip.valid, part)


def water(rng: np.random.Generator, sigma: float) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[0:BIG, 0:BIG]
    swell = 1.5 * np.sin(rows / 17 + columns / 31)
    colour = np.array([20, 40, 60])[:, None, None] + swell
    return np.asarray(np.rint(colour + rng.normal(0, sigma, (3, BIG, BIG))), np.uint8)


@pytest.mark.parametrize("packing", PACKING)
@pytest.mark.parametrize("sigma", [0.5, 1, 2])
def test_a_lake_is_imagery(tmp_path: Path, sigma: float, packing: str) -> None:
    """Also one that fills the file, or nearly."""
    lake = water(np.random.default_rng(0), sigma)
    write_tiff(tmp_path / "a.tif", lake, **PACKING[packing])
    assert read(tmp_path, BIG).valid.all()
    lake[:, :40] = ground(side=BIG)[:, :40]
    write_tiff(tmp_path / "a.tif", lake, **PACKING[packing])
    assert read(tmp_path, BIG).valid.all()


@pytest.mark.parametrize("value", [90, 200, 255])
def test_a_roof_of_120_pixels_is_imagery(tmp_path: Path, value: int) -> None:
    pixels = ground(side=BIG)
    pixels[:, 130:250, 120:240] = value
    write_tiff(tmp_path / "a.tif", pixels)
    assert read(tmp_path, BIG).valid.all()


def test_a_drawn_picture_is_imagery(tmp_path: Path) -> None:
    """Flat parts of a synthetic picture are as large as its author likes."""
    pixels = np.full((3, BIG, BIG), 90, np.uint8)
    pixels[:, 100:300, 60:300] = 200
    write_tiff(tmp_path / "a.tif", pixels)
    assert read(tmp_path, BIG).valid.all()


def test_a_small_file_of_one_colour_proves_nothing(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", np.full((3, 100, 100), 77, np.uint8))
    assert read(tmp_path, 100).valid.all()


def test_the_entry_decides_alone(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", np.full((3, SIDE, SIDE), 77, np.uint8))
    imagery = GeoTiffMosaic(str(path), nodata=())
    assert imagery.read(pixel_grid(), window(0, 0, SIDE, SIDE)).valid.all()


@pytest.mark.parametrize("value", [-3.4e38, 77.0])
def test_a_lot_in_a_hole_has_no_imagery(tmp_path: Path, value: float) -> None:
    pixels = ground("float32", BIG)
    pixels[:, *HOLE] = value
    write_tiff(tmp_path / "a.tif", pixels)
    lots = [boundary(at(150, 150, 90, 90)), boundary(at(20, 20, 60, 60))]
    imagery = GeoTiffMosaic(str(tmp_path / "a.tif"))
    found = [only(Detector(ThresholdSegmenter()).detect([lot], imagery, [LABELS["lawn"]]))
             for lot in lots]  # fmt: skip
    assert [(lot.status, lot.reason) for lot in found] == [
        ("no_imagery", "nodata"), ("detected", ""),
    ]  # fmt: skip
