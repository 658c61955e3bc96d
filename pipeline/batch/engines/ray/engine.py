"""The driver: it takes chunks, and sees to it that each goes through the stages on the cluster."""

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
from pipeline.batch.run_context import RunContext
from pipeline.batch.stages import Chunk, Surveyed
from pipeline.store.results.outcomes import NotProcessed

log = logging.getLogger(__name__)

# A county's server answers for one while the other's strips are looked at.
_CHUNKS_AHEAD = 2
# By one worker, of an ImageServer: the client in it keeps the server's limits.
_READS_AT_ONCE = 4
# A chunk with which as many surveyors die has killed them.
_MOST_SURVEYS = 3
# Ray tells of a worker that died in no set order.
_TOLD_S = 10.0
# How often it looks whether it is still wanted, and whether it should write.
_LOOK_S = 0.25


class RayEngine:
    """See `pipeline.batch.engine.Engine`. A run of its own for each."""

    def __init__(self, recipe: RunContext, pool: SegmenterPool) -> None:
        is_server = recipe.county.imagery.url is not None
        self._recipe = recipe
        self._pool = pool
        self._there = ray.put(recipe)
        surveyor: Any = ray.remote(Surveyor)
        # One thread waits for the end, and one surveys.
        threads = 2 + (_READS_AT_ONCE if is_server else 0)
        # Beside the driver, where the county's files are known to be.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._surveyors = surveyor.options(
            num_cpus=0, max_concurrency=threads, scheduling_strategy=here
        )
        self._begin_surveyor()
        self._read_files: Any = ray.remote(read_files).options(max_retries=0)
        read = self._read_of_server if is_server else self._read_of_files
        self._looking = Scheduler(self._there, pool, read, recipe.shown.chips_per_batch)
        self._writing = WriteTasks(self._there)
        self._surveys: dict[Ref, tuple[Chunk, int]] = {}
        self._planned = (0, 0)
        self._told = WorkerTelemetry()

    def run(
        self,
        chunks: Iterable[Chunk],
        stopping: Callable[[], bool],
        on_first: Callable[[FirstChips], None],
    ) -> Generator[ProgressUpdate, None, None]:
        """See `Engine.run`."""
        left = iter(chunks)
        told_first = False
        try:
            while True:
                if stopping():
                    self._leave()
                more_comes = not stopping() and self._survey(left)
                if not self._writing.is_full:
                    self._looking.go_on(more_comes=more_comes or bool(self._surveys))
                at_rest = not self._surveys and self._looking.is_idle
                self._writing.go_on(at_once=at_rest)
                waited_for = [*self._surveys, *self._looking.refs, *self._writing.refs]
                if at_rest and not waited_for and not more_comes:
                    break
                waited_for += [*self._pool.coming, self._surveyor_ended]
                yield from self._arrived(waited_for)
                if self._looking.first is not None and not told_first:
                    told_first = True
                    on_first(self._first_chips())
            yield self._progressed(())
        finally:
            ray.kill(self._surveyor)
            with suppress(AttributeError):  # only generators can be closed
                left.close()  # type: ignore[attr-defined]

    def _survey(self, chunks: Iterator[Chunk]) -> bool:
        """Have as many chunks surveyed as will be wanted soon; whether there may be more."""
        while self._has_room():
            chunk = next(chunks, None)
            if chunk is None:
                return False
            self._surveys[self._surveyor.survey.remote(chunk)] = (chunk, 1)
        return True

    def _has_room(self) -> bool:
        """Whether one more chunk is to be surveyed. Of some, nothing waits but to be written."""
        is_wanted = self._looking.wants_more and not self._writing.is_full
        return is_wanted and len(self._surveys) < _CHUNKS_AHEAD

    def _leave(self) -> None:
        """Forget what is being surveyed, and what has not been shown to a segmenter."""
        if self._surveys:
            there, _ = ray.wait(list(self._surveys), num_returns=len(self._surveys), timeout=0)
            for ref in there:  # what needs no look is written all the same
                self._on_surveyed(ref, *self._surveys.pop(ref))
            self._surveys.clear()
        self._looking.leave()

    def _arrived(self, waited_for: Sequence[Ref]) -> Iterator[ProgressUpdate]:
        """Go on with what is there by now, and tell what was written."""
        ready, _ = ray.wait(list(waited_for), timeout=_LOOK_S)
        if ready:
            ready, _ = ray.wait(list(waited_for), num_returns=len(waited_for), timeout=0)
        if self._surveyor_ended in ready:  # before what it left undone is begun anew
            ready.remove(self._surveyor_ended)
            self._on_surveyor_ended()
        for ref in ready:
            if ref in self._surveys:
                self._on_surveyed(ref, *self._surveys.pop(ref))
            elif ref in self._writing.refs:
                settled, told, lost = self._writing.arrived(ref)
                self._told.add(told)
                for part in lost:
                    self._lose(part)
                self._take_told()
                yield self._progressed(settled)
            elif ref in self._pool.coming:
                self._pool.arrive(ref)
            else:
                self._looking.arrived(ref)
        for part in self._looking.take_parts():
            self._writing.add(part)
        self._take_told()

    def _begin_surveyor(self) -> None:
        self._surveyor = self._surveyors.remote(self._recipe)
        self._surveyor_ended: Ref = self._surveyor.stay.remote()

    def _on_surveyed(self, ref: Ref, chunk: Chunk, tries: int) -> None:
        surveyed: Surveyed
        told: WorkerTelemetry
        try:
            surveyed, told = ray.get(ref)
        except LOST as error:
            if ray.wait([self._surveyor_ended], timeout=_TOLD_S)[0]:
                self._on_surveyor_ended()
            if tries < _MOST_SURVEYS:
                self._surveys[self._surveyor.survey.remote(chunk)] = (chunk, tries + 1)
                return
            log.warning("%d properties could not be surveyed: %s", len(chunk.leased), error)
            why = f"the worker that surveyed it was lost {tries} times"
            settling = [(it, NotProcessed(it.id, "failed", "crashed", why)) for it in chunk.leased]
            self._writing.add(ResultPart(list(settling), len(settling)))
            return
        except RayError as error:
            raise task_error(error) from error
        self._told.add(told)
        strips = surveyed.strips
        if not any(self._planned):
            self._planned = (
                sum(len(strip.chip_keys) for strip in strips),
                sum(len(strip.lots) for strip in strips),
            )
        if surveyed.settling:
            self._writing.add(ResultPart(list(surveyed.settling), len(surveyed.settling)))
        self._looking.take(chip_batch_tasks(surveyed))

    def _on_surveyor_ended(self) -> None:
        try:
            ray.get(self._surveyor_ended)
        except LOST:
            log.warning("the worker that surveys was lost: another takes its place")
            self._told.counters.faults["surveyor lost"] += 1
            self._begin_surveyor()

    def _lose(self, part: ResultPart) -> None:
        """What was measured was lost before it was written."""
        if part.piece is not None:
            self._looking.lose(part.piece)

    def _take_told(self) -> None:
        self._told.add(self._looking.take_told())
        self._told.log()

    def _progressed(self, settled: Sequence[Completed]) -> ProgressUpdate:
        """What was written, with all that was counted since this was last asked."""
        told, self._told = self._told, WorkerTelemetry()
        return ProgressUpdate(settled, told.counters)

    def _first_chips(self) -> FirstChips:
        first = self._looking.first
        assert first is not None  # noqa: S101 (for the type checker)
        chips, lots = self._planned
        return FirstChips(
            first.device,
            first.told.counters.encoder_calls,
            first.seconds,
            len(self._recipe.labels),
            chips,
            lots,
        )

    def _read_of_files(self, places: Sequence[ChipKey]) -> Ref:
        read: Ref = self._read_files.remote(self._there, tuple(places))
        return read

    def _read_of_server(self, places: Sequence[ChipKey]) -> Ref:
        read: Ref = self._surveyor.read.remote(tuple(places))
        return read
