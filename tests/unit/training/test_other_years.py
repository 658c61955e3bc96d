"""What was traced in one year holds in another where the ground has stayed as it was."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detection.training.landcover.other_years import carried_to
from detection.training.landcover.pack import LandcoverTiles
from detection.training.sam3.labels import UNSURE

SIDE, OTHER, LAWN, ROOF = 128, 0, 1, 3
WINDOW = np.s_[30:90, 40:100]
LAWN_AT, ROOF_AT = np.s_[34:54, 44:64], np.s_[60:84, 70:94]


def ground(seed: int = 0) -> NDArray[np.uint8]:
    """(4, side, side): a lawn and a roof on ground with some texture."""
    grey = np.random.default_rng(seed).normal(120, 12, (SIDE, SIDE))
    pixels = np.stack([grey, grey, grey, grey * 0.7])
    pixels[:, *LAWN_AT] = np.array([60, 110, 60, 190])[:, None, None]
    pixels[:, *ROOF_AT] = np.array([190, 150, 140, 120])[:, None, None]
    return pixels.clip(0, 255).astype(np.uint8)


def truth() -> NDArray[np.uint8]:
    codes = np.full((SIDE, SIDE), UNSURE, np.uint8)
    codes[WINDOW] = OTHER
    codes[LAWN_AT], codes[ROOF_AT] = LAWN, ROOF
    return codes


def other_year(shift: tuple[int, int] = (0, 0)) -> NDArray[np.uint8]:
    """The same ground, darker and noisier, lying elsewhere."""
    noise = np.random.default_rng(9).normal(0, 4, (4, SIDE, SIDE))
    later = np.roll(ground(), shift, (1, 2)) * 0.85 + noise
    return later.clip(0, 255).astype(np.uint8)


def test_codes_follow_the_imagery_that_lies_elsewhere() -> None:
    shift = (3, -2)
    codes = carried_to(ground(), truth(), other_year(shift))
    assert codes is not None
    known = codes != UNSURE
    assert (codes[known] == np.roll(truth(), shift, (0, 1))[known]).all()
    assert {OTHER, LAWN, ROOF} == set(codes[known].tolist())
    assert known.sum() > 0.7 * (truth() != UNSURE).sum()


def test_ground_that_is_no_longer_green_has_no_code() -> None:
    later = other_year()
    later[:, *LAWN_AT] = np.array([150, 130, 110, 100])[:, None, None]  # bare soil now
    codes = carried_to(ground(), truth(), later)
    assert codes is not None
    assert not (codes == LAWN).any()
    assert (codes[LAWN_AT] == UNSURE).all()
    assert (codes == ROOF).any()


def test_other_ground_gets_nothing() -> None:
    other = np.rot90(ground(5), 1, (1, 2)).copy()
    assert carried_to(ground(), truth(), other) is None


def test_a_tile_that_is_held_out_neither_gives_nor_gets_codes() -> None:
    names = ("town_2018_1", "town_2020_1", "city_2018_1", "city_2020_1")
    unknown = np.full((SIDE, SIDE), UNSURE, np.uint8)
    tiles = LandcoverTiles(
        names,
        np.stack([ground(), other_year(), ground(), other_year()]),
        np.stack([truth(), unknown, truth(), unknown]),
    )
    known = (tiles.traced_or_carried(("no_such",)) != UNSURE).any((1, 2))
    assert known.tolist() == [True, True, True, True]
    for held_out in ("town_2018", "town_2020"):
        known = (tiles.traced_or_carried((held_out,)) != UNSURE).any((1, 2))
        assert known.tolist() == [True, False, True, True]
    assert (tiles.traced_or_carried(("no_such",))[0] == truth()).all(), "what was traced stays"
