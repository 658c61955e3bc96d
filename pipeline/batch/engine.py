"""The interface of an engine, which runs the stages over chunks of leased properties."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from detection.detector import FirstChips
from detection.labels import Label
from pipeline.batch.counters import Counters
from pipeline.batch.stage_context import SegmenterInfo, StageContext
from pipeline.batch.stages import Chunk
from pipeline.store.results.outcomes import WriteResult


@dataclass(frozen=True, slots=True)
class Completed:
    """A property that needs no more work in this run.

    Attributes:
        written: what was written; None if the run had lost its lease.
        note: what a person should check about the boundary; empty for nothing.
    """

    property_id: str
    written: WriteResult | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class ProgressUpdate:
    """What an engine has done since its last update."""

    completed: Sequence[Completed]
    counters: Counters


class Engine(Protocol):
    """Runs `pipeline.batch.stages` over chunks. Every engine writes the same rows."""

    def run(
        self,
        chunks: Iterable[Chunk],
        stop_requested: Callable[[], bool],
        on_first_chips: Callable[[FirstChips], None],
    ) -> Generator[ProgressUpdate, None, None]:
        """Process chunks; the next one is pulled only when there is capacity (backpressure).

        Once `stop_requested`, chips that the segmenter has not received are dropped; their
        properties stay leased. Closing the generator stops at once.

        Args:
            chunks: may be iterated in another thread.
            on_first_chips: called once, in any thread, after the first inference.

        Raises:
            ImageryError: the imagery is misconfigured.
            DBAPIError: the database could not be written to.
        """
        ...


@dataclass(frozen=True, slots=True)
class EngineRuntime:
    """Where a run executes, with the segmenter loaded; it creates the run's engine.

    Attributes:
        segmenter_info: of the loaded segmenter.
        prepare: prepares the segmenter for labels (slow); raises for a prompt it cannot read.
        create_engine: creates the engine of a run.
    """

    segmenter_info: SegmenterInfo
    prepare: Callable[[Sequence[Label]], None]
    create_engine: Callable[[StageContext], Engine]
