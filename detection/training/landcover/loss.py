"""Landcover's loss: pixels traced by eye, near infrared, and a teacher's answers."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from detection.segmenters.landcover.network import CLASSES, VEGETATION_PLANE
from detection.training.landcover.views import LabelledViews

# NDVI above which a pixel is vegetation for certain, and below which it is not: between them, and
# in deep shadow, near infrared says nothing.
_GREEN_NDVI, _BARE_NDVI = 0.08, 0.0
_LAWN, _TREE = CLASSES.index("lawn"), CLASSES.index("tree")


def landcover_loss(logits: Tensor, views: LabelledViews) -> dict[str, Tensor]:
    """The weighted terms of b views.

    Args:
        logits: (b, 7, h, w) on the grid of the views' codes.
    """
    logits = logits.float()
    classes, vegetation = logits[:, : len(CLASSES)], logits[:, VEGETATION_PLANE]
    probabilities = classes.softmax(1)
    terms = {
        "class": _class_loss(classes, views.codes),
        "dice": 0.5 * _dice_loss(probabilities, views.codes),
    }
    green = (views.ndvi > _GREEN_NDVI).float()
    known = ((views.ndvi > _GREEN_NDVI) | (views.ndvi < _BARE_NDVI)).float()
    terms["vegetation"] = 0.5 * _mean(
        functional.binary_cross_entropy_with_logits(vegetation, green, reduction="none"), known
    )
    # What near infrared calls bare is neither lawn nor tree; weeds may be green and neither.
    planted = (probabilities[:, _LAWN] + probabilities[:, _TREE]).clamp(1e-5, 1 - 1e-5)
    agreement = -(green * planted.log() + (1 - green) * (1 - planted).log())
    untraced = known * (views.codes < 0).float()
    terms["green"] = 0.3 * _mean(agreement, untraced)
    if views.soft is not None:
        terms["teacher"] = _teacher_loss(classes, vegetation, views.soft, views.codes)
    return terms


def _class_loss(classes: Tensor, codes: Tensor) -> Tensor:
    known = (codes >= 0).float()
    entropy = functional.cross_entropy(classes, codes.clamp(min=0), reduction="none")
    return _mean(entropy, known)


def _dice_loss(probabilities: Tensor, codes: Tensor) -> Tensor:
    """The mean of 1 - Dice over the classes but "other", over the whole batch."""
    known = (codes >= 0).float()
    total = probabilities.new_zeros(())
    for number in range(1, len(CLASSES)):
        true = (codes == number).float()
        predicted = probabilities[:, number] * known
        total = total + 1 - (2 * (predicted * true).sum() + 1) / (predicted.sum() + true.sum() + 1)
    return total


def _teacher_loss(classes: Tensor, vegetation: Tensor, soft: Tensor, codes: Tensor) -> Tensor:
    """Cross entropy with the teacher's probabilities where nobody traced and it answered."""
    target = soft[:, : len(CLASSES)]
    target = target / target.sum(1, keepdim=True).clamp(min=1e-3)
    entropy = -(target * classes.log_softmax(1)).sum(1)
    green = functional.binary_cross_entropy_with_logits(
        vegetation, soft[:, VEGETATION_PLANE].clamp(0, 1), reduction="none"
    )
    answered = (soft[:, : len(CLASSES)].sum(1) > 0.5).float()
    untraced = answered * (codes < 0).float()
    return _mean(entropy, untraced) + 0.25 * _mean(green, answered)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1)
