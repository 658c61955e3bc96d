from __future__ import annotations

import pytest

from detection.errors import SegmenterError
from detection.segmenters.sam3.tokens import tokenize


def test_token_ids_equal_metas() -> None:
    ids, mask = tokenize(["lawn"])
    assert ids.shape == mask.shape == (1, 32)
    assert ids[0, :4].tolist() == [49406, 11024, 49407, 0]
    assert mask[0].tolist() == [True] * 3 + [False] * 29


@pytest.mark.parametrize(
    ("phrase", "ids"),
    [
        # Made with open_clip_torch's own tokenizer.
        ("Mowed  grass\tlawn", [617, 3478, 5922, 11024]),
        ("round backyard trampoline", [2522, 12608, 42800]),
        ("café, 12 m² it's", [15304, 267, 272, 273, 332, 41175, 585, 568]),
        ("泳池", [162, 111, 111, 162, 109, 510]),
    ],
)
def test_the_vocabulary_size(phrase: str, ids: list[int]) -> None:
    found, mask = tokenize([phrase])
    assert found[0][mask[0]].tolist() == [49406, *ids, 49407]


def test_phrases_of_any_length_share_a_batch() -> None:
    alone, _ = tokenize(["pool"])
    both, mask = tokenize(["backyard swimming pool", "pool"])
    assert both[1].tolist() == alone[0].tolist()
    assert mask.sum(1).tolist() == [5, 3]


@pytest.mark.parametrize("phrase", ["", "   ", "lawn " * 31])
def test_invalid_phrases_are_refused(phrase: str) -> None:
    with pytest.raises(SegmenterError, match="prompt"):
        tokenize([phrase])


def test_thirty_tokens_are_accepted() -> None:
    assert bool(tokenize(["lawn " * 30])[1].all())
