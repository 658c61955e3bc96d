"""The protocol of every segmenter: chips and labels in, masks with signed fields out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from detection.chip import Chip
from detection.labels import Label


@dataclass(frozen=True, eq=False)
class Mask:
    """The area of a label: a signed field on a regular grid of cells over a chip.

    The grid may be coarser than the chip's pixels, as a network's output is; edges are then
    interpolated between cell centres. A mask may cover a part of the grid, such as one roof.

    Attributes:
        field: (h, w) float32, finite, above 0 inside (like a logit), at cell centres.
        confidence: (h, w) float32 in 0..1; its mean over a polygon is the polygon's score.
        cells: (rows, columns) of the full grid.
        row, column: the position of `field[0, 0]` in it.
    """

    label: Label
    field: NDArray[np.float32]
    confidence: NDArray[np.float32]
    cells: tuple[int, int]
    row: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True)
class ClickPrompt:
    """A point on an object, in pixels from the chip's upper left corner."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class BoxPrompt:
    """A box around an object, in pixels from the chip's upper left corner."""

    left: float
    top: float
    right: float
    bottom: float


class Segmenter(Protocol):
    """Detects labels in chips; it is independent of lots.

    `name` and `weights_sha256` are stored with each detection.
    """

    @property
    def name(self) -> str:
        """Its name and version."""
        ...

    @property
    def weights_sha256(self) -> str | None:
        """The hash of its weights; None if it has none."""
        ...

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The names of the labels that it can detect; None if it takes text prompts."""
        ...

    @property
    def chip_px(self) -> int:
        """The side of a chip in pixels of `gsd_m`."""
        ...

    @property
    def gsd_m(self) -> float | None:
        """The ground sample distance that it needs; None for the imagery's own."""
        ...

    @property
    def chips_per_batch(self) -> int:
        """The best number of chips for one call of `segment`."""
        ...

    @property
    def device(self) -> str:
        """Its device and precision, as text for people."""
        ...

    def prepare(self, labels: Sequence[Label]) -> None:
        """Do slow work before the first chip: encode prompts, compile.

        Raises:
            SegmenterError: an invalid prompt.
        """
        ...

    def segment(self, chips: Sequence[Chip], labels: Sequence[Label]) -> list[list[Mask]]:
        """For each chip the masks of the labels, in the labels' order.

        A continuous label has one mask for the full chip; a discrete one has a mask for each
        object, cropped to it.

        Raises:
            SegmenterError: it failed on one of these chips.
        """
        ...


@runtime_checkable
class PromptableSegmenter(Segmenter, Protocol):
    """A segmenter that also finds the object that a person points at.

    It keeps what it computed of the last chips, so that the next prompt on one of them is fast.
    """

    def mask_at(self, chip: Chip, label: Label, prompt: ClickPrompt | BoxPrompt) -> Mask | None:
        """The mask of the object of a label at a click, or in a box; None if there is none.

        Raises:
            SegmenterError: it failed on the chip, or the label's prompt is invalid.
        """
        ...
