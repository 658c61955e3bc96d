"""Local GeoTIFFs as one mosaic: windows, overlaps, other grids, and broken files."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.warp import reproject, transform_bounds
from rasters import CRS_NAME, LEFT, PIXEL_M, TOP, boundary, noise, pixel_grid, smooth, write_tiff

from detection.errors import ImageryError, NoImagery
from detection.imagery import GeoTiffMosaic, geotiff, open_imagery
from detection.imagery.pixel_grid import PixelGrid, PixelWindow
from detection.registry.imagery_entry import ImageryEntry as ImagerySource


def window(column: int, row: int, width: int, height: int) -> PixelWindow:
    """A window of the tests' grid, counted from their upper left corner."""
    origin = pixel_grid().window_from_bounds((LEFT, TOP - 1, LEFT + 1, TOP))
    return PixelWindow(origin.column + column, origin.row + row, width, height)


def here(width_m: float = 5.0) -> Any:
    return boundary(shapely.box(LEFT, TOP - width_m, LEFT + width_m, TOP)).geometry


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are opened."""
    names: list[str] = []
    real_open = rasterio.open

    def counting_open(path: str, *args: Any, **more: Any) -> Any:
        names.append(Path(path).name)
        return real_open(path, *args, **more)

    monkeypatch.setattr(geotiff.rasterio, "open", counting_open)
    return names


def test_a_window_has_the_files_pixels(tmp_path: Path) -> None:
    pixels = noise(4, 60, 80)
    path = write_tiff(tmp_path / "tile_20200531.tif", pixels)
    imagery = GeoTiffMosaic(str(path))
    assert imagery.grid_for(here()) == pixel_grid()
    chip = imagery.read(pixel_grid(), window(10, 20, 30, 25))
    assert np.array_equal(chip.pixels, pixels[:, 20:45, 10:40])
    assert chip.valid.all()
    assert chip.bands == ("red", "green", "blue", "nir")
    assert chip.captured_on == "2020-05-31"
    assert chip.sources == (str(path),)
    assert chip.gsd_m == PIXEL_M
    assert chip.bounds == (LEFT + 5, TOP - 22.5, LEFT + 20, TOP - 10)


def test_adjacent_tiles_equal_one_raster(tmp_path: Path, opened: list[str]) -> None:
    whole = noise(3, 90, 120)
    for row in (0, 45):
        for column in (0, 40, 80):
            tile = whole[:, row : row + 45, column : column + 40]
            write_tiff(tmp_path / f"t{row}_{column}.tif", tile, column=column, row=row)
    imagery = GeoTiffMosaic(str(tmp_path / "*.tif"))
    opened.clear()
    chip = imagery.read(pixel_grid(), window(30, 30, 60, 50))
    assert np.array_equal(chip.pixels, whole[:, 30:80, 30:90])
    assert chip.valid.all()
    assert len(opened) == 6
    opened.clear()
    imagery.read(pixel_grid(), window(5, 5, 20, 20))
    assert opened == ["t0_0.tif"]


def test_only_the_window_is_read(tmp_path: Path) -> None:
    pixels = noise(1, 4096, 64)
    path = write_tiff(tmp_path / "a.tif", pixels, tiled=True, blockxsize=64, blockysize=64)
    imagery = GeoTiffMosaic(str(path))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    chip = imagery.read(pixel_grid(), window(0, 0, 64, 128))
    assert np.array_equal(chip.pixels, pixels[:, :128])
    assert chip.failed_sources == ()


def test_a_chip_past_the_edge_is_partly_valid(tmp_path: Path) -> None:
    pixels = noise(3, 40, 40)
    write_tiff(tmp_path / "a.tif", pixels)
    chip = GeoTiffMosaic(str(tmp_path / "a.tif")).read(pixel_grid(), window(-10, 30, 40, 20))
    assert np.array_equal(chip.pixels[:, :10, 10:], pixels[:, 30:, :30])
    assert chip.valid.sum() == 10 * 30
    assert not chip.pixels[:, ~chip.valid].any()


@pytest.mark.parametrize("pixel_m", [0.5, 0.4])
def test_a_file_that_only_touches_adds_no_pixels(tmp_path: Path, pixel_m: float) -> None:
    """On the chip's grid, and on another one that needs a warp."""
    shown = write_tiff(tmp_path / "a.tif", noise(3, 40, 40))
    beside = Affine(pixel_m, 0, LEFT + 20, 0, -pixel_m, TOP)
    write_tiff(tmp_path / "b_2020.tif", noise(3, 50, 50), transform=beside)
    chip = GeoTiffMosaic(str(tmp_path / "*.tif")).read(pixel_grid(), window(0, 0, 40, 40))
    assert chip.sources == (str(shown),)
    assert chip.valid.all()


