"""SAM3's losses, for a batch of views and prompts at once, without a copy to the host.

The terms and their weights are those of SAM3's training: presence, classification by IABCE (Cai et
al., 2023), L1 and generalised IoU of the boxes after each decoder layer, masks of the last layer,
and the semantic map. Four things differ, because the teacher's answers are probabilities and
training is short and from scratch:

* The focal factor is |target - probability| ** gamma (Li et al., 2020): equal to the focal loss for
  targets of 0 and 1, and smallest where the probability is the target's.
* For the same reason dice has squares in its denominator (Milletari et al., 2016).
* The semantic map has the plain cross entropy, whose gradient does not vanish early.
* There are no one-to-many queries.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from detection.segmenters.sam3.forward import DecoderOutput
from detection.training.ranks import ALONE, Ranks
from detection.training.sam3.boxes import iou_and_giou
from detection.training.sam3.matcher import MatchedObjects
from detection.training.sam3.targets import RowTargets


@dataclass(frozen=True, slots=True)
class LossWeights:
    """The weight of each term in the total.

    They are those of SAM3's training. There `classes` is 20, but the term is a sum over the queries
    divided by 200, also for fewer queries; here it is their mean. For 49 queries that is a weight
    of 20 x 49 / 200 = 4.9.
    """

    presence: float = 20.0
    classes: float = 5.0
    box_l1: float = 5.0
    box_giou: float = 2.0
    mask_focal: float = 200.0
    mask_dice: float = 10.0
    semantic: float = 20.0
    semantic_dice: float = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class Divisors:
    """What the terms of a batch are divided by, as tensors without a gradient.

    Attributes:
        objects: number of objects.
        present: number of rows whose presence is known.
        scored: number of rows whose queries are scored.
        cells: weight of all cells of the maps.
    """

    objects: Tensor
    present: Tensor
    scored: Tensor
    cells: Tensor


def divisors(truth: RowTargets, ranks: Ranks = ALONE) -> Divisors:
    """The divisors of a batch, of which other ranks may have a part.

    Their mean: the mean of the ranks' losses is then the loss of the whole batch.
    """
    own = torch.stack([
        truth.counts.sum().float(), truth.present_weight.sum(), truth.scored.sum(),
        truth.weight.sum(),
    ])  # fmt: skip
    # At least 1 in the whole batch.
    return Divisors(*ranks.average(own).clamp(min=1 / ranks.count).unbind())


# IABCE: the weight of a matched query, and its target p ** 0.25 x IoU ** 0.75.
_POSITIVE_WEIGHT, _IABCE_ALPHA, _LEAST_TARGET = 10.0, 0.25, 0.01
_FOCAL_GAMMA, _FOCAL_ALPHA = 2.0, 0.25
_PRESENCE_ALPHA = 0.5


def sam3_losses(
    decoded: DecoderOutput,
    masks: Tensor,
    semantic: Tensor,
    matched: MatchedObjects,
    truth: RowTargets,
    weights: LossWeights,
    by: Divisors | None = None,
) -> dict[str, Tensor]:
    """The weighted terms of a batch; their sum is the loss.

    Args:
        decoded: of n rows.
        masks: (t, s, s) logits of the objects, in the order of `matched.rows`.
        semantic: (n, s, s) logits.
        by: those of the truth by default.
    """
    by = by or divisors(truth)
    queries = matched.queries
    counted = torch.arange(queries.shape[-1], device=queries.device) < truth.counts[:, None]
    real = counted.float()
    boxes = _of_objects(decoded.boxes[:, truth.object_rows].float(), queries)
    if truth.known is not None:
        boxes = truth.known.clip(boxes, truth.object_rows)
    iou, giou = iou_and_giou(boxes, truth.boxes.expand_as(boxes))
    far = (boxes - truth.boxes).abs().sum(-1)
    return {
        "presence": weights.presence * _presence(decoded.presence, truth) / by.present,
        "class": weights.classes * _classes(decoded, iou, queries, real, truth) / by.scored,
        "box_l1": weights.box_l1 * (far * real).sum() / by.objects,
        "box_giou": weights.box_giou * ((1 - giou) * real).sum() / by.objects,
    } | mask_losses(masks, semantic, matched, truth, weights, by)


def mask_losses(
    masks: Tensor,
    semantic: Tensor,
    matched: MatchedObjects,
    truth: RowTargets,
    weights: LossWeights,
    by: Divisors | None = None,
) -> dict[str, Tensor]:
    """The terms that the mask decoder alone decides; arguments as of `sam3_losses`."""
    by = by or divisors(truth)
    mask_focal, mask_dice = _mask_terms(masks, matched, truth)
    map_entropy, map_dice = semantic_terms(semantic.float(), truth.semantic, truth.weight, by.cells)
    return {
        "mask_focal": weights.mask_focal * mask_focal / by.objects,
        "mask_dice": weights.mask_dice * mask_dice / by.objects,
        "semantic": weights.semantic * map_entropy,
        "semantic_dice": weights.semantic_dice * map_dice,
    }


def _of_objects(queries: Tensor, matched: Tensor) -> Tensor:
    """(layers, r, k, 4): of (layers, r, queries, 4) those that are matched."""
    return queries.gather(2, matched[..., None].expand(-1, -1, -1, queries.shape[-1]))


def _presence(logits: Tensor, truth: RowTargets) -> Tensor:
    """Cross entropy of rows whose presence is known, summed over them and the layers."""
    logits = logits.float()
    entropy = cross_entropy(logits, truth.present.expand_as(logits), reduction="none")
    return _PRESENCE_ALPHA * (entropy * truth.present_weight).sum()


def _classes(
    decoded: DecoderOutput, iou: Tensor, matched: Tensor, real: Tensor, truth: RowTargets
) -> Tensor:
    """IABCE, the mean over queries, summed over scored rows and the layers.

    The target of a matched query grows with the IoU of its box, so that scores rank by quality.
    """
    logits = decoded.logits.float()
    score = logits.sigmoid()
    of_matched = score[:, truth.object_rows].gather(2, matched)
    quality = of_matched**_IABCE_ALPHA * iou.clamp(min=0) ** (1 - _IABCE_ALPHA)
    quality = quality.clamp(min=_LEAST_TARGET).detach() * real
    # Padding points to query 0 with the value 0, so it must never replace that query's own.
    in_rows = torch.zeros_like(score[:, truth.object_rows])
    target = torch.zeros_like(score)
    target[:, truth.object_rows] = in_rows.scatter_reduce(2, matched, quality, "amax")
    is_object = target > 0
    positive = _POSITIVE_WEIGHT * cross_entropy(logits, target, reduction="none")
    negative = score**_FOCAL_GAMMA * cross_entropy(logits, target * 0, reduction="none")
    entropy = torch.where(is_object, positive, negative)
    if truth.known is not None:
        entropy = entropy * (is_object | truth.known.wrong_at(decoded.boxes))
    entropy = entropy.mean(2)
    return (entropy * truth.scored).sum()


def _mask_terms(masks: Tensor, matched: MatchedObjects, truth: RowTargets) -> tuple[Tensor, Tensor]:
    """The focal and the dice loss of the last layer's masks, summed over the objects."""
    logits = masks.float().flatten(1)
    target = truth.masks[matched.rows, matched.slots].flatten(1).float()
    ground = truth.weight if truth.known is None else truth.known.masks
    known = (ground[truth.object_rows[matched.rows]] > 0).float().flatten(1)
    return focal(logits, target, known).sum(), dice(logits, target, known).sum()


