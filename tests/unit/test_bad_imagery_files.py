"""One bad imagery file in a folder is named and left out; loops of links end."""

from __future__ import annotations

import glob
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from pictures import at, only
from rasters import CRS_NAME, LEFT, TOP, ThresholdSegmenter, boundary, noise, write_tiff

from detection import LABELS, Detector
from detection.errors import ImageryError
from detection.imagery import GeoTiffMosaic
from detection.imagery.file_list import imagery_files
from detection.imagery.path_pattern import matching_paths

PIXELS = noise(3, 120, 120)


def placed(*values: float, crs: str = CRS_NAME) -> Callable[[Path], Any]:
    return lambda path: write_tiff(path, PIXELS, transform=Affine(*values), crs=crs)


def of_type(dtype: str) -> Callable[[Path], Any]:
    return lambda path: write_tiff(path, PIXELS.astype(dtype))


def declared(path: Path) -> None:
    """A thousand million pixels a side, in a file of a few bytes."""
    side, block = 1_000_000_000, 65_536
    transform = Affine(0.5, 0, LEFT, 0, -0.5, TOP)
    with rasterio.open(
        path, "w", driver="GTiff", width=side, height=side, count=3, dtype="uint8", crs=CRS_NAME,
        transform=transform, SPARSE_OK=True, tiled=True, blockxsize=block, blockysize=block,
        BIGTIFF="YES",
    ):  # fmt: skip
        pass


def cut_off(path: Path) -> None:
    path.write_bytes(write_tiff(path, PIXELS).read_bytes()[:200])


