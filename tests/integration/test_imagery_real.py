"""Real NAIP tiles under real parcels: coverage, mosaics, and two UTM zones."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import rasterio.features
import shapely
from numpy.typing import NDArray
from rasters import ThresholdSegmenter

from detection import LABELS, Detector
from detection.chip import Chip
from detection.errors import ImageryError
from detection.imagery import GeoTiffMosaic
from detection.imagery.pixel_grid import PixelGrid
from detection.results import FULL_COVERAGE_FRACTION
from parcels.boundary import Boundary
from parcels.measure import area_m2, buffer_m, polygonal

PARCELS = {
    "claremont": "Claremont__Claremont-6th-Draft-111622.zip",
    "long_beach": "Long_Beach__long-beach-6th-draft072021.zip",
    "riverside": "Riverside__riverside-6th-adopted040622.zip",
}


def boundary_at(point: shapely.Point, parcels: gpd.GeoDataFrame) -> Boundary:
    hits = parcels.geometry[parcels.intersects(point)]
    if hits.empty:
        circle = buffer_m(point, 30)
        return Boundary(circle, "buffer_30m", area_m2(circle), "no_lot", "real")
    lot = polygonal(hits.iloc[0])
    return Boundary(lot, "lot", area_m2(lot), "point", "real")


@pytest.mark.parametrize("county", PARCELS)
def test_every_point_is_imaged_as_expected(real_data: Path, county: str) -> None:
    with (real_data / "properties" / f"{county}.csv").open() as file:
        rows = list(csv.DictReader(file))
    parcels = gpd.read_file(real_data / "parcels" / PARCELS[county]).to_crs(4326)
    points = [shapely.Point(float(row["longitude"]), float(row["latitude"])) for row in rows]
    imagery = GeoTiffMosaic(str(real_data / "naip" / f"{county}_2020_*.tif"))
    results = Detector(ThresholdSegmenter(120)).detect(
        [boundary_at(point, parcels) for point in points], imagery, [LABELS["lawn"]]
    )
    tiles = json.loads((real_data / "parcels" / "parcels_on_tiles.geojson").read_text())
    in_tile = {
        f["properties"]["apn"]: f["properties"]["frac_inside_tile"] for f in tiles["features"]
    }
    for row, result in zip(rows, results, strict=True):
        where, expected = row["property_id"], row["expect"]
        assert (result.status == "no_imagery") == (expected == "no_imagery"), where
        if expected == "no_imagery":
            assert result.reason == "missing", where
        elif expected == "parcel_partly_imaged":
            assert 0 < result.coverage_fraction < FULL_COVERAGE_FRACTION, where
        else:
            assert result.coverage_fraction >= FULL_COVERAGE_FRACTION, where
        if expected.startswith("parcel"):
            # The reference has two pixels' worth of rounding on lots of 20 pixels across.
            share = float(in_tile[row["parcel_id"]])
            assert result.coverage_fraction == pytest.approx(share, abs=0.015), where


def test_adjacent_tiles_are_seamless(real_data: Path) -> None:
    """claremont_2020_67 and _70 adjoin: a chip over both is both files' own pixels."""
    paths = [real_data / "naip" / f"claremont_2020_{number}.tif" for number in (67, 70)]
    imagery = GeoTiffMosaic(str(real_data / "naip" / "claremont_2020_*.tif"))
    with rasterio.open(paths[0]) as one, rasterio.open(paths[1]) as two:
        boxes = [shapely.box(*one.bounds), shapely.box(*two.bounds)]
        pixels = [one.read(), two.read()]
        crs = one.crs.to_string()
    seam = boxes[0].intersection(boxes[1].buffer(0.01))
    lot = PixelGrid(crs, 1.0).to_lonlat(seam.centroid.buffer(20))
    pixel_grid = imagery.grid_for(lot)
    chip = imagery.read(pixel_grid, pixel_grid.window_from_bounds(shapely.union_all(boxes).bounds))
    assert set(map(str, paths)) <= set(chip.sources)
    for own, place in zip(pixels, boxes, strict=True):
        window = pixel_grid.window_from_bounds(place.bounds)
        whole = pixel_grid.window_from_bounds(chip.bounds)
        rows = slice(window.row - whole.row, window.row - whole.row + window.height)
        columns = slice(window.column - whole.column, window.column - whole.column + window.width)
        assert np.array_equal(chip.pixels[:, rows, columns], own)
        assert chip.valid[rows, columns].all()


