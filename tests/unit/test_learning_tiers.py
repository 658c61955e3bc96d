"""What a round of learning trains, and what it refuses to be told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.errors import LearningError
from pipeline.learning.rounds.round_state import RoundState, check_same_tier
from pipeline.learning.rounds.tiers import check_options, learning_tier


def test_the_training_of_each_segmenter() -> None:
    assert learning_tier("landcover").options == ()
    tiny = learning_tier("sam3-tiny", "mask")
    assert tiny.recipe == "sam3-decoder"
    assert tiny.options == ("--tier", "mask", "--weights", "sam3-tiny")
    full_size = learning_tier("sam3", None, "facebook/sam3")
    assert full_size.options == ("--tier", "heads", "--weights", "facebook/sam3")
    assert full_size.name == "sam3-decoder heads"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("landcover", "heads"), "leave --tier out"),
        (("spectral",), "does not learn"),
        (("sam3-nano", "all"), "no tier is named all"),
        (("sam3",), "set SAM3_WEIGHTS"),
        (("sam3", None, f"base{os.pathsep}delta"), "set it to base and register the delta"),
    ],
)
def test_what_cannot_learn_says_so(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(LearningError, match=message):
        learning_tier(*words)


@pytest.mark.parametrize("option", ["--tier", "--weights=other", "--out", "--resume"])
def test_a_round_decides_its_own_options(option: str) -> None:
    check_options(("--data", "dir", "--set", "batch=2"))
    with pytest.raises(LearningError, match=f"{option.partition('=')[0]} is not an option"):
        check_options(("--data", "dir", option))


def test_a_round_goes_on_with_its_tier() -> None:
    heads, mask = learning_tier("sam3-tiny"), learning_tier("sam3-tiny", "mask")
    state = RoundState("/pairs", "a" * 64, (*heads.options, "--steps", "3"))
    check_same_tier(Path("learn"), state, heads.options)
    with pytest.raises(LearningError, match=r"delete learn.round\.json"):
        check_same_tier(Path("learn"), state, mask.options)
