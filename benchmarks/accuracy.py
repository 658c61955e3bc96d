"""Accuracy of the segmenters on synthetic counties of several seeds."""

from __future__ import annotations

import tempfile
from pathlib import Path

import geopandas
import numpy as np
from rasterio.features import geometry_mask

from benchmarks.results import Result, save
from detection import LABELS, Detector, build_segmenter, choose_labels, open_imagery, sample
from detection.imagery.geotiff_mosaic import GeoTiffMosaic
from detection.registry.imagery_entry import ImageryEntry
from detection.results import FULL_COVERAGE_FRACTION
from detection.sample import lawn_errors, true_areas_m2
from parcels import County, ParcelBoundaryService, Property

# The sample county's seed first. The tiny SAM3 was trained on none of them.
SEEDS = (2026, 1, 2, 3)
SEGMENTERS = ("sam3-tiny", "spectral")


def run() -> None:
    rows = []
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as folder:
            made = sample.generate(Path(folder) / "county", seed)
            rows += [_row(made, segmenter) for segmenter in SEGMENTERS]
    save(
        Result(
            name="accuracy",
            order=40,
            title="Accuracy on the synthetic sample county",
            command="python -m benchmarks accuracy",
            columns=[
                "seed",
                "segmenter",
                *(f"{label} IoU" for label in LABELS),
                "lawn area error, all lots",
                "lawn area error, median lot",
            ],
            rows=rows,
            notes=[
                "`spectral` is a baseline without weights: colour and texture only. "
                "`sam3-tiny` is a SAM3 of 1.5 MB, trained on synthetic counties with other "
                "seeds: its figures test the pipeline from a prompt to a row, and say "
                "nothing about real imagery.",
                "IoU is by pixel inside the lots, over all lots, against the exact truth of "
                "what is visible from above. Area errors are over the completely imaged "
                "lots. `make batch` uses seed 2026; `spectral` misses mostly straw-coloured "
                "lawns. On the real NAIP tiles of Chico, Claremont, Long Beach, Palm "
                "Springs and Riverside, 0.74 of the mapped tree positions are inside its "
                "`tree` detections (a test asserts a minimum); its lawns there have not "
                "been evaluated.",
            ],
        )
    )


def _row(made: sample.SampleCounty, name: str) -> list[str]:
    county = County(key="sample", path=made.parcels, imagery=ImageryEntry(path=made.imagery))
    imagery = open_imagery(county.imagery)
    segmenter = build_segmenter(name)
    labels = choose_labels(segmenter.labels or LABELS)
    lots = geopandas.read_file(made.parcels)
    props = [Property(pid, parcel_id=pid) for pid in lots["parcel_id"]]
    boundaries = ParcelBoundaryService(county).boundaries(props)
    results = Detector(segmenter).detect(boundaries, imagery, labels)
    lawns = {
        prop.property_id: sum(d.area_m2 for d in result.detections if d.label == "lawn")
        for prop, result in zip(props, results, strict=True)
        if result.coverage_fraction >= FULL_COVERAGE_FRACTION
    }
    errors = lawn_errors(true_areas_m2(made.truth, "lawn"), lawns)
    assert errors is not None
    truth = geopandas.read_file(made.truth)
    ious = {}
    for label in labels:
        found = [d.geometry for r in results for d in r.detections if d.label == label.name]
        true = list(truth[truth["label"] == label.name].geometry)
        ious[label.name] = f"{_pixel_iou(imagery, found, true):.3f}"
    return [
        str(made.seed),
        name,
        *(ious.get(label, "") for label in LABELS),
        f"{errors.total_percent:+.1f} %",
        f"{errors.median_absolute_percent:.1f} %",
    ]


def _pixel_iou(imagery: GeoTiffMosaic, found: list, true: list) -> float:
    grid = imagery.grid_for((found or true)[0])
    everything = geopandas.GeoSeries(found + true, crs=4326).to_crs(grid.crs)
    window = grid.window_from_bounds(tuple(everything.total_bounds))
    shape, transform = (window.height, window.width), grid.transform(window)
    masks = [
        geometry_mask(part, shape, transform, invert=True)
        for part in (everything.iloc[: len(found)], everything.iloc[len(found) :])
    ]
    return float(np.sum(masks[0] & masks[1]) / np.sum(masks[0] | masks[1]))
