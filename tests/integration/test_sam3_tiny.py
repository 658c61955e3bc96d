"""The tiny SAM3 through the detector, on a sample county outside its training data."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import geopandas
import pytest
from pyproj import CRS
from shapely.ops import unary_union

from detection import Detector, build_segmenter
from detection.imagery.geotiff_mosaic import GeoTiffMosaic
from detection.labels import LABELS, Label
from detection.results import LotResult
from detection.sample import SampleCounty, generate
from detection.segmenters.sam3.weights import file_sha256
from parcels.boundary import Boundary
from parcels.measure import area_m2, polygonal

TINY = Path(str(files("detection.segmenters.sam3").joinpath("tiny")))
ROOF = Label("roof", "house roof", "discrete", 4.0)
POOL = Label("pool", "swimming pool", "discrete", 4.0)
VAIN = Label("trampoline", "round backyard trampoline", "discrete", 1.0)


@pytest.fixture(scope="module")
def county(tmp_path_factory: pytest.TempPathFactory) -> SampleCounty:
    return generate(tmp_path_factory.mktemp("sample") / "county", seed=77, lots=30)


@pytest.fixture(scope="module")
def seen(county: SampleCounty) -> dict[str, LotResult]:
    """The tiny SAM3's result of each lot, by parcel id."""
    parcels = geopandas.read_file(county.parcels)
    lots = [
        Boundary(polygonal(lot), "lot", area_m2(lot), "parcel_id", "synthetic")
        for lot in parcels.geometry
    ]
    segmenter = build_segmenter("sam3-tiny")
    asked = [LABELS["lawn"], ROOF, POOL, VAIN]
    results = Detector(segmenter).detect(lots, GeoTiffMosaic(county.imagery), asked)
    return dict(zip(parcels["parcel_id"], results, strict=True))


@pytest.fixture(scope="module")
def truth(county: SampleCounty) -> geopandas.GeoDataFrame:
    return geopandas.read_file(county.truth).to_crs(26916)


def _found(result: LotResult, label: str) -> geopandas.GeoSeries:
    shapes = [d.geometry for d in result.detections if d.label == label]
    return geopandas.GeoSeries([unary_union(shapes)], crs=4326).to_crs(CRS.from_epsg(26916))[0]


def _iou(seen: dict[str, LotResult], truth: geopandas.GeoDataFrame, label: str) -> list[float]:
    """The IoU of each lot that has the label in the truth."""
    rows = truth[
        (truth["label"] == label) & (truth["coverage_fraction"] > 0.99) & (truth["area_m2"] > 15)
    ]
    ious = []
    for parcel_id, true in zip(rows["parcel_id"], rows.geometry, strict=True):
        mine = _found(seen[parcel_id], label)
        ious.append(mine.intersection(true).area / mine.union(true).area)
    return ious


def test_every_lot_has_a_result(seen: dict[str, LotResult]) -> None:
    assert {result.status for result in seen.values()} == {"detected"}


def test_lawns_of_lots_outside_the_training_data(
    seen: dict[str, LotResult], truth: geopandas.GeoDataFrame
) -> None:
    ious = sorted(_iou(seen, truth, "lawn"))
    assert len(ious) > 20
    assert sum(ious) / len(ious) >= 0.6
    assert ious[len(ious) // 2] >= 0.6


@pytest.mark.parametrize(("label", "share"), [("roof", 0.8), ("pool", 0.7)])
def test_roofs_and_pools_are_detected(
    seen: dict[str, LotResult], truth: geopandas.GeoDataFrame, label: str, share: float
) -> None:
    ious = _iou(seen, truth, label)
    assert ious
    assert sum(iou >= 0.4 for iou in ious) / len(ious) >= share


def test_absent_labels_are_not_detected(seen: dict[str, LotResult]) -> None:
    assert not [d for result in seen.values() for d in result.detections if d.label == VAIN.name]


def test_documented_figures_are_of_these_weights() -> None:
    measured = json.loads((TINY / "measured.json").read_text())
    weights = TINY / "model.safetensors"
    assert measured["sha256"] == file_sha256(weights) == build_segmenter("sam3-tiny").weights_sha256
    assert measured["bytes"] == weights.stat().st_size <= 2_000_000
    assert measured["figures"]["lawn_iou"] >= 0.6
    assert measured["figures"]["absent_nothing"] >= 0.95
    # Twenty minutes on two cores.
    assert measured["training"]["cpu_s"] <= 2 * 20 * 60
