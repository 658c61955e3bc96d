"""A chip's hash and position, and the plan: which lots share which chips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS
from rasters import LEFT, TOP, boundary, chip, noise, pixel_grid
from shapely.geometry.base import BaseGeometry

from detection.chip_plan import MAX_CHIPS, ChipPlan, PlanFailure, chip_windows
from detection.chip_plan import plan_chips as plan_chips_of
from detection.clip import LotLines
from detection.errors import ImageryError, ImageryUnavailable, NoImagery
from detection.imagery.pixel_grid import PixelGrid, PixelWindow, is_metric, union, utm_crs
from parcels.boundary import Boundary
from parcels.crs import from_wgs84
from parcels.measure import area_m2


class Everywhere:
    """Imagery on the tests' grid everywhere, or raising errors."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)
        self.asked = 0

    def grid_for(self, _geometry: BaseGeometry) -> PixelGrid:
        self.asked += 1
        error = self.errors.pop(0) if self.errors else None
        if error:
            raise error
        return pixel_grid()

    def read(self, _frame: PixelGrid, _window: PixelWindow) -> None:
        raise AssertionError("a plan reads no pixels")


def lot(x_m: float, y_m: float, side_m: float = 20.0) -> Boundary:
    """A square lot, x_m to the right and y_m down from the tests' corner."""
    left, top = LEFT + x_m, TOP - y_m
    return boundary(shapely.box(left, top - side_m, left + side_m, top))


class TestChip:
    def test_equal_chips_have_one_hash(self) -> None:
        pixels = noise(3, 20, 30)
        first, second = chip(pixels), chip(pixels.copy(order="F"))
        assert first.sha256 == second.sha256
        assert len(first.sha256) == 64
        assert replace(first, captured_on="2020", sources=("a",)).sha256 == first.sha256

    def test_the_hash_is_the_same_in_every_process(self) -> None:
        pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
        expected = "00a0100704df80a06c01d7b6acb2e7a9d611cc98bf43b65a579edb729c4a2496"
        assert chip(pixels).sha256 == expected

    @pytest.mark.parametrize("what", ["pixel", "valid", "place", "crs", "bands", "dtype", "shape"])
    def test_different_chips_have_different_hashes(self, what: str) -> None:
        pixels = noise(3, 20, 30)
        one = chip(pixels)
        changed = pixels.copy()
        changed[1, 2, 3] ^= 1
        hole = one.valid.copy()
        hole[4, 5] = False
        other = {
            "pixel": replace(one, pixels=changed),
            "valid": replace(one, valid=hole),
            "place": replace(one, transform=one.transform @ Affine.translation(1, 0)),
            "crs": replace(one, crs=CRS.from_epsg(32615)),
            "bands": replace(one, bands=("red", "green", "blue")),
            "dtype": replace(one, pixels=pixels.view(np.int8)),
            "shape": replace(one, pixels=pixels.reshape(3, 30, 20), valid=one.valid.T),
        }[what]
        assert other.sha256 != one.sha256

    def test_bands_by_name(self) -> None:
        one = chip(noise(2, 4, 4))
        assert np.array_equal(one.band("band2"), one.pixels[1])  # type: ignore[arg-type]
        assert one.band("nir") is None

    def test_gsd_of_a_crs_in_feet_is_in_metres(self) -> None:
        feet = Affine(2.0, 0, 800_000, 0, -2.0, 300_000)
        assert chip(noise(1, 4, 4), transform=feet, crs="EPSG:2274").gsd_m == pytest.approx(
            2 * 1200 / 3937
        )


class TestPixelGrid:
    def test_windows_and_bounds_are_inverse(self) -> None:
        window = PixelWindow(1_000_123, -7_760_321, 31, 17)
        assert pixel_grid().window_from_bounds(pixel_grid().bounds(window)) == window

    def test_a_window_contains_its_bounds(self) -> None:
        bounds = (LEFT + 0.1, TOP - 9.9, LEFT + 10.1, TOP - 0.4)
        left, bottom, right, top = pixel_grid().bounds(pixel_grid().window_from_bounds(bounds))
        assert (left, bottom, right, top) == (LEFT, TOP - 10, LEFT + 10.5, TOP)

    @pytest.mark.parametrize(
        ("longitude", "latitude", "zone"),
        [
            (-90.05, 35.15, "EPSG:32615"),
            (-89.9, 35.15, "EPSG:32616"),
            (-180.0, 10.0, "EPSG:32601"),
            (180.0, 10.0, "EPSG:32660"),
            (151.2, -33.9, "EPSG:32756"),
        ],
    )
    def test_utm_zones(self, longitude: float, latitude: float, zone: str) -> None:
        assert utm_crs(longitude, latitude) == zone

    def test_is_metric(self) -> None:
        memphis = (-90.0, 35.1)
        assert is_metric(CRS.from_epsg(32616), *memphis)
        assert is_metric(CRS.from_epsg(2274), *memphis)  # Tennessee state plane, in feet
        assert not is_metric(CRS.from_epsg(3857), *memphis)
        assert not is_metric(CRS.from_epsg(4326), *memphis)

    @pytest.mark.parametrize(
        ("pixel_m", "gsd_m", "count"),
        [(0.1, 0.3, 3), (0.075, 0.3, 4), (0.5, 0.9, 1), (0.5, 0.1, 1), (0.6, 1.2, 2)],
    )
    def test_coarsening_factor(self, pixel_m: float, gsd_m: float, count: int) -> None:
        assert PixelGrid("EPSG:32616", pixel_m).coarsening_factor(gsd_m) == count

    def test_transform_to_lonlat_and_back(self) -> None:
        square = shapely.box(LEFT, TOP - 9, LEFT + 9, TOP)
        again = pixel_grid().from_lonlat(pixel_grid().to_lonlat(square))
        assert again.equals_exact(square, 1e-6)