def semantic_terms(
    logits: Tensor, target: Tensor, weight: Tensor, cells: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Cross entropy (mean over known cells of the batch) and dice (mean over rows) of maps.

    Args:
        cells: see `Divisors`; of these maps by default.
    """
    cells = weight.sum().clamp(min=1) if cells is None else cells
    entropy = cross_entropy(logits, target, weight, reduction="sum") / cells
    overlaps = dice(logits.flatten(1), target.flatten(1), weight.flatten(1))
    return entropy, overlaps.mean()


def focal(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """(...): the focal loss of (..., cells), the mean over cells of weight above 0."""
    score = logits.sigmoid()
    entropy = cross_entropy(logits, target, reduction="none")
    balance = _FOCAL_ALPHA * target + (1 - _FOCAL_ALPHA) * (1 - target)
    loss = balance * (target - score).abs() ** _FOCAL_GAMMA * entropy
    return (loss * weight).sum(-1) / weight.sum(-1).clamp(min=1)


def dice(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """(...): 1 - dice of (..., cells), with squares and a smoothing of one cell."""
    score = logits.sigmoid()
    shared = (score * target * weight).sum(-1)
    sizes = ((score**2 + target**2) * weight).sum(-1)
    return 1 - (2 * shared + 1) / (sizes + 1)
