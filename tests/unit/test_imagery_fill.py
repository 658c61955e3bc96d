"""Undeclared fill: found where it is connected to the edge of a file, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError
from rasterio.enums import ColorInterp
from rasters import CRS_NAME, LEFT, TOP, ThresholdSegmenter, boundary, pixel_grid, write_tiff
from scipy import ndimage
from shapely import box
from test_geotiff_mosaic import window

from detection import LABELS, Detector, LotResult
from detection.errors import ImageryError, NoImagery
from detection.imagery import GeoTiffMosaic
from detection.imagery.fill_survey import find_fill
from detection.imagery.pixel_grid import PixelWindow
from detection.registry.imagery_entry import ImageryEntry

SIDE = 320
ROWS, COLUMNS = np.mgrid[0:SIDE, 0:SIDE]
_ACROSS = (COLUMNS - SIDE / 2) * np.cos(0.1) + (ROWS - SIDE / 2) * np.sin(0.1)
_DOWN = (ROWS - SIDE / 2) * np.cos(0.1) - (COLUMNS - SIDE / 2) * np.sin(0.1)
SHAPES = {
    "half": COLUMNS >= 171,
    "collar": (COLUMNS < 20) | (ROWS < 20) | (COLUMNS >= SIDE - 20) | (ROWS >= SIDE - 20),
    "thin collar": (COLUMNS < 3) | (ROWS < 3) | (COLUMNS >= SIDE - 3) | (ROWS >= SIDE - 3),
    "rotated": np.maximum(np.abs(_ACROSS), np.abs(_DOWN)) > SIDE * 0.45,
    "wedge": ROWS < COLUMNS * 0.03,
    "diagonal": ROWS + COLUMNS > 400,
    "corner": (ROWS < 70) & (COLUMNS < 90),
    "bite": (COLUMNS - 160) ** 2 + ROWS**2 < 100**2,
    "full": ROWS >= 0,
}
PACKING: dict[str, dict[str, Any]] = {
    "lossless": {"compress": "deflate"},
    "jpeg": {"compress": "jpeg", "photometric": "YCBCR", "jpeg_quality": 75},
    "tiled jpeg": {
        "compress": "jpeg", "jpeg_quality": 60, "tiled": True, "blockxsize": 64, "blockysize": 64,
    },
}  # fmt: skip
RGBA = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)


def photograph(bands: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """Synthetic ground with structure at all scales, from 10 to 230."""
    rng = np.random.default_rng(seed)
    made = sum(
        sigma * ndimage.gaussian_filter(rng.standard_normal((bands, SIDE, SIDE)), (0, sigma, sigma))
        for sigma in (1, 4, 16)
    )
    low, high = np.quantile(made, (0.01, 0.99))
    return np.asarray(np.clip((made - low) / (high - low), 0, 1) * 220 + 10, np.uint8)


def painted(fill: NDArray[np.bool_], value: float, **photo: int) -> NDArray[np.uint8]:
    pixels = photograph(**photo)
    pixels[:, fill] = value
    return pixels


def valid(path: Path, nodata: tuple[float, ...] | None = None) -> NDArray[np.bool_]:
    imagery = GeoTiffMosaic(str(path), nodata=nodata)
    return imagery.read(pixel_grid(), window(0, 0, SIDE, SIDE)).valid


def fill_found(path: Path) -> float:
    with rasterio.open(path) as dataset:
        indexes = [i for i in dataset.indexes if dataset.colorinterp[i - 1] != ColorInterp.alpha]
        return sum(fill.share for fill in find_fill(dataset, indexes))


@pytest.mark.parametrize("value", [255, 0, 1])
@pytest.mark.parametrize("packing", PACKING)
@pytest.mark.parametrize("shape", [name for name in SHAPES if name != "full"])
def test_fill_is_hidden_with_the_noise_around_it(
    tmp_path: Path, shape: str, packing: str, value: int
) -> None:
    fill = SHAPES[shape]
    path = write_tiff(tmp_path / "a.tif", painted(fill, value), **PACKING[packing])
    shown = valid(path)
    away = ndimage.distance_transform_edt(~fill)
    rim = 0 if packing == "lossless" else 8
    # A collar of 3 pixels in JPEG is noise all over.
    missed = {"thin collar": 0.05, "wedge": 0.02}.get(shape, 0.002)
    assert (shown & fill).sum() <= (missed * fill.sum() if rim else 0)
    assert shown[away > rim].all()


@pytest.mark.parametrize("value", [255, 0])
def test_jpeg_that_was_saved_again_without_loss(tmp_path: Path, value: int) -> None:
    fill = SHAPES["diagonal"]
    lossy = write_tiff(tmp_path / "lossy.jpg.tif", painted(fill, value), **PACKING["tiled jpeg"])
    with rasterio.open(lossy) as dataset:
        path = write_tiff(tmp_path / "a.tif", dataset.read(), compress="deflate")
    shown = valid(path)
    assert (shown & fill).sum() <= 0.002 * fill.sum()
    assert shown[ndimage.distance_transform_edt(~fill) > 8].all()


@pytest.mark.parametrize("value", [255, 0, 1])
@pytest.mark.parametrize("packing", PACKING)
def test_a_file_of_fill_alone_is_no_imagery(tmp_path: Path, packing: str, value: int) -> None:
    pixels = painted(SHAPES["full"], value)
    path = write_tiff(tmp_path / "a.tif", pixels, **PACKING[packing])
    with pytest.raises(NoImagery, match="all nodata"):
        valid(path)


@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize(
    ("dtype", "value"), [("uint16", 0), ("uint16", 65535), ("float32", -9999), ("int16", -32768)]
)
def test_fill_of_other_types(tmp_path: Path, dtype: str, value: float, bands: int) -> None:
    pixels = photograph(bands).astype(dtype) * 7
    pixels[:, SHAPES["rotated"]] = value
    path = write_tiff(tmp_path / "a.tif", pixels)
    assert np.array_equal(valid(path), ~SHAPES["rotated"])


def test_a_key_colour_and_two_fills_in_one_file(tmp_path: Path) -> None:
    pixels = photograph()
    pixels[:, ROWS < 60] = np.array([255, 0, 255])[:, None]
    pixels[:, ROWS >= 280] = 0
    path = write_tiff(tmp_path / "a.tif", pixels)
    assert np.array_equal(valid(path), (ROWS >= 60) & (ROWS < 280))


def test_grey_fill_around_a_photograph(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", painted(SHAPES["collar"], 128))
    assert np.array_equal(valid(path), ~SHAPES["collar"])


# Things that are at an edge and are no fill.


def roof(value: int) -> NDArray[np.uint8]:
    """A saturated roof of 15 x 15 m at the left edge, and one in a corner."""
    pixels = photograph()
    pixels[:, 100:130, :30] = value
    pixels[:, :20, :20] = value
    return pixels


def snow() -> NDArray[np.uint8]:
    """Saturated in its middle, bright around."""
    pixels = photograph().astype(float)
    bright = 330 - np.hypot(ROWS - 60, COLUMNS - 40) / 1.5
    rng = np.random.default_rng(1)
    pixels = np.maximum(pixels * 0.3 + 150, bright + rng.normal(0, 2, pixels.shape))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def water(level: int) -> NDArray[np.uint8]:
    """Deep water over a third of the file: dark, with little noise."""
    pixels = photograph()
    lake = 110 + 20 * np.sin(ROWS / 30) > COLUMNS
    rng = np.random.default_rng(1)
    colour = level + np.array([0, 6, 9])[:, None, None] + rng.integers(0, 4, pixels.shape)
    return np.where(lake, colour, pixels).astype(np.uint8)


@pytest.mark.parametrize("packing", PACKING)
@pytest.mark.parametrize(
    "pixels",
    [roof(255), roof(250), roof(0), roof(1), snow(), water(2), water(12), photograph()],
    ids=[
        "white roof",
        "bright roof",
        "black roof",
        "shadow",
        "snow",
        "dark water",
        "water",
        "none",
    ],
)
def test_ground_at_the_edge_is_no_fill(
    tmp_path: Path, pixels: NDArray[np.uint8], packing: str
) -> None:
    path = write_tiff(tmp_path / "a.tif", pixels, **PACKING[packing])
    is_zero = packing == "lossless" and (pixels == 0).all(axis=0).sum() > 64
    assert (fill_found(path) > 0) == is_zero  # 30 x 30 pixels of exactly 0 in every band
    assert valid(path).mean() >= (0.98 if is_zero else 1)


def test_flat_synthetic_ground_is_no_fill(tmp_path: Path) -> None:
    pixels = np.full((3, SIDE, SIDE), 90, np.uint8)
    pixels[:, 50:90, 60:120] = 200
    assert valid(write_tiff(tmp_path / "a.tif", pixels)).all()


def test_fill_is_no_fill_inside(tmp_path: Path) -> None:
    """White in the middle is a roof, wherever it is as white as the collar."""
    pixels = painted(SHAPES["collar"], 255)
    pixels[:, 100:180, 100:180] = 255
    assert np.array_equal(valid(write_tiff(tmp_path / "a.tif", pixels)), ~SHAPES["collar"])


def test_a_black_hole_inside_is_no_data_from_32_pixels_on(tmp_path: Path) -> None:
    pixels = photograph()
    pixels[:, 100:140, 60:110] = 0
    pixels[:, 200:231, 60:110] = 0  # a shadow
    shown = np.ones((SIDE, SIDE), bool)
    shown[100:140, 60:110] = False
    assert np.array_equal(valid(write_tiff(tmp_path / "a.tif", pixels)), shown)


NAIP = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.skipif(not NAIP.is_dir(), reason="no ../shared/data with real NAIP tiles")
def test_no_fill_in_real_tiles() -> None:
    """916 NAIP tiles and two of a zone seam; with RGB alone whites and blacks are commoner."""
    paths = sorted([*NAIP.glob("real/naip*/*.tif"), *NAIP.glob("naip_train/naip/*.tif")])
    assert len(paths) >= 900
    found = []
    for path in paths:
        with rasterio.open(path) as dataset:
            found += [path.name for bands in ([1, 2, 3, 4], [1, 2, 3]) if find_fill(dataset, bands)]
    assert found == []


# Windows, mosaics and shares.


@pytest.fixture(scope="module")
def ragged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = painted(SHAPES["rotated"] | SHAPES["bite"], 255)
    pixels[:, 120:165, 100:150] = 0
    return write_tiff(tmp_path_factory.mktemp("a") / "a.tif", pixels, **PACKING["jpeg"])


@settings(max_examples=25, deadline=None)
@given(
    column=st.integers(-10, SIDE - 5), row=st.integers(-10, SIDE - 5),
    width=st.integers(1, 150), height=st.integers(1, 150),
)  # fmt: skip
def test_every_window_agrees_with_the_whole(
    ragged: Path, column: int, row: int, width: int, height: int
) -> None:
    whole = np.zeros((SIDE + 320, SIDE + 320), bool)
    whole[10 : SIDE + 10, 10 : SIDE + 10] = valid(ragged)
    part = whole[row + 10 : row + 10 + height, column + 10 : column + 10 + width]
    try:
        chip = GeoTiffMosaic(str(ragged)).read(pixel_grid(), window(column, row, width, height))
    except NoImagery:
        assert not part.any()
    else:
        assert np.array_equal(chip.valid, part)


@pytest.mark.parametrize("packing", PACKING)
@pytest.mark.parametrize("value", [255, 0])
def test_a_newer_tiles_fill_shows_the_older_tile(tmp_path: Path, value: int, packing: str) -> None:
    """At their seam too: no pixel is nearer to fill than to the ground of either."""
    ground = np.full((3, SIDE, SIDE), 120, np.uint8) + (photograph() // 16)
    fill = SHAPES["diagonal"]
    write_tiff(tmp_path / "a_2018.tif", ground)
    newer = ground.copy()
    newer[:, fill] = value
    write_tiff(tmp_path / "b_2020.tif", newer, **PACKING[packing])
    chip = GeoTiffMosaic(str(tmp_path / "*.tif")).read(pixel_grid(), window(0, 0, SIDE, SIDE))
    assert chip.valid.all()
    assert np.abs(chip.pixels.astype(int) - ground).max() <= 60
    deep = ndimage.distance_transform_edt(fill) > 3
    assert np.array_equal(chip.pixels[:, deep], ground[:, deep])


def test_fill_found_is_a_note(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", painted(SHAPES["half"], 255))
    write_tiff(tmp_path / "b.tif", photograph(), column=SIDE)
    *_, note = GeoTiffMosaic(str(tmp_path / "*.tif")).notes
    assert note.startswith("1 of 2 imagery files have undeclared fill at the edge, up to 4")
    assert not any("fill" in said for said in GeoTiffMosaic(str(tmp_path / "b.tif")).notes)


# What the file declares, and what the entry says.


def test_fill_in_a_file_that_declares_another_value(tmp_path: Path) -> None:
    pixels = painted(SHAPES["half"], 255)
    pixels[:, 150:160, 20:30] = 0
    path = write_tiff(tmp_path / "a.tif", pixels, nodata=0)
    shown = ~SHAPES["half"]
    shown[150:160, 20:30] = False
    assert np.array_equal(valid(path), shown)


@pytest.mark.parametrize("nodata", [-9999, 300])
def test_nodata_that_the_type_cannot_have(tmp_path: Path, nodata: float) -> None:
    vrt_like = write_tiff(tmp_path / "a.tif", photograph().astype("int16"), nodata=nodata)
    assert valid(vrt_like).all()


@pytest.mark.parametrize("opaque", ["alpha", "mask"])
def test_an_opaque_mask_over_fill(tmp_path: Path, opaque: str) -> None:
    pixels = painted(SHAPES["half"], 0)
    if opaque == "alpha":
        alpha = np.full((1, SIDE, SIDE), 255, np.uint8)
        pixels = np.concatenate([pixels, alpha])
        path = write_tiff(tmp_path / "a.tif", pixels, colours=RGBA)
    else:
        path = write_tiff(tmp_path / "a.tif", pixels, mask=np.ones((SIDE, SIDE), bool))
    assert np.array_equal(valid(path), ~SHAPES["half"])


def test_a_mask_that_hides_everything(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", photograph(), mask=np.zeros((SIDE, SIDE), bool))
    with pytest.raises(NoImagery, match=r"the mask of .*a\.tif hides every pixel.*nodata: none"):
        valid(path)
    assert valid(path, ()).all()


def test_none_overrules_everything(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", painted(SHAPES["half"], 0), nodata=0)
    assert valid(path, ()).all()


@pytest.mark.parametrize("packing", PACKING)
def test_an_entered_value_overrules_the_file(tmp_path: Path, packing: str) -> None:
    fill = SHAPES["diagonal"]
    pixels = painted(fill, 77)
    pixels[:, 20:30, 20:30] = 0
    path = write_tiff(tmp_path / "a.tif", pixels, nodata=0, **PACKING[packing])
    shown = valid(path, (77.0,))
    away = ndimage.distance_transform_edt(~fill)
    rim = 0 if packing == "lossless" else 3
    assert not shown[ndimage.distance_transform_edt(fill) > rim].any()
    # A lone pixel of the ground may have the value.
    assert shown[away > 24].mean() > 0.999


def test_an_entered_value_for_each_band(tmp_path: Path) -> None:
    pixels = photograph()
    pixels[:, SHAPES["corner"]] = np.array([10, 20, 30])[:, None]
    path = write_tiff(tmp_path / "a.tif", pixels)
    assert np.array_equal(valid(path, (10.0, 20.0, 30.0)), ~SHAPES["corner"])
    with pytest.raises(ImageryError, match=r"has 2 values, but .*a\.tif has 3 bands"):
        valid(path, (10.0, 20.0))


def test_a_survey_is_renewed_with_the_file(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", photograph())
    assert valid(path).all()
    write_tiff(path, painted(SHAPES["half"], 255))
    assert np.array_equal(valid(path), ~SHAPES["half"])


def test_fill_is_warped_away(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", painted(SHAPES["half"], 255), crs="EPSG:32615",
                      transform=rasterio.Affine(0.5, 0, 1_043_000, 0, -0.5, 3_897_000))  # fmt: skip
    imagery = GeoTiffMosaic(str(path))
    [file] = imagery._files
    grid = pixel_grid()
    seen = grid.window_from_bounds(grid.from_lonlat(file.footprint).bounds)
    chip = imagery.read(grid, PixelWindow(seen.column, seen.row, seen.width, seen.height))
    assert chip.crs.to_epsg() == int(CRS_NAME.removeprefix("EPSG:"))
    assert 0.4 < chip.valid.mean() < 0.6
    assert (chip.pixels.min(axis=0)[chip.valid] < 250).all()


@pytest.mark.parametrize(
    ("written", "values"),
    [
        (255, (255.0,)),
        ([255, 0, 255], (255.0, 0.0, 255.0)),
        ("none", ()),
        (None, None),
        (-9999.5, (-9999.5,)),
    ],
)
def test_nodata_of_an_entry(written: object, values: tuple[float, ...] | None) -> None:
    entry = ImageryEntry.model_validate({"path": "/data/a.tif", "nodata": written})
    assert entry.nodata == values
    again = ImageryEntry.model_validate(entry.model_dump(mode="json", exclude_none=True))
    assert again == entry


def test_nodata_that_is_not_a_number() -> None:
    entry = ImageryEntry.model_validate({"path": "/data/a.tif", "nodata": "nan"})
    assert entry.nodata is not None
    assert np.isnan(entry.nodata).all()
    assert entry.model_dump(mode="json")["nodata"] == ["nan"]


@pytest.mark.parametrize("written", ["white", [], [0, "x"], True])
def test_nodata_that_is_no_pixel_value(written: object) -> None:
    with pytest.raises(ValidationError, match="write a number"):
        ImageryEntry.model_validate({"path": "/data/a.tif", "nodata": written})


# What it does to a lot's area.


def lot_of_60_m(folder: Path) -> LotResult:
    """Lawn everywhere on a lot of 120 x 120 pixels."""
    lot = boundary(box(LEFT + 40, TOP - 100, LEFT + 100, TOP - 40))
    imagery = GeoTiffMosaic(str(folder / "*.tif"))
    [result] = Detector(ThresholdSegmenter(50)).detect([lot], imagery, [LABELS["lawn"]])
    return result


@pytest.mark.parametrize("packing", PACKING)
@pytest.mark.parametrize("value", [255, 0])
def test_fill_neither_hides_a_lawn_nor_is_one(tmp_path: Path, value: int, packing: str) -> None:
    lawn = np.full((3, SIDE, SIDE), 120, np.uint8) + photograph() // 16
    newer = lawn.copy()
    newer[:, COLUMNS >= 140] = value
    write_tiff(tmp_path / "a_2020.tif", newer, **PACKING[packing])
    alone = lot_of_60_m(tmp_path)
    # The fill begins in the middle of the lot; in JPEG 2 mixed columns of pixels go with it.
    assert alone.coverage_fraction == pytest.approx(0.5, abs=2 / 120 + 0.001)
    assert sum(found.area_m2 for found in alone.detections) == pytest.approx(1800, rel=0.04)

    write_tiff(tmp_path / "b_2018.tif", lawn)
    both = lot_of_60_m(tmp_path)
    assert both.coverage_fraction == 1
    assert sum(found.area_m2 for found in both.detections) == pytest.approx(3600, rel=0.002)
