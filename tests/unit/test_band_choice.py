"""Which band is what: decided for a whole mosaic, from marks and pixels; `bands:` overrules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from landscapes import landscape, with_lawn
from rasterio.enums import ColorInterp
from rasters import LEFT, TOP, boundary, write_tiff
from shapely import box

from detection import LABELS, Detector
from detection.errors import ImageryError
from detection.imagery import GeoTiffMosaic
from detection.required_bands import band_notes
from detection.segmenters.spectral import Spectral

RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
RGBN = ("red", "green", "blue", "nir")
UNMARKED = (*RGB, ColorInterp.undefined)
ALPHA = (*RGB, ColorInterp.alpha)


def opened(folder: Path, bands: tuple[str, ...] | None = None) -> GeoTiffMosaic:
    return GeoTiffMosaic(str(folder / "*.tif"), bands)


def with_fourth(kind: str) -> Any:
    """A landscape whose fourth band is no near infrared."""
    pixels = landscape()
    red, green, blue, _ = pixels.astype(float)
    rows, columns = np.mgrid[0:256, 0:256]
    noise = np.random.default_rng(1).normal(0, 1, (256, 256))
    fourth = {
        "all 255": np.full((256, 256), 255.0),
        "all 0": np.zeros((256, 256)),
        "all 127": np.full((256, 256), 127.0),
        "nearly constant": 200 + noise.clip(-1, 1),
        "mask": np.where(columns > 100, 255.0, 0.0),
        "mask through JPEG": np.where(columns > 100, 252.0, 1.0) + noise.clip(-1, 1),
        "two classes": np.where(red > green, 80.0, 120.0),
        "copy of red": red,
        "copy of green with noise": green + noise,
        "luminance": 0.3 * red + 0.59 * green + 0.11 * blue,
        "height": 100 + 60 * np.sin(rows / 40) + 40 * np.cos(columns / 30) + noise,
        "feathered mask": (columns * 1.2).clip(0, 255),
    }[kind]
    pixels[3] = fourth.round().clip(0, 255)
    return pixels


KINDS = [
    "all 255", "all 0", "all 127", "nearly constant", "mask", "mask through JPEG", "two classes",
    "copy of red", "copy of green with noise", "luminance", "height", "feathered mask",
]  # fmt: skip


@pytest.mark.parametrize("colours", [None, UNMARKED, ALPHA])
def test_near_infrared_is_recognised(tmp_path: Path, colours: Any) -> None:
    write_tiff(tmp_path / "a.tif", landscape(), colours=colours)
    assert opened(tmp_path).bands == RGBN


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("colours", [None, UNMARKED, ALPHA])
def test_what_is_no_near_infrared_is_refused_with_a_note(
    tmp_path: Path, kind: str, colours: Any
) -> None:
    write_tiff(tmp_path / "a.tif", with_fourth(kind), colours=colours)
    imagery = opened(tmp_path)
    assert imagery.bands == RGBN[:3]
    [note] = [note for note in imagery.notes if "near infrared" in note]
    assert note.startswith("Band 4 is not taken for near infrared: it ")
    overruled = opened(tmp_path, RGBN)
    assert overruled.bands == RGBN
    [said] = overruled.notes
    assert said.startswith("The bands are red, green, blue, nir, as declared by `bands:`")


def test_described_near_infrared_that_is_constant_is_refused(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", with_fourth("all 255"), descriptions=RGBN)
    assert opened(tmp_path).bands == RGBN[:3]


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize(("fourth", "expected"), [(None, 4), (65535, 3), (1, 3), (0, 3)])
def test_other_data_types(tmp_path: Path, dtype: str, fourth: int | None, expected: int) -> None:
    pixels = landscape().astype(dtype) * 16
    if fourth is not None:
        pixels[3] = fourth
    write_tiff(tmp_path / "a.tif", pixels)
    assert opened(tmp_path).bands == RGBN[:expected]


@pytest.mark.parametrize("middle", ["water", "unflown"])
def test_near_infrared_marked_alpha_stays_where_the_middle_is_empty(
    tmp_path: Path, middle: str
) -> None:
    pixels = landscape(600, 600, water=0.6)
    if middle == "unflown":
        pixels[:, :, 120:480] = 0
    write_tiff(tmp_path / "a.tif", pixels, colours=ALPHA)
    imagery = opened(tmp_path)
    assert imagery.bands == RGBN
    assert any("marked as alpha, but" in note for note in imagery.notes)


def test_a_tile_of_water_gets_the_bands_of_its_mosaic(tmp_path: Path) -> None:
    for column in range(3):
        land = column == 2
        pixels = landscape(seed=column, water=0.0 if land else 1.0)
        write_tiff(tmp_path / f"{column}.tif", pixels, column=256 * column, colours=ALPHA)
    imagery = opened(tmp_path)
    assert imagery.bands == RGBN
    grid = imagery._files[0].grid
    window = imagery._files[0].window
    assert window is not None
    assert imagery.read(grid, window).valid.all()


def test_files_that_disagree_are_decided_together(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", landscape(), colours=UNMARKED)
    write_tiff(tmp_path / "b.tif", with_fourth("all 255"), column=256, colours=ALPHA)
    imagery = opened(tmp_path)
    assert imagery.bands == RGBN[:3]
    assert any("varies in some files" in note and "b.tif" in note for note in imagery.notes)


def test_described_files_in_two_orders_are_read_in_one(tmp_path: Path) -> None:
    pixels = landscape()
    write_tiff(tmp_path / "a.tif", pixels, descriptions=RGBN)
    write_tiff(
        tmp_path / "b.tif", pixels[[2, 1, 0, 3]], column=256,
        descriptions=["blue", "green", "red", "nir"],
    )  # fmt: skip
    imagery = opened(tmp_path)
    assert imagery.bands == RGBN
    for file in imagery._files:
        assert file.window is not None
        assert np.array_equal(imagery.read(file.grid, file.window).pixels, pixels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(
    ("order", "likely"),
    [
        ((2, 1, 0, 3), "blue, green, red, nir"),
        ((3, 0, 1, 2), "nir, red, green, blue"),
        ((3, 0, 1), "nir, red, green"),
    ],
)
def test_another_order_is_refused_with_the_remedy(
    tmp_path: Path, dtype: str, order: tuple[int, ...], likely: str
) -> None:
    pixels = landscape()[list(order)].astype(dtype)
    if dtype == "uint16":
        pixels *= 12
    write_tiff(tmp_path / "a.tif", pixels)
    with pytest.raises(ImageryError, match="look like " + likely) as caught:
        opened(tmp_path)
    assert f"bands: [{likely}]" in str(caught.value)
    declared = tuple(likely.split(", "))
    assert opened(tmp_path, declared).bands == declared
    assert opened(tmp_path, RGBN[: len(order)]).bands == RGBN[: len(order)]


def test_described_order_is_believed(tmp_path: Path) -> None:
    names = ("blue", "green", "red", "nir")
    write_tiff(tmp_path / "a.tif", landscape()[[2, 1, 0, 3]], descriptions=names)
    assert opened(tmp_path).bands == names


def test_gray_in_three_bands_is_gray(tmp_path: Path) -> None:
    pixels = np.repeat(landscape()[:1], 3, axis=0)
    write_tiff(tmp_path / "a.tif", pixels, colours=RGB)
    imagery = opened(tmp_path)
    assert imagery.bands == ("gray",)
    assert any("gray" in note for note in imagery.notes)


def test_unnamed_bands_say_what_to_type(tmp_path: Path) -> None:
    pixels = np.concatenate([landscape(), landscape(seed=1)[:1]])
    write_tiff(tmp_path / "a.tif", pixels)
    [note] = opened(tmp_path).notes
    assert "band1, band2, band3, band4, band5" in note
    assert "bands:" in note


def test_a_mosaic_is_judged_by_a_bounded_number_of_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from detection.imagery import band_samples

    for column in range(6):
        pixels = landscape(512, 512, seed=column)
        write_tiff(
            tmp_path / f"{column}.tif", pixels, column=512 * column, tiled=True,
            blockxsize=64, blockysize=64,
        )  # fmt: skip
    monkeypatch.setattr(band_samples, "MAX_FILES", 3)
    reads: list[int] = []
    real_read = band_samples._sample

    def counted(path: str, dataset: Any, indexes: list[int], window: Any, shape: Any) -> Any:
        reads.append(window.width * window.height)
        return real_read(path, dataset, indexes, window, shape)

    monkeypatch.setattr(band_samples, "_sample", counted)
    assert opened(tmp_path).bands == RGBN
    assert len(reads) == 3 * 16
    assert sum(reads) == 3 * 16 * 64 * 64


def test_damaged_samples_do_not_stop_the_others(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", landscape(), blockysize=8, compress="deflate")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert opened(tmp_path).bands == RGBN
    with rasterio.open(path) as dataset:
        assert dataset.count == 4


@pytest.mark.parametrize("fourth", ["all 255", "all 0", "mask", "copy of red"])
def test_a_false_near_infrared_measures_no_false_lawn(tmp_path: Path, fourth: str) -> None:
    """Near infrared that is none is not used; a note says that areas are not usable."""
    imagery_pixels = with_fourth(fourth)
    write_tiff(tmp_path / "a.tif", imagery_pixels)
    imagery = opened(tmp_path)
    assert "nir" not in imagery.bands
    assert band_notes("spectral-2", imagery)


def test_planets_order_is_measured_as_declared(tmp_path: Path) -> None:
    """A lawn of 1,600 m² (80 x 80 pixels of 0.5 m) in the order blue, green, red, nir."""
    pixels = with_lawn(landscape(seed=3), 80)
    lot = boundary(box(LEFT + 20, TOP - 108, LEFT + 108, TOP - 20))
    areas = []
    for name, order in (("rgbn", (0, 1, 2, 3)), ("bgrn", (2, 1, 0, 3))):
        folder = tmp_path / name
        folder.mkdir()
        write_tiff(folder / "a.tif", pixels[list(order)])
        bands = tuple(RGBN[index] for index in order)
        imagery = GeoTiffMosaic(str(folder / "*.tif"), bands)
        [result] = Detector(Spectral("cpu")).detect([lot], imagery, [LABELS["vegetation"]])
        areas.append(sum(d.area_m2 for d in result.detections))
    assert areas[0] == pytest.approx(1_600, rel=0.05)
    assert areas[1] == pytest.approx(areas[0], rel=1e-6)
