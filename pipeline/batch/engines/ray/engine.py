"""The Ray engine's driver: it pulls chunks and moves each one through the stages on the cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from detection.chip_plan import ChipKey
from detection.detector import FirstChips
from pipeline.batch.engine import Completed, ProgressUpdate
from pipeline.batch.engines.ray.chip_batch_tasks import chip_batch_tasks
from pipeline.batch.engines.ray.scheduler import Ref, ResultPart, Scheduler
from pipeline.batch.engines.ray.segmenter_pool import SegmenterPool
from pipeline.batch.engines.ray.task_errors import LOST, task_error
from pipeline.batch.engines.ray.telemetry import WorkerTelemetry
from pipeline.batch.engines.ray.workers import Surveyor, read_files
from pipeline.batch.engines.ray.write_tasks import WriteTasks
from pipeline.batch.stage_context import StageContext
from pipeline.batch.stages import Chunk, Surveyed
from pipeline.store.results.outcomes import NotProcessed

log = logging.getLogger(__name__)

# The county's server responds for one while the chip batches of the other are segmented.
_MAX_CHUNKS_IN_SURVEY = 2
# Threads of the surveyor that read from an ImageServer, through one client with its rate limit.
_SERVER_READ_THREADS = 4
# A chunk that was lost with this many surveyors has killed them.
_MAX_SURVEY_TRIES = 3
# Ray reports the death of an actor and the loss of its calls in any order, within this time.
_DEATH_REPORT_S = 10.0
# How often the driver checks for a stop, and for outcomes that have waited long enough.
_POLL_S = 0.25


class RayEngine:
    """See `pipeline.batch.engine.Engine`. It serves one run."""

    def __init__(self, context: StageContext, pool: SegmenterPool) -> None:
        is_server = context.county.imagery.path is None
        self._context = context
        self._pool = pool
        self._context_ref = ray.put(context)
        surveyor_class: Any = ray.remote(Surveyor)
        # One thread surveys, and one blocks until the process ends.
        threads = 2 + (_SERVER_READ_THREADS if is_server else 0)
        # On the driver's machine, which has the county's files.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._surveyor_class = surveyor_class.options(
            num_cpus=0, max_concurrency=threads, scheduling_strategy=here
        )
        self._start_surveyor()
        self._read_files: Any = ray.remote(read_files).options(max_retries=0)
        submit_read = self._submit_server_read if is_server else self._submit_file_read
        self._scheduler = Scheduler(
            self._context_ref, pool, submit_read, context.chip_spec.chips_per_batch
        )
        self._writes = WriteTasks(self._context_ref)
        self._surveys: dict[Ref, tuple[Chunk, int]] = {}
        self._first_plan = (0, 0)  # chips and lots of the first chunk
        self._telemetry = WorkerTelemetry()

    def run(
        self,
        chunks: Iterable[Chunk],
        stop_requested: Callable[[], bool],
        on_first_chips: Callable[[FirstChips], None],
    ) -> Generator[ProgressUpdate, None, None]:
        """See `Engine.run`."""
        remaining = iter(chunks)
        is_reported = False
        try:
            while True:
                if stop_requested():
                    self._drop_pending()
                more_follow = not stop_requested() and self._submit_surveys(remaining)
                if not self._writes.is_full:
                    self._scheduler.dispatch(more_follow=more_follow or bool(self._surveys))
                is_idle = not self._surveys and self._scheduler.is_idle
                self._writes.dispatch(at_once=is_idle)
                refs = [*self._surveys, *self._scheduler.refs, *self._writes.refs]
                if is_idle and not refs and not more_follow:
                    break
                refs += [*self._pool.starting, self._surveyor_ended]
                yield from self._wait(refs)
                if self._scheduler.first_report is not None and not is_reported:
                    is_reported = True
                    on_first_chips(self._first_chips())
            yield self._update(())
        finally:
            ray.kill(self._surveyor)
            with suppress(AttributeError):  # only generators have `close`
                remaining.close()  # type: ignore[attr-defined]

    def _submit_surveys(self, chunks: Iterator[Chunk]) -> bool:
        """Submit as many chunks as are needed soon; whether more may follow."""
        while self._has_capacity():
            chunk = next(chunks, None)
            if chunk is None:
                return False
            self._surveys[self._surveyor.survey.remote(chunk)] = (chunk, 1)
        return True

    def _has_capacity(self) -> bool:
        """Whether to survey one more chunk; some chunks have outcomes to write only."""
        is_needed = self._scheduler.needs_more and not self._writes.is_full
        return is_needed and len(self._surveys) < _MAX_CHUNKS_IN_SURVEY

    def _drop_pending(self) -> None:
        """Drop chunks in survey, and chip batches that no segmenter has received."""
        if self._surveys:
            ready, _ = ray.wait(list(self._surveys), num_returns=len(self._surveys), timeout=0)
            for ref in ready:  # outcomes without inference are still written
                self._on_surveyed(ref, *self._surveys.pop(ref))
            self._surveys.clear()
        self._scheduler.drop_pending()

    def _wait(self, refs: Sequence[Ref]) -> Iterator[ProgressUpdate]:
        """Wait for calls, continue with those that are ready, and report what was written."""
        ready, _ = ray.wait(list(refs), timeout=_POLL_S)
        if ready:
            ready, _ = ray.wait(list(refs), num_returns=len(refs), timeout=0)
        if self._surveyor_ended in ready:  # first, because its lost chunks need the new one
            ready.remove(self._surveyor_ended)
            self._on_surveyor_ended()
        for ref in ready:
            if ref in self._surveys:
                self._on_surveyed(ref, *self._surveys.pop(ref))
            elif ref in self._writes.refs:
                completed, telemetry, lost_parts = self._writes.on_ready(ref)
                self._telemetry.add(telemetry)
                for part in lost_parts:
                    self._retry(part)
                self._collect_telemetry()
                yield self._update(completed)
            elif ref in self._pool.starting:
                self._pool.on_started(ref)
            else:
                self._scheduler.on_ready(ref)
        for part in self._scheduler.drain_parts():
            self._writes.add(part)
        self._collect_telemetry()

    def _start_surveyor(self) -> None:
        self._surveyor = self._surveyor_class.remote(self._context)
        self._surveyor_ended: Ref = self._surveyor.block.remote()

    def _on_surveyed(self, ref: Ref, chunk: Chunk, tries: int) -> None:
        surveyed: Surveyed
        telemetry: WorkerTelemetry
        try:
            surveyed, telemetry = ray.get(ref)
        except LOST as error:
            if ray.wait([self._surveyor_ended], timeout=_DEATH_REPORT_S)[0]:
                self._on_surveyor_ended()
            if tries < _MAX_SURVEY_TRIES:
                self._surveys[self._surveyor.survey.remote(chunk)] = (chunk, tries + 1)
                return
            log.warning("%d properties could not be surveyed: %s", len(chunk.leased), error)
            why = f"the worker that surveyed it was lost {tries} times"
            outcomes = [(it, NotProcessed(it.id, "failed", "crashed", why)) for it in chunk.leased]
            self._writes.add(ResultPart(list(outcomes), len(outcomes)))
            return
        except RayError as error:
            raise task_error(error) from error
        self._telemetry.add(telemetry)
        if not any(self._first_plan):
            self._first_plan = (
                sum(len(each.chip_keys) for each in surveyed.chip_batches),
                sum(len(each.lots) for each in surveyed.chip_batches),
            )
        if surveyed.outcomes:
            self._writes.add(ResultPart(list(surveyed.outcomes), len(surveyed.outcomes)))
        self._scheduler.add(chip_batch_tasks(surveyed))

    def _on_surveyor_ended(self) -> None:
        try:
            ray.get(self._surveyor_ended)
        except LOST:
            log.warning("the surveyor was lost; starting another")
            self._telemetry.counters.faults["surveyor lost"] += 1
            self._start_surveyor()

    def _retry(self, part: ResultPart) -> None:
        """Retry outcomes that were lost before they were written."""
        if part.task is not None:
            self._scheduler.retry(part.task)

    def _collect_telemetry(self) -> None:
        self._telemetry.add(self._scheduler.drain_telemetry())
        self._telemetry.log()

    def _update(self, completed: Sequence[Completed]) -> ProgressUpdate:
        """What was written, with everything counted since the last update."""
        telemetry, self._telemetry = self._telemetry, WorkerTelemetry()
        return ProgressUpdate(completed, telemetry.counters)

    def _first_chips(self) -> FirstChips:
        report = self._scheduler.first_report
        assert report is not None  # noqa: S101 (for the type checker)
        chips, lots = self._first_plan
        return FirstChips(
            report.device,
            report.telemetry.counters.encoder_calls,
            report.seconds,
            len(self._context.labels),
            chips,
            lots,
        )

    def _submit_file_read(self, keys: Sequence[ChipKey]) -> Ref:
        ref: Ref = self._read_files.remote(self._context_ref, tuple(keys))
        return ref

    def _submit_server_read(self, keys: Sequence[ChipKey]) -> Ref:
        ref: Ref = self._surveyor.read.remote(tuple(keys))
        return ref
