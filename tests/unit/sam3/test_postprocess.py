"""SAM3's output as masks: NMS, cover, parts without a query, NaN."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from detection.errors import SegmenterError
from detection.labels import Label
from detection.segmenters.interface import Mask
from detection.segmenters.sam3.forward import Sam3Output
from detection.segmenters.sam3.postprocess import masks_from_output

SIDE = 32
ROOF = Label("roof", "house roof", "discrete", 4.0)
LAWN = Label("lawn", "mowed grass lawn", "continuous", 4.0)


def _mask(*boxes: tuple[int, int, int, int], logit: float = 8.0) -> Tensor:
    """Logits (SIDE, SIDE) of boxes top, left, bottom, right."""
    mask = torch.full((SIDE, SIDE), -8.0)
    for top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = logit
    return mask


def _output(
    scores: list[float], masks: list[Tensor], semantic: Tensor | None = None, presence: float = 1.0
) -> Sam3Output:
    return Sam3Output(
        scores=torch.tensor([scores]),
        presence=torch.tensor([presence]),
        boxes=torch.tensor([0.0, 0.0, 1.0, 1.0]).repeat(1, len(scores), 1),
        masks=torch.stack(masks)[None],
        semantic=(_mask() if semantic is None else semantic)[None],
    )


def _read(output: Sam3Output, label: Label = ROOF) -> list[Mask]:
    [masks] = masks_from_output(output, [label])
    return masks


def _inside(mask: Mask) -> np.ndarray:
    """The inside of a mask, on the full grid."""
    whole = np.zeros(mask.cells, bool)
    height, width = mask.field.shape
    whole[mask.row : mask.row + height, mask.column : mask.column + width] = mask.field > 0
    return whole


def _is(mask: Mask, expected: Tensor) -> bool:
    return np.array_equal(_inside(mask), (expected > 0).numpy())


def test_mask_nms_keeps_the_best() -> None:
    roof, shed = _mask((0, 0, 10, 10)), _mask((20, 20, 25, 25))
    again, part = _mask((1, 0, 10, 10)), _mask((2, 2, 6, 6))
    first, second = _read(_output([0.6, 0.9, 0.8, 0.55, 0.4], [shed, roof, again, part, shed]))
    assert _is(first, roof)
    assert _is(second, shed)
    assert np.allclose(first.confidence, 0.9)
    assert np.allclose(second.confidence, 0.6)


def test_mask_nms_compares_with_kept_masks_only() -> None:
    """Of three masks, the second duplicates the first; the third duplicates only the second."""
    boxes = [(0, 0, 10, 10), (0, 3, 10, 13), (0, 6, 10, 16)]
    found = _read(_output([0.9, 0.8, 0.7], [_mask(box) for box in boxes]))
    assert [mask.column for mask in found] == [0, 5]


def test_an_object_is_cropped_with_one_cell_around_it() -> None:
    [shed] = _read(_output([0.9], [_mask((20, 21, 25, 30))]))
    assert (shed.cells, shed.row, shed.column) == ((SIDE, SIDE), 19, 20)
    assert shed.field.shape == shed.confidence.shape == (7, 11)
    assert shed.field.dtype == shed.confidence.dtype == np.float32
    assert (shed.field[[0, -1]] < 0).all()
    assert (shed.field[:, [0, -1]] < 0).all()
    [corner] = _read(_output([0.9], [_mask((0, 24, 9, SIDE))]))
    assert (corner.row, corner.column, corner.field.shape) == (0, 23, (10, 9))


def test_neighbours_are_two_objects() -> None:
    left, right = _mask((0, 0, 10, 10)), _mask((0, 9, 10, 20))
    assert len(_read(_output([0.9, 0.8], [left, right]))) == 2


def test_an_empty_mask_is_dropped() -> None:
    assert _read(_output([0.9], [_mask()])) == []


def test_no_query_above_the_threshold() -> None:
    output = _output([0.1], [_mask((0, 0, 4, 4))])
    assert _read(output) == []
    [cover] = _read(output, LAWN)
    assert not (cover.field > 0).any()


def test_the_score_threshold_is_the_labels() -> None:
    output = _output([0.9, 0.6], [_mask((0, 0, 4, 4)), _mask((10, 10, 14, 14))])
    counts = [len(_read(output, replace(ROOF, score_threshold=s))) for s in (0.95, 0.7, 0.5)]
    assert counts == [0, 1, 2]


def test_a_mask_is_cropped_to_its_box() -> None:
    output = _output([0.9], [_mask((0, 0, 8, 8), (20, 20, 30, 30))])
    output.boxes[0, 0] = torch.tensor([0.0, 0.0, 0.25, 0.25])
    [mask] = _read(output)
    assert _is(mask, _mask((0, 0, 8, 8)))


def test_cover_is_the_maximum_of_both_heads() -> None:
    output = _output([0.9], [_mask((0, 0, 4, 4))], _mask((10, 10, 20, 20)))
    [cover] = _read(output, LAWN)
    assert cover.field.shape == cover.cells == (SIDE, SIDE)
    assert _is(cover, _mask((0, 0, 4, 4), (10, 10, 20, 20)))
    assert cover.confidence[0, 0] < 0.9 < cover.confidence[15, 15]


def test_presence_gates_the_semantic_map_unless_it_is_certain() -> None:
    doubtful, certain = _mask((10, 10, 20, 20), logit=2.0), _mask((10, 10, 20, 20), logit=10.0)
    speck = _mask((10, 10, 13, 13), logit=10.0)
    for semantic, presence, cells in (
        (doubtful, 0.9, 100), (doubtful, 0.08, 0), (certain, 0.08, 100), (speck, 0.08, 0)
    ):  # fmt: skip
        [cover] = _read(_output([0.0], [_mask()], semantic, presence), LAWN)
        assert int((cover.field > 0).sum()) == cells
    easy = replace(LAWN, score_threshold=0.05)
    [cover] = _read(_output([0.0], [_mask()], doubtful, 0.08), easy)
    assert int((cover.field > 0).sum()) == 100


def test_confident_parts_without_a_query_are_objects() -> None:
    claimed, doubtful = (0, 0, 10, 10), (20, 0, 28, 10)
    free, other = (20, 20, 28, 30), (2, 20, 6, 24)
    semantic = torch.maximum(_mask(claimed, free, other), _mask(doubtful, logit=1.0))
    semantic[24, 22:24] = 1.0  # a part of it that is less certain
    first, *loose = _read(_output([0.9], [_mask((0, 0, 10, 6))], semantic))
    assert _is(first, _mask((0, 0, 10, 6)))
    assert len(loose) == 2
    upper, lower = sorted(loose, key=lambda mask: mask.row)
    assert _is(upper, _mask(other))
    assert _is(lower, _mask(free))
    assert lower.field.shape == lower.confidence.shape == (10, 12)
    assert 0.5 < float(lower.confidence[5, 3]) < float(lower.confidence[5, 8])
    assert _read(_output([0.0], [_mask()], _mask(doubtful, logit=2.0), presence=0.1)) == []


def test_parts_in_one_window_stay_separate() -> None:
    ring = _mask((4, 4, 20, 20))
    ring[7:17, 7:17] = -8.0
    semantic = torch.maximum(ring, _mask((10, 10, 14, 14)))
    outer, inner = sorted(_read(_output([0.0], [_mask()], semantic)), key=lambda mask: mask.row)
    assert _is(outer, ring)
    assert _is(inner, _mask((10, 10, 14, 14)))


def test_rows_of_different_labels_in_one_batch() -> None:
    one = _output([0.9, 0.2], [_mask((0, 0, 4, 4)), _mask((8, 8, 12, 12))])
    two = _output([0.6, 0.95], [_mask((0, 0, 4, 4)), _mask((8, 8, 12, 12))], _mask((20, 0, 30, 9)))
    three = _output([0.1, 0.2], [_mask()] * 2)
    names = ("scores", "presence", "boxes", "masks", "semantic")
    outputs = (one, two, three, two)
    every = Sam3Output(*(torch.cat([getattr(o, name) for o in outputs]) for name in names))
    labels = [ROOF, LAWN, ROOF, ROOF]
    for alone, label, masks in zip(outputs, labels, masks_from_output(every, labels), strict=True):
        expected = _read(alone, label)
        assert len(masks) == len(expected)
        for found, wanted in zip(masks, expected, strict=True):
            assert found.label is label
            assert (found.row, found.column, found.cells) == (
                wanted.row, wanted.column, wanted.cells
            )  # fmt: skip
            assert np.allclose(found.field, wanted.field)
            assert np.allclose(found.confidence, wanted.confidence)


@pytest.mark.parametrize(
    ("logit", "score_threshold", "count"), [(3.0, 0.5, 1), (3.0, 0.97, 0), (5.0, 0.97, 1)]
)
def test_parts_without_a_query_need_the_labels_threshold(
    logit: float, score_threshold: float, count: int
) -> None:
    semantic = _mask((4, 4, 12, 12), logit=logit)
    output = _output([0.1], [_mask()], semantic)
    assert len(_read(output, replace(ROOF, score_threshold=score_threshold))) == count


@pytest.mark.parametrize("part", ["scores", "presence", "boxes", "masks", "semantic"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_output_is_an_error(part: str, bad: float) -> None:
    output = _output([0.9], [_mask((4, 4, 12, 12))])
    broken = getattr(output, part).clone()
    broken.view(-1)[0] = bad
    for label in (ROOF, LAWN):
        with pytest.raises(SegmenterError, match="NaN or infinite"):
            _read(replace(output, **{part: broken}), label)
