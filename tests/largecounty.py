"""A synthetic county of any size: lots in rows, imagery of them, and the CSV of its properties.

Every lot is 18 m wide and 36 m deep and shows the same objects, so a million of them are cheap to
make, and the expected areas are known. Used by tests and benchmarks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas
import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.enums import ColorInterp
from rasterio.windows import Window

CRS = "EPSG:26916"
GSD_M = 0.6
LOT_M = (18.0, 36.0)
# The lower left corner of the first lot. Both are multiples of a lot's sides, so the remainder of a
# coordinate is the position on its lot.
WEST_M, SOUTH_M = 500_004.0, 3_880_008.0
# Imagery beyond the lots: the context that a lot on the county's edge needs.
_MARGIN_M = 72.0
_TILE_PX = 256
# Two registry entries with the same files, so that one can be compared with the other.
KEY, TWIN = "large", "twin"

# Additional properties of the CSV, beside one for each lot.
ODD = ("no-such-parcel", "no-lot", "no-imagery")


@dataclass(frozen=True)
class Box:
    """An object, in metres from the lower left corner of each lot."""

    left: float
    right: float
    bottom: float
    top: float


FRONT_LAWN, BACK_LAWN = Box(1, 17, 1, 9), Box(1, 17, 24, 35)
ROOF = Box(3, 15, 11, 22)
POOL = Box(2.5, 7, 27, 33)
POOL_EVERY = 8  # lots along a row
TREE_XY_M, TREE_RADIUS_M = (12.0, 29.5), 3.0

_GRASS, _PAVED = (92, 141, 70), (152, 150, 146)
_SHINGLE, _LEAVES = (139, 96, 86), (38, 74, 36)


@dataclass(frozen=True)
class LargeCounty:
    """A county of `lots` lots, in files of `folder`."""

    folder: Path
    lots: int

    @property
    def columns(self) -> int:
        """Lots in a row; the county is about as wide as it is high."""
        return math.ceil(math.sqrt(self.lots * LOT_M[1] / LOT_M[0]))

    @property
    def registry(self) -> Path:
        """Has two counties with these files, `KEY` and `TWIN`."""
        return self.folder / "registry.yaml"

    @property
    def properties(self) -> Path:
        """A CSV: a point for each lot, in random order, and one row for each of `ODD`."""
        return self.folder / "properties.csv"

    @property
    def extent_m(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) of the lots."""
        rows = math.ceil(self.lots / self.columns)
        return WEST_M, SOUTH_M, WEST_M + self.columns * LOT_M[0], SOUTH_M + rows * LOT_M[1]

    def corners_m(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """Lower left corners of lots: (n, 2) in metres of `CRS`."""
        rows, columns = np.divmod(numbers, self.columns)
        return np.column_stack([WEST_M + columns * LOT_M[0], SOUTH_M + rows * LOT_M[1]])

    def centres_m(self, property_ids: Sequence[str]) -> NDArray[np.float64]:
        """Centres of the lots of properties: (n, 2) in metres of `CRS`."""
        numbers = [int(name.removeprefix("lot-")) for name in property_ids if name not in ODD]
        return self.corners_m(np.array(numbers, np.int64)) + np.array(LOT_M) / 2

    def outlines(self, numbers: NDArray[np.int64]) -> NDArray[np.object_]:
        """The lots, in degrees."""
        lower = self.corners_m(numbers)
        boxes = shapely.box(
            lower[:, 0], lower[:, 1], lower[:, 0] + LOT_M[0], lower[:, 1] + LOT_M[1]
        )
        degrees: NDArray[np.object_] = shapely.transform(boxes, _to_degrees)
        return degrees


def make_county(folder: Path, lots: int) -> LargeCounty:
    """Write the county's files: parcels as GeoParquet, one GeoTIFF, the CSV and a registry."""
    folder.mkdir(parents=True, exist_ok=True)
    county = LargeCounty(folder, lots)
    numbers = np.arange(lots)
    frame = geopandas.GeoDataFrame(
        {"parcel_id": [f"{number:07d}" for number in numbers]},
        geometry=county.outlines(numbers),
        crs="EPSG:4326",
    )
    frame.to_parquet(folder / "parcels.parquet")
    write_properties(county)
    _write_imagery(county)
    entry = "{path: parcels.parquet, imagery: {path: imagery.tif}}"
    county.registry.write_text(f"counties:\n  {KEY}: {entry}\n  {TWIN}: {entry}\n", "utf-8")
    return county


def write_properties(county: LargeCounty) -> None:
    """Write the CSV alone."""
    with county.properties.open("w", encoding="utf-8") as file:
        file.write("property_id,longitude,latitude,parcel_id\n")
        file.writelines(_rows(county))


def crop_imagery(county: LargeCounty, share: float) -> None:
    """Keep only the lower left corner of the imagery, `share` of its width and height."""
    path = county.folder / "imagery.tif"
    with rasterio.open(path) as source:
        width, height = (round(share * pixels) for pixels in (source.width, source.height))
        above = source.height - height
        pixels = source.read(window=Window(0, above, width, height))
        transform = source.transform @ Affine.translation(0, above)
        profile = source.profile | {"width": width, "height": height, "transform": transform}
    with rasterio.open(path, "w", **profile) as target:
        target.write(pixels)


def _rows(county: LargeCounty) -> Iterator[str]:
    numbers = np.random.default_rng(1).permutation(county.lots)
    middles = _to_degrees(county.corners_m(numbers) + np.array(LOT_M) / 2)
    for number, (x, y) in zip(numbers.tolist(), middles.tolist(), strict=True):
        yield f"lot-{number:07d},{x:.7f},{y:.7f},\n"
    left, bottom, right, _ = county.extent_m
    beside, beyond = _to_degrees(
        np.array([[right + 31, bottom + 5], [left - 5e3, bottom]])
    ).tolist()
    yield f"{ODD[0]},,,no such parcel\n"
    yield f"{ODD[1]},{beside[0]:.7f},{beside[1]:.7f},\n"
    yield f"{ODD[2]},{beyond[0]:.7f},{beyond[1]:.7f},\n"


def _to_degrees(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    transformer = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
    return np.column_stack(transformer.transform(xy[:, 0], xy[:, 1]))


def _write_imagery(county: LargeCounty) -> None:
    """Write one compressed GeoTIFF, so reading it decodes every pixel."""
    left, bottom, right, top = county.extent_m
    left, top = left - _MARGIN_M, top + _MARGIN_M
    width = round((right + _MARGIN_M - left) / GSD_M)
    height = round((top - bottom + _MARGIN_M) / GSD_M)
    lot = _lot_image()
    _, lot_height, lot_width = lot.shape
    # The margin is a multiple of a lot, so the first pixel is the upper left one of a lot.
    band = np.tile(lot, (1, -(-(_TILE_PX + lot_height) // lot_height), -(-width // lot_width)))
    with rasterio.open(
        county.folder / "imagery.tif",
        "w",
        driver="GTiff",
        dtype="uint8",
        count=3,
        width=width,
        height=height,
        crs=CRS,
        transform=Affine(GSD_M, 0, left, 0, -GSD_M, top),
        tiled=True,
        blockxsize=_TILE_PX,
        blockysize=_TILE_PX,
        compress="deflate",
        zlevel=1,
        interleave="pixel",
        photometric="RGB",
        bigtiff="if_safer",
    ) as target:
        target.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
        for row in range(0, height, _TILE_PX):
            rows = min(_TILE_PX, height - row)
            first = row % lot_height
            pixels = band[:, first : first + rows, :width]
            target.write(pixels, window=Window(0, row, width, rows))


def _lot_image() -> NDArray[np.uint8]:
    """(3, height, width): the image of a lot, north up."""
    width, height = round(LOT_M[0] / GSD_M), round(LOT_M[1] / GSD_M)
    x = (np.arange(width) + 0.5) * GSD_M
    y = LOT_M[1] - (np.arange(height) + 0.5) * GSD_M
    image = np.empty((height, width, 3), np.uint8)
    image[:] = _PAVED
    for box, colour in ((FRONT_LAWN, _GRASS), (BACK_LAWN, _GRASS), (ROOF, _SHINGLE)):
        inside_x, inside_y = (x > box.left) & (x < box.right), (y > box.bottom) & (y < box.top)
        image[np.ix_(inside_y, inside_x)] = colour
    away_m = np.hypot(x[None, :] - TREE_XY_M[0], y[:, None] - TREE_XY_M[1])
    # The spectral segmenter distinguishes canopy from grass by its texture.
    shade = np.random.default_rng(2).integers(-28, 28, (height, width, 1))
    leaves = np.clip(np.array(_LEAVES) + shade, 1, 255).astype(np.uint8)
    image = np.where((away_m < TREE_RADIUS_M)[..., None], leaves, image)
    return image.transpose(2, 0, 1)
