"""What is said of a lot's imagery is that of the files whose pixels lie in the lot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from pictures import at
from rasters import (
    CRS_NAME,
    LEFT,
    PIXEL_M,
    TOP,
    ThresholdSegmenter,
    boundary,
    pixel_grid,
    write_tiff,
)
from shapely.geometry.base import BaseGeometry

from detection import LABELS, Detector
from detection.footage import Footage, SourceImage, captured_span, join_footage
from detection.imagery import GeoTiffMosaic
from detection.imagery.vrt_scale import coarsest_scale
from detection.results import ChipInfo

LAWN = LABELS["lawn"]


def ground(height: int, width: int) -> Any:
    """Dark, with the noise without which it would be no imagery."""
    return np.random.default_rng(0).integers(48, 53, (3, height, width)).astype(np.uint8)


def tile(
    folder: Path, name: str, column: float = 0, width: int = 200, pixel_m: float = PIXEL_M,
    pixels: Any = None, **profile: Any,
) -> str:  # fmt: skip
    """A file of 200 m x 100 m at `column` half metres from the tests' corner."""
    side = (int(100 / pixel_m), int(width / pixel_m))
    shown = ground(*side) if pixels is None else pixels
    transform = Affine(pixel_m, 0, LEFT + column * PIXEL_M, 0, -pixel_m, TOP)
    return str(write_tiff(folder / name, shown, transform=transform, **profile))


def infos(folder: Path, *places: BaseGeometry, segmenter: Any = None) -> list[ChipInfo]:
    lots = [boundary(place) for place in places]
    detector = Detector(segmenter or ThresholdSegmenter())
    results = detector.detect(lots, GeoTiffMosaic(str(folder / "*.tif")), [LAWN])
    found = [result.chip for result in results if result.chip]
    assert len(found) == len(places)
    return found


def said(info: ChipInfo) -> tuple[str | None, float, set[str]]:
    return info.captured_on, info.gsd_m, {Path(source).name for source in info.sources}


def test_lots_beside_a_seam_of_two_pixel_sizes(tmp_path: Path) -> None:
    tile(tmp_path, "fine_2018.tif", pixel_m=0.25)
    tile(tmp_path, "coarse_2021.tif", column=400, pixel_m=1.0)
    left, right, both = infos(
        tmp_path, at(330, 40, 60, 60), at(410, 40, 60, 60), at(370, 40, 50, 60)
    )
    assert said(left) == ("2018", 0.25, {"fine_2018.tif"})
    assert said(right) == ("2021", 1.0, {"coarse_2021.tif"})
    # Of a lot on both: the span of the dates, and the coarsest pixels.
    assert said(both) == ("2018/2021", 1.0, {"fine_2018.tif", "coarse_2021.tif"})
    # The frame of each lot is that of the file which gives most of its pixels.
    assert [info.chip_gsd_m for info in (left, right, both)] == [0.25, 1.0, 0.25]


def test_a_newer_file_covers_an_older_finer_one(tmp_path: Path) -> None:
    """Its pixels are not said to be as fine as those that they hide."""
    tile(tmp_path, "fine_2018.tif", pixel_m=0.25)
    tile(tmp_path, "coarse_2021.tif", pixel_m=1.0)
    [info] = infos(tmp_path, at(100, 40, 60, 60))
    assert said(info) == ("2021", 1.0, {"coarse_2021.tif"})
    assert info.chip_gsd_m == 1.0


@pytest.mark.parametrize("tag", ["", "_2020"])
def test_among_files_of_one_date_the_finest_comes_first(tmp_path: Path, tag: str) -> None:
    tile(tmp_path, f"a_fine{tag}.tif", pixel_m=0.25)
    tile(tmp_path, f"z_coarse{tag}.tif", pixel_m=1.0)
    [info] = infos(tmp_path, at(100, 40, 60, 60))
    assert said(info) == (tag[1:] or None, 0.25, {f"a_fine{tag}.tif"})


def test_where_the_newest_file_is_empty_an_older_one_is_the_frame(tmp_path: Path) -> None:
    tile(tmp_path, "fine_2018.tif", pixel_m=0.25)
    hollow = np.full((3, 100, 200), 50, np.uint8)
    hollow[:, :, :120] = 0
    tile(tmp_path, "coarse_2021.tif", pixel_m=1.0, pixels=hollow, nodata=0)
    left, right = infos(tmp_path, at(100, 40, 60, 60), at(300, 40, 60, 60))
    assert said(left) == ("2018", 0.25, {"fine_2018.tif"})
    assert said(right) == ("2021", 1.0, {"coarse_2021.tif"})
    assert (left.chip_gsd_m, right.chip_gsd_m) == (0.25, 1.0)


def test_lots_that_share_a_chip_have_their_own_dates(tmp_path: Path) -> None:
    tile(tmp_path, "a_2018.tif")
    tile(tmp_path, "b_2021.tif", column=400)
    segmenter = ThresholdSegmenter()
    places = [at(310, 40, 60, 60), at(430, 40, 60, 60), at(320, 110, 60, 60)]
    left, right, also_left = infos(tmp_path, *places, segmenter=segmenter)
    assert len(segmenter.chips) == 1
    assert (left.captured_on, right.captured_on) == ("2018", "2021")
    assert left == also_left
    assert left.sha256 != right.sha256
    assert left.bounds == right.bounds


