"""What a batch is asked to do, and whom it tells how far it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from parcels.service import WhenUnavailable
from pipeline.bbox import BBox

if TYPE_CHECKING:
    from detection.segmenters.interface import Segmenter

# The segmenter of a name, with its weights where it needs any.
SegmenterFactory = Callable[[str, str | None], "Segmenter"]

# Told what is about to be done, before it is; returns where that is wanted, and raises otherwise.
ConfirmLots = Callable[[str], None]


class Progress(Protocol):
    """Told how far a batch is; see `pipeline.cli.progress`."""

    def message(self, what: str) -> None:
        """Say what is waited for now."""

    def start(self, total: int, what: str) -> None:
        """So much is to do."""

    def advance(self, count: int) -> None:
        """So much more is done."""

    def stop(self) -> None:
        """No more will come."""


class NoProgress:
    """No progress: for library use."""

    def message(self, what: str) -> None:
        """Say nothing."""

    def start(self, total: int, what: str) -> None:
        """Say nothing."""

    def advance(self, count: int) -> None:
        """Say nothing."""

    def stop(self) -> None:
        """Say nothing."""


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """What a batch is asked to do.

    Attributes:
        labels: names; empty means all that are known and that the segmenter finds.
        own_labels: as "trampoline=round backyard trampoline": labels that are asked for too, or
            known ones in other words.
        weights: of the segmenter sam3: a folder, a file or a hub id; None takes the settings'.
        engine: where the stages run: on this machine, or on a Ray cluster.
        limit: at most so many properties.
        again: also those that are done.
        retry_failed: also those without a result: failed, deferred, without imagery.
        bbox: only properties that lie in it: (west, south, east, north) in degrees.
        all_lots: every lot of the county becomes a property first.
        when_unavailable: what a county server that does not answer means for a lot.
        out: the folder of the map; None draws none.
    """

    county: str
    registry: Path | None = None
    properties: Path | None = None
    labels: tuple[str, ...] = ()
    own_labels: tuple[str, ...] = ()
    segmenter: str = "spectral"
    weights: str | None = None
    engine: Literal["local", "ray"] = "local"
    limit: int | None = None
    again: bool = False
    retry_failed: bool = False
    bbox: BBox | None = None
    all_lots: bool = False
    when_unavailable: WhenUnavailable = "defer"
    out: Path | None = None
