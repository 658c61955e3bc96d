"""What `path:` may be: GeoTIFF, JPEG 2000, .img, VRT, a glob, a folder; and what it may not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.shutil import copy as raster_copy
from rasters import LEFT, TOP, boundary, noise, pixel_grid, write_tiff
from servers.scripted import Reply, ScriptedServer, scripted

from detection.errors import ImageryError
from detection.imagery import GeoTiffMosaic, open_imagery
from detection.imagery.pixel_grid import PixelWindow
from detection.registry.imagery_entry import ImageryEntry


@pytest.fixture
def bait() -> Iterator[ScriptedServer]:
    """What refused files refer to; it must get no request."""
    with scripted(lambda _: Reply(b"")) as server:
        yield server


def here(width: int = 40, height: int = 40) -> PixelWindow:
    corner = pixel_grid().window_from_bounds((LEFT, TOP - 1, LEFT + 1, TOP))
    return PixelWindow(corner.column, corner.row, width, height)


def refused(path: Path) -> str:
    with pytest.raises(ImageryError) as caught:
        open_imagery(ImageryEntry(path=str(path)))
    return str(caught.value)


def source(name: str, relative: int = 1, band: int = 1, kind: str = "SimpleSource") -> str:
    return (
        f'<{kind}><SourceFilename relativeToVRT="{relative}">{name}</SourceFilename>'
        f"<SourceBand>{band}</SourceBand><SrcRect xOff='0' yOff='0' xSize='40' ySize='40'/>"
        f"<DstRect xOff='0' yOff='0' xSize='40' ySize='40'/></{kind}>"
    )


def vrt(path: Path, content: str, attributes: str = "", more: str = "") -> Path:
    path.write_text(
        f'<VRTDataset rasterXSize="40" rasterYSize="40" {attributes}><SRS>EPSG:32616</SRS>'
        f"<GeoTransform>{LEFT},0.5,0,{TOP},0,-0.5</GeoTransform>{more}"
        f'<VRTRasterBand dataType="Byte" band="1">{content}</VRTRasterBand></VRTDataset>'
    )
    return path


@pytest.mark.parametrize(
    ("name", "driver"), [("a.jp2", "JP2OpenJPEG"), ("a.img", "HFA"), ("a.vrt", "VRT")]
)
def test_a_format_has_the_pixels_of_the_geotiff(tmp_path: Path, name: str, driver: str) -> None:
    pixels = noise(3, 40, 40)
    tiff = write_tiff(tmp_path / "a_2020.tif", pixels)
    lossless = {"QUALITY": "100", "REVERSIBLE": "YES"} if name == "a.jp2" else {}
    raster_copy(tiff, tmp_path / name, driver=driver, **lossless)
    chip = GeoTiffMosaic(str(tmp_path / name)).read(pixel_grid(), here())
    assert np.array_equal(chip.pixels, pixels)
    assert chip.valid.all()


def test_a_large_img_with_its_pixels_beside_it(tmp_path: Path) -> None:
    pixels = noise(3, 40, 40)
    tiff = write_tiff(tmp_path / "a.tif", pixels)
    raster_copy(tiff, tmp_path / "b.img", driver="HFA", USE_SPILL="YES")
    assert (tmp_path / "b.ige").exists()
    chip = GeoTiffMosaic(str(tmp_path / "b.img")).read(pixel_grid(), here())
    assert np.array_equal(chip.pixels, pixels)


class TestFolder:
    def test_its_files_are_one_mosaic(self, tmp_path: Path) -> None:
        whole = noise(3, 40, 80)
        (tmp_path / "tiles" / "east").mkdir(parents=True)
        (tmp_path / "tiles" / ".old").mkdir()
        write_tiff(tmp_path / "tiles" / "a.TIF", whole[:, :, :40])
        write_tiff(tmp_path / "tiles" / "east" / "b.tiff", whole[:, :, 40:], column=40)
        write_tiff(tmp_path / "tiles" / ".old" / "c.tif", noise(1, 9, 9))
        (tmp_path / "tiles" / "readme.txt").write_text("imagery")
        chip = GeoTiffMosaic(str(tmp_path / "tiles")).read(pixel_grid(), here(80))
        assert np.array_equal(chip.pixels, whole)
        assert len(chip.sources) == 2

    @pytest.mark.parametrize(
        ("name", "advice"),
        [
            (None, r"looked for \.tif.*Correct the county's"),
            ("a.sid", "MrSID is not read"),
            ("a.zip", "unzip a.zip"),
            ("a.vrt", r"path: .*a\.vrt"),
        ],
    )
    def test_without_imagery(self, tmp_path: Path, name: str | None, advice: str) -> None:
        if name:
            (tmp_path / name).write_bytes(b"x")
        with pytest.raises(ImageryError, match=rf"no imagery file in the folder .*{advice}"):
            GeoTiffMosaic(str(tmp_path))

    def test_a_glob_that_matches_only_folders(self, tmp_path: Path) -> None:
        (tmp_path / "2020").mkdir()
        with pytest.raises(ImageryError, match=r"only folders such as .*2020\. To read"):
            GeoTiffMosaic(str(tmp_path / "20*"))


class TestVrt:
    def test_of_files_below_its_folder(self, tmp_path: Path) -> None:
        (tmp_path / "tiles").mkdir()
        pixels = noise(1, 40, 40)
        write_tiff(tmp_path / "tiles" / "a.tif", pixels)
        vrt(tmp_path / "inner.vrt", source("tiles/a.tif"))
        outer = vrt(tmp_path / "b.vrt", source(str(tmp_path / "inner.vrt"), relative=0))
        chip = GeoTiffMosaic(str(outer)).read(pixel_grid(), here())
        assert np.array_equal(chip.pixels, pixels)

    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("../a.tif", "outside of its folder"),
            ("tiles/../../a.tif", "outside of its folder"),
            ("/etc/passwd", "outside of its folder"),
            ("/vsicurl/{url}/a.tif", "outside of its folder"),
            ("/vsizip/vsicurl/{url}/a.zip/a.tif", "outside of its folder"),
            ("{url}/a.tif", "not a file in its folder|does not exist|outside"),
            ("missing.tif", "does not exist"),
            ("self.vrt", "in a circle"),
            ("wms.tif", "write the service itself"),
            ("text.tif", "not a TIFF"),
        ],
    )
    @pytest.mark.parametrize("relative", [0, 1])
    def test_of_other_data_is_refused(
        self, bait: ScriptedServer, tmp_path: Path, name: str, why: str, relative: int
    ) -> None:
        folder = tmp_path / "county"
        (folder / "tiles").mkdir(parents=True)
        write_tiff(tmp_path / "a.tif", noise(1, 40, 40))
        (folder / "wms.tif").write_text(f"<GDAL_WMS><Service><ServerUrl>{bait.address}")
        (folder / "text.tif").write_text("hello")
        text = refused(vrt(folder / "self.vrt", source(name.format(url=bait.address), relative)))
        assert "self.vrt: " in text
        if relative:
            assert any(part in text for part in why.split("|")), text
        assert bait.calls == []

    @pytest.mark.parametrize(
        ("content", "attributes", "more"),
        [
            ("<PixelFunctionType>add</PixelFunctionType>", "", ""),
            (source("a.tif", kind="KernelFilteredSource"), "", ""),
            (source("a.tif"), 'subClass="VRTWarpedDataset"', ""),
            (source("a.tif"), 'subClass="VRTPansharpenedDataset"', ""),
            (source("a.tif"), "", "<GDALWarpOptions/>"),
            (source("a.tif"), "", "<OpenOptions/>"),
            (source("a.tif"), "", '<Metadata domain="vrt_sources"><MDI key="a">x</MDI></Metadata>'),
            (source("a.tif"), "", '<Metadata><MDI key="OVERVIEW_FILE">/etc/x</MDI></Metadata>'),
        ],
        ids=["function", "kernel", "warped", "pansharpened", "warp", "options", "sources", "proxy"],
    )
    def test_that_computes_is_refused(
        self, tmp_path: Path, content: str, attributes: str, more: str
    ) -> None:
        write_tiff(tmp_path / "a.tif", noise(1, 40, 40))
        text = refused(vrt(tmp_path / "b.vrt", content, attributes, more))
        assert "is not read; save the pixels themselves: gdal_translate -of COG b.vrt" in text

    def test_with_python_in_a_derived_band_is_refused(self, tmp_path: Path) -> None:
        band = "<VRTRasterBand dataType='Byte' band='1' subClass='VRTDerivedRasterBand'/>"
        path = tmp_path / "a.vrt"
        path.write_text(f"<VRTDataset rasterXSize='9' rasterYSize='9'>{band}</VRTDataset>")
        assert "a VRT with VRTDerivedRasterBand is not read" in refused(path)

    def test_with_entities_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "a.vrt"
        path.write_text('<!DOCTYPE x [<!ENTITY a "b">]><VRTDataset rasterXSize="9"></VRTDataset>')
        assert "DOCTYPE or entities" in refused(path)


@pytest.mark.parametrize("where", ["tag", "sidecar"])
@pytest.mark.parametrize("name", ["a.tif", "b.vrt"])
def test_overviews_elsewhere_are_refused(
    bait: ScriptedServer, tmp_path: Path, where: str, name: str
) -> None:
    """GDAL opens OVERVIEW_FILE by any driver, from the file's own tags or its .aux.xml."""
    tiff = write_tiff(tmp_path / "a.tif", noise(1, 40, 40))
    there = f"/vsicurl/{bait.address}/a.ovr"
    if where == "tag":
        with rasterio.open(tiff, "r+") as dataset:
            dataset.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=there)
    else:
        (tmp_path / "a.tif.aux.xml").write_text(
            f'<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{there}</MDI>'
            "</Metadata></PAMDataset>"
        )
    vrt(tmp_path / "b.vrt", source("a.tif"))
    assert "(OVERVIEW_FILE) refers to another file" in refused(tmp_path / name)
    assert bait.calls == []