def without_bands(path: Path) -> None:
    path.write_text(
        '<VRTDataset rasterXSize="9" rasterYSize="9"><SRS>EPSG:32616</SRS>'
        "<GeoTransform>500000,0.5,0,3880000,0,-0.5</GeoTransform></VRTDataset>"
    )


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "zero": (placed(0, 0, LEFT, 0, 0, TOP), "no area"),
    "no height": (placed(0.5, 0, LEFT, 0, 0, TOP), "no area"),
    "nan": (placed(math.nan, 0, LEFT, 0, -0.5, TOP), "no number"),
    "infinite": (placed(math.inf, 0, LEFT, 0, -0.5, TOP), "no number"),
    "nan origin": (placed(0.5, 0, math.nan, 0, -0.5, TOP), "no number"),
    "tiny": (placed(1e-12, 0, LEFT, 0, -1e-12, TOP), "1e-12 m long"),
    "micrometres": (placed(1e-6, 0, LEFT, 0, -1e-6, TOP), "1e-06 m long"),
    "denormal": (placed(5e-324, 0, LEFT, 0, -5e-324, TOP), "no area"),
    "vast": (placed(1e12, 0, LEFT, 0, -1e12, TOP), "1e\\+12 m long"),
    "overflow": (placed(1e308, 0, LEFT, 0, -1e308, TOP), "no area"),
    "singular": (placed(0.5, 0.5, LEFT, 0.5, 0.5, TOP), "no area"),
    "far": (placed(0.5, 0, 1e300, 0, -0.5, TOP), "beyond the Earth"),
    "world": (placed(1, 0, -180, 0, -1, 90, crs="EPSG:4326"), "1.11e\\+05 m long"),
    "world in metres": (placed(3e5, 0, -2e7, 0, -3e5, 2e7, crs="EPSG:3857"), "3e\\+05 m long"),
    "metres as degrees": (placed(0.5, 0, LEFT, 0, -0.5, TOP, crs="EPSG:4326"), "m long"),
    "declared size": (declared, "1,000,000,000 x 1,000,000,000 pixels"),
    "complex": (of_type("complex64"), "complex numbers"),
    "no bands": (without_bands, "bands"),
    "cut off": (cut_off, "."),
    "empty": (lambda path: path.write_bytes(b""), "it is empty"),
    "pipe": (os.mkfifo, "not a regular file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    "broken link": (lambda path: path.symlink_to("nowhere"), "No such file"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named_and_left_out(tmp_path: Path, name: str) -> None:
    make, reason = BAD[name]
    write_tiff(tmp_path / "good.tif", PIXELS)
    make(tmp_path / "bad.tif")
    imagery = GeoTiffMosaic(str(tmp_path / "*.tif"))
    [note] = [note for note in imagery.notes if "left out" in note]
    assert note.startswith("1 of 2 imagery files cannot be read and are left out: ")
    assert str(tmp_path / "bad.tif") in note
    with pytest.raises(ImageryError, match=reason):
        GeoTiffMosaic(str(tmp_path / "bad.tif"))
    lot = boundary(at(20, 20, 60, 60))
    found = only(Detector(ThresholdSegmenter()).detect([lot], imagery, [LABELS["lawn"]]))
    assert (found.status, found.coverage_fraction) == ("detected", 1)


@pytest.mark.parametrize("values", [
    (-0.5, 0, LEFT + 60, 0, 0.5, TOP - 60), (0.4, 0.3, LEFT, 0.3, -0.4, TOP),
    (0.5, 0.2, LEFT, 0, -0.5, TOP), (0.5, 0, LEFT, 0, 0.5, TOP - 60),
])  # fmt: skip
def test_turned_and_sheared_files_are_warped(tmp_path: Path, values: tuple[float, ...]) -> None:
    imagery = GeoTiffMosaic(str(placed(*values)(tmp_path / "a.tif")))
    outline = imagery._files[0].footprint.centroid.buffer(1e-5)
    grid = imagery.grid_for(outline)
    part = grid.window_from_bounds(grid.from_lonlat(outline).bounds)
    assert imagery.read(grid, part).valid.all()


def test_coordinates_of_another_crs_are_refused_before_the_batch(tmp_path: Path) -> None:
    path = placed(1e-5, 0, 500, 0, -1e-5, 3880, crs="EPSG:4326")(tmp_path / "a.tif")
    with pytest.raises(ImageryError, match=r"a\.tif: its CRS cannot be transformed"):
        GeoTiffMosaic(str(path))


def test_a_message_does_not_list_300_bands(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", PIXELS)
    write_tiff(tmp_path / "b.tif", np.tile(PIXELS[:, :32, :32], (100, 1, 1)))
    with pytest.raises(ImageryError, match="has 300 bands"):
        GeoTiffMosaic(str(tmp_path / "*.tif"))


def test_a_bad_file_of_a_vrt_is_named(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", PIXELS[:1])
    cut_off(tmp_path / "part.tif")
    (tmp_path / "index.vrt").write_text(
        '<VRTDataset rasterXSize="120" rasterYSize="120"><SRS>EPSG:32616</SRS>'
        "<GeoTransform>500000,0.5,0,3880000,0,-0.5</GeoTransform>"
        '<VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        '<SourceFilename relativeToVRT="1">part.tif</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(ImageryError, match=r"its file part\.tif: "):
        GeoTiffMosaic(str(tmp_path / "index.vrt"))


# Links, patterns and names.


def test_loops_of_links_end_and_each_file_counts_once(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    real = write_tiff(deep / "t.tif", PIXELS)
    (deep / "up").symlink_to(tmp_path)
    (deep / "here").symlink_to(".")
    (tmp_path / "also").symlink_to(deep)
    (tmp_path / "a" / "link.tif").symlink_to(real)
    for pattern in ("**/*.tif", "**/**/*.tif", "**", "a/**/*.tif"):
        assert imagery_files(f"{tmp_path}/{pattern}") == [str(real)]
    assert imagery_files(str(tmp_path)) == [str(real)]
    # A folder that is itself a link was named by a person.
    assert imagery_files(f"{tmp_path}/also/*.tif") == [f"{tmp_path}/also/t.tif"]


@pytest.mark.parametrize("pattern", [
    "**/*.tif", "*.tif", "b/**/*.tif", "**/d/*", "*/*.tif", "[ab]*", "**/*.[tT][iI][fF]", "no/*",
    "b/d/../d/*.tif", ".*", "b/*/", "a**.tif", "b/**/d/**/*.tif", "**/.h*",
])  # fmt: skip
def test_a_pattern_means_what_glob_says(tmp_path: Path, pattern: str) -> None:
    for name in ("a.tif", "b/c.tif", "b/d/e.tif", "b/.hid/x.tif", ".h.tif", "b/d/f[1].tif",
                 "x y/z.TIF"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    whole = f"{tmp_path}/{pattern}"
    expected = {os.path.normpath(path) for path in glob.glob(whole, recursive=True)}  # noqa: PTH207
    assert {os.path.normpath(path) for path in matching_paths(whole)} == expected


def test_a_path_with_a_nul_byte_is_refused() -> None:
    with pytest.raises(ImageryError, match="NUL byte"):
        imagery_files("/data/a\0.tif")


def test_a_name_with_a_line_break_is_one_line_in_a_message(tmp_path: Path) -> None:
    write_tiff(tmp_path / "good.tif", PIXELS)
    (tmp_path / "b\nERROR: forged.tif").write_bytes(b"")
    notes = GeoTiffMosaic(str(tmp_path)).notes
    assert all(note.isprintable() for note in notes)
