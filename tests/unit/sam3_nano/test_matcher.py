"""The matcher against all assignments, and its costs against one query and object at a time."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import torch
from torch import Tensor

from detection.training.sam3 import matcher
from detection.training.sam3.boxes import iou_and_giou


def random_boxes(*shape: int) -> Tensor:
    centre = torch.rand(*shape, 2) * 0.6 + 0.2
    return torch.cat([centre, torch.rand(*shape, 2) * 0.3 + 0.05], -1)


def plain_cost(logit: float, box: list[float], true: list[float]) -> float:
    score = 1 / (1 + math.exp(-logit))
    focal = 0.25 * (1 - score) ** 2 * -math.log(score)
    focal -= 0.75 * score**2 * -math.log(1 - score)
    distance = sum(abs(a - b) for a, b in zip(box, true, strict=True))
    return 2 * focal + 5 * distance - 2 * plain_giou(box, true)[1]


def plain_giou(first: list[float], second: list[float]) -> tuple[float, float]:
    (x1, y1, w1, h1), (x2, y2, w2, h2) = first, second
    wide = min(x1 + w1 / 2, x2 + w2 / 2) - max(x1 - w1 / 2, x2 - w2 / 2)
    high = min(y1 + h1 / 2, y2 + h2 / 2) - max(y1 - h1 / 2, y2 - h2 / 2)
    shared = max(0, wide) * max(0, high)
    union = w1 * h1 + w2 * h2 - shared
    hull_wide = max(x1 + w1 / 2, x2 + w2 / 2) - min(x1 - w1 / 2, x2 - w2 / 2)
    hull = hull_wide * (max(y1 + h1 / 2, y2 + h2 / 2) - min(y1 - h1 / 2, y2 - h2 / 2))
    return shared / union, shared / union - (hull - union) / hull


def test_overlaps_of_boxes() -> None:
    torch.manual_seed(0)
    first, second = random_boxes(40), random_boxes(40)
    iou, giou = iou_and_giou(first, second)
    for row in range(40):
        wanted = plain_giou(first[row].tolist(), second[row].tolist())
        assert np.allclose([float(iou[row]), float(giou[row])], wanted, atol=1e-5)
    assert float((iou > 0).sum()) > 5


def test_costs_are_those_of_each_pair() -> None:
    torch.manual_seed(1)
    logits, boxes, true = torch.randn(2, 3, 4), random_boxes(2, 3, 4), random_boxes(3, 2)
    costs = matcher.matching_costs(logits, boxes, true)
    assert costs.shape == (2, 3, 4, 2)
    for layer, row, query, thing in np.ndindex(*costs.shape):
        wanted = plain_cost(
            float(logits[layer, row, query]),
            boxes[layer, row, query].tolist(),
            true[row, thing].tolist(),
        )
        assert abs(float(costs[layer, row, query, thing]) - wanted) < 1e-4


def test_the_assignment_is_the_cheapest_of_all() -> None:
    torch.manual_seed(2)
    logits, boxes, true = torch.randn(2, 5, 5), random_boxes(2, 5, 5), random_boxes(5, 4)
    counts = torch.tensor([4, 0, 1, 3, 2])
    done = matcher.start(logits, boxes, true, counts).finish()
    found = done.queries
    pairs = list(zip(done.rows.tolist(), done.slots.tolist(), strict=True))
    assert pairs == [(row, k) for row, count in enumerate([4, 0, 1, 3, 2]) for k in range(count)]
    assert done.most == 4
    costs = matcher.matching_costs(logits, boxes, true).numpy()
    for layer in range(2):
        for row, count in enumerate(counts.tolist()):
            cheapest = min(
                permutations(range(5), count),
                key=lambda queries: sum(
                    costs[layer, row, query, thing] for thing, query in enumerate(queries)
                ),
            )
            assert found[layer, row, :count].tolist() == list(cheapest)
            assert not found[layer, row, count:].any()


def test_a_diverged_network_is_matched_all_the_same() -> None:
    logits = torch.full((1, 1, 3), math.nan)
    true, counts = random_boxes(1, 2), torch.tensor([2])
    found = matcher.start(logits, random_boxes(1, 1, 3), true, counts).finish().queries
    assert len(set(found[0, 0].tolist())) == 2
