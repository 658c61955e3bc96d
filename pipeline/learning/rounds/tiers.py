"""How each segmenter learns from corrections: the training that a round runs.

A further segmenter, or a further tier of one, is a line here: `lotline train` and `lotline models
add` must know it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from pipeline.errors import LearningError

LEARNERS: Final = ("landcover", "sam3", "sam3-nano", "sam3-tiny")
"""The segmenters that `lotline learn --segmenter` takes."""

DECODER_TIERS: Final = ("mask", "heads", "deep", "full")
"""What `lotline learn --tier` takes: of a SAM3."""

_DEFAULT_TIER: Final = "heads"
# Of `lotline train`: a round decides them, so that what it trains is what it judges.
_DECIDED: Final = ("--from", "--out", "--resume", "--tier", "--weights")


@dataclass(frozen=True, slots=True)
class LearningTier:
    """A training on corrections.

    Attributes:
        recipe: as `lotline train` names it.
        options: words of `lotline train` that belong to the tier, such as "--tier", "heads".
        name: as models are registered with it.
    """

    segmenter: str
    recipe: str
    options: tuple[str, ...]
    name: str

    @property
    def has_deltas(self) -> bool:
        """Whether its weights are put on a base."""
        return self.segmenter != "landcover"


def learning_tier(
    segmenter: str, tier: str | None = None, sam3_weights: str | None = None
) -> LearningTier:
    """The training of a segmenter.

    Args:
        tier: of a SAM3; None is `heads`. Landcover has one only.
        sam3_weights: of the setting SAM3_WEIGHTS, from which sam3 learns.

    Raises:
        LearningError: no such segmenter learns, it has no tiers, or sam3 has no base that a delta
            can be put on.
    """
    if segmenter == "landcover":
        if tier is not None:
            raise LearningError("landcover has no tiers: leave --tier out")
        return LearningTier(segmenter, "landcover-decoder", (), "landcover-decoder")
    if segmenter not in LEARNERS:
        raise LearningError(
            f"{segmenter} does not learn from corrections: choose {', '.join(LEARNERS)}"
        )
    chosen = tier or _DEFAULT_TIER
    if chosen not in DECODER_TIERS:
        raise LearningError(f"no tier is named {chosen}: choose {', '.join(DECODER_TIERS)}")
    base = segmenter if segmenter != "sam3" else _base(sam3_weights)
    options = ("--tier", chosen, "--weights", base)
    return LearningTier(segmenter, "sam3-decoder", options, f"sam3-decoder {chosen}")


def check_options(options: tuple[str, ...]) -> None:
    """Check the further options of `lotline train`.

    Raises:
        LearningError: one that the round decides.
    """
    for option in options:
        name = option.partition("=")[0]
        if name in _DECIDED:
            raise LearningError(
                f"{name} is not an option of a round's training: a round decides it. The tier is "
                "named before the --, and SAM3_WEIGHTS names the weights that sam3 begins with"
            )


def _base(sam3_weights: str | None) -> str:
    if not sam3_weights:
        raise LearningError(
            "sam3 learns from weights that are not in this package: set SAM3_WEIGHTS to them"
        )
    if os.pathsep in sam3_weights:
        raise LearningError(
            f"SAM3_WEIGHTS={sam3_weights} names a delta, which is used whatever is promoted: set "
            f"it to {sam3_weights.partition(os.pathsep)[0]} and register the delta with `lotline "
            "models add`"
        )
    return sam3_weights
