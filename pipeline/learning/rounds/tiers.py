"""How each segmenter learns from corrections: the training that a round runs.

A further segmenter, or a further tier of one, is a line here: `lotline train` and `lotline models
add` must know it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pipeline.errors import LearningError


@dataclass(frozen=True, slots=True)
class LearningTier:
    """A training on corrections.

    Attributes:
        recipe: as `lotline train` names it.
        options: words of `lotline train` that belong to the tier, such as "--tier", "heads".
    """

    segmenter: str
    recipe: str
    options: tuple[str, ...] = ()


TIERS: Final = {"landcover": LearningTier("landcover", "landcover-decoder")}
"""By the name that `lotline learn --segmenter` takes."""


def learning_tier(name: str) -> LearningTier:
    """
    Raises:
        LearningError: no such segmenter learns.
    """
    if name not in TIERS:
        raise LearningError(f"{name} does not learn from corrections: choose {', '.join(TIERS)}")
    return TIERS[name]
