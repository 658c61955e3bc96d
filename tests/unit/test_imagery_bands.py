"""Names of bands from a file's marks, and dates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasters import noise, write_tiff

from detection.dates import date_span
from detection.errors import ImageryError
from detection.imagery import GeoTiffMosaic
from detection.imagery.bands import capture_date

RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


def names(path: Path, declared: tuple[str, ...] | None = None) -> tuple[str, ...]:
    return GeoTiffMosaic(str(path), declared).bands


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
        (1, None, ("gray",)),
        (2, None, ("band1", "band2")),
        (5, None, ("band1", "band2", "band3", "band4", "band5")),
        (5, (*RGB, ColorInterp.undefined, ColorInterp.undefined),
         ("red", "green", "blue", "band4", "band5")),
        (4, (*RGB[::-1], ColorInterp.undefined), ("blue", "green", "red", "nir")),
        (5, (*RGB, ColorInterp.undefined, ColorInterp.alpha), ("red", "green", "blue", "nir")),
        (4, (ColorInterp.nir, *RGB), ("nir", "red", "green", "blue")),
        (2, (ColorInterp.gray, ColorInterp.alpha), ("gray",)),
    ],
)  # fmt: skip
def test_bands_are_named_by_colour_tag_and_convention(
    tmp_path: Path, count: int, colours: tuple[ColorInterp, ...] | None, expected: tuple[str, ...]
) -> None:
    path = write_tiff(tmp_path / "a.tif", noise(count, 40, 40), colours=colours)
    assert names(path) == expected


@pytest.mark.parametrize(
    ("descriptions", "expected"),
    [
        ("NIR|Red|green |Blue", "nir red green blue"),
        ("B04|B03|B02|B08", "red green blue nir"),
        ("S2 B02 (10 m)|T33_B03_10m|B04|B08", "blue green red nir"),
        ("Band 1 (Red)|Band 2 (Green)|Band 3 (Blue)|Band 4 (NIR)", "red green blue nir"),
        ("near_infrared|RED|Green|b", "nir red green blue"),
        ("blue|green|red|NearInfraRed", "blue green red nir"),
        ("B0|B1|B2|B3", "blue green red nir"),
        ("Rot|Grün|Blau|Infrarot", "red green blue nir"),
        ("475 nm|560nm|668 nm|842 nm", "blue green red nir"),
        ("Coastal|Blue|Green|Yellow|Red|RedEdge|NIR1|NIR2",
         "coastal blue green yellow red rededge nir band8"),
        ("coastal_blue|blue|green_i|green|yellow|red|rededge|nir",
         "coastal blue band3 green yellow red rededge nir"),
        ("Blue|Green|Red|Red edge|NIR", "blue green red rededge nir"),
        ("Band 1|Band 2|Band 3|Band 4", "red green blue nir"),
        # Red is B4 on Landsat 8, and B3 before.
        ("SR_B2|SR_B3|SR_B4|SR_B5", "band1 band2 band3 band4"),
        ("Red|Green|Blue|NIR mask", "red green blue band4"),
        ("Red|Green|Blue|height", "red green blue band4"),
        ("red|red|green", "band1 band2 green"),
    ],
)  # fmt: skip
def test_descriptions_name_bands_in_any_spelling_and_order(
    tmp_path: Path, descriptions: str, expected: str
) -> None:
    texts = descriptions.split("|")
    path = write_tiff(tmp_path / "a.tif", noise(len(texts), 8, 8), descriptions=texts)
    assert " ".join(names(path)) == expected


def test_the_wavelength_in_the_metadata_names_a_band(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", noise(4, 8, 8))
    with rasterio.open(path, "r+") as dataset:
        for index, micrometres in enumerate((0.48, 0.55, 0.66, 0.83), start=1):
            dataset.update_tags(index, ns="IMAGERY", CENTRAL_WAVELENGTH_UM=str(micrometres))
    assert names(path) == ("blue", "green", "red", "nir")


@pytest.mark.parametrize("open_share", [1.0, 0.5, 0.0])
def test_alpha_that_is_a_mask_is_not_a_data_band(tmp_path: Path, open_share: float) -> None:
    path = write_tiff(tmp_path / "a.tif", alpha_band(open_share), colours=(*RGB, ColorInterp.alpha))
    assert names(path) == ("red", "green", "blue")


def test_declared_names_decide_what_alpha_is(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", alpha_band(0.5), colours=(*RGB, ColorInterp.alpha))
    assert names(path, ("red", "green", "blue", "nir")) == ("red", "green", "blue", "nir")
    picture = write_tiff(tmp_path / "b.tif", noise(4, 40, 40), colours=(*RGB, ColorInterp.alpha))
    assert names(picture, ("red", "green", "blue")) == ("red", "green", "blue")


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
