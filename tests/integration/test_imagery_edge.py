"""A lot that the edge of real imagery cuts is measured as well as the same lot inside."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import rasterio
import shapely
from affine import Affine
from shapely import Geometry

from detection import Detector
from detection.chip import Chip
from detection.imagery import GeoTiffMosaic
from detection.imagery.pixel_grid import PixelGrid, PixelWindow
from detection.labels import LABELS
from detection.results import LotResult
from detection.segmenters import build_segmenter
from parcels.boundary import Boundary
from parcels.measure import area_m2, polygonal

_NAMES = ("lawn", "tree", "driveway", "roof", "pool")
_RGB = ("red", "green", "blue")
# Columns that are left of a tile of 256, more than a chip has; lots end there.
_CUT = 196


class _WithoutExtent:
    """Imagery whose extent is unknown: chips are seen as they lie."""

    def __init__(self, files: GeoTiffMosaic) -> None:
        self.notes, self.bands, self.grid_for = files.notes, files.bands, files.grid_for
        self._files = files

    def read(self, grid: PixelGrid, window: PixelWindow) -> Chip:
        return self._files.read(grid, window)


def _tile(path: Path, columns: int, folder: Path) -> GeoTiffMosaic:
    """The first columns of a tile, in colours."""
    with rasterio.open(path) as dataset:
        pixels = dataset.read([1, 2, 3])[:, :, :columns]
        profile = {"crs": dataset.crs, "transform": dataset.transform, "dtype": pixels.dtype}
    copy = folder / f"{path.stem}_{columns}.tif"
    size = {"count": 3, "height": pixels.shape[1], "width": columns}
    with rasterio.open(copy, "w", driver="GTiff", **size, **profile) as dataset:
        dataset.write(pixels)
    return GeoTiffMosaic(str(copy), _RGB)


def _lots(path: Path) -> list[Boundary]:
    """Rectangles of 28 x 36 m (46 x 60 px) along the cut."""
    with rasterio.open(path) as dataset:
        crs, transform = dataset.crs.to_wkt(), dataset.transform
    return [_lot(crs, transform, top) for top in (20, 90, 160)]


def _lot(crs: str, transform: Affine, top: int) -> Boundary:
    (left, north), (right, south) = transform @ (150, top), transform @ (_CUT, top + 60)
    lonlat = polygonal(PixelGrid(crs, 1.0).to_lonlat(shapely.box(left, south, right, north)))
    return Boundary(lonlat, "lot", area_m2(lonlat), "parcel_id", "a test")


def _union(result: LotResult, label: str) -> Geometry:
    return shapely.union_all([d.geometry for d in result.detections if d.label == label])


def test_a_lot_at_the_edge_is_measured_as_inside(real_data: Path, tmp_path: Path) -> None:
    detector, labels = Detector(build_segmenter("landcover")), [LABELS[name] for name in _NAMES]
    common: Counter[str] = Counter()
    either: Counter[str] = Counter()
    for name in ("claremont_2020_67", "riverside_2020_59"):
        path = real_data / "naip" / f"{name}.tif"
        lots, cut = _lots(path), _tile(path, _CUT, tmp_path)
        inside = detector.detect(lots, _tile(path, 256, tmp_path), labels)
        ways = {
            "view": detector.detect(lots, cut, labels),
            "as it lies": detector.detect(lots, _WithoutExtent(cut), labels),
        }
        for way, results in ways.items():
            for one, other in zip(results, inside, strict=True):
                assert one.coverage_fraction == other.coverage_fraction == 1
                for label in _NAMES:
                    a, b = _union(one, label), _union(other, label)
                    common[way] += a.intersection(b).area
                    either[way] += a.union(b).area
    agreement = {way: common[way] / either[way] for way in either}
    # Measured: 0.83 and 0.25 (IoU of all labels with the same lots inside).
    assert agreement["view"] > 0.7, agreement
    assert agreement["as it lies"] < agreement["view"] - 0.1