@pytest.mark.parametrize(
    ("name", "content", "advice"),
    [
        ("a.ecw", b"\x65\x02\0\0", "gdal_translate -of COG a.ecw a.tif"),
        ("a.sid", b"msid", "mrsidgeodecode -i a.sid"),
        ("a.pdf", b"%PDF-1.7", "GeoPDF"),
        ("a.ntf", b"NITF02.10", "gdal_translate -of COG a.ntf a.tif"),
        ("a.zip", b"PK\x03\x04", "unzip a.zip"),
        ("a.tif", b"PK\x03\x04", "unzip a.tif"),
        ("a.jpg", b"\xff\xd8\xff\xe0", "-a_srs EPSG:… a.jpg a.tif"),
        ("a.tif", b"<html>404", "HTML page"),
        ("a.tif", b"\0\0\0\0", "it is empty"),
        ("a.tif", b"hello", "not a TIFF"),
        ("a.foo", b"hello", "its format is not read"),
        ("a.xml", b"<GDAL_WMS><Service/>", r"imagery: {url: …}"),
    ],
)  # fmt: skip
def test_what_is_not_read_says_what_to_type(
    tmp_path: Path, name: str, content: bytes, advice: str
) -> None:
    (tmp_path / name).write_bytes(content)
    text = refused(tmp_path / name)
    assert text.startswith(f"none of the 1 imagery files of {tmp_path / name} can be read")
    assert advice in text


def test_a_raster_geodatabase_says_what_to_type(tmp_path: Path) -> None:
    (tmp_path / "ortho.gdb").mkdir()
    assert 'OpenFileGDB:"ortho.gdb":RASTER\' ortho.tif' in refused(tmp_path / "ortho.gdb")


def test_one_refused_file_does_not_stop_the_others(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", noise(1, 40, 40))
    shutil.copy(tmp_path / "a.tif", tmp_path / "b.tif")
    (tmp_path / "c.tif").write_text("<html>")
    imagery = GeoTiffMosaic(str(tmp_path / "*.tif"))
    assert "HTML page" in imagery.unreadable[str(tmp_path / "c.tif")]
    lot = boundary(shapely.box(LEFT + 1, TOP - 9, LEFT + 9, TOP - 1))
    assert imagery.grid_for(lot.geometry) == pixel_grid()
