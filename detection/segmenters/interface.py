"""What a segmenter is: chips and labels in, masks with signed fields out."""

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
    """Where a label is: a signed field on a grid of cells that covers a chip evenly.

    The grid need not be the chip's own: a network draws coarser, and the field says where
    between two cells the edge runs. It may be a window of that grid, as one roof is.

    Attributes:
        field: (h, w) float32, finite; above 0 inside, as a logit is. A value is of the middle
            of its cell.
        confidence: (h, w) float32 in 0..1; a polygon's score is its mean inside.
        cells: (rows, columns) of the whole grid.
        row, column: the first cell of `field` in it.
    """

    label: Label
    field: NDArray[np.float32]
    confidence: NDArray[np.float32]
    cells: tuple[int, int]
    row: int = 0
    column: int = 0


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
    def labels(self) -> tuple[str, ...] | None:
        """The names of the labels that it can find; None where it is asked in words."""
        ...

    @property
    def chip_px(self) -> int:
        """The side of a chip in pixels of `gsd_m`."""
        ...

    @property
    def gsd_m(self) -> float | None:
        """The ground sample distance that it is to see; None where the imagery's own will do."""
        ...

    @property
    def chips_per_batch(self) -> int:
        """How many chips it is best given together."""
        ...

    @property
    def device(self) -> str:
        """What it runs on and how, in words for people."""
        ...

    def prepare(self, labels: Sequence[Label]) -> None:
        """Do what is slow and comes before the first chip: encode texts, compile.

        Raises:
            SegmenterError: a prompt that it cannot read.
        """
        ...

    def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        """For each chip the masks of the labels, in the labels' order.

        A continuous label has one mask a chip, over all of it; a discrete one has a mask for
        each object, as small as the object.

        Raises:
            SegmenterError: a failure on one of these chips.
        """
        ...
