"""Schedules chip batches on the cluster (read, segment, measure), and retries lost ones."""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray import ObjectRef
from ray.exceptions import RayActorError, RayError, RayTaskError

from detection.chip_plan import ChipKey
from pipeline.batch.engines.ray.chip_batch_tasks import ChipBatchTask
from pipeline.batch.engines.ray.segmenter_pool import (
    MAX_CALLS_PER_ACTOR,
    SegmenterActor,
    SegmenterPool,
)
from pipeline.batch.engines.ray.task_errors import LOST, task_error
from pipeline.batch.engines.ray.telemetry import WorkerTelemetry
from pipeline.batch.engines.ray.workers import SegmentReport, measure_chip_batch
from pipeline.batch.stages import PendingOutcome

log = logging.getLogger(__name__)

Ref = ObjectRef[Any]

# An LRU cache of result references: neighbouring chunks share the chips along their border.
_MAX_CACHED_CHIPS = 512
# Inference calls, for each actor, whose lots may wait to be measured.
_MAX_UNMEASURED_CALLS = 2


@dataclass
class ResultPart:
    """Outcomes of some lots, or a reference to them.

    Attributes:
        lots: how many.
        task: computes the outcomes again if they are lost.
    """

    outcomes: list[PendingOutcome] | Ref
    lots: int
    task: ChipBatchTask | None = None


