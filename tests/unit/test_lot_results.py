"""Masks of a mosaic -> each lot's result: sums, connected parts, areas, lot lines, failures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from mosaics import LAWN, ROOF, disc, distances, mask_of, meadow, mosaic, rectangle
from numpy.typing import NDArray
from pyproj import Geod
from rasters import LEFT, PIXEL_M, TOP, boundary
from shapely import Point, Polygon, affinity, box

from detection.clip import MIN_PART_M2, LotLines
from detection.imagery.pixel_grid import PixelGrid
from detection.lot_results import lot_results
from detection.mosaic import Mosaic
from detection.results import Detection, LotResult
from detection.segmenters.interface import Mask
from parcels.boundary import Boundary

# Coordinates are metres right and down of the mosaic's upper left corner; it is 144 m wide.


def rect(left: float, top: float, right: float, bottom: float) -> Polygon:
    return box(LEFT + left, TOP - bottom, LEFT + right, TOP - top)


def lot(left: float, top: float, right: float, bottom: float) -> Boundary:
    return boundary(rect(left, top, right, bottom))


def measured(
    lots: Sequence[Boundary], masks: Sequence[Mask], lines: LotLines | None = None
) -> list[tuple[Detection, ...]]:
    results = lot_results(lots, mosaic(), masks, lines)
    assert {result.status for result in results} == {"detected"}
    return [result.detections for result in results]


def plain(results: Sequence[LotResult]) -> list[Any]:
    """Results without the order of parts, to compare them."""
    return [
        (
            result.status,
            sorted(
                (
                    d.label,
                    d.relation,
                    round(d.area_m2, 4),
                    round(d.whole_area_m2, 4),
                    round(d.score, 6),
                )
                for d in result.detections
            ),
        )
        for result in results
    ]


HOUSE = distances(rectangle(70, 60, 14, 12, 0.3), ROOF)


class TestContinuous:
    @given(st.integers(0, 2**32 - 1), st.floats(40, 100), st.floats(-20, 20))
    @settings(max_examples=40)
    def test_a_lawn_split_by_a_line_adds_up(self, seed: int, line: float, turn: float) -> None:
        """Both sides of any line get the same outline, from different windows."""
        whole = rect(25, 20, 120, 110)
        cut = affinity.rotate(rect(line, -200, line + 400, 400), turn, Point(LEFT + line, TOP - 70))
        lots = [boundary(part) for part in (whole.difference(cut), whole.intersection(cut))]
        masks = [mask_of(meadow(seed, 96), LAWN, 0.7)]
        (left, right), (both,) = measured(lots, masks), measured([boundary(whole)], masks)
        apart, together = (sum(d.area_m2 for d in each) for each in (left + right, both))
        # Parts below MIN_PART_M2 are dropped, on either side of the line.
        assert together - MIN_PART_M2 * 12 <= apart <= together * (1 + 1e-6) + MIN_PART_M2 * 4

    def test_a_lawn_without_slivers_adds_up_to_a_millionth(self) -> None:
        masks = [distances(disc(70, 70, 30))]
        for simplify_share in (0.0, 0.01):
            label = replace(LAWN, simplify_share=simplify_share)
            masks = [replace(masks[0], label=label)]
            (left,), (right,) = measured([lot(30, 30, 66, 110), lot(66, 30, 110, 110)], masks)
            [(whole,)] = measured([lot(30, 30, 110, 110)], masks)
            assert left.area_m2 + right.area_m2 == pytest.approx(whole.area_m2, rel=1e-6)
            assert whole.area_m2 == pytest.approx(np.pi * 900, rel=0.002 + simplify_share)

    def test_front_and_back_lawn_are_two_rows(self) -> None:
        def front_and_back(x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
            strip = 40 - np.abs(x - 70)  # along the full street, from 30 to 110
            return np.minimum(strip, np.abs(y - 60) - 8)

        [front, back] = measured([lot(60, 30, 80, 100)], [distances(front_and_back)])[0]
        assert {front.relation, back.relation} == {"trimmed"}
        assert sorted([front.area_m2, back.area_m2]) == pytest.approx([20 * 22, 20 * 32], rel=0.01)
        # The complete object is limited to the lot's window: 5 m around it, in cells of 1.5 m.
        wholes = sorted([front.whole_area_m2, back.whole_area_m2])
        for part, height in zip(wholes, (27, 37), strict=True):
            assert 30 * height * 0.99 <= part <= (30 + 6) * (height + 3)

    def test_an_object_inside_belongs(self) -> None:
        [lawn] = measured([lot(40, 40, 100, 100)], [distances(disc(70, 70, 20))])[0]
        assert lawn.relation == "belongs"
        assert lawn.area_m2 == lawn.clipped_area_m2 == lawn.whole_area_m2
        assert lawn.score == pytest.approx(0.5)

    @pytest.mark.parametrize("simplify_share", [0.0, 0.02])
    def test_a_lots_result_does_not_depend_on_other_lots(self, simplify_share: float) -> None:
        lots = [lot(x, y, x + 30, y + 35) for x in (8, 38, 68, 98) for y in (10, 45, 80)]
        rng = np.random.default_rng(3)
        lawn = replace(LAWN, min_area_m2=4.0, simplify_share=simplify_share)
        tree = replace(LAWN, name="tree")
        masks = [
            mask_of(meadow(seed, 96), label, rng.random((96, 96)))
            for seed, label in enumerate((lawn, tree))
        ]
        together = lot_results(lots, mosaic(), [*masks, HOUSE])
        alone = [lot_results([each], mosaic(), [*masks, HOUSE])[0] for each in lots]
        assert plain(together) == plain(alone)
        assert sum(len(result.detections) for result in together) > 40

    def test_min_area_applies_within_the_lots_window(self) -> None:
        mask = distances(disc(60, 60, 3), replace(LAWN, min_area_m2=20.0))
        assert [len(d) for d in measured([lot(30, 30, 60, 90), lot(60, 30, 90, 90)], [mask])] == [
            1,
            1,
        ]
        smaller = distances(disc(60, 60, 2.2), replace(LAWN, min_area_m2=20.0))
        assert measured([lot(30, 30, 60, 90)], [smaller]) == [()]


class TestDiscrete:
    def test_an_object_that_belongs_has_both_areas(self) -> None:
        (mine,), neighbour = measured([lot(30, 30, 77.4, 90), lot(77.4, 30, 110, 90)], [HOUSE])
        assert mine.relation == "belongs"
        assert neighbour == ()
        assert mine.area_m2 == mine.whole_area_m2 == pytest.approx(14 * 12, rel=0.02)
        assert mine.clipped_area_m2 < mine.area_m2

    def test_an_object_shared_by_two_lots_adds_up(self) -> None:
        (left,), (right,) = measured([lot(30, 30, 70, 90), lot(70, 30, 110, 90)], [HOUSE])
        assert left.relation == right.relation == "shared"
        assert left.whole_area_m2 == pytest.approx(right.whole_area_m2, rel=1e-6)
        assert left.area_m2 + right.area_m2 == pytest.approx(left.whole_area_m2, rel=1e-6)

    @pytest.mark.parametrize("shift_m", [(1.2, 0), (-1.2, 0), (0, 1.2), (0.8, -0.8)])
    def test_lot_lines_one_metre_off_do_not_cut_roofs(self, shift_m: tuple[float, float]) -> None:
        """Houses near lot lines, and lots that are 1.2 m off the imagery."""
        right, down = shift_m
        lots, houses = [], []
        for x in (20, 50, 80):
            lots.append(lot(x + right, 30 + down, x + 30 + right, 80 + down))
            houses.append(distances(rectangle(x + 15, 55, 29, 12, 0.0), ROOF, 288, 0.5))
        for detections in measured(lots, houses):
            [roof] = detections
            assert roof.relation == "belongs"
            assert roof.area_m2 == pytest.approx(29 * 12, rel=0.005)

    def test_lots_four_metres_off_need_the_countys_offset(self) -> None:
        """4 m west: without the offset roofs are cut; with it they are complete and in place."""
        lots = [lot(x - 4, 33, x + 26, 83) for x in (20, 50, 80)]
        houses = [distances(rectangle(x + 15, 55, 27, 12, 0.0), ROOF) for x in (20, 50, 80)]
        wrong = measured(lots, houses)
        assert {d.relation for detections in wrong for d in detections} == {"shared"}
        right = measured(lots, houses, LotLines(offset_m=(4.0, 3.0)))
        for x, detections in zip((20, 50, 80), right, strict=True):
            [roof] = detections
            assert roof.relation == "belongs"
            [shown] = mosaic().grid.from_lonlat(np.array([roof.geometry]))
            truth = rect(x + 1.5, 49, x + 28.5, 61)  # its position on the imagery
            assert shown.intersection(truth).area / shown.union(truth).area > 0.98

    def test_the_tolerance_is_the_countys(self) -> None:
        house = [distances(rectangle(70, 60, 14, 12, 0.0), ROOF)]
        lots = [lot(30, 30, 74, 90)]  # the house is 3 m out
        [[strict]] = measured(lots, house, LotLines(tolerance_m=1.5))
        [[loose]] = measured(lots, house, LotLines(tolerance_m=3.2))
        assert (strict.relation, loose.relation) == ("shared", "belongs")

    def test_an_object_far_from_the_lot_is_dropped(self) -> None:
        assert measured([lot(5, 5, 20, 20)], [HOUSE]) == [()]


class TestAreas:
    @pytest.mark.parametrize("crs", ["EPSG:32616", "EPSG:26916", "EPSG:2274", "EPSG:32615"])
    def test_all_three_are_geods(self, crs: str) -> None:
        """To 0.01 %, also in feet and far from a zone's centre."""
        unit = 0.3048006 if crs == "EPSG:2274" else 1.0
        centre = Point(-86.9, 35.05)
        [middle] = PixelGrid(crs, 1.0).from_lonlat(np.array([centre]))
        column, row = int(middle.x / (PIXEL_M / unit)), int(-middle.y / (PIXEL_M / unit))
        pixel_grid = PixelGrid(crs, PIXEL_M / unit)
        place = mosaic(grid=pixel_grid)
        place = replace(place, window=replace(place.window, column=column, row=row))
        left, bottom, right, top = pixel_grid.bounds(place.window)
        across, down = (right - left) / 144, (top - bottom) / 144

        def there(x: float, y: float, x2: float, y2: float) -> Polygon:
            return box(left + x * across, top - y2 * down, left + x2 * across, top - y * down)

        places = pixel_grid.to_lonlat(np.array([there(30, 30, 70, 90), there(30, 30, 110, 90)]))
        lots = [
            replace(lot(30, 30, 70, 90), geometry=shapely.multipolygons([each])) for each in places
        ]
        for mask in (HOUSE, replace(HOUSE, label=LAWN)):
            results = lot_results(lots, place, [mask])
            [[cut], [whole]] = [result.detections for result in results]
            assert cut.relation in {"shared", "trimmed"}
            cut_m2, whole_m2 = (
                abs(Geod(ellps="WGS84").geometry_area_perimeter(found.geometry)[0])
                for found in (cut, whole)
            )
            assert cut.area_m2 == pytest.approx(cut_m2, rel=1e-4)
            assert cut.clipped_area_m2 == pytest.approx(cut_m2, rel=1e-4)
            assert whole.area_m2 == pytest.approx(whole_m2, rel=1e-4)
            if mask is HOUSE:
                assert cut.whole_area_m2 == pytest.approx(whole_m2, rel=1e-4)

    def test_geometries_are_valid_multipolygons(self) -> None:
        lots = [lot(x, y, x + 30, y + 35) for x in (8, 38, 68, 98) for y in (10, 45, 80)]
        masks = [mask_of(meadow(seed, 96, 1.0)) for seed in range(2)]
        found = [d for detections in measured(lots, [*masks, HOUSE]) for d in detections]
        assert all(d.geometry.geom_type == "MultiPolygon" for d in found)
        assert all(d.geometry.is_valid and d.area_m2 > 0 for d in found)


