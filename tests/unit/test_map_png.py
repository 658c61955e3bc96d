"""The map as PNG: names are drawn as they are."""

from __future__ import annotations

from pathlib import Path

import geopandas
import matplotlib as mpl
from rasters import smooth, write_tiff

from detection.imagery import GeoTiffMosaic
from pipeline.report.map_png import map_png


def test_a_name_is_no_formula(tmp_path: Path) -> None:
    imagery = GeoTiffMosaic(str(write_tiff(tmp_path / "a.tif", smooth(3, 64, 64))))
    [footprint] = [file.footprint for file in imagery._files]
    lot = footprint.centroid.buffer(1e-4)
    lots = geopandas.GeoDataFrame({"source": ["lot"]}, geometry=[lot], crs=4326)
    found = geopandas.GeoDataFrame({"label": ["a$\\frac{b"]}, geometry=[lot], crs=4326)
    before = mpl.rcParams["text.parse_math"]
    caption = map_png(tmp_path / "map.png", lots, found, imagery, "Cost $\\frac{\n$x", "$\\frac{")
    assert caption is not None
    assert (tmp_path / "map.png").stat().st_size > 0
    assert mpl.rcParams["text.parse_math"] == before
