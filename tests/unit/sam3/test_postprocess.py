from __future__ import annotations

import torch
from torch import Tensor

from detection.segmenters.sam3.forward import Output
from detection.segmenters.sam3.postprocess import (
    Objects,
    cover,
    layers,
    objects,
    on_grid,
    unclaimed,
)

SIDE = 32


def _mask(*boxes: tuple[int, int, int, int], logit: float = 8.0) -> Tensor:
    """Logits (SIDE, SIDE) of boxes top, left, bottom, right."""
    mask = torch.full((SIDE, SIDE), -8.0)
    for top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = logit
    return mask


def _output(
    scores: list[float], masks: list[Tensor], semantic: Tensor | None = None, presence: float = 1.0
) -> Output:
    return Output(
        scores=torch.tensor([scores]),
        presence=torch.tensor([presence]),
        boxes=torch.tensor([0.0, 0.0, 1.0, 1.0]).repeat(1, len(scores), 1),
        masks=torch.stack(masks)[None],
        semantic=(_mask() if semantic is None else semantic)[None],
    )


def test_what_scores_is_found_best_first_and_once() -> None:
    roof, shed = _mask((0, 0, 10, 10)), _mask((20, 20, 25, 25))
    again, part = _mask((1, 0, 10, 10)), _mask((2, 2, 6, 6))
    found = objects(_output([0.6, 0.9, 0.8, 0.55, 0.4], [shed, roof, again, part, shed]), 0)
    assert torch.allclose(found.scores, torch.tensor([0.9, 0.6]))
    assert torch.equal(found.masks[0] > 0, roof > 0)
    assert torch.equal(found.masks[1] > 0, shed > 0)


def test_neighbours_are_two_things() -> None:
    left, right = _mask((0, 0, 10, 10)), _mask((0, 9, 10, 20))
    assert len(objects(_output([0.9, 0.8], [left, right]), 0).scores) == 2


def test_an_empty_mask_is_nothing() -> None:
    found = objects(_output([0.9], [_mask()]), 0)
    assert found.masks.shape == (0, SIDE, SIDE)
    assert layers(found) == []


def test_a_mask_ends_where_its_box_does() -> None:
    output = _output([0.9], [_mask((0, 0, 8, 8), (20, 20, 30, 30))])
    output.boxes[0, 0] = torch.tensor([0.0, 0.0, 0.25, 0.25])
    found = objects(output, 0)
    assert int((found.masks > 0).sum()) == 64


def test_cover_is_both_heads_together() -> None:
    output = _output([0.9], [_mask((0, 0, 4, 4))], _mask((10, 10, 20, 20)))
    layer = cover(output, 0, objects(output, 0))
    assert int((layer.logits > 0).sum()) == 16 + 100
    assert layer.confidence[0, 0] < 0.9 < layer.confidence[15, 15]


def test_presence_gates_the_map_but_not_a_certain_one() -> None:
    doubtful, certain = _mask((10, 10, 20, 20), logit=2.0), _mask((10, 10, 20, 20), logit=10.0)
    speck = _mask((10, 10, 13, 13), logit=10.0)
    for semantic, presence, px in (
        (doubtful, 0.9, 100), (doubtful, 0.08, 0), (certain, 0.08, 100), (speck, 0.08, 0)
    ):  # fmt: skip
        output = _output([0.0], [_mask()], semantic, presence)
        layer = cover(output, 0, objects(output, 0))
        assert int((layer.logits > 0).sum()) == px


def test_what_the_map_is_sure_of_and_nobody_claims_is_found_too() -> None:
    claimed, free, doubtful = (0, 0, 10, 10), (20, 20, 28, 30), (20, 0, 28, 10)
    semantic = torch.maximum(_mask(claimed, free), _mask(doubtful, logit=1.0))
    semantic[24, 22:24] = 1.0  # a part of it that is less certain
    output = _output([0.9], [_mask((0, 0, 10, 6))], semantic)
    rest = unclaimed(output, 0, objects(output, 0))
    assert rest is not None
    assert torch.equal(rest.logits > 0, _mask(free) > 0)
    absent = _output([0.0], [_mask()], _mask(doubtful, logit=2.0), presence=0.1)
    assert unclaimed(absent, 0, objects(absent, 0)) is None
    assert unclaimed(_output([0.9], [_mask(claimed)]), 0, objects(output, 0)) is None


def test_things_that_touch_come_in_different_layers() -> None:
    boxes = [(0, 0, 8, 8), (0, 8, 8, 16), (20, 0, 28, 8), (20, 9, 28, 16)]
    masks = torch.stack([_mask(box) for box in boxes])
    found = Objects(torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.zeros(4, 4), masks)
    made = layers(found)
    assert len(made) == 2
    assert [int((layer.logits > 0).sum()) for layer in made] == [64 + 64 + 56, 64]
    assert torch.equal((made[0].logits > 0) | (made[1].logits > 0), (masks > 0).any(0))
    top_left = made[0].confidence[masks[0] > 0]
    assert torch.allclose(top_left, torch.tensor(0.9))


def test_finer_pixels_keep_the_area() -> None:
    found = Objects(torch.tensor([0.9]), torch.zeros(1, 4), _mask((8, 8, 24, 20))[None])
    [layer] = layers(found)
    fine = on_grid(layer, SIDE * 7 // 2, SIDE * 7 // 2)
    share = (fine.logits > 0).float().mean() / (layer.logits > 0).float().mean()
    assert abs(share - 1) < 0.03
    assert torch.all(fine.confidence[fine.logits > 0] == found.scores[0])
