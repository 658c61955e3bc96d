"""The imagery tiles that a truth was traced on, at their own ground sample distance or another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import shapely
from affine import Affine
from rasterio.enums import Resampling
from rasterio.warp import reproject
from shapely import Polygon

from detection.errors import TruthError
from detection.evaluation.traced import TracedTile
from detection.imagery.geotiff_mosaic import GeoTiffMosaic
from detection.imagery.pixel_grid import PixelGrid, PixelWindow
from parcels.boundary import Boundary
from parcels.measure import areas_m2, polygonal

RGB = ("red", "green", "blue")
RGB_NIR = (*RGB, "nir")
# Two distances that differ by less are the same: tiles have 0.6000000000000106 m.
_SAME_GSD = 1e-3


@dataclass(frozen=True, slots=True)
class TilePlace:
    """Where a tile's pixels are.

    Attributes:
        crs: projected, as WKT.
        transform: pixel (column, row) -> CRS (x, y) of its upper left corner.
    """

    crs: str
    transform: Affine

    @property
    def pixel_m2(self) -> float:
        """The area of a pixel."""
        return float(abs(self.transform.determinant)) * PixelGrid(self.crs, 1.0).unit_m ** 2

    def window_transform(self, window: PixelWindow) -> Affine:
        """The transform of a window's pixels."""
        moved: Affine = self.transform @ Affine.translation(window.column, window.row)
        return moved

    def box(self, window: PixelWindow) -> Polygon:
        """The outline of a window in the tile's CRS."""
        left, top = self.transform @ (window.column, window.row)
        right, bottom = self.transform @ (window.column + window.width, window.row + window.height)
        return shapely.box(left, bottom, right, top)

    def boundary(self, window: PixelWindow) -> Boundary:
        """A window as a boundary, so that it gets the chips that a lot of its size gets."""
        lonlat = polygonal(PixelGrid(self.crs, 1.0).to_lonlat(self.box(window)))
        [area_m2] = areas_m2(np.array([lonlat], dtype=object))
        return Boundary(lonlat, "lot", float(area_m2), "point", "traced window")


class TileImages:
    """Finds and opens the tiles of folders, searched with their subfolders.

    Args:
        folders: with a GeoTIFF TILE.tif for each traced tile.
        scratch: an empty folder for resampled tiles.

    Raises:
        TruthError: a folder that does not exist.
    """

    def __init__(self, folders: Sequence[Path], scratch: Path) -> None:
        self._paths: dict[str, Path] = {}
        for folder in folders:
            if not folder.is_dir():
                raise TruthError(f"the imagery folder {folder} does not exist")
            for path in sorted(folder.rglob("*.tif")):
                self._paths.setdefault(path.stem, path)
        self._folders, self._scratch = folders, scratch

    def path_of(self, tile: TracedTile) -> Path:
        """The tile's file.

        Raises:
            TruthError: there is none, or it has other pixels than the truth.
        """
        path = self._paths.get(tile.name)
        if path is None:
            raise TruthError(
                f"no imagery of the traced tile {tile.name}: {tile.name}.tif is not in "
                f"{', '.join(map(str, self._folders))} nor below"
            )
        with rasterio.open(path) as dataset:
            size = (dataset.height, dataset.width)
        if size != tile.codes.shape:
            raise TruthError(
                f"the truth of {tile.name} has {tile.codes.shape[1]} x {tile.codes.shape[0]} px, "
                f"but {path} has {size[1]} x {size[0]}: it was traced on another image"
            )
        return path

    def place_of(self, tile: TracedTile) -> TilePlace:
        """Where the truth's pixels are; errors as `path_of`."""
        with rasterio.open(self.path_of(tile)) as dataset:
            return TilePlace(dataset.crs.to_wkt(), dataset.transform)

    def open(
        self, tile: TracedTile, bands: Sequence[str] = RGB, gsd_m: float | None = None
    ) -> GeoTiffMosaic:
        """The tile as an imagery source that has `bands` only.

        Args:
            gsd_m: None for the tile's own. A coarser tile has area means; a finer one is
                interpolated, and shows no more detail.

        Raises:
            TruthError: as `path_of`; or the file lacks a band.
            ImageryError: it cannot be read.
        """
        path = self.path_of(tile)
        with rasterio.open(path) as dataset:
            if dataset.count < len(bands):
                raise TruthError(
                    f"{path} has {dataset.count} bands, but {len(bands)} are evaluated "
                    f"({', '.join(bands)}): evaluate without nir"
                )
            own_m = abs(dataset.transform.a)
        return GeoTiffMosaic(
            str(self._scratch_copy(tile, path, bands, gsd_m or own_m)), tuple(bands)
        )

    def _scratch_copy(
        self, tile: TracedTile, path: Path, bands: Sequence[str], gsd_m: float
    ) -> Path:
        """A copy of the first bands at the distance; kept for the next call."""
        copy = self._scratch / f"{len(bands)}_{gsd_m:.3f}" / f"{tile.name}.tif"
        if copy.exists():
            return copy
        copy.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(path) as dataset:
            pixels = dataset.read(list(range(1, len(bands) + 1)))
            transform, crs, own_m = dataset.transform, dataset.crs, abs(dataset.transform.a)
        factor = gsd_m / own_m
        if abs(factor - 1) > _SAME_GSD:
            # The last pixels may reach beyond the tile: they are the means of what is inside.
            height, width = (math.ceil(side / factor - _SAME_GSD) for side in pixels.shape[1:])
            new = np.zeros((len(bands), height, width), pixels.dtype)
            scaled = transform @ Affine.scale(factor)
            how = Resampling.average if factor > 1 else Resampling.bilinear
            reproject(
                pixels, new, src_transform=transform, src_crs=crs, dst_transform=scaled,
                dst_crs=crs, resampling=how,
            )  # fmt: skip
            pixels, transform = new, scaled
        _, height, width = pixels.shape
        with rasterio.open(
            copy, "w", driver="GTiff", width=width, height=height, count=len(bands),
            dtype=pixels.dtype, crs=crs, transform=transform,
        ) as dataset:  # fmt: skip
            dataset.write(pixels)
        return copy
