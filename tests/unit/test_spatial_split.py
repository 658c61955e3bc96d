"""Reviewed lots are divided by blocks of ground."""

from __future__ import annotations

import math

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry.base import BaseGeometry

from pipeline.learning.spatial_split import (
    SPLITS,
    Place,
    SplitRule,
    block_of,
    shared_lots,
    split_places,
)

STEP = 0.0002  # degrees; about 20 m


def lot(x: float, y: float, *, size: float = 0.9, audited: bool = False, **ids: str) -> Place:
    left, bottom = -117.4 + x * STEP, 33.95 + y * STEP
    shape: BaseGeometry = shapely.box(left, bottom, left + size * STEP, bottom + size * STEP)
    return Place(shape, tuple(ids.values()), audited)


def street(count: int) -> list[Place]:
    return [lot(x % 40, x // 40) for x in range(count)]


def test_a_block_has_one_split_and_all_splits_occur() -> None:
    places = street(1600)
    divided = split_places(places, SplitRule(block_m=100))
    by_block: dict[str, set[str]] = {}
    for block, split in divided:
        by_block.setdefault(block, set()).add(split)
    assert all(len(each) == 1 for each in by_block.values())
    assert {split for _, split in divided} == set(SPLITS)
    assert len(by_block) > 40


def test_fractions_are_about_those_asked_for() -> None:
    places = [lot(x * 60, y * 60) for x in range(60) for y in range(60)]
    divided = split_places(places, SplitRule(validation=0.2, test=0.1))
    counts = {name: sum(split == name for _, split in divided) / 3600 for name in SPLITS}
    assert counts["validation"] == pytest.approx(0.2, abs=0.03)
    assert counts["test"] == pytest.approx(0.1, abs=0.03)


def test_a_lot_that_is_reviewed_later_moves_no_other() -> None:
    places = street(400)
    rule = SplitRule(block_m=60)
    before = split_places(places[::2], rule)
    after = split_places(places, rule)
    assert after[::2] == before


def test_an_audited_lot_makes_its_whole_block_a_test() -> None:
    places = street(400)
    rule = SplitRule(block_m=100)
    before = split_places(places, rule)
    index = next(i for i, (_, split) in enumerate(before) if split == "train")
    places[index] = lot(index % 40, index // 40, audited=True)
    after = split_places(places, rule)
    block = before[index][0]
    for (old_block, old), (new_block, new) in zip(before, after, strict=True):
        assert new_block == old_block
        assert new == ("test" if old_block == block else old)


def test_lots_that_share_ground_or_an_id_share_their_split() -> None:
    rule = SplitRule(block_m=20, validation=0.3, test=0.3)
    places = [lot(x, 0, size=1.6) for x in range(100)]  # each overlaps the next
    divided = split_places(places, rule)
    assert len({block for block, _ in divided}) > 50
    assert {split for _, split in divided} == {"test"}
    stacked = [lot(0, 0, parcel="7"), lot(50, 50, parcel="7"), lot(20, 20, parcel="8")]
    (_, one), (_, other), _ = split_places(stacked, rule)
    assert one == other


def test_lots_that_touch_do_not_share_ground() -> None:
    places = [lot(0, 0, size=1.0), lot(1, 0, size=1.0)]
    assert shared_lots(places, ["train", "test"]) == []
    assert shared_lots([lot(0, 0), lot(0.5, 0)], ["train", "test"]) == [(0, 1)]


@pytest.mark.parametrize("latitude", [-60.0, 0.0, 33.9, 71.0])
def test_a_block_is_about_as_wide_as_it_is_high(latitude: float) -> None:
    step = 1e-4
    row, column = map(int, block_of(shapely.Point(10, latitude), 250).split("/"))
    up = next(n for n in range(1, 100) if _block(10, latitude + n * step)[0] != row)
    right = next(n for n in range(1, 100) if _block(10 + n * step, latitude)[1] != column)
    assert up * step * 111_132 <= 251 + 12
    assert right * step * 111_320 * math.cos(math.radians(latitude)) <= 251 + 12


def _block(x: float, y: float) -> tuple[int, ...]:
    return tuple(map(int, block_of(shapely.Point(x, y), 250).split("/")))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.booleans()), max_size=60))
@settings(max_examples=50, deadline=None)
def test_no_lot_is_in_two_splits(drawn: list[tuple[int, int, bool]]) -> None:
    places = [lot(x / 2, y / 2, size=0.7, audited=audited) for x, y, audited in drawn]
    divided = split_places(places, SplitRule(block_m=25, validation=0.3, test=0.3))
    assert shared_lots(places, [split for _, split in divided]) == []
    for place, (_, split) in zip(places, divided, strict=True):
        assert not place.is_audited or split == "test"


@pytest.mark.parametrize(
    "wrong",
    [{"block_m": 0}, {"block_m": math.nan}, {"validation": -0.1}, {"validation": 0.5, "test": 0.5}],
)
def test_a_rule_that_makes_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"block|fractions"):
        SplitRule(**wrong)