class Scheduler:
    """Moves chip batches from the survey to the outcomes of their lots. It runs in the driver.

    Args:
        context: a reference to the `StageContext`.
        submit_read: submits the reading of chips.
        chips_per_batch: how many chips one inference call takes.

    Attributes:
        first_report: of the first inference.
    """

    def __init__(
        self,
        context: Ref,
        pool: SegmenterPool,
        submit_read: Callable[[Sequence[ChipKey]], Ref],
        chips_per_batch: int,
    ) -> None:
        self._context = context
        self._pool = pool
        self._submit_read = submit_read
        self._chips_per_batch = chips_per_batch
        self._measure: Any = ray.remote(measure_chip_batch).options(num_returns=2, max_retries=0)
        self._pending: deque[ChipBatchTask] = deque()
        self._retries: deque[ChipBatchTask] = deque()
        self._segmenting: dict[Ref, tuple[SegmenterActor, int]] = {}
        self._measuring: dict[Ref, tuple[ChipBatchTask, Ref]] = {}
        self._result_cache: OrderedDict[ChipKey, Ref] = OrderedDict()
        self._chips_in_flight = 0
        self._telemetry = WorkerTelemetry()
        self._parts: list[ResultPart] = []
        self.first_report: SegmentReport | None = None

    @property
    def refs(self) -> list[Ref]:
        """The calls to wait for."""
        return [*self._segmenting, *self._measuring]

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in flight or pending."""
        return not (self._pending or self._retries or self._segmenting or self._measuring)

    @property
    def needs_more(self) -> bool:
        """Whether so few chips are pending that a segmenter could run out of work."""
        pending = sum(task.chip_count for task in self._pending)
        return pending < MAX_CALLS_PER_ACTOR * self._chips_per_batch * len(self._pool.actors)

    def add(self, tasks: Sequence[ChipBatchTask]) -> None:
        """Add chip batches, in their order."""
        self._pending.extend(tasks)

    def drain_parts(self) -> list[ResultPart]:
        """The outcomes since the last call."""
        parts, self._parts = self._parts, []
        return parts

    def drain_telemetry(self) -> WorkerTelemetry:
        """The workers' telemetry since the last call."""
        telemetry, self._telemetry = self._telemetry, WorkerTelemetry()
        return telemetry

    def drop_pending(self) -> None:
        """Drop what no segmenter has received."""
        self._pending.clear()
        self._retries.clear()

    def dispatch(self, *, more_follow: bool) -> None:
        """Submit as many chip batches as there is capacity for.

        Args:
            more_follow: more chip batches come soon, so a partial inference call may wait for them.
        """
        max_calls = (MAX_CALLS_PER_ACTOR + _MAX_UNMEASURED_CALLS) * len(self._pool.actors)
        capacity = max_calls * self._chips_per_batch
        while self._retries or self._pending:
            alone = bool(self._retries)
            actor = self._pool.pick(alone=alone)
            if actor is None or (not alone and self._chips_in_flight >= capacity):
                return
            if alone:
                self._submit([self._retries.popleft()], actor)
            elif self._can_fill_call() or not (more_follow and actor.calls):
                self._submit(self._next_call(), actor)
            else:
                return

    def on_ready(self, ref: Ref) -> None:
        """Handle a call that has finished or is lost."""
        if ref in self._segmenting:
            self._on_segmented(ref, *self._segmenting.pop(ref))
        else:
            self._on_measured(ref, *self._measuring.pop(ref))

    def retry(self, task: ChipBatchTask) -> None:
        """Compute a lost chip batch again, alone on its actor; fail its lots after the last try."""
        self._telemetry.counters.faults["chip batch lost"] += 1
        for plan in task.chip_batch.plans:
            for key in plan.chip_keys:
                self._result_cache.pop(key, None)
        if task.is_last_try:
            log.warning("a chip batch of %d lots was lost too often: giving up", len(task.lots))
            self._parts.append(ResultPart(task.crashed_outcomes(), len(task.lots)))
        else:
            self._retries.extend(task.split_for_retry())

    def _can_fill_call(self) -> bool:
        chips = 0
        for task in self._pending:
            chips += task.chip_count
            if chips >= self._chips_per_batch:
                return True
        return False

    def _next_call(self) -> list[ChipBatchTask]:
        """The next chip batches that fit into one inference call; at least one."""
        tasks = [self._pending.popleft()]
        free_chips = self._chips_per_batch - tasks[0].chip_count
        while self._pending and self._pending[0].chip_count <= free_chips:
            tasks.append(self._pending.popleft())
            free_chips -= tasks[-1].chip_count
        return tasks

    def _submit(self, tasks: list[ChipBatchTask], actor: SegmenterActor) -> None:
        """Submit all stages at once: Ray starts each one when its arguments are ready."""
        results: dict[ChipKey, Ref] = {}
        to_read: list[list[ChipKey]] = []
        missing: set[ChipKey] = set()
        for task in tasks:
            # A retry ignores the cache: its references may be lost, too.
            cache = {} if task.losses else self._result_cache
            keys = task.chip_batch.chip_keys
            results |= {key: cache[key] for key in keys if key in cache}
            new = [key for key in keys if key not in results and key not in missing]
            if new:
                to_read.append(new)
                missing.update(new)
        if to_read:
            results |= self._submit_segment(tasks, actor, to_read)
        for task in tasks:
            self._submit_measure(task, {key: results[key] for key in task.chip_batch.chip_keys})

    def _submit_segment(
        self, tasks: list[ChipBatchTask], actor: SegmenterActor, to_read: list[list[ChipKey]]
    ) -> dict[ChipKey, Ref]:
        keys = [key for chip_keys in to_read for key in chip_keys]
        segment = actor.handle.segment.options(num_returns=1 + len(keys))
        report, *refs = segment.remote(self._context, *map(self._submit_read, to_read))
        actor.calls += 1
        actor.is_exclusive = any(task.losses for task in tasks)
        self._segmenting[report] = (actor, actor.generation)
        results = dict(zip(keys, refs, strict=True))
        self._result_cache |= results
        while len(self._result_cache) > _MAX_CACHED_CHIPS:
            self._result_cache.popitem(last=False)
        return results

    def _submit_measure(self, task: ChipBatchTask, results: dict[ChipKey, Ref]) -> None:
        needed = task.shared_results.add(task.chip_batch, results)
        if task.chip_batch.plans:
            telemetry, outcomes = self._measure.remote(
                self._context, task.chip_batch, task.lots, tuple(needed), *needed.values()
            )
            self._measuring[telemetry] = (task, outcomes)
            self._chips_in_flight += task.chip_count

    def _on_segmented(self, ref: Ref, actor: SegmenterActor, generation: int) -> None:
        is_same = actor.generation == generation
        if is_same:
            actor.calls -= 1
            actor.is_exclusive = False
        try:
            report: SegmentReport = ray.get(ref)
        except RayError as error:
            # The measure calls that need its results fail too: `_on_measured` retries them.
            is_actor_lost = isinstance(error, RayActorError) and not isinstance(error, RayTaskError)
            if is_actor_lost and is_same:
                log.warning("a segmenter worker was lost; starting another")
                self._telemetry.counters.faults["segmenter lost"] += 1
                self._pool.replace(actor)
        else:
            self._telemetry.add(report.telemetry)
            if report.telemetry.counters.encoder_calls and self.first_report is None:
                self.first_report = report

    def _on_measured(self, ref: Ref, task: ChipBatchTask, outcomes: Ref) -> None:
        self._chips_in_flight -= task.chip_count
        try:
            self._telemetry.add(ray.get(ref))
        except LOST as error:
            log.info("a chip batch of %d lots was lost: %s", len(task.lots), task_error(error))
            self.retry(task)
        except RayError as error:
            raise task_error(error) from error
        else:
            self._parts.append(ResultPart(outcomes, len(task.lots), task))
