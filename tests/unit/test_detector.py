"""Boundaries and imagery -> results: areas, shared chips, lots larger than a chip."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import InMemory, at, only, painted
from pyproj import Geod
from rasters import (
    CRS_NAME,
    LEFT,
    PIXEL_M,
    TOP,
    ThresholdSegmenter,
    boundary,
    pixel_grid,
)
from shapely import MultiPolygon, affinity, box
from shapely.geometry.base import BaseGeometry

from detection import LABELS, Detector, Label
from detection.chip import Chip
from detection.detector import FirstChips
from detection.imagery.pixel_grid import PixelGrid
from detection.segmenters.interface import Mask
from detection.timing import StageTimer
from parcels import NoBoundary

LAWN = LABELS["lawn"]
POOL = Label("pool", "swimming pool", "discrete", 1.0)
GEOD = Geod(ellps="WGS84")


class TestAreas:
    def test_a_lawn_on_a_lot(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path, (100, 100, 40, 60))
        result = only(Detector(ThresholdSegmenter()).detect(
            [boundary(at(90, 90, 80, 90))], imagery, [LAWN]
        ))  # fmt: skip
        assert result.status == "detected"
        assert result.coverage_fraction == 1.0
        [lawn] = result.detections
        assert (lawn.label, lawn.prompt, lawn.relation) == ("lawn", LAWN.prompt, "belongs")
        assert lawn.score == pytest.approx(0.75)
        assert lawn.area_m2 == pytest.approx(lawn.clipped_area_m2, rel=1e-9)
        assert lawn.area_m2 == pytest.approx(lawn.whole_area_m2, rel=1e-9)
        # An outline cuts a sharp corner by an eighth of a pixel, and a UTM metre is 0.9996 of a
        # metre at the centre of its zone.
        expected_m2 = (600 - 4 / 8 * PIXEL_M**2) / 0.9996**2
        assert lawn.area_m2 == pytest.approx(expected_m2, rel=1e-5)
        assert result.chip is not None
        assert result.chip.captured_on == "2020"
        assert result.chip.crs == CRS_NAME
        assert len(result.chip.sha256) == 64

    def test_a_lawn_split_by_a_lot_line_adds_up(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path, (60, 50, 201, 77))
        line = affinity.rotate(box(LEFT - 500, TOP - 500, LEFT + 77.7, TOP + 500), 7)
        block = at(20, 20, 300, 300)
        lots = [boundary(block & line), boundary(block - line)]
        results = Detector(ThresholdSegmenter()).detect(lots, imagery, [LAWN])
        [left], [right] = (result.detections for result in results)
        assert {left.relation, right.relation} == {"trimmed"}
        [whole] = only(
            Detector(ThresholdSegmenter()).detect([boundary(block)], imagery, [LAWN])
        ).detections
        assert whole.area_m2 == pytest.approx(whole.whole_area_m2, rel=1e-9)
        assert whole.area_m2 == pytest.approx(201 * 77 / 4, rel=2e-3)
        assert left.area_m2 + right.area_m2 == pytest.approx(whole.area_m2, rel=1e-6)

    def test_clipped_and_whole_areas_are_both_stored(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path, (100, 100, 40, 40))
        lot = boundary(at(60, 60, 78, 100))  # ends one metre before the pool does
        result = only(Detector(ThresholdSegmenter()).detect([lot], imagery, [POOL]))
        [pool] = result.detections
        assert pool.relation == "belongs"
        assert pool.area_m2 == pool.whole_area_m2
        assert pool.clipped_area_m2 / pool.whole_area_m2 == pytest.approx(38 / 40, rel=1e-4)

    @settings(max_examples=25)
    @given(
        zone=st.sampled_from([32610, 32616, 32619, 26911, 32733]),
        east_m=st.floats(170_000, 830_000),
        north_m=st.floats(1_000_000, 6_500_000),
        seed=st.integers(0, 2**32 - 1),
    )
    def test_areas_are_geods(self, zone: int, east_m: float, north_m: float, seed: int) -> None:
        """Anywhere in a UTM zone, whose areas are up to 0.2 % off."""
        rng = np.random.default_rng(seed)
        blocks = np.kron(rng.random((20, 20)) < 0.6, np.ones((8, 8))).astype(np.uint8)
        imagery = InMemory(200 * blocks[None], PixelGrid(f"EPSG:{zone}", 0.6), east_m, north_m)
        lot = boundary(box(east_m, north_m - 90, east_m + 90, north_m), f"EPSG:{zone}")
        result = only(Detector(ThresholdSegmenter()).detect([lot], imagery, [LAWN]))
        assert result.detections
        for lawn in result.detections:
            true_m2 = abs(GEOD.geometry_area_perimeter(oriented(lawn.geometry))[0])
            assert lawn.area_m2 == pytest.approx(true_m2, rel=1e-4)
            assert lawn.geometry.is_valid

    def test_lots_with_holes_and_several_parts(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path, (0, 0, 400, 400))
        ring = at(20, 20, 100, 100) - at(50, 50, 40, 40)
        lot = boundary(MultiPolygon([ring, at(200, 20, 50, 50)]))
        result = only(Detector(ThresholdSegmenter()).detect([lot], imagery, [LAWN]))
        assert sum(lawn.area_m2 for lawn in result.detections) == pytest.approx(
            lot.area_m2, rel=1e-6
        )
        assert len(result.detections) == 2
        for lawn in result.detections:
            assert lawn.geometry.difference(lot.geometry.buffer(1e-9)).is_empty


def oriented(geometry: MultiPolygon) -> BaseGeometry:
    return MultiPolygon([shapely.geometry.polygon.orient(part) for part in geometry.geoms])


class TestSharing:
    def test_each_chip_is_segmented_once(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path, (0, 0, 400, 400), size_px=1500)
        lots = [boundary(at(x, y, 30, 30)) for x in range(10, 1450, 120) for y in (10, 700, 1400)]
        segmenter, clock = ThresholdSegmenter(), StageTimer()
        found = dict(Detector(segmenter).detect_iter(lots, imagery, [LAWN, POOL], clock))
        assert sorted(found) == list(range(len(lots)))
        hashes = {result.chip.sha256 for result in found.values() if result.chip}
        assert len(segmenter.chips) == len(hashes) == clock.calls["segment"]
        assert len(hashes) < len(lots) / 3

    def test_a_lot_has_the_same_result_alone_and_among_others(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path, (30, 30, 60, 60), (110, 40, 80, 70))
        lots = [boundary(at(20 + 90 * i, 20, 90, 120)) for i in range(3)]
        detector = Detector(ThresholdSegmenter())
        assert (
            detector.detect(lots[1:2], imagery, [LAWN])
            == detector.detect(lots, imagery, [LAWN])[1:2]
        )

    def test_results_are_in_the_boundaries_order(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path, (0, 0, 40, 40), size_px=1500)
        far, near = boundary(at(1400, 1400, 40, 40)), boundary(at(0, 0, 40, 40))
        away = boundary(at(9000, 0, 40, 40))
        results = Detector(ThresholdSegmenter()).detect([far, away, near], imagery, [LAWN])
        assert [len(r.detections) for r in results] == [0, 0, 1]
        assert [r.status for r in results] == ["detected", "no_imagery", "detected"]

    def test_a_property_without_a_boundary_gets_its_reason(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path, (100, 100, 40, 60))
        given = [NoBoundary("not_found", "no such id"), boundary(at(90, 90, 80, 90))]
        missing, detected = Detector(ThresholdSegmenter()).detect(given, imagery, [LAWN])
        assert (missing.status, missing.reason) == ("no_boundary", "not_found")
        assert (missing.detail, missing.detections) == ("no such id", ())
        assert detected.status == "detected"

    def test_nothing_to_detect(self, tmp_path: Path) -> None:
        assert Detector(ThresholdSegmenter()).detect([], painted(tmp_path), [LAWN]) == []


class TestLargeLots:
    """Lots that do not fit into a chip, on imagery with chips of 256 pixels."""

    @pytest.mark.parametrize("label", [LAWN, POOL])
    @pytest.mark.parametrize("chips_per_batch", [1, 3])
    def test_an_object_over_seams_is_one_object(
        self, tmp_path: Path, label: Label, chips_per_batch: int
    ) -> None:
        # From one end to the other over three chips, and down over two.
        imagery = painted(tmp_path, (40, 90, 600, 50), (300, 90, 40, 300), size_px=700)
        lot = boundary(at(20, 20, 660, 600))
        cut = ThresholdSegmenter(100, 256, chips_per_batch)
        whole = ThresholdSegmenter(100, chip_px=2048)
        [small] = only(Detector(cut).detect([lot], imagery, [label])).detections
        [large] = only(Detector(whole).detect([lot], imagery, [label])).detections
        assert len(cut.chips) == 12
        assert len(whole.chips) == 1
        assert small.geometry.symmetric_difference(large.geometry).area < 1e-9 * large.geometry.area
        assert small.area_m2 == pytest.approx(large.area_m2, rel=1e-9)
        assert small.score == pytest.approx(large.score, rel=1e-5)
        exact_m2 = (600 * 50 + 40 * 250) / 4 / 0.9996**2
        assert small.area_m2 == pytest.approx(exact_m2, rel=1e-4)

    @settings(max_examples=20)
    @given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from([LAWN, POOL]))
    def test_results_do_not_depend_on_the_chip_size(self, seed: int, kind: Label) -> None:
        """Rectangles at random, in chips of 128 pixels and in one, for lots at random."""
        rng = np.random.default_rng(seed)
        pixels = np.full((1, 500, 500), 20, np.uint8)
        for column, row, width, height in rng.integers((0, 0, 3, 3), (450, 450, 200, 90), (9, 4)):
            pixels[:, row : row + height, column : column + width] = 200
        imagery = InMemory(pixels, pixel_grid(), LEFT, TOP)
        sizes = rng.uniform((0, 0, 20, 20), (250, 250, 240, 240), (3, 4))
        lots = [boundary(at(*size)) for size in sizes]
        cut, whole = ThresholdSegmenter(100, 128, 4), ThresholdSegmenter(100, 2048)
        for small, large in zip(
            Detector(cut).detect(lots, imagery, [kind]),
            Detector(whole).detect(lots, imagery, [kind]),
            strict=True,
        ):
            areas = [sorted(d.area_m2 for d in each.detections) for each in (small, large)]
            # A corner on a mask's edge is not cut; elsewhere it is, by an eighth of a pixel.
            corners_m2 = PIXEL_M**2 / 8 if kind == POOL else 0.0
            assert areas[0] == pytest.approx(areas[1], rel=1e-6, abs=4.01 * corners_m2)

    @settings(max_examples=10)
    @given(st.permutations(range(6)), st.integers(1, 6), st.integers(1, 4))
    def test_a_lots_result_does_not_depend_on_the_others(
        self, order: list[int], count: int, chips_per_batch: int
    ) -> None:
        rng = np.random.default_rng(5)
        blocks = np.kron(rng.random((40, 40)) < 0.4, np.ones((12, 12))).astype(np.uint8)
        imagery = InMemory(200 * blocks[None], pixel_grid(), LEFT, TOP)
        places = [
            (5, 5, 50, 50),
            (60, 5, 300, 40),
            (100, 50, 30, 30),
            (100, 80, 30, 300),
            (9, 9, 400, 400),
            (60, 20, 300, 45),
        ]
        lots = [boundary(at(*place)) for place in places]
        segmenter = ThresholdSegmenter(100, 128, chips_per_batch)
        asked = [lots[i] for i in order[:count]]
        labels = [LAWN, POOL, replace(LABELS["tree"], simplify_share=0.05)]
        results = Detector(segmenter).detect(asked, imagery, labels)
        assert len(segmenter.chips) == len({chip.bounds for chip in segmenter.chips})
        for lot, result in zip(asked, results, strict=True):
            [alone] = Detector(ThresholdSegmenter(100, 128)).detect([lot], imagery, labels)
            assert result == alone

    def test_masks_are_dropped_after_the_last_plan(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path, (0, 0, 40, 40), size_px=1500)
        lots = [
            boundary(at(x, y, 60, 60)) for x in range(10, 1400, 70) for y in range(10, 1400, 140)
        ]
        alive: weakref.WeakSet[Mask] = weakref.WeakSet()
        most = 0

        class Counting(ThresholdSegmenter):
            def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
                nonlocal most
                most = max(most, len(alive))
                made = super().segment(chips, labels)
                alive.update(mask for masks in made for mask in masks)
                self.chips.clear()
                return made

        segmenter = Counting(100, 256)
        assert len(Detector(segmenter).detect(lots, imagery, [LAWN])) == len(lots)
        # Seven by seven chips: one row waits for the next, never all of them.
        assert 3 <= most <= 10
        assert not alive


class TestFirstChips:
    def test_on_first_reports_the_speed_of_the_first_batch(self, tmp_path: Path) -> None:
        imagery = painted(tmp_path, size_px=1500)
        lots = [boundary(at(x + 90, 90, 20, 20)) for x in range(0, 1300, 224)]
        lots.append(boundary(at(90_000, 0, 20, 20)))
        reported: list[FirstChips] = []
        detector = Detector(ThresholdSegmenter(100, 256, chips_per_batch=4))
        for _ in detector.detect_iter(lots, imagery, [LAWN, POOL], on_first=reported.append):
            pass
        [first] = reported
        assert (first.device, first.chips, first.prompts) == ("a test", 4, 2)
        assert (first.planned_chips, first.planned_lots) == (6, 6)
        assert first.seconds > 0

    def test_on_first_is_not_called_without_chips(self, tmp_path: Path) -> None:
        reported: list[FirstChips] = []
        away = [boundary(at(90_000, 0, 20, 20))]
        detector = Detector(ThresholdSegmenter())
        found = detector.detect_iter(away, painted(tmp_path), [LAWN], on_first=reported.append)
        assert [result.status for _, result in found] == ["no_imagery"]
        assert not reported
