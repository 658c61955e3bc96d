"""A strip on its way through the workers of a cluster, and what is to be done where it is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ray import ObjectRef

from detection.chip_batches import Looks, Strip, strips_of
from pipeline.batch.stages import Lot, Settling, Surveyed, failed

# Once among others, then alone: what is lost as often has killed its workers itself.
_MOST_LOSSES = 3


@dataclass
class Piece:
    """A strip, the lots that are answered with it, and how often it was lost.

    Attributes:
        looks: references to what was seen of the chips of its chunk, which the strips pass in
            their order.
    """

    strip: Strip
    lots: dict[int, Lot]
    looks: Looks[ObjectRef[Any]]
    losses: int = 0

    def again(self) -> list[Piece]:
        """Its lots once more, with all chips that they need, chip by chip.

        So a chip that kills whoever looks at it does not take others with it.
        """
        return _pieces(strips_of(self.strip.plans, 1), self.lots, self.losses + 1)

    @property
    def is_hopeless(self) -> bool:
        """Whether it was lost as often as it may be, once it is lost again."""
        return self.losses + 1 >= _MOST_LOSSES

    def crashed(self) -> list[Settling]:
        """What becomes of its lots where it was lost too often."""
        detail = f"the worker or machine that looked at it was lost {self.losses + 1} times"
        return [failed(lot, "crashed", detail) for lot in self.lots.values()]


def pieces_of(surveyed: Surveyed) -> list[Piece]:
    """All strips of a chunk."""
    return _pieces(surveyed.strips, dict(enumerate(surveyed.lots)), 0)


def _pieces(strips: Sequence[Strip], lots: dict[int, Lot], losses: int) -> list[Piece]:
    looks: Looks[ObjectRef[Any]] = Looks(strips)
    return [
        Piece(strip, {index: lots[index] for index in strip.lots}, looks, losses)
        for strip in strips
    ]
