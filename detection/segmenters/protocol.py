"""What a segmenter is: chips and labels in, one mask for each chip and label out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from detection.chip import Chip
from detection.labels import Label


@dataclass(frozen=True, eq=False)
class Mask:
    """Where a label is on a chip.

    Attributes:
        pixels: (height, width) bool, on the chip's own grid.
        confidence: (height, width) float32 in 0..1; a polygon's score is its mean inside.
    """

    label: Label
    pixels: NDArray[np.bool_]
    confidence: NDArray[np.float32]


class Segmenter(Protocol):
    """Finds labels in chips. Knows nothing of lots.

    `name` and `weights_sha256` (None where there are no weights) are kept with each detection.
    """

    @property
    def name(self) -> str:
        """Its name and version."""
        ...

    @property
    def weights_sha256(self) -> str | None:
        """Of its weights; None where it has none."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the labels that it can find."""
        ...

    def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        """For each chip the masks of the labels, in the labels' order.

        Continuous labels have one mask a chip; discrete ones may have one for each instance.

        Raises:
            SegmenterError: a label that it cannot find, or a failure on these chips.
        """
        ...