def test_near_infrared_tagged_as_alpha_is_read(real_data: Path) -> None:
    """GDAL marks the fourth band of the 2016 and 2018 tiles as alpha; it is near infrared."""
    for path in sorted((real_data / "naip").glob("*_201[68]_*.tif")):
        imagery = GeoTiffMosaic(str(path))
        with rasterio.open(path) as dataset:
            own = dataset.read()
        pixel_grid = imagery.grid_for(imagery._files[0].footprint)
        chip = imagery.read(pixel_grid, imagery._files[0].window)  # type: ignore[arg-type]
        assert chip.bands == ("red", "green", "blue", "nir")
        assert np.array_equal(chip.pixels, own)
        assert chip.valid.all()


def test_every_tile_of_naip_keeps_its_near_infrared(real_data: Path) -> None:
    """Each tile alone, so that no tile depends on its neighbours."""
    folders = [real_data / "naip", real_data / "naip_utm_zone_seam"]
    folders.append(real_data.parent / "naip_train" / "naip")
    tiles = sorted(path for folder in folders for path in folder.glob("*.tif"))
    assert len(tiles) == 918
    wrong = []
    for path in tiles:
        try:
            names = GeoTiffMosaic(str(path)).bands
        except ImageryError as error:
            names = (str(error),)
        if names != ("red", "green", "blue", "nir"):
            wrong.append((path.name, names))
    assert wrong == []


def test_the_newest_year_is_on_top(real_data: Path) -> None:
    imagery = GeoTiffMosaic(str(real_data / "naip" / "claremont_*_63.tif"))
    file = imagery._files[0]
    assert file.window is not None
    chip = imagery.read(file.grid, file.window)
    assert chip.captured_on == "2020"
    with rasterio.open(real_data / "naip" / "claremont_2020_63.tif") as newest:
        assert np.array_equal(chip.pixels, newest.read())


class TestUtmZoneSeam:
    """Two tiles that overlap across the border of zones 17 and 18, one flight, one metre."""

    @pytest.fixture
    def tiles(self, real_data: Path) -> list[Path]:
        return sorted((real_data / "naip_utm_zone_seam").glob("*.tif"))

    @pytest.mark.parametrize("native", [0, 1])
    def test_no_gap_along_the_seam(self, tiles: list[Path], native: int) -> None:
        imagery = GeoTiffMosaic(str(tiles[0].parent / "*.tif"))
        pixel_grid = GeoTiffMosaic(str(tiles[native]))._files[0].grid
        shown = [pixel_grid.from_lonlat(file.footprint) for file in imagery._files]
        both = shapely.union_all(shown)
        chip = imagery.read(pixel_grid, pixel_grid.window_from_bounds(both.bounds))
        assert len(chip.sources) == 2
        assert chip.captured_on == "2016-06-20"
        inside = rasterio.features.geometry_mask(
            [both.buffer(-1)], chip.valid.shape, chip.transform, invert=True
        )
        assert chip.valid[inside].all()

    def test_a_lot_on_the_seam_is_fully_imaged(self, tiles: list[Path]) -> None:
        imagery = GeoTiffMosaic(str(tiles[0].parent / "*.tif"))
        lot = buffer_m(shapely.Point(-78.0, 36.622), 60)
        result = Detector(ThresholdSegmenter(80)).detect(
            [Boundary(lot, "lot", area_m2(lot), "point", "real")], imagery, [LABELS["lawn"]]
        )[0]
        assert result.coverage_fraction == 1.0

    @pytest.mark.parametrize("native", [0, 1])
    def test_the_warped_side_aligns_within_a_pixel(self, tiles: list[Path], native: int) -> None:
        """Where the tiles overlap, the best match of one with the other is at no shift."""
        own, other = tiles[native], tiles[1 - native]
        alone = GeoTiffMosaic(str(own))
        pixel_grid = alone._files[0].grid
        overlap = pixel_grid.from_lonlat(
            alone._files[0].footprint.intersection(GeoTiffMosaic(str(other))._files[0].footprint)
        )
        assert overlap.area > 500
        window = pixel_grid.window_from_bounds(overlap.bounds)
        chips = [GeoTiffMosaic(str(path)).read(pixel_grid, window) for path in (own, other)]
        shifts = {
            (row, column): _difference(chips, row, column)
            for row in range(-3, 4)
            for column in range(-3, 4)
        }
        best = min(shifts, key=lambda shift: shifts[shift])
        assert best == (0, 0), shifts


def _difference(chips: list[Chip], row: int, column: int) -> float:
    """The mean difference of two chips with the second moved by some pixels."""
    first, second = (_grey(chip) for chip in chips)
    second = np.roll(second, (row, column), (0, 1))
    both = chips[0].valid & np.roll(chips[1].valid, (row, column), (0, 1))
    both[:4] = both[-4:] = False
    both[:, :4] = both[:, -4:] = False
    return float(np.abs(first - second)[both].mean())


def _grey(chip: Chip) -> NDArray[np.float64]:
    return np.asarray(chip.pixels[:3].mean(axis=0), dtype=np.float64)