def test_newer_files_cover_older_ones(tmp_path: Path) -> None:
    old = write_tiff(tmp_path / "z_2018.tif", np.full((3, 20, 40), 18, np.uint8))
    new = write_tiff(tmp_path / "a_2020.tif", np.full((3, 20, 40), 20, np.uint8), column=20)
    chip = GeoTiffMosaic(str(tmp_path / "*.tif")).read(pixel_grid(), window(0, 0, 60, 20))
    assert (chip.pixels[:, :, :20] == 18).all()
    assert (chip.pixels[:, :, 20:] == 20).all()
    assert chip.captured_on == "2018/2020"
    assert chip.sources == (str(new), str(old))


def test_nodata_of_a_newer_file_shows_an_older_one(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a_2018.tif", np.full((1, 20, 20), 18, np.uint8), nodata=0)
    newer = np.full((1, 20, 20), 20, np.uint8)
    newer[:, :10] = 0
    write_tiff(tmp_path / "a_2020.tif", newer, nodata=0)
    chip = GeoTiffMosaic(str(tmp_path / "*.tif")).read(pixel_grid(), window(0, 0, 20, 20))
    assert chip.valid.all()
    assert (chip.pixels[0, :10] == 18).all()
    assert (chip.pixels[0, 10:] == 20).all()


def test_a_configured_date_wins(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a_2018.tif", noise(3, 10, 10))
    chip = GeoTiffMosaic(str(path), captured_on="2021-07-01").read(pixel_grid(), window(0, 0, 9, 9))
    assert chip.captured_on == "2021-07-01"


def test_a_file_name_with_brackets_is_not_a_glob(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a[1].tif", noise(3, 10, 10))
    assert GeoTiffMosaic(str(path)).read(pixel_grid(), window(0, 0, 9, 9)).sources == (str(path),)


def test_the_grid_with_the_largest_area_is_chosen(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", smooth(3, 40, 40))
    coarse = Affine(1.0, 0, LEFT + 20, 0, -1.0, TOP)
    write_tiff(tmp_path / "b.tif", smooth(3, 40, 40), transform=coarse)
    imagery = GeoTiffMosaic(str(tmp_path / "*.tif"))
    lot = shapely.box(LEFT + 5, TOP - 10, LEFT + 22, TOP - 5)
    assert imagery.grid_for(boundary(lot).geometry).pixel_size == 0.5
    lot = shapely.box(LEFT + 18, TOP - 10, LEFT + 35, TOP - 5)
    assert imagery.grid_for(boundary(lot).geometry).pixel_size == 1.0
    # The other grid's file is warped: no gap where the two meet.
    chip = imagery.read(PixelGrid(CRS_NAME, 1.0), PixelWindow(int(LEFT) + 5, -int(TOP), 40, 20))
    assert chip.valid.all()
    assert len(chip.sources) == 2


def test_grids_that_differ_by_a_rounding_error_are_one(tmp_path: Path) -> None:
    whole = noise(1, 20, 40)
    write_tiff(tmp_path / "a.tif", whole[:, :, :20])
    jitter = Affine(PIXEL_M + 1e-14, 0, LEFT + 10 + 2e-9, 0, -PIXEL_M, TOP - 3e-9)
    write_tiff(tmp_path / "b.tif", whole[:, :, 20:], transform=jitter)
    chip = GeoTiffMosaic(str(tmp_path / "*.tif")).read(pixel_grid(), window(0, 0, 40, 20))
    assert np.array_equal(chip.pixels, whole)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:4326", "EPSG:32615"])
def test_other_crs_are_warped_to_utm_within_a_pixel(tmp_path: Path, crs: str, dtype: str) -> None:
    scale = {"uint8": 1, "uint16": 200, "int16": 100, "float32": 0.01}[dtype]
    picture = (smooth(2, 160, 160) * scale).astype(dtype)
    source = Affine(PIXEL_M, 0, LEFT, 0, -PIXEL_M, TOP)
    bounds = (LEFT, TOP - 80, LEFT + 80, TOP)
    left, bottom, right, top = transform_bounds(CRS_NAME, crs, *bounds)
    width, height = 200, 200
    transform = Affine((right - left) / width, 0, left, 0, (bottom - top) / height, top)
    there = np.zeros((2, height, width), dtype)
    reproject(
        picture, there, src_transform=source, src_crs=CRS_NAME, dst_transform=transform,
        dst_crs=crs, resampling=Resampling.cubic,
    )  # fmt: skip
    path = write_tiff(tmp_path / "a.tif", there, crs=crs, transform=transform, nodata=0)
    imagery = GeoTiffMosaic(str(path))
    lot = boundary(shapely.box(LEFT + 10, TOP - 60, LEFT + 60, TOP - 10)).geometry
    found = imagery.grid_for(lot)
    if crs == "EPSG:32615":
        assert found.crs == crs  # metric already, although another zone's: not warped
    else:
        assert found.crs == CRS_NAME
        assert found.gsd_m <= 0.5
    chip = imagery.read(pixel_grid(), window(20, 20, 100, 100))
    assert chip.valid.all()
    assert chip.pixels.dtype == dtype
    off = np.abs(chip.pixels.astype(float) - picture[:, 20:120, 20:120])
    # A shift by one pixel would change steep parts by 5 to 7 grey levels.
    assert np.percentile(off, 99) < 4 * scale


def test_a_rotated_file_is_warped_to_its_position(tmp_path: Path) -> None:
    turned = Affine.translation(LEFT, TOP) @ Affine.rotation(30) @ Affine.scale(PIXEL_M, -PIXEL_M)
    pixels = np.full((1, 100, 100), 50, np.uint8)
    pixels[:, 40:60, 40:60] = 200  # at the centre
    path = write_tiff(tmp_path / "a.tif", pixels, transform=turned)
    imagery = GeoTiffMosaic(str(path))
    centre_x, centre_y = turned @ (50, 50)
    lot = boundary(shapely.Point(centre_x, centre_y).buffer(3)).geometry
    found = imagery.grid_for(lot)
    assert found.crs == CRS_NAME
    assert 0.45 <= found.pixel_size <= 0.5
    everything = found.window_from_bounds(found.from_lonlat(imagery._files[0].footprint).bounds)
    chip = imagery.read(found, everything)
    rows, columns = np.nonzero(chip.pixels[0] > 150)
    x, y = chip.transform @ (columns.mean() + 0.5, rows.mean() + 0.5)
    assert abs(x - centre_x) < 0.25
    assert abs(y - centre_y) < 0.25
    assert len(rows) * found.pixel_size**2 == pytest.approx(100, rel=0.1)
    assert chip.valid.sum() * found.pixel_size**2 == pytest.approx(2500, rel=0.02)


def test_a_warp_does_not_mix_nodata_into_values(tmp_path: Path) -> None:
    pixels = np.full((1, 60, 60), 100, np.uint8)
    pixels[:, :, 30:] = 255
    path = write_tiff(tmp_path / "a.tif", pixels, nodata=255)
    shifted = PixelGrid(CRS_NAME, 0.4)
    chip = GeoTiffMosaic(str(path)).read(
        shifted, shifted.window_from_bounds((LEFT, TOP - 9, LEFT + 30, TOP))
    )
    assert set(np.unique(chip.pixels[0][chip.valid])) == {100}
    assert chip.valid.sum() * 0.4**2 == pytest.approx(15 * 9, rel=0.06)


def test_no_file_matches(tmp_path: Path) -> None:
    with pytest.raises(ImageryError, match=r"no imagery file matches .*\*\.tif\. Correct"):
        GeoTiffMosaic(str(tmp_path / "*.tif"))


def test_not_georeferenced_is_refused(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", noise(1, 4, 4), crs=None)
    with pytest.raises(ImageryError, match=r"a\.tif has no CRS .*gdal_edit"):
        GeoTiffMosaic(str(tmp_path / "a.tif"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        write_tiff(tmp_path / "b.tif", noise(1, 4, 4), crs=None, transform=Affine.identity())
    with pytest.raises(ImageryError, match=r"b\.tif has no CRS or no geotransform"):
        GeoTiffMosaic(str(tmp_path / "b.tif"))


@pytest.mark.parametrize("change", ["bands", "dtype"])
def test_files_of_a_mosaic_need_the_same_bands(tmp_path: Path, change: str) -> None:
    write_tiff(tmp_path / "a.tif", noise(4, 4, 4))
    other = noise(3, 4, 4) if change == "bands" else noise(4, 4, 4, dtype="uint16")
    write_tiff(tmp_path / "b.tif", other)
    with pytest.raises(ImageryError, match=r"b\.tif has bands .* but .*a\.tif has"):
        GeoTiffMosaic(str(tmp_path / "*.tif"))


def test_fewer_declared_bands_make_files_compatible(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", noise(4, 10, 10))
    write_tiff(tmp_path / "b.tif", noise(3, 10, 10), column=10)
    rgb = ("red", "green", "blue")
    chip = GeoTiffMosaic(str(tmp_path / "*.tif"), bands=rgb).read(
        pixel_grid(), window(0, 0, 20, 10)
    )
    assert chip.bands == rgb
    assert chip.valid.all()


class TestBrokenFiles:
    def test_a_file_with_a_broken_header_is_skipped(self, tmp_path: Path) -> None:
        (tmp_path / "a.tif").write_bytes(b"no TIFF at all" * 50)
        write_tiff(tmp_path / "b.tif", noise(3, 20, 20))
        imagery = GeoTiffMosaic(str(tmp_path / "*.tif"))
        assert list(imagery.unreadable) == [str(tmp_path / "a.tif")]
        assert imagery.read(pixel_grid(), window(0, 0, 20, 20)).valid.all()
        away = boundary(shapely.box(LEFT + 500, TOP - 9, LEFT + 509, TOP)).geometry
        with pytest.raises(NoImagery, match=r"a\.tif") as caught:
            imagery.grid_for(away)
        assert caught.value.reason == "corrupt"  # the unreadable file might cover it

    def test_only_broken_files_raise(self, tmp_path: Path) -> None:
        (tmp_path / "a.tif").write_bytes(b"")
        with pytest.raises(ImageryError, match=r"none of the 1 imagery files .*a\.tif: "):
            GeoTiffMosaic(str(tmp_path / "*.tif"))

    @pytest.mark.parametrize("compress", ["none", "deflate", "lzw"])
    def test_a_truncated_file_is_corrupt_where_data_is_missing(
        self, tmp_path: Path, compress: str
    ) -> None:
        path = write_tiff(tmp_path / "a.tif", noise(3, 200, 200), compress=compress, blockysize=8)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        write_tiff(tmp_path / "b.tif", noise(3, 200, 50), column=200)
        imagery = GeoTiffMosaic(str(tmp_path / "*.tif"))
        with pytest.raises(NoImagery, match=r"a\.tif") as caught:
            imagery.read(pixel_grid(), window(0, 150, 50, 50))
        assert caught.value.reason == "corrupt"
        chip = imagery.read(pixel_grid(), window(150, 150, 100, 50))
        assert chip.failed_sources == (str(path),)
        assert chip.valid[:, 50:].all()
        assert not chip.valid[:, :50].any()

    def test_a_truncated_file_elsewhere_is_not_reported(self, tmp_path: Path) -> None:
        path = write_tiff(tmp_path / "a.tif", noise(3, 200, 200))
        imagery = GeoTiffMosaic(str(path))
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(NoImagery):
            imagery.read(pixel_grid(), window(0, 150, 50, 50))
        away = boundary(shapely.box(LEFT + 500, TOP - 9, LEFT + 509, TOP)).geometry
        with pytest.raises(NoImagery) as caught:
            imagery.grid_for(away)
        assert caught.value.reason == "missing"

    def test_a_deleted_file_is_corrupt(self, tmp_path: Path) -> None:
        path = write_tiff(tmp_path / "a.tif", noise(3, 20, 20))
        imagery = GeoTiffMosaic(str(path))
        path.unlink()
        with pytest.raises(NoImagery) as caught:
            imagery.read(pixel_grid(), window(0, 0, 9, 9))
        assert caught.value.reason == "corrupt"


def test_open_imagery_takes_a_registry_entry(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", noise(3, 20, 20))
    source = ImagerySource(path=str(path), bands=("nir", "red", "green"), captured_on="2020")
    chip = open_imagery(source).read(pixel_grid(), window(0, 0, 9, 9))
    assert chip.bands == ("nir", "red", "green")
    assert chip.captured_on == "2020"


def test_a_crs_without_relation_to_the_earth_is_refused(tmp_path: Path) -> None:
    site = 'LOCAL_CS["site grid",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'
    path = write_tiff(tmp_path / "a.tif", noise(3, 8, 8), crs=site)
    with pytest.raises(ImageryError, match=r"a\.tif: its CRS cannot be transformed to longitude"):
        GeoTiffMosaic(str(path))


def test_corners_outside_the_crs_are_refused(tmp_path: Path) -> None:
    transform = Affine(0.5, 0, 9e9, 0, -0.5, 9e9)
    path = write_tiff(tmp_path / "a.tif", noise(3, 8, 8), transform=transform)
    with pytest.raises(ImageryError, match=r"a\.tif: its CRS cannot be transformed to longitude"):
        GeoTiffMosaic(str(path))
