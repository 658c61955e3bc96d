"""The local engine: a pipeline of threads, and worker processes that read and measure.

    lease, survey | read (workers) | segment | measure (workers) | write

Each stage waits while the queue of the next one is full (backpressure), so reading, measuring and
writing overlap with inference, and memory does not grow with the county. Large batches use worker
processes, because a fast segmenter would otherwise wait for Python's global lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing

from loky import cpu_count
from sqlalchemy import Engine as DatabaseEngine

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
from pipeline.batch.engines.result_cache import ResultCache
from pipeline.batch.engines.worker_pool import PoolCall, WorkerLost, WorkerPool
from pipeline.batch.run_context import RunContext
from pipeline.batch.stage_context import StageContext, segmenter_info
from pipeline.batch.stages import (
    CHIP_BATCHES_PER_CALL,
    ChipsByKey,
    Chunk,
    PendingOutcome,
    Surveyed,
    failed_outcome,
    segment,
    survey,
)
from pipeline.batch.write_stage import MAX_LOTS_PER_WRITE, MAX_WRITE_DELAY_S, write_outcomes

# Threads that read: a server is slow, and GDAL decodes without Python's global lock.
_READ_THREADS = 4
# From this many properties, worker processes save more time than they take to start.
_MIN_LOTS_FOR_PROCESSES = 1_000
# At most 1,280 lots await commit after inference, so a crash repeats less than one chunk (their
# chips show other lots too). The same limit applies separately to lots that need no inference.
_MAX_UNWRITTEN_LOTS = 1_280
# Inference calls whose chips are read before the segmenter needs them.
_CALLS_READ_AHEAD = 2
# How long an inference call waits for more chips, because a partial one takes a GPU as long as a
# full one; and how soon a stop is noticed.
_FILL_TIMEOUT_S = 0.5

_ReadJob = tuple[ChipBatchJob, PoolCall[tuple[ChipsByKey, Counters]] | None]
_MeasureJob = tuple[ChipBatchJob, PoolCall[tuple[list[PendingOutcome], Counters]] | None]


class LocalEngine:
    """See `pipeline.batch.engine.Engine`.

    Args:
        processes: worker processes that read files and measure; 0 uses threads.
    """

    def __init__(
        self,
        context: StageContext,
        service: ParcelBoundaryService,
        imagery: ImagerySource,
        segmenter: Segmenter,
        database: DatabaseEngine,
        processes: int = 0,
    ) -> None:
        self._context = context
        self._service = service
        self._imagery = imagery
        self._segmenter = segmenter
        self._database = database
        self._processes = processes
        self._result_cache = ResultCache()
        self._unwritten_lots = WeightedSemaphore(_MAX_UNWRITTEN_LOTS)
        # Separate, or a chip batch would wait for outcomes that are queued behind it: a deadlock.
        self._unwritten_outcomes = WeightedSemaphore(_MAX_UNWRITTEN_LOTS)

    def run(
        self,
        chunks: Iterable[Chunk],
        stop_requested: Callable[[], bool],
        on_first_chips: Callable[[FirstChips], None],
    ) -> Generator[ProgressUpdate, None, None]:
        """See `Engine.run`."""
        chips_per_batch = self._context.chip_spec.chips_per_batch
        read_ahead = _CALLS_READ_AHEAD * min(CHIP_BATCHES_PER_CALL, chips_per_batch)
        with (
            StageGroup() as stages,
            WorkerPool(self._processes) as workers,
            WorkerPool(0, _READ_THREADS) as threads,
            closing(self._unwritten_lots),
            closing(self._unwritten_outcomes),
        ):
            surveyed = stages.prefetch(self._survey(chunks), 1, "survey")
            jobs = self._create_jobs(surveyed, stop_requested)
            # One process reads from an imagery server, so that its rate limit holds.
            is_file = self._context.county.imagery.path is not None
            reads = self._submit_reads(jobs, workers if self._processes and is_file else threads)
            reading = stages.prefetch(reads, read_ahead, "read")
            read = stages.prefetch(self._collect_reads(reading), read_ahead, "ready")
            segmented = stages.prefetch(
                self._segment(read, stop_requested, on_first_chips), 2, "segment"
            )
            measures = self._submit_measures(segmented, workers)
            measuring = stages.prefetch(measures, 2 * self._processes + 1, "measure")
            measured = stages.prefetch(
                self._collect_measures(measuring), 2 * MAX_LOTS_PER_WRITE, "measured"
            )
            written = stages.prefetch(self._write(measured), 2, "write")
            # Not "yield from", which would close the last stage before the others.
            for update in written:  # noqa: UP028
                yield update

    def _survey(self, chunks: Iterable[Chunk]) -> Iterator[tuple[Surveyed, Counters]]:
        for chunk in chunks:
            counters = Counters()
            surveyed = survey(chunk, self._context, self._service, self._imagery, counters)
            if not self._unwritten_outcomes.acquire(len(surveyed.outcomes)):
                return
            yield surveyed, counters

    def _create_jobs(
        self,
        surveyed_chunks: PrefetchIterator[tuple[Surveyed, Counters]],
        stop_requested: Callable[[], bool],
    ) -> Iterator[ChipBatchJob]:
        """A job for each chip batch, and one for a chunk's outcomes without inference."""
        with closing(surveyed_chunks):
            for surveyed, counters in surveyed_chunks:
                yield ChipBatchJob(surveyed, counters, outcomes=list(surveyed.outcomes))
                shared: SharedResults[InferenceResult | ChipFailure] = SharedResults(
                    surveyed.chip_batches
                )
                for chip_batch in surveyed.chip_batches:
                    if stop_requested():
                        return
                    yield ChipBatchJob(surveyed, Counters(), chip_batch, shared)

    def _submit_reads(self, jobs: Iterator[ChipBatchJob], pool: WorkerPool) -> Iterator[_ReadJob]:
        """Submit the chips that are not in the result cache."""
        for job in jobs:
            keys = job.chip_batch.chip_keys if job.chip_batch is not None else ()
            for key in keys:
                result = self._result_cache.get(key)
                if result is not None:
                    job.chips[key] = result
            missing = [key for key in keys if key not in job.chips]
            if not missing:
                yield job, None
            elif pool.uses_processes:
                yield job, pool.call(read_chips_task, missing, self._context)
            else:
                yield job, pool.call(read_chips_here, missing, self._imagery)

    def _collect_reads(self, reading: PrefetchIterator[_ReadJob]) -> Iterator[ChipBatchJob]:
        with closing(reading):
            for job, call in reading:
                if call is not None:
                    try:
                        chips, counters = call.result()
                    except WorkerLost as error:
                        chips, counters = unreadable_chips(job, str(error)), Counters()
                    job.chips |= chips
                    job.counters.add(counters)
                    job.count_lost_workers(call.lost_workers)
                yield job

    def _segment(
        self,
        read: PrefetchIterator[ChipBatchJob],
        stop_requested: Callable[[], bool],
        on_first_chips: Callable[[FirstChips], None],
    ) -> Iterator[ChipBatchJob]:
        """Run inference on as many jobs as one call takes."""
        is_reported = False
        with closing(read):
            for jobs in self._fill_calls(read, stop_requested):
                first_job = jobs[0]
                chips = {
                    # A chip batch of another chunk may have been segmented since it was read.
                    key: self._result_cache.get(key) or chip
                    for job in jobs
                    for key, chip in job.chips.items()
                }
                started_s = time.perf_counter()
                results = segment(chips, self._context, self._segmenter, first_job.counters)
                self._result_cache.add(results)
                if first_job.counters.encoder_calls and not is_reported:
                    is_reported = True
                    on_first_chips(self._first_chips(first_job, time.perf_counter() - started_s))
                for job in jobs:
                    job.set_results(results)
                    yield job

    def _fill_calls(
        self, read: PrefetchIterator[ChipBatchJob], stop_requested: Callable[[], bool]
    ) -> Iterator[list[ChipBatchJob]]:
        """Group jobs into inference calls, without waiting long for a full one.

        Once the run stops, jobs are dropped without waiting for those that are still read.
        """
        jobs: list[ChipBatchJob] = []
        free_chips = chips_per_batch = self._context.chip_spec.chips_per_batch
        while True:
            try:
                job = read.next_within(0.0 if stop_requested() else _FILL_TIMEOUT_S)
            except StopIteration:
                break
            if job is not None and job.chip_batch is None:
                yield [job]  # no chips, so no need to wait
                continue
            if stop_requested():
                if job is None:
                    break
                continue
            lots = 0 if job is None else len(job.lots)
            is_full = (
                job is None
                or len(job.chips) > free_chips
                or not self._unwritten_lots.can_acquire(lots)
            )
            if jobs and is_full:
                yield jobs
                jobs, free_chips = [], chips_per_batch
            if job is None:
                continue
            if not self._unwritten_lots.acquire(lots):
                return
            jobs.append(job)
            free_chips -= len(job.chips)
        if jobs and not stop_requested():
            yield jobs

    def _submit_measures(
        self, segmented: PrefetchIterator[ChipBatchJob], workers: WorkerPool
    ) -> Iterator[_MeasureJob]:
        with closing(segmented):
            for job in segmented:
                if job.chip_batch is None or not job.chip_batch.plans:
                    yield job, None
                else:
                    args = (job.chip_batch, job.results, job.lots, self._context)
                    yield job, workers.call(measure_task, *args)

    def _collect_measures(self, measuring: PrefetchIterator[_MeasureJob]) -> Iterator[ChipBatchJob]:
        with closing(measuring):
            for job, call in measuring:
                if call is not None:
                    try:
                        outcomes, counters = call.result()
                    except WorkerLost as error:
                        lots = job.lots.values()
                        outcomes = [failed_outcome(lot, "crashed", str(error)) for lot in lots]
                        counters = Counters()
                    job.outcomes += outcomes
                    job.counters.add(counters)
                    job.count_lost_workers(call.lost_workers)
                    job.results = {}
                yield job

    def _first_chips(self, job: ChipBatchJob, seconds: float) -> FirstChips:
        chip_batches = job.surveyed.chip_batches
        return FirstChips(
            self._segmenter.device,
            job.counters.encoder_calls,
            seconds,
            len(self._context.labels),
            sum(len(each.chip_keys) for each in chip_batches),
            sum(len(each.lots) for each in chip_batches),
        )

    def _write(self, measured: PrefetchIterator[ChipBatchJob]) -> Iterator[ProgressUpdate]:
        with closing(measured):
            for jobs in in_groups(
                measured, MAX_LOTS_PER_WRITE, MAX_WRITE_DELAY_S, lambda job: len(job.outcomes)
            ):
                counters = Counters()
                for job in jobs:
                    counters.add(job.counters)
                outcomes = [each for job in jobs for each in job.outcomes]
                completed = write_outcomes(outcomes, self._context, self._database, counters)
                self._unwritten_lots.release(sum(len(job.lots) for job in jobs))
                self._unwritten_outcomes.release(
                    sum(len(job.outcomes) for job in jobs if job.chip_batch is None)
                )
                yield ProgressUpdate(completed, counters)


def local_runtime(
    run: RunContext, service: ParcelBoundaryService, imagery: ImagerySource
) -> EngineRuntime:
    """Load the segmenter in this process; worker processes are used for large batches only.

    Raises:
        SegmenterError: the segmenter cannot be built.
    """
    segmenter = run.build_segmenter()
    processes = _cores() - 1 if run.enqueued.waiting >= _MIN_LOTS_FOR_PROCESSES else 0

    def create_engine(context: StageContext) -> LocalEngine:
        return LocalEngine(context, service, imagery, segmenter, run.database.engine, processes)

    return EngineRuntime(segmenter_info(segmenter), segmenter.prepare, create_engine)


def _cores() -> int:
    """The cores that this process may use, by its CPU affinity and its container's limit."""
    return int(cpu_count())
