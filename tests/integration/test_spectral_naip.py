"""The baseline on real NAIP: trees marked by people, and the green fraction of parcels."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import rasterio
from pyproj import CRS
from rasterio.features import rasterize

from detection.chip import Chip
from detection.labels import choose_labels
from detection.segmenters.spectral import Spectral

LABELS = choose_labels(["lawn", "tree", "vegetation"])


def _chip(path: Path) -> Chip:
    with rasterio.open(path) as dataset:
        pixels = dataset.read()
        crs = CRS(dataset.crs.to_wkt())
        transform = dataset.transform
    valid = np.ones(pixels.shape[1:], bool)
    return Chip(pixels, valid, transform, crs, ("red", "green", "blue", "nir"))


def test_marked_trees_are_green_and_mostly_tree(real_data: Path) -> None:
    segmenter, hits, green, points = Spectral("cpu"), 0, 0, 0
    for path in sorted((real_data / "naip").glob("*_2020_*.tif")):
        chip = _chip(path)
        _, tree, vegetation = segmenter.segment([chip], LABELS)[0]
        marked = json.loads((real_data / "trees" / f"{path.stem}.json").read_text())["features"]
        for feature in marked:
            x, y = feature["geometry"]["coordinates"]
            column = int((x - chip.transform.c) / chip.transform.a)
            row = int((y - chip.transform.f) / chip.transform.e)
            if 0 <= row < chip.height and 0 <= column < chip.width:
                points += 1
                hits += bool(tree.field[row, column] > 0)
                green += bool(vegetation.field[row, column] > 0)
    assert points > 3000
    # Measured: 0.95 green, 0.74 tree. Dark, smooth street trees are classified as lawn.
    assert green / points > 0.90
    assert hits / points > 0.65


def test_green_fraction_agrees_with_plain_ndvi(real_data: Path) -> None:
    parcels = geopandas.read_file(real_data / "parcels" / "parcels_on_tiles.geojson")
    differences = []
    for tile, on_tile in parcels.groupby("tile"):
        chip = _chip(real_data / "naip" / f"{tile}.tif")
        green = Spectral("cpu").segment([chip], LABELS)[0][2].field > 0
        for _, parcel in on_tile.to_crs(chip.crs).iterrows():
            inside = rasterize(
                [parcel.geometry], out_shape=green.shape, transform=chip.transform, dtype="uint8"
            ).astype(bool)
            if inside.sum() > 100:
                differences.append(green[inside].mean() - parcel["ndvi_gt_0p1_frac_in_tile"])
    assert len(differences) > 50
    assert abs(float(np.median(differences))) < 0.03
    assert float(np.percentile(np.abs(differences), 90)) < 0.10