class TestResults:
    def test_detections_are_in_the_order_of_the_masks(self) -> None:
        pool = distances(rectangle(60, 80, 9, 5, 0), replace(ROOF, name="pool"))
        lawn = distances(disc(60, 60, 20))
        [found] = measured([lot(30, 30, 100, 100)], [lawn, HOUSE, pool])
        assert [d.label for d in found] == ["lawn", "roof", "pool"]
        assert [d.label for d in measured([lot(30, 30, 100, 100)], [pool, HOUSE, lawn])[0]] == [
            "pool",
            "roof",
            "lawn",
        ]

    def test_no_masks_and_no_lots(self) -> None:
        assert measured([lot(30, 30, 100, 100)], []) == [()]
        assert lot_results([], mosaic(), [HOUSE]) == []

    def test_invalid_masks_raise(self) -> None:
        bad = mask_of(np.full((96, 96), np.nan))
        for label in (LAWN, ROOF):
            with pytest.raises(ValueError, match="not finite"):
                lot_results([lot(30, 30, 60, 60)], mosaic(), [replace(bad, label=label)])


class TestFaults:
    def test_a_lot_that_cannot_be_measured_fails_alone(self) -> None:
        lots = [lot(10 * i, 30, 10 * i + 10, 90) for i in range(2, 11)]
        flat = shapely.from_wkt("MULTIPOLYGON (((0 0, 1 1, 0 0)))")
        lots[4] = replace(lots[4], geometry=flat)
        results = lot_results(lots, mosaic(), [mask_of(meadow(1, 96))])
        assert [result.status == "failed" for result in results] == [i == 4 for i in range(9)]
        assert results[4].reason == "bad_geometry"

    def test_a_lot_without_valid_pixels_has_no_imagery(self) -> None:
        valid = np.ones((288, 288), bool)
        valid[:, :100] = False
        lots = [lot(10, 10, 40, 40), lot(30, 10, 70, 40), lot(60, 10, 90, 40)]
        outside, partly, inside = lot_results(lots, mosaic(valid=valid), [_everywhere()])
        assert (outside.status, outside.reason) == ("no_imagery", "nodata")
        assert partly.coverage_fraction == pytest.approx(0.5)
        assert [d.area_m2 for d in partly.detections] == pytest.approx([20 * 30], rel=1e-3)
        assert inside.coverage_fraction == 1.0

    def test_an_unreadable_file_is_named(self) -> None:
        place: Mosaic = mosaic(valid=np.zeros((288, 288), bool), failed_sources=("north.tif",))
        [result] = lot_results([lot(10, 10, 40, 40)], place, [_everywhere()])
        assert (result.status, result.reason) == ("no_imagery", "corrupt")
        assert "north.tif" in result.detail

    def test_a_lot_smaller_than_a_pixel_is_imaged(self) -> None:
        valid = np.ones((288, 288), bool)
        valid[0, 0] = False
        [result] = lot_results([lot(50.1, 50.1, 50.2, 50.2)], mosaic(valid=valid), [])
        assert result.coverage_fraction == 1.0


def _everywhere() -> Mask:
    return mask_of(np.ones((96, 96)))
