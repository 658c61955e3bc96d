"""One machine: threads that work ahead of one another, and processes that measure.

    lease, survey │ read (helpers) │ segment │ measure (helpers) │ write

Each waits where the next one's queue is full. So imagery is read, and lots are measured and
written, while the segmenter looks at other chips; and what is in memory does not grow with the
county. Where there is much to do the helpers are processes: a fast segmenter would wait for
Python's lock else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing

from loky import cpu_count
from sqlalchemy import Engine as Database

from detection.chip_batches import SharedResults
from detection.detector import FirstChips
from detection.imagery.interface import ImagerySource
from detection.inference import ChipFailure, InferenceResult
from detection.segmenters.interface import Segmenter
from parcels import ParcelBoundaryService
from pipeline.batch.counters import Counters
from pipeline.batch.engine import EngineRuntime, ProgressUpdate
from pipeline.batch.engines.backpressure import WeightedSemaphore
from pipeline.batch.engines.chip_batch_job import ChipBatchJob, unreadable_chips
from pipeline.batch.engines.pool_tasks import measure_task, read_chips_here, read_chips_task
from pipeline.batch.engines.prefetch import PrefetchIterator, StageGroup, in_groups
from pipeline.batch.engines.view_cache import ResultCache
from pipeline.batch.engines.worker_pool import PoolCall, WorkerLost, WorkerPool
from pipeline.batch.run_context import RunContext, segmenter_info
from pipeline.batch.stages import (
    CHIP_BATCHES_AT_ONCE,
    ChipsByKey,
    Chunk,
    PendingOutcome,
    Surveyed,
    failed,
    segment,
    survey,
)
from pipeline.batch.write_stage import MOST_LOTS, WITHIN_S, write_outcomes

# A server takes its time, and GDAL decodes without Python's lock.
_THREADS = 4
# Properties whose reading and measuring take longer than a process takes to start.
_WORTH_A_PROCESS = 1_000
# Lots that were looked at and are not yet written: what a crash makes a run look at again. Their
# chips show others too, and all of these are to be less than a chunk. And, counted by themselves,
# those that need no look.
_UNWRITTEN_LOTS = 1_280
# Batches of chips that are read before the segmenter asks for them.
_READ_AHEAD = 2
# How long a batch waits to be filled up: one that is not full takes a GPU as long as one that is.
# And how soon a stop is noticed.
_FILL_S = 0.5

_Reading = tuple[ChipBatchJob, PoolCall[tuple[ChipsByKey, Counters]] | None]
_Measuring = tuple[ChipBatchJob, PoolCall[tuple[list[PendingOutcome], Counters]] | None]


class LocalEngine:
    """See `pipeline.batch.engine.Engine`.

    Args:
        processes: that read files and measure; with 0, threads of this one do.
    """

    def __init__(
        self,
        recipe: RunContext,
        service: ParcelBoundaryService,
        imagery: ImagerySource,
        segmenter: Segmenter,
        database: Database,
        processes: int = 0,
    ) -> None:
        self._recipe = recipe
        self._service = service
        self._imagery = imagery
        self._segmenter = segmenter
        self._database = database
        self._processes = processes
        self._recent = ResultCache()
        self._unwritten = WeightedSemaphore(_UNWRITTEN_LOTS)
        # Not the same: a strip would wait for what needs no look, and is queued behind it.
        self._unlooked = WeightedSemaphore(_UNWRITTEN_LOTS)

    def run(
        self,
        chunks: Iterable[Chunk],
        stopping: Callable[[], bool],
        on_first: Callable[[FirstChips], None],
    ) -> Generator[ProgressUpdate, None, None]:
        """See `Engine.run`."""
        ahead = _READ_AHEAD * min(CHIP_BATCHES_AT_ONCE, self._recipe.shown.chips_per_batch)
        with (
            StageGroup() as stages,
            WorkerPool(self._processes) as helpers,
            WorkerPool(0, _THREADS) as threads,
            closing(self._unwritten),
            closing(self._unlooked),
        ):
            surveyed = stages.ahead(self._surveyed(chunks), 1, "survey")
            jobs = self._jobs(surveyed, stopping)
            # The limits of an imagery server hold within one process.
            apart = self._processes and self._recipe.county.imagery.url is None
            reading = self._reading(jobs, helpers if apart else threads)
            asked = stages.ahead(reading, ahead, "read")
            read = stages.ahead(self._read(asked), ahead, "ready")
            seen = stages.ahead(self._seen(read, stopping, on_first), 2, "segment")
            measuring = self._measuring(seen, helpers)
            given = stages.ahead(measuring, 2 * self._processes + 1, "measure")
            finished = stages.ahead(self._measured(given), 2 * MOST_LOTS, "measured")
            written = stages.ahead(self._written(finished), 2, "write")
            # Not "yield from", which would close the last one before the others.
            for progressed in written:  # noqa: UP028
                yield progressed

    def _surveyed(self, chunks: Iterable[Chunk]) -> Iterator[tuple[Surveyed, Counters]]:
        for chunk in chunks:
            counters = Counters()
            found = survey(chunk, self._recipe, self._service, self._imagery, counters)
            if not self._unlooked.take(len(found.settling)):
                return
            yield found, counters

    def _jobs(
        self, surveyed: PrefetchIterator[tuple[Surveyed, Counters]], stopping: Callable[[], bool]
    ) -> Iterator[ChipBatchJob]:
        """A job for each strip, and one for what needs no look."""
        with closing(surveyed):
            for found, counters in surveyed:
                yield ChipBatchJob(found, counters, settling=list(found.settling))
                looks: SharedResults[InferenceResult | ChipFailure] = SharedResults(found.strips)
                for strip in found.strips:
                    if stopping():
                        return
                    yield ChipBatchJob(found, Counters(), strip, looks)

    def _reading(self, jobs: Iterator[ChipBatchJob], helpers: WorkerPool) -> Iterator[_Reading]:
        """Ask for the chips of each strip that are not known."""
        for job in jobs:
            places = job.strip.chip_keys if job.strip is not None else ()
            for place in places:
                view = self._recent.get(place)
                if view is not None:
                    job.chips[place] = view
            unknown = [place for place in places if place not in job.chips]
            if not unknown:
                yield job, None
            elif helpers.are_processes:
                yield job, helpers.call(read_chips_task, unknown, self._recipe)
            else:
                yield job, helpers.call(read_chips_here, unknown, self._imagery)

    def _read(self, reading: PrefetchIterator[_Reading]) -> Iterator[ChipBatchJob]:
        with closing(reading):
            for job, call in reading:
                if call is not None:
                    try:
                        chips, counters = call.result()
                    except WorkerLost as error:
                        chips, counters = unreadable_chips(job, str(error)), Counters()
                    job.chips |= chips
                    job.counters.add(counters)
                    job.count_lost(call.lost)
                yield job

    def _seen(
        self,
        read: PrefetchIterator[ChipBatchJob],
        stopping: Callable[[], bool],
        on_first: Callable[[FirstChips], None],
    ) -> Iterator[ChipBatchJob]:
        """Show the segmenter the strips that are ready, as many as it takes together."""
        told = False
        with closing(read):
            for batch in self._batches(read, stopping):
                job = batch[0]
                chips = {
                    # Another chunk's strip may have been shown it since it was read.
                    place: self._recent.get(place) or chip
                    for each in batch
                    for place, chip in each.chips.items()
                }
                started_s = time.perf_counter()
                views = segment(chips, self._recipe, self._segmenter, job.counters)
                self._recent.add(views)
                if job.counters.encoder_calls and not told:
                    told = True
                    on_first(self._first(job, time.perf_counter() - started_s))
                for each in batch:
                    each.see(views)
                    yield each

    def _batches(
        self, read: PrefetchIterator[ChipBatchJob], stopping: Callable[[], bool]
    ) -> Iterator[list[ChipBatchJob]]:
        """As many strips together as the segmenter takes, where they come in time.

        When the run stops, nobody waits for a slow server: what is on its way is left alone.
        """
        batch: list[ChipBatchJob] = []
        left = at_once = self._recipe.shown.chips_per_batch
        while True:
            try:
                job = read.within(0.0 if stopping() else _FILL_S)
            except StopIteration:
                break
            if job is not None and job.strip is None:
                yield [job]  # it has no chips, and waits for nobody's
                continue
            if stopping():
                if job is None:
                    break
                continue
            lots = 0 if job is None else len(job.lots)
            is_full = job is None or len(job.chips) > left or not self._unwritten.has(lots)
            if batch and is_full:
                yield batch
                batch, left = [], at_once
            if job is None:
                continue
            if not self._unwritten.take(lots):
                return
            batch.append(job)
            left -= len(job.chips)
        if batch and not stopping():
            yield batch

    def _measuring(
        self, seen: PrefetchIterator[ChipBatchJob], helpers: WorkerPool
    ) -> Iterator[_Measuring]:
        with closing(seen):
            for job in seen:
                if job.strip is None or not job.strip.plans:
                    yield job, None
                else:
                    given = (job.strip, job.views, job.lots, self._recipe)
                    yield job, helpers.call(measure_task, *given)

    def _measured(self, measuring: PrefetchIterator[_Measuring]) -> Iterator[ChipBatchJob]:
        with closing(measuring):
            for job, call in measuring:
                if call is not None:
                    try:
                        settling, counters = call.result()
                    except WorkerLost as error:
                        lots = job.lots.values()
                        settling = [failed(lot, "crashed", str(error)) for lot in lots]
                        counters = Counters()
                    job.settling += settling
                    job.counters.add(counters)
                    job.count_lost(call.lost)
                    job.views = {}
                yield job

    def _first(self, job: ChipBatchJob, seconds: float) -> FirstChips:
        strips = job.surveyed.strips
        return FirstChips(
            self._segmenter.device,
            job.counters.encoder_calls,
            seconds,
            len(self._recipe.labels),
            sum(len(strip.chip_keys) for strip in strips),
            sum(len(strip.lots) for strip in strips),
        )

    def _written(self, finished: PrefetchIterator[ChipBatchJob]) -> Iterator[ProgressUpdate]:
        with closing(finished):
            for jobs in in_groups(finished, MOST_LOTS, WITHIN_S, lambda job: len(job.settling)):
                counters = Counters()
                for job in jobs:
                    counters.add(job.counters)
                settling = [each for job in jobs for each in job.settling]
                settled = write_outcomes(settling, self._recipe, self._database, counters)
                self._unwritten.give(sum(len(job.lots) for job in jobs))
                self._unlooked.give(sum(len(job.settling) for job in jobs if job.strip is None))
                yield ProgressUpdate(settled, counters)


def local_runtime(
    build: Callable[[], Segmenter],
    service: ParcelBoundaryService,
    imagery: ImagerySource,
    database: Database,
    total: int,
) -> EngineRuntime:
    """Here, with as many processes as `total` properties are worth.

    Raises:
        SegmenterError: the segmenter cannot be built.
    """
    segmenter = build()
    processes = _cores() - 1 if total >= _WORTH_A_PROCESS else 0

    def engine(recipe: RunContext) -> LocalEngine:
        return LocalEngine(recipe, service, imagery, segmenter, database, processes)

    return EngineRuntime(segmenter_info(segmenter), segmenter.prepare, engine)


def _cores() -> int:
    """Those that this process may use: of its affinity and its container, on every system."""
    return int(cpu_count())
