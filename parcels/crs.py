"""From any CRS to EPSG:4326, always as x, y = longitude, latitude."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer

WGS84 = CRS.from_epsg(4326)


def to_wgs84(geometries: NDArray[np.object_], crs: CRS) -> NDArray[np.object_]:
    """The geometries (n,) in EPSG:4326; heights are dropped, missing ones stay None."""
    if crs.equals(WGS84, ignore_axis_order=True):
        return np.asarray(shapely.force_2d(geometries), dtype=object)
    project = _transformer(crs.to_wkt()).transform
    return np.asarray(shapely.transform(geometries, project, interleaved=False), dtype=object)


@lru_cache(maxsize=64)
def _transformer(wkt: str) -> Transformer:
    return Transformer.from_crs(CRS.from_wkt(wkt), WGS84, always_xy=True)


def horizontal(crs: CRS) -> CRS:
    """The horizontal part of a compound or 3D CRS; any other as it is."""
    if crs.is_compound:
        return crs.sub_crs_list[0].to_2d()
    return crs.to_2d()
