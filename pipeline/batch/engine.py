"""What an engine is: it takes chunks, and tells what was written of them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from detection.detector import FirstChips
from detection.labels import Label
from pipeline.batch.counters import Counters
from pipeline.batch.run_context import RunContext, SegmenterInfo
from pipeline.batch.stages import Chunk
from pipeline.store.results.outcomes import WriteResult


@dataclass(frozen=True, slots=True)
class Completed:
    """A property that needs no more work in this run.

    Attributes:
        written: what was kept; None where it was not this run's any more.
        note: what a person should look at in its boundary; empty where there is nothing.
    """

    property_id: str
    written: WriteResult | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class ProgressUpdate:
    """So much more is done."""

    settled: Sequence[Completed]
    counters: Counters


class Engine(Protocol):
    """Runs the stages of `pipeline.batch.stages` over chunks. Results do not depend on which."""

    def run(
        self,
        chunks: Iterable[Chunk],
        stopping: Callable[[], bool],
        on_first: Callable[[FirstChips], None],
    ) -> Generator[ProgressUpdate, None, None]:
        """Work on chunks, each taken when there is room for it.

        What the segmenter has not been shown when `stopping` is left alone: it stays leased.
        To close the iterator stops at once.

        Args:
            chunks: may be taken in another thread.
            on_first: called once, after the segmenter's first chips; in any thread.

        Raises:
            ImageryError: imagery that is configured wrongly.
            DBAPIError: the database could not be written to.
        """
        ...


@dataclass(frozen=True, slots=True)
class EngineRuntime:
    """Where a run will work: the segmenter is loaded there, and its engine can be had.

    Attributes:
        facts: of the segmenter.
        prepare: does what is slow and comes before the first chip, and finds what cannot be read.
        engine: makes the engine of a run.
    """

    facts: SegmenterInfo
    prepare: Callable[[Sequence[Label]], None]
    engine: Callable[[RunContext], Engine]
