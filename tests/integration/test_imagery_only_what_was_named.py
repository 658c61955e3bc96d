"""Only what an entry names is read: no imagery makes GDAL open another file or a server.

Each case of `imageryattacks` refers to a canary, as in `test_only_what_was_named`: from its own
metadata, or from a file beside it (overviews, masks, metadata, world files; also links and pipes).
What holds for each: the canary is not touched, and no pixel of it is read, whether the file is read
or refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import rasterio
from canary import Canary, canary
from imageryattacks import ATTACKS, CANARY_PIXEL, SIDE, own, pixels_elsewhere, vrt
from rasterio.errors import RasterioError
from rasters import LEFT, TOP, noise, pixel_grid, write_tiff

from detection.errors import ImageryError, NoImagery
from detection.imagery import open_imagery
from detection.imagery.pixel_grid import PixelWindow
from detection.imagery.raster_file import open_raster
from detection.registry.imagery_entry import ImageryEntry


@pytest.fixture
def bait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Canary]:
    # rasterio keeps Python's lock while it waits, so that the canary's server cannot answer.
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "1")
    with canary(tmp_path / "others") as bird:
        yield bird


def highest_pixel(path: Path) -> int:
    """The highest pixel, also in overviews and where a mask hides; 0 if the imagery is refused."""
    corner = pixel_grid().window_from_bounds((LEFT, TOP - 1, LEFT + 1, TOP))
    try:
        imagery = open_imagery(ImageryEntry(path=str(path)))
        window = PixelWindow(corner.column, corner.row, SIDE, SIDE)
        found = [imagery.read(pixel_grid(), window).pixels.max()]
        with open_raster(str(path)) as dataset:
            for index in dataset.indexes:
                dataset.overviews(index)
            found += [dataset.read(1, out_shape=(1, 9, 9)).max(), dataset.read().max()]
            dataset.read_masks(1)
            dataset.tags()
    except (ImageryError, NoImagery, RasterioError):
        return 0
    return int(max(found))


@pytest.mark.parametrize("name", ATTACKS)
def test_imagery_that_refers_to_others(tmp_path: Path, bait: Canary, name: str) -> None:
    (tmp_path / "named").mkdir()
    path = ATTACKS[name](tmp_path / "named", bait)
    bait.forget()
    assert highest_pixel(path) < CANARY_PIXEL
    assert bait.touched == []


@pytest.mark.parametrize("is_remote", [False, True])
def test_the_canary_notices(tmp_path: Path, bait: Canary, is_remote: bool) -> None:
    """GDAL as it is opens what an attack names; so a test above can fail."""
    path = own(tmp_path / "a.tif")
    there = f"/vsicurl/{bait.url}/c.tif" if is_remote else str(pixels_elsewhere(bait))
    Path(f"{path}.ovr").write_text(vrt(there, SIDE // 2))
    bait.forget()
    with rasterio.open(path) as dataset:
        dataset.overviews(1)
    assert bait.touched


@pytest.mark.parametrize("ending", [".ovr", ".msk", ".aux.xml", ".prj", "_rpc.txt"])
def test_ordinary_files_beside_it_stay(tmp_path: Path, ending: str) -> None:
    path = own(tmp_path / "a.tif")
    beside = path.with_name("a_rpc.txt") if ending[0] == "_" else Path(f"{path}{ending}")
    if ending in (".ovr", ".msk"):
        write_tiff(beside, (noise(3, SIDE // 2, SIDE // 2) % 200).astype("uint8"), crs=None)
    else:
        beside.write_text("<PAMDataset/>" if ending == ".aux.xml" else "PROJCS[]")
    assert 0 < highest_pixel(path) < CANARY_PIXEL
