"""Parts of what becomes of lots, gathered and written by tasks on the database."""

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
from pipeline.batch.write_stage import MOST_LOTS, WITHIN_S
from pipeline.errors import ClusterError

log = logging.getLogger(__name__)

# Two transactions at a time: one waits for the disk while the other one's rows come.
_MOST_AT_ONCE = 2
# Lots that are measured and not yet written; beyond them nothing more is looked at.
_MOST_UNWRITTEN = 2 * MOST_LOTS
_MOST_TRIES = 4


class WriteTasks:
    """What is measured, on its way into the database.

    Args:
        recipe: a reference to it.
    """

    def __init__(self, recipe: Ref) -> None:
        self._recipe = recipe
        # It waits for the database, and hardly computes.
        self._write: Any = ray.remote(write_parts).options(max_retries=0, num_cpus=0)
        self._waiting: list[ResultPart] = []
        self._since_s = 0.0
        self._begun: dict[Ref, tuple[list[ResultPart], int]] = {}

    @property
    def refs(self) -> list[Ref]:
        """What is waited for."""
        return list(self._begun)

    @property
    def is_full(self) -> bool:
        """Whether nothing more should come for now."""
        begun = sum(part.lots for parts, _ in self._begun.values() for part in parts)
        return begun + self._lots_waiting > _MOST_UNWRITTEN

    def add(self, part: ResultPart) -> None:
        """One more, to be written soon."""
        if not self._waiting:
            self._since_s = time.monotonic()
        self._waiting.append(part)

    def go_on(self, *, at_once: bool) -> None:
        """Begin to write, where enough is there or has waited long enough; or `at_once`."""
        while self._waiting and len(self._begun) < _MOST_AT_ONCE:
            is_due = time.monotonic() - self._since_s >= WITHIN_S
            if not (at_once or is_due or self._lots_waiting >= MOST_LOTS):
                return
            self._begin(self._together(), 1)
            self._since_s = time.monotonic()

    def arrived(self, ref: Ref) -> tuple[list[Completed], WorkerTelemetry, list[ResultPart]]:
        """What was written, what is told, and the parts that are lost.

        Raises:
            DBAPIError: the database could not be written to.
        """
        parts, tries = self._begun.pop(ref)
        try:
            settled, lost, told = ray.get(ref)
        except LOST as error:
            # It may be written or not. Once more is as good as once.
            log.warning("a worker that writes was lost: %s", task_error(error))
            if tries >= _MOST_TRIES:
                raise ClusterError(
                    f"the workers that write were lost {tries} times: {task_error(error)}"
                ) from error
            self._begin(parts, tries + 1)
            return [], WorkerTelemetry(Counters(faults=Counter({"writer lost": 1}))), []
        except RayError as error:
            raise task_error(error) from error
        return settled, told, [parts[index] for index in lost]

    @property
    def _lots_waiting(self) -> int:
        return sum(part.lots for part in self._waiting)

    def _together(self) -> list[ResultPart]:
        together: list[ResultPart] = []
        while self._waiting and sum(part.lots for part in together) < MOST_LOTS:
            together.append(self._waiting.pop(0))
        return together

    def _begin(self, parts: list[ResultPart], tries: int) -> None:
        fetch = partial(_fetch, [part.settling for part in parts])
        self._begun[self._write.remote(self._recipe, fetch)] = (parts, tries)


def _fetch(parts: list[list[PendingOutcome] | Ref]) -> tuple[list[list[PendingOutcome]], list[int]]:
    """What can be had of the parts, and the indexes of what is lost."""
    found, lost = [], []
    for index, part in enumerate(parts):
        try:
            found.append(ray.get(part) if isinstance(part, ObjectRef) else part)
        except LOST:
            lost.append(index)
    return found, lost
