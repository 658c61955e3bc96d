"""Gathers outcomes on the cluster, and writes them to the database in Ray tasks."""

from __future__ import annotations

import logging
import time
from collections import Counter
from functools import partial
from typing import Any

import ray
from ray import ObjectRef
from ray.exceptions import RayError

from pipeline.batch.counters import Counters
from pipeline.batch.engine import Completed
from pipeline.batch.engines.ray.scheduler import Ref, ResultPart
from pipeline.batch.engines.ray.task_errors import LOST, task_error
from pipeline.batch.engines.ray.telemetry import WorkerTelemetry
from pipeline.batch.engines.ray.workers import write_parts
from pipeline.batch.stages import PendingOutcome
from pipeline.batch.write_stage import MAX_LOTS_PER_WRITE, MAX_WRITE_DELAY_S
from pipeline.errors import ClusterError

log = logging.getLogger(__name__)

# Two, so that one transaction waits for the disk while the rows of the other arrive.
_MAX_CONCURRENT_WRITES = 2
# Lots that are measured and not yet written; beyond this, nothing more is segmented.
_MAX_UNWRITTEN_LOTS = 2 * MAX_LOTS_PER_WRITE
_MAX_TRIES = 4


class WriteTasks:
    """Measured lots on their way into the database.

    Args:
        context: a reference to the `StageContext`.
    """

    def __init__(self, context: Ref) -> None:
        self._context = context
        # No CPU: it waits for the database, and hardly computes.
        self._write: Any = ray.remote(write_parts).options(max_retries=0, num_cpus=0)
        self._waiting: list[ResultPart] = []
        self._waiting_since_s = 0.0
        self._writing: dict[Ref, tuple[list[ResultPart], int]] = {}

    @property
    def refs(self) -> list[Ref]:
        """The calls to wait for."""
        return list(self._writing)

    @property
    def is_full(self) -> bool:
        """Whether nothing more should be segmented for now (backpressure)."""
        writing = sum(part.lots for parts, _ in self._writing.values() for part in parts)
        return writing + self._lots_waiting > _MAX_UNWRITTEN_LOTS

    def add(self, part: ResultPart) -> None:
        """Add outcomes to be written."""
        if not self._waiting:
            self._waiting_since_s = time.monotonic()
        self._waiting.append(part)

    def dispatch(self, *, at_once: bool) -> None:
        """Submit a write if enough outcomes wait, or have waited long enough, or `at_once`."""
        while self._waiting and len(self._writing) < _MAX_CONCURRENT_WRITES:
            is_due = time.monotonic() - self._waiting_since_s >= MAX_WRITE_DELAY_S
            if not (at_once or is_due or self._lots_waiting >= MAX_LOTS_PER_WRITE):
                return
            self._submit(self._next_parts(), 1)
            self._waiting_since_s = time.monotonic()

    def on_ready(self, ref: Ref) -> tuple[list[Completed], WorkerTelemetry, list[ResultPart]]:
        """What was written, the telemetry, and the parts that are lost.

        Raises:
            DBAPIError: the database could not be written to.
        """
        parts, tries = self._writing.pop(ref)
        try:
            completed, lost, telemetry = ray.get(ref)
        except LOST as error:
            # It may have committed or not; a write is idempotent, so it is simply retried.
            log.warning("a writer was lost: %s", task_error(error))
            if tries >= _MAX_TRIES:
                raise ClusterError(
                    f"the workers that write were lost {tries} times: {task_error(error)}"
                ) from error
            self._submit(parts, tries + 1)
            return [], WorkerTelemetry(Counters(faults=Counter({"writer lost": 1}))), []
        except RayError as error:
            raise task_error(error) from error
        return completed, telemetry, [parts[index] for index in lost]

    @property
    def _lots_waiting(self) -> int:
        return sum(part.lots for part in self._waiting)

    def _next_parts(self) -> list[ResultPart]:
        parts: list[ResultPart] = []
        while self._waiting and sum(part.lots for part in parts) < MAX_LOTS_PER_WRITE:
            parts.append(self._waiting.pop(0))
        return parts

    def _submit(self, parts: list[ResultPart], tries: int) -> None:
        fetch = partial(_fetch, [part.outcomes for part in parts])
        self._writing[self._write.remote(self._context, fetch)] = (parts, tries)


def _fetch(parts: list[list[PendingOutcome] | Ref]) -> tuple[list[list[PendingOutcome]], list[int]]:
    """The outcomes that can be fetched, and the indexes of the parts that are lost."""
    found, lost = [], []
    for index, part in enumerate(parts):
        try:
            found.append(ray.get(part) if isinstance(part, ObjectRef) else part)
        except LOST:
            lost.append(index)
    return found, lost
