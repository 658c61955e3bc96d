"""A file's metadata: band names, alpha that is not a mask, and dates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasters import noise, write_tiff

from detection.dates import date_span
from detection.errors import ImageryError
from detection.imagery.bands import band_names, capture_date, data_indexes

RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


def names(path: Path, declared: tuple[str, ...] | None = None) -> tuple[str, ...]:
    with rasterio.open(path) as dataset:
        return band_names(dataset, data_indexes(dataset, declared), declared)


def alpha_band(open_share: float) -> np.ndarray:
    pixels = noise(4, 40, 40)
    pixels[3] = 0
    pixels[3, : int(40 * open_share)] = 255
    return pixels


@pytest.mark.parametrize(
    ("count", "colours", "expected"),
    [
        (3, RGB, ("red", "green", "blue")),
        (4, (*RGB, ColorInterp.undefined), ("red", "green", "blue", "nir")),
        (4, (*RGB, ColorInterp.alpha), ("red", "green", "blue", "nir")),
        (4, None, ("red", "green", "blue", "nir")),
        (1, None, ("band1",)),
        (2, None, ("band1", "band2")),
        (5, (*RGB, ColorInterp.undefined, ColorInterp.undefined),
         ("red", "green", "blue", "band4", "band5")),
        (4, (*RGB[::-1], ColorInterp.undefined), ("blue", "green", "red", "band4")),
    ],
)  # fmt: skip
def test_bands_are_named_by_colour_tag_and_convention(
    tmp_path: Path, count: int, colours: tuple[ColorInterp, ...] | None, expected: tuple[str, ...]
) -> None:
    path = write_tiff(tmp_path / "a.tif", noise(count, 40, 40), colours=colours)
    assert names(path) == expected


def test_descriptions_name_bands_in_any_order(tmp_path: Path) -> None:
    path = write_tiff(
        tmp_path / "a.tif", noise(4, 8, 8), descriptions=["NIR", "Red", "green ", "Blue"]
    )
    assert names(path) == ("nir", "red", "green", "blue")


def test_a_name_that_two_bands_claim_is_not_used(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", noise(2, 8, 8), descriptions=["red", "red"])
    assert names(path) == ("band1", "band2")


@pytest.mark.parametrize("open_share", [1.0, 0.5, 0.0])
def test_alpha_that_is_a_mask_is_not_a_data_band(tmp_path: Path, open_share: float) -> None:
    path = write_tiff(tmp_path / "a.tif", alpha_band(open_share), colours=(*RGB, ColorInterp.alpha))
    assert names(path) == ("red", "green", "blue")


def test_declared_names_decide_what_alpha_is(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", alpha_band(0.5), colours=(*RGB, ColorInterp.alpha))
    assert names(path, ("red", "green", "blue", "nir")) == ("red", "green", "blue", "nir")
    picture = write_tiff(tmp_path / "b.tif", noise(4, 40, 40), colours=(*RGB, ColorInterp.alpha))
    with rasterio.open(picture) as dataset:
        assert data_indexes(dataset, ("red", "green", "blue")) == [1, 2, 3]


def test_declared_names_must_fit(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", noise(3, 8, 8))
    assert names(path, ("nir", "red")) == ("nir", "red")
    with pytest.raises(ImageryError, match=r"a\.tif has 3 bands.*List the file"):
        names(path, ("red", "green", "blue", "nir"))
    with pytest.raises(ImageryError, match="each once"):
        names(path, ("red", "red"))


@pytest.mark.parametrize(
    ("name", "tag", "expected"),
    [
        ("m_3607824_se_17_1_20160620_subset", None, "2016-06-20"),
        ("m_3511724_ne_16_060_20210731_20211010", None, "2021-07-31"),
        ("claremont_2020_63", None, "2020"),
        ("claremont_2020_63", "2021:02:03 04:05:06", "2020"),
        ("tile", "2021:02:03 04:05:06", "2021-02-03"),
        ("tile", "0000:00:00 00:00:00", None),
        ("tile_2099", None, None),
        ("tile_20201399", None, None),
        ("tile_99991231", None, None),
        ("tile_12020", None, None),
        ("tile_1950_2010", None, None),
        ("tile_1950_2010", "2021:02:03 04:05:06", "2021-02-03"),
        ("tile_2010_0015", None, None),
        ("tile", None, None),
    ],
)
def test_dates_from_the_name_then_from_the_tag(
    tmp_path: Path, name: str, tag: str | None, expected: str | None
) -> None:
    tags = {"TIFFTAG_DATETIME": tag} if tag else None
    path = write_tiff(tmp_path / f"{name}.tif", noise(1, 4, 4), tags=tags)
    with rasterio.open(path) as dataset:
        assert capture_date(dataset) == expected


def test_a_date_for_several_files() -> None:
    assert date_span(["2020", None, "2020"]) == "2020"
    assert date_span(["2020-05-02", "2018", None]) == "2018/2020-05-02"
    assert date_span([None]) is None
