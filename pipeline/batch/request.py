"""What a batch is requested to do, and how its progress is reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from detection.segmenters import DEFAULT_SEGMENTER
from parcels.service import WhenUnavailable
from pipeline.bbox import BBox

if TYPE_CHECKING:
    from detection.segmenters.interface import Segmenter

# (name, weights) -> segmenter; the weights are None for a segmenter that needs none.
SegmenterFactory = Callable[[str, str | None], "Segmenter"]

# Called with a description of what comes next; raises to cancel it.
ConfirmLots = Callable[[str], None]


class Progress(Protocol):
    """Receives the progress of a batch. `pipeline.cli.progress` prints it."""

    def message(self, what: str) -> None:
        """Show what the batch does now."""

    def start(self, total: int, what: str) -> None:
        """Begin to count up to `total`."""

    def advance(self, count: int) -> None:
        """Count `count` more as done."""

    def stop(self) -> None:
        """End the count."""


class NoProgress:
    """Shows nothing; for use as a library."""

    def message(self, what: str) -> None:
        """Show nothing."""

    def start(self, total: int, what: str) -> None:
        """Show nothing."""

    def advance(self, count: int) -> None:
        """Show nothing."""

    def stop(self) -> None:
        """Show nothing."""


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """What a batch is requested to do.

    Attributes:
        registry: a registry file; None uses the one of the settings.
        properties: a CSV of properties; None uses the registry entry's, or the county's queue.
        labels: label names; empty for all known labels that the segmenter finds.
        own_labels: additional labels, or other prompts for known ones, written as
            "trampoline=round backyard trampoline".
        weights: of the segmenter: for sam3 a folder, a file or a hub id, for landcover a folder;
            None uses the settings'.
        engine: where the stages run: "local" for this machine, "ray" for a Ray cluster.
        limit: maximum number of properties.
        again: reprocess completed properties.
        stale: reprocess properties that other weights of the segmenter measured, except those that
            were reviewed in full.
        retry_failed: retry properties without a result: failed, deferred, without imagery.
        bbox: only properties inside (west, south, east, north), in degrees.
        all_lots: first make every lot of the county a property.
        when_unavailable: what to do with a lot when the county's server does not respond.
        out: folder for the map and the report page; None writes neither.
    """

    county: str
    registry: Path | None = None
    properties: Path | None = None
    labels: tuple[str, ...] = ()
    own_labels: tuple[str, ...] = ()
    segmenter: str = DEFAULT_SEGMENTER
    weights: str | None = None
    engine: Literal["local", "ray"] = "local"
    limit: int | None = None
    again: bool = False
    stale: bool = False
    retry_failed: bool = False
    bbox: BBox | None = None
    all_lots: bool = False
    when_unavailable: WhenUnavailable = "defer"
    out: Path | None = None
