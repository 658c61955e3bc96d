"""What a rival says of traced windows, on the truth's pixels.

A rival is a segmenter that is run as a batch runs it (`segmenter_answers`), or a folder of class
codes (`code_answers`): a model outside the project, or the tracer's own second pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from detection.evaluation.traced import TracedTile


@dataclass(frozen=True, slots=True, eq=False)
class FoundObject:
    """One object of a discrete label in a window: its pixels (h, w), and its score in 0..1."""

    pixels: NDArray[np.bool_]
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class LabelAnswer:
    """A label in one window.

    Attributes:
        inside: (h, w) where the label is.
        confidence: (h, w) float32 in 0..1 that the label is there; None where none is known.
        objects: of a discrete label.
    """

    inside: NDArray[np.bool_]
    confidence: NDArray[np.float32] | None = None
    objects: tuple[FoundObject, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class WindowAnswer:
    """All labels in one window.

    Attributes:
        labels: by name; one that the rival cannot detect is missing.
        decided: (h, w) False where the rival gives no answer; None if it always does.
    """

    labels: Mapping[str, LabelAnswer]
    decided: NDArray[np.bool_] | None = None


class Rival(Protocol):
    """What can be evaluated."""

    @property
    def name(self) -> str:
        """For the report."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that it can detect, of those that the truth has."""
        ...

    def answer(self, tile: TracedTile) -> list[WindowAnswer]:
        """An answer for each of the tile's windows, in their order.

        Raises:
            DetectionError: it has none. A failure is never an empty answer.
        """
        ...
