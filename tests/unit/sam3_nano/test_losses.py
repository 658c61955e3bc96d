"""The losses against a plain reference that takes one row, query and cell at a time."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from detection.segmenters.sam3.forward import DecoderOutput
from detection.training.sam3 import matcher
from detection.training.sam3.boxes import iou_and_giou
from detection.training.sam3.losses import LossWeights, dice, focal, sam3_losses
from detection.training.sam3.targets import RowTargets

LAYERS, ROWS, QUERIES, MOST, SIDE = 2, 4, 5, 3, 6
UNIT = LossWeights(1, 1, 1, 1, 1, 1, 1, 1)


def made_boxes(*shape: int) -> Tensor:
    centre = torch.rand(*shape, 2) * 0.6 + 0.2
    return torch.cat([centre, torch.rand(*shape, 2) * 0.4 + 0.1], -1)


@pytest.fixture
def decoded() -> DecoderOutput:
    torch.manual_seed(3)
    shape = (LAYERS, ROWS, QUERIES)
    return DecoderOutput(
        torch.randn(*shape, 8), made_boxes(*shape), torch.randn(shape), torch.randn(LAYERS, ROWS)
    )


@pytest.fixture
def truth() -> RowTargets:
    torch.manual_seed(4)
    return RowTargets(
        semantic=torch.rand(ROWS, SIDE, SIDE),
        weight=torch.randint(0, 3, (ROWS, SIDE, SIDE)).float(),
        present=torch.tensor([1.0, 1, 0, 0]),
        present_weight=torch.tensor([1.0, 1, 1, 0]),
        scored=torch.tensor([1.0, 1, 0, 0]),
        object_rows=torch.tensor([0, 3]),
        counts=torch.tensor([2, 0]),
        boxes=made_boxes(2, MOST),
        masks=torch.rand(2, MOST, SIDE, SIDE),
    )


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def entropy(logit: float, target: float) -> float:
    score = sigmoid(logit)
    return -target * math.log(score) - (1 - target) * math.log(1 - score)


def test_all_terms(decoded: DecoderOutput, truth: RowTargets) -> None:
    masks, semantic = torch.randn(2, SIDE, SIDE), torch.randn(ROWS, SIDE, SIDE)
    of_rows = truth.object_rows
    found = matcher.start(
        decoded.logits[:, of_rows], decoded.boxes[:, of_rows], truth.boxes, truth.counts
    ).finish()
    terms = sam3_losses(decoded, masks, semantic, found, truth, UNIT)
    matched = found.queries
    wanted = dict.fromkeys(terms, 0.0)
    for layer in range(LAYERS):
        for row in range(3):  # the last has no weight
            wanted["presence"] += (
                0.5 * entropy(float(decoded.presence[layer, row]), float(truth.present[row])) / 3
            )
        for row in range(2):
            wanted["class"] += plain_classes(decoded, truth, matched, layer, row) / 2
        for thing in range(2):
            box = decoded.boxes[layer, 0, matched[layer, 0, thing]]
            wanted["box_l1"] += float((box - truth.boxes[0, thing]).abs().sum()) / 2
            wanted["box_giou"] += 1 - float(iou_and_giou(box, truth.boxes[0, thing])[1])
    wanted["box_giou"] /= 2
    for thing in range(2):
        cells = [
            (float(a), float(b))
            for a, b, known in zip(
                masks[thing].flatten(),
                truth.masks[0, thing].flatten(),
                truth.weight[0].flatten(),
                strict=True,
            )
            if known > 0
        ]
        wanted["mask_focal"] += plain_focal(cells) / 2
        wanted["mask_dice"] += plain_dice([(a, b, 1.0) for a, b in cells]) / 2
    total = float(truth.weight.sum())
    for row in range(ROWS):
        cells3 = [
            (float(a), float(b), float(c))
            for a, b, c in zip(
                semantic[row].flatten(),
                truth.semantic[row].flatten(),
                truth.weight[row].flatten(),
                strict=True,
            )
        ]
        wanted["semantic"] += sum(c * entropy(a, b) for a, b, c in cells3) / total
        wanted["semantic_dice"] += plain_dice(cells3) / ROWS
    assert {name: float(term) for name, term in terms.items()} == pytest.approx(wanted, rel=1e-4)


def plain_classes(
    decoded: DecoderOutput, truth: RowTargets, matched: Tensor, layer: int, row: int
) -> float:
    things = {int(matched[layer, 0, k]): k for k in range(2)} if row == 0 else {}
    loss = 0.0
    for query in range(QUERIES):
        logit = float(decoded.logits[layer, row, query])
        score = sigmoid(logit)
        if query in things:
            true = truth.boxes[0, things[query]]
            iou = float(iou_and_giou(decoded.boxes[layer, row, query], true)[0])
            target = max(0.01, score**0.25 * iou**0.75)
            loss += 10 * entropy(logit, target)
        else:
            loss += score**2 * entropy(logit, 0)
    return loss / QUERIES


def plain_focal(cells: list[tuple[float, float]]) -> float:
    loss = 0.0
    for logit, target in cells:
        balance = 0.25 * target + 0.75 * (1 - target)
        loss += balance * abs(target - sigmoid(logit)) ** 2 * entropy(logit, target)
    return loss / len(cells)


def plain_dice(cells: list[tuple[float, float, float]]) -> float:
    shared = sum(w * sigmoid(a) * b for a, b, w in cells)
    sizes = sum(w * (sigmoid(a) ** 2 + b**2) for a, b, w in cells)
    return 1 - (2 * shared + 1) / (sizes + 1)


def test_the_focal_loss_of_hard_targets_is_the_usual_one() -> None:
    logits, target = torch.randn(50), torch.randint(0, 2, (50,)).float()
    score = logits.sigmoid()
    right = torch.where(target > 0, score, 1 - score)
    alpha = torch.where(target > 0, 0.25, 0.75)
    usual = (alpha * (1 - right) ** 2 * -right.log()).mean()
    assert torch.isclose(focal(logits, target, torch.ones(50)), usual)


@pytest.mark.parametrize("loss", [focal, dice])
@pytest.mark.parametrize("target", [0.2, 0.5, 0.8])
def test_soft_targets_are_met(loss: object, target: float) -> None:
    logits = torch.linspace(-4, 4, 801)[:, None].expand(-1, 10)
    values = loss(logits, torch.full_like(logits, target), torch.ones_like(logits))  # type: ignore[operator]
    assert float(logits[values.argmin(), 0].sigmoid()) == pytest.approx(target, abs=0.01)


def test_padding_and_unknown_cells_have_no_gradient(
    decoded: DecoderOutput, truth: RowTargets
) -> None:
    masks = torch.randn(2, SIDE, SIDE, requires_grad=True)
    semantic = torch.randn(ROWS, SIDE, SIDE, requires_grad=True)
    queries = torch.tensor([[[1, 2, 0], [0, 0, 0]]]).expand(LAYERS, -1, -1)
    matched = matcher.MatchedObjects(queries, torch.tensor([0, 0]), torch.tensor([0, 1]), 2)
    sum(sam3_losses(decoded, masks, semantic, matched, truth, UNIT).values()).backward()  # type: ignore[union-attr]
    assert masks.grad is not None
    assert semantic.grad is not None
    assert torch.equal(masks.grad != 0, (truth.weight[0] > 0).expand(2, -1, -1))
    assert not semantic.grad[truth.weight == 0].any()