SIDE_PX = 1008  # so a cell is 882 pixels, with an overlap of 63


def plan_chips(
    lots: Sequence[Boundary], imagery: Everywhere, gsd_m: float | None = None
) -> tuple[list[ChipPlan], dict[int, PlanFailure]]:
    return plan_chips_of(lots, imagery, SIDE_PX, gsd_m)


windows = st.builds(
    PixelWindow,
    st.integers(-(10**6), 10**6),
    st.integers(-(10**6), 10**6),
    st.integers(1, 2500),
    st.integers(1, 2500),
)


class TestChipWindows:
    @given(windows, st.sampled_from([16, 128, 512, 1008]))
    def test_chips_contain_the_needed_window(self, needed: PixelWindow, side_px: int) -> None:
        chips = chip_windows(needed, side_px)
        if chips:
            assert union(chips).contains(needed)
            assert len(chips) == 1 or not any(one.contains(needed) for one in chips)
        else:
            assert max(needed.width, needed.height) > 2 * side_px

    @given(windows, st.sampled_from([128, 512, 1008]))
    def test_chips_are_on_one_grid_and_overlap_by_an_eighth(
        self, needed: PixelWindow, side_px: int
    ) -> None:
        chips = chip_windows(needed, side_px)
        cell = side_px * 7 // 8
        assert {(one.width, one.height) for one in chips} <= {(side_px, side_px)}
        columns, rows = {one.column for one in chips}, {one.row for one in chips}
        assert all((start + side_px // 16) % cell == 0 for start in columns | rows)
        assert len(set(chips)) == len(chips) == len(columns) * len(rows)
        for starts in (columns, rows):
            assert not starts or max(starts) - min(starts) == (len(starts) - 1) * cell

    def test_the_centre_chip_is_used_if_it_contains_the_lot(self) -> None:
        assert chip_windows(PixelWindow(-63, 0, 1008, 100), 1008) == (
            PixelWindow(-63, -63, 1008, 1008),
        )
        assert chip_windows(PixelWindow(-64, 0, 1008, 100), 1008) == (
            PixelWindow(-945, -63, 1008, 1008),
            PixelWindow(-63, -63, 1008, 1008),
        )

    def test_chips_are_limited_to_max_chips(self) -> None:
        cell = 882
        assert len(chip_windows(PixelWindow(0, 0, 8 * cell, 8 * cell), 1008)) == MAX_CHIPS == 64
        assert chip_windows(PixelWindow(0, 0, 8 * cell + 64, 8 * cell), 1008) == ()
        assert len(chip_windows(PixelWindow(0, 0, 64 * cell, 10), 1008)) == 64


class TestPlan:
    def test_neighbours_share_a_chip(self) -> None:
        lots = [lot(20 * i, 0) for i in range(4)]
        plans, unplanned = plan_chips(lots, Everywhere())
        assert [plan.lots for plan in plans] == [(0, 1, 2, 3)]
        assert unplanned == {}
        [window] = plans[0].windows
        assert (window.width, window.height) == (SIDE_PX, SIDE_PX)

    @given(st.permutations(range(6)), st.integers(1, 6))
    def test_a_lots_chips_do_not_depend_on_the_others(self, order: list[int], count: int) -> None:
        places = [(0, 0), (300, 40), (310, 900), (1500, 20), (430, 333), (7, 900)]
        chosen = [places[i] for i in order[:count]]
        plans, _ = plan_chips([lot(*place) for place in chosen], Everywhere())
        planned = {chosen[index]: plan.windows for plan in plans for index in plan.lots}
        assert len(planned) == count
        for place in chosen:
            [alone] = plan_chips([lot(*place)], Everywhere())[0]
            assert planned[place] == alone.windows

    def test_a_lot_has_a_context_buffer_of_five_metres(self) -> None:
        [plan], _ = plan_chips([lot(10, 10, side_m=30)], Everywhere())
        corner = pixel_grid().window_from_bounds((LEFT, TOP, LEFT, TOP))
        # Transformed to lonlat and back, an edge may end just inside the next pixel.
        assert plan.needed.contains(PixelWindow(corner.column + 10, corner.row + 10, 80, 80))
        assert max(plan.needed.width, plan.needed.height) <= 82

    def test_the_lot_offset_moves_the_plan(self) -> None:
        imagery = Everywhere()
        [plan], _ = plan_chips_of([lot(10, 10)], imagery, SIDE_PX)
        [moved], _ = plan_chips_of([lot(10, 10)], imagery, SIDE_PX, None, LotLines((7.5, -3.0)))
        assert moved.needed.column == plan.needed.column + 15
        assert moved.needed.row == plan.needed.row + 6

    def test_a_lot_that_is_too_large_fails(self) -> None:
        plans, unplanned = plan_chips([lot(0, 0, 9 * 441), lot(0, 0, 6 * 441)], Everywhere())
        assert [plan.lots for plan in plans] == [(1,)]
        assert len(plans[0].windows) == 49
        assert unplanned[0].status == "failed"
        assert unplanned[0].reason == "too_large"
        assert "needs more than 64 chips of 504 m (1008 px at 0.5 m)" in unplanned[0].detail
        assert "chip_gsd_m" in unplanned[0].detail

    @pytest.mark.parametrize("bounds", [(-179, -80, 179, 80), (-87, -5, 3, 5)])
    def test_a_lot_around_the_world_is_too_large(
        self, bounds: tuple[float, float, float, float]
    ) -> None:
        world = shapely.MultiPolygon([shapely.box(*bounds)])  # beyond the domain of UTM too
        _, unplanned = plan_chips(
            [Boundary(world, "lot", area_m2(world), "point", "a test")], Everywhere()
        )
        assert unplanned[0].reason == "too_large"

    @pytest.mark.parametrize(
        ("gsd_m", "pixel_m", "side_px"),
        [
            (None, 0.5, 1008),
            (0.5, 0.5, 1008),
            (0.3, 0.5, 608),  # 604.8, rounded to a multiple of 16
            (0.9, 0.5, 1808),  # 1814.4: less than twice as fine is not downsampled
            (1.0, 1.0, 1008),
            (1.6, 1.5, 1072),  # 1075.2
        ],
    )
    def test_grid_and_chip_size_for_a_target_gsd(
        self, gsd_m: float | None, pixel_m: float, side_px: int
    ) -> None:
        [plan], _ = plan_chips([lot(0, 0)], Everywhere(), gsd_m)
        assert plan.grid.gsd_m == pixel_m
        assert (plan.grid.x_origin, plan.grid.y_origin) == (
            pixel_grid().x_origin,
            pixel_grid().y_origin,
        )
        assert plan.windows[0].width == side_px

    def test_far_too_coarse_imagery_is_warned_once(self, caplog: pytest.LogCaptureFixture) -> None:
        for _ in range(3):
            plan_chips([lot(0, 0), lot(9000, 0)], Everywhere(), 0.5 / 4)
        assert not caplog.records
        for _ in range(3):
            plan_chips([lot(0, 0), lot(9000, 0)], Everywhere(), 0.12)
        [record] = caplog.records
        assert "has 0.5 m per pixel, but the segmenter works at 0.12 m" in record.message

    def test_a_lot_without_imagery_does_not_stop_others(self) -> None:
        imagery = Everywhere(NoImagery("missing", "none there"))
        plans, unplanned = plan_chips([lot(0, 0), lot(20, 0)], imagery)
        assert [plan.lots for plan in plans] == [(1,)]
        assert (unplanned[0].status, unplanned[0].reason) == ("no_imagery", "missing")

    def test_an_unavailable_server_gets_one_request(self) -> None:
        imagery = Everywhere(None, ImageryUnavailable("down"))
        plans, unplanned = plan_chips([lot(20 * i, 0) for i in range(9)], imagery)
        assert imagery.asked == 2
        assert [plan.lots for plan in plans] == [(0,)]
        assert sorted(unplanned) == list(range(1, 9))
        assert {why.status for why in unplanned.values()} == {"unavailable"}

    def test_misconfigured_imagery_raises(self) -> None:
        with pytest.raises(ImageryError, match="wrong url"):
            plan_chips([lot(0, 0)], Everywhere(ImageryError("wrong url")))

    def test_no_boundaries_give_no_plans(self) -> None:
        assert plan_chips([], Everywhere()) == ([], {})


@pytest.mark.parametrize("crs", ["EPSG:26904", "EPSG:26911", "EPSG:2871", "EPSG:6339", "EPSG:3857"])
def test_a_lot_and_imagery_of_one_crs_align(crs: str) -> None:
    # 2871: California zone 2, NAD83(HARN), feet; PROJ's default would shift it by over 1 m.
    place = CRS.from_user_input(crs).area_of_use
    assert place is not None
    lot = shapely.Point((place.west + place.east) / 2, (place.south + place.north) / 2).buffer(
        0.001
    )
    kept = from_wgs84(np.array([lot], dtype=object), CRS.from_user_input(crs))[0]
    assert PixelGrid(crs, 1.0).from_lonlat(lot).equals_exact(kept, 1e-6)
    assert PixelGrid(crs, 1.0).to_lonlat(kept).equals_exact(lot, 1e-9)