def test_a_lot_on_several_chips(tmp_path: Path) -> None:
    tile(tmp_path, "a_2018.tif")
    tile(tmp_path, "b_2021.tif", column=400)
    segmenter = ThresholdSegmenter(100, 128)
    left, both = infos(tmp_path, at(20, 20, 350, 150), at(320, 20, 160, 60), segmenter=segmenter)
    assert said(left) == ("2018", 0.5, {"a_2018.tif"})
    assert said(both) == ("2018/2021", 0.5, {"a_2018.tif", "b_2021.tif"})


def test_a_source_without_a_date_makes_the_date_of_the_lot_unknown(tmp_path: Path) -> None:
    tile(tmp_path, "undated.tif")
    tile(tmp_path, "b_2021.tif", column=400)
    left, right, both = infos(
        tmp_path, at(310, 40, 60, 60), at(430, 40, 60, 60), at(370, 40, 60, 60)
    )
    assert [info.captured_on for info in (left, right, both)] == [None, "2021", None]


def test_downsampled_imagery_keeps_its_own_pixel_size(tmp_path: Path) -> None:
    tile(tmp_path, "a_2018.tif", pixel_m=0.25)
    segmenter = ThresholdSegmenter()
    segmenter.gsd_m = 1.0
    [info] = infos(tmp_path, at(100, 40, 60, 60), segmenter=segmenter)
    assert (info.gsd_m, info.chip_gsd_m) == (0.25, 1.0)


def test_a_file_in_degrees_has_the_size_of_its_pixels(tmp_path: Path) -> None:
    corner = pixel_grid().to_lonlat(shapely.Point(LEFT, TOP))
    degrees = Affine(9e-6, 0, corner.x, 0, -9e-6, corner.y)
    write_tiff(
        tmp_path / "a_2018.tif", ground(300, 300), crs="EPSG:4326",
        transform=degrees,
    )  # fmt: skip
    [info] = infos(tmp_path, at(10, 10, 60, 60))
    # 9e-6 degrees are 0.999 m north and 0.821 m east.
    assert info.gsd_m == pytest.approx(0.906, abs=0.003)


def test_a_vrt_has_the_size_of_its_coarsest_pixels(tmp_path: Path) -> None:
    """gdalbuildvrt takes the finest size of its files for all of them (rio-tiler#482)."""
    for pixel_m in (0.25, 1.0):
        tile(tmp_path, f"{pixel_m}.tif", pixel_m=pixel_m)
    head = (
        f'<VRTDataset rasterXSize="800" rasterYSize="400"><SRS>{CRS_NAME}</SRS>'
        f"<GeoTransform>{LEFT}, 0.25, 0, {TOP}, 0, -0.25</GeoTransform>"
    )
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{band}"><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">1.0.tif</SourceFilename><SourceBand>{band}</SourceBand>'
        '<SrcRect xOff="0" yOff="0" xSize="200" ySize="100"/>'
        '<DstRect xOff="0" yOff="0" xSize="800" ySize="400"/></SimpleSource></VRTRasterBand>'
        for band in (1, 2, 3)
    )
    vrt = tmp_path / "mosaic_2021.vrt"
    vrt.write_text(f"{head}{bands}</VRTDataset>")
    lot = boundary(at(100, 40, 60, 60))
    [result] = Detector(ThresholdSegmenter()).detect([lot], GeoTiffMosaic(str(vrt)), [LAWN])
    assert result.chip is not None
    assert (result.chip.captured_on, result.chip.gsd_m) == ("2021", 1.0)
    assert result.chip.chip_gsd_m == 0.25
    outer = tmp_path / "outer.vrt"
    outer.write_text(f"{head}{bands}</VRTDataset>".replace("1.0.tif", "mosaic_2021.vrt"))
    assert coarsest_scale(outer) == 16.0
    assert coarsest_scale(tmp_path / "1.0.tif") == 1.0


def test_joined_footage_numbers_equal_sources_once() -> None:
    a, b, c = (SourceImage(name, None, 1.0) for name in "abc")
    left = Footage((a, b), np.array([[0, 1]], np.uint16))
    right = Footage((c,))
    other = Footage((b, c), np.array([[1, 0]], np.uint16))
    valid = np.ones((1, 2), bool)
    rows = slice(0, 1)
    joined = join_footage(
        [(left, valid, (rows, slice(0, 2))), (right, valid, (rows, slice(2, 4))),
         (other, valid, (rows, slice(4, 6)))],
        (1, 6),
    )  # fmt: skip
    assert joined is not None
    assert joined.images == (a, b, c)
    assert joined.index is not None
    assert joined.index.tolist() == [[0, 1, 2, 2, 2, 1]]
    assert join_footage([(None, valid, (rows, slice(0, 2)))], (1, 2)) is None


def test_spans_of_dates() -> None:
    images = [SourceImage("a", "2018/2019", 1.0), SourceImage("b", "2020-05-31", 1.0)]
    assert captured_span(images) == "2018/2020-05-31"
    assert captured_span([*images, SourceImage("c", None, 1.0)]) is None
