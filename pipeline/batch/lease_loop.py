"""The lease loop of a run: lease chunks, hand them to an engine, count what it completes."""

from __future__ import annotations

import logging
import os
import socket
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from copy import copy, deepcopy
from threading import Lock

from sqlalchemy.exc import SQLAlchemyError

from detection.detector import FirstChips
from detection.timing import StageTimer
from parcels.arcgis.http.rate_limit import drain_calls
from pipeline.batch.counters import Counters
from pipeline.batch.engine import Completed, Engine
from pipeline.batch.forecast import forecast_text
from pipeline.batch.interrupts import Interrupts
from pipeline.batch.run_context import RunContext
from pipeline.batch.stages import Chunk
from pipeline.store.queue.leases import LEASE_S, LeaseScan
from pipeline.store.queue.states import LeasedProperty
from pipeline.store.retries import retry_transient
from pipeline.store.runs import lifecycle
from pipeline.store.runs.metrics import RunMetrics

log = logging.getLogger(__name__)

# Lots leased together. Large, because two neighbouring chunks share the chips along their border.
CHUNK_LOTS = 3_072


def new_owner() -> str:
    """A unique lease owner for one run: host, process id and random digits."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


class LeaseLoop:
    """Leases a run's properties chunk by chunk, and counts their outcomes.

    Attributes:
        processed: number of properties, by (state, reason).
        kept_reviews: detections that matched reviewed ones and were discarded.
        last_metrics: the metrics at the last update; replaced, never modified.
    """

    def __init__(self, context: RunContext, run_id: int, owner: str) -> None:
        enqueued, limit = context.enqueued, context.request.limit
        self._database = context.database
        self._county = context.county.key
        self._progress = context.progress
        self._run_id = run_id
        self._total = enqueued.waiting
        self._scan = LeaseScan(self._county, owner, run_id, LEASE_S, enqueued.selection)
        # Without a limit, properties that other batches release later are leased too.
        self._remaining = sys.maxsize if limit is None else limit
        self._leased_count = self._completed_count = 0
        self._is_exhausted = False
        self._unconfirmed: list[LeasedProperty] = []  # leased, but the COMMIT's reply was lost
        self._lease_timer = StageTimer()  # belongs to the thread that leases
        self._lease_lock = Lock()
        self._is_closed = False
        self.counters = Counters()
        self.processed: Counter[tuple[str, str]] = Counter()
        self.kept_reviews = 0
        self.last_metrics = RunMetrics()

    def run(self, engine: Engine) -> lifecycle.RunEnd:
        """Work until the queue is empty, the limit is reached or Ctrl-C; return how it ended.

        Raises:
            KeyboardInterrupt: Ctrl-C a second time.
            ImageryError, DBAPIError: see `Engine.run`. What was written stays.
        """
        drain_calls()
        with Interrupts(self._announce_stop) as interrupts:
            updates = engine.run(
                self._chunks(interrupts), interrupts.stop_requested, self._show_forecast
            )
            try:
                with closing(updates):
                    for update in updates:
                        self.counters.add(update.counters)
                        for completed in update.completed:
                            self._count(completed)
                        self._completed_count += len(update.completed)
                        self.last_metrics = self.metrics()
                        self._progress.advance(len(update.completed))
            finally:
                self._close()
            is_interrupted = interrupts.stop_requested() and not self._is_complete()
            return "interrupted" if is_interrupted else "finished"

    def metrics(self) -> RunMetrics:
        """The metrics of the run so far, as a snapshot."""
        counters = self.counters
        counters.requests.update(drain_calls())
        stages = {name: deepcopy(spread) for name, spread in counters.timer.stages.items()}
        return RunMetrics(
            stages,
            dict(counters.requests),
            counters.encoder_calls,
            dict(counters.faults),
            self.kept_reviews,
        )

    def _chunks(self, interrupts: Interrupts) -> Iterator[Chunk]:
        """Lease a chunk each time the engine pulls one."""
        number = 0
        while self._remaining > 0:
            if interrupts.stop_requested():
                return
            leased = self._lease(min(CHUNK_LOTS, self._remaining))
            if not leased:
                break
            self._leased_count += len(leased)
            self._remaining -= len(leased)
            yield Chunk(number, tuple(leased))
            number += 1
        self._is_exhausted = True

    @retry_transient
    def _lease(self, count: int) -> list[LeasedProperty]:
        with self._lease_lock:
            if self._is_closed:
                return []
            # A copy: a transaction that rolls back must not move the scan's cursor.
            scan, leased = copy(self._scan), []
            try:
                with self._lease_timer.stage("lease"), self._database.engine.begin() as conn:
                    leased = scan.still_held(conn, self._unconfirmed) or scan.lease(conn, count)
                    if not leased and lifecycle.reclaim_killed(conn, self._county, self._run_id):
                        leased = scan.lease(conn, count)
            except SQLAlchemyError:
                # If only the COMMIT's reply was lost, these are leased: the retry checks that.
                self._unconfirmed = leased or self._unconfirmed
                raise
            self._scan, self._unconfirmed = scan, []
            return leased

    def _close(self) -> None:
        """Lease no more: leases taken after the end of the run would never be released."""
        with self._lease_lock:
            self._is_closed = True
        self.counters.timer.add(self._lease_timer)

    def _count(self, completed: Completed) -> None:
        written = completed.written
        if written is None:
            log.warning(
                "%s: lease lost; result discarded",
                completed.property_id,
                extra={"property": completed.property_id},
            )
            return
        state, reason = written.state, written.reason
        level = logging.DEBUG if state == "done" else logging.INFO
        log.log(level, "%s (%s)", state, reason, extra={"property": completed.property_id})
        self.processed[state, reason] += 1
        self.kept_reviews += written.suppressed

    def _is_complete(self) -> bool:
        return self._is_exhausted and self._completed_count >= self._leased_count

    def _show_forecast(self, chips: FirstChips) -> None:
        self._progress.message(forecast_text(chips, self._total))

    def _announce_stop(self) -> None:
        self._progress.message(
            "stopping: work in progress is finished and written; Ctrl-C again stops at once"
        )
