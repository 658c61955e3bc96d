"""The lots of the loop's proof: what is exported is the truth, and folds share no ground."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely

from benchmarks.loop.known_lots import LABELS, KnownLot, export_lots
from benchmarks.loop.real import divide
from benchmarks.loop.sample_lots import sample_lots
from benchmarks.loop.traced_lots import TracedPlace
from benchmarks.loop.training_folder import keep_positives_only, write_training
from detection.training.sam3_decoder.chips import read_chips
from parcels.measure import area_m2, polygonal
from pipeline.learning.judging.judged_lots import lots_of_split, open_lot
from pipeline.store.objects.folder_or_bucket import open_objects


@pytest.fixture(scope="module")
def lots(tmp_path_factory: pytest.TempPathFactory) -> list[KnownLot]:
    return sample_lots(tmp_path_factory.mktemp("loop"), "dry", seed=5, lots=6)


def true_m2(lot: KnownLot, label: str) -> float:
    shapes = [each.outline for each in lot.reviewed.objects if each.label == label]
    inside = [shapely.intersection(each, lot.reviewed.boundary.geometry) for each in shapes]
    return sum(area_m2(polygonal(each)) for each in inside)


def test_what_is_exported_is_the_exact_truth(lots: list[KnownLot], tmp_path: Path) -> None:
    objects = open_objects(str(tmp_path))
    manifest = export_lots(objects, {"test": lots[:2]})
    for known, pairs in zip(
        lots[:2], lots_of_split(objects, manifest, "test"), strict=True
    ):  # fmt: skip
        found = open_lot(objects, pairs)
        assert (found.name, found.block) == (known.name, known.block)
        assert set(found.truths) == set(LABELS), "also what the lot does not have is known"
        for label in LABELS:
            area = found.truths[label].sum() * found.pixel_m2
            assert area == pytest.approx(true_m2(known, label), rel=0.02, abs=1.0)


def test_unsure_ground_is_not_judged(lots: list[KnownLot], tmp_path: Path) -> None:
    outline = lots[0].reviewed.boundary.geometry
    west, south, east, north = outline.bounds
    half = shapely.box(west, south, (west + east) / 2, north)
    objects = open_objects(str(tmp_path))
    manifest = export_lots(objects, {"test": [lots[0], replace(lots[0], unsure=half)]})
    whole, rest = (
        np.count_nonzero(open_lot(objects, replace(pairs, pairs=(pair,))).lot)
        for pairs in lots_of_split(objects, manifest, "test")
        for pair in (pairs.pairs[0], pairs.pairs[-1])
    )
    assert 0.3 * whole < rest < 0.7 * whole


def test_a_loop_of_positives_knows_no_absence(lots: list[KnownLot], tmp_path: Path) -> None:
    chips = write_training(tmp_path, lots[:2], lots[2:3])
    before = {chip.name: chip for chip in read_chips(chips)}
    assert all(label.exhaustive for chip in before.values() for label in chip.labels.values())
    keep_positives_only(chips)
    for chip in read_chips(chips):
        if chip.split == "validation":
            assert chip == before[chip.name]
            continue
        kept = {name for name, label in before[chip.name].labels.items() if label.objects}
        assert set(chip.labels) == kept
        assert not any(label.exhaustive for label in chip.labels.values())
    assert json.loads((chips / "chips.json").read_text())["format"] == 1


def test_years_of_one_place_are_in_one_fold(lots: list[KnownLot]) -> None:
    places = [
        TracedPlace(f"town {number % 5}", lots[:1], lots[: number % 3]) for number in range(12)
    ]
    folds = divide(places, 3)
    assert sorted(map(id, (p for fold in folds for p in fold))) == sorted(map(id, places))
    grounds = [{place.ground for place in fold} for fold in folds]
    assert all(grounds)
    assert not any(one & other for one in grounds for other in grounds if one is not other)
