"""The work of one run: chunks are leased, an engine answers them, and what it says is counted."""

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
from pipeline.batch.enqueue import EnqueueResult
from pipeline.batch.forecast import forecast_text
from pipeline.batch.heartbeat import LEASE_S
from pipeline.batch.interrupts import Interrupts
from pipeline.batch.request import Progress
from pipeline.batch.stages import Chunk
from pipeline.store.database import Database
from pipeline.store.queue.leases import LeaseScan
from pipeline.store.queue.states import LeasedProperty
from pipeline.store.retries import retry_transient
from pipeline.store.runs import lifecycle
from pipeline.store.runs.metrics import RunMetrics

log = logging.getLogger(__name__)

# What is leased together: the more neighbours, the fewer chips are looked at for two chunks.
CHUNK_LOTS = 3_072


def new_owner() -> str:
    """A name for the leases of one run: the machine, the process, and chance."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


class LeaseLoop:
    """A run's way through the queue, and what came of it.

    Attributes:
        processed: properties, by (state, reason).
        kept_reviews: findings that gave way to what a person had decided.
        so_far: what was counted when something was written last; it is never changed.
    """

    def __init__(
        self,
        database: Database,
        county: str,
        run_id: int,
        owner: str,
        queued: EnqueueResult,
        limit: int | None,
        progress: Progress,
    ) -> None:
        self._database = database
        self._county = county
        self._sweep = LeaseScan(county, owner, run_id, LEASE_S, queued.selection)
        self._run_id = run_id
        self._total = queued.waiting
        # Without a limit what others give back meanwhile is taken too.
        self._left = sys.maxsize if limit is None else limit
        self._leased = self._settled = 0
        self._nothing_waits = False
        self._progress = progress
        self._unsure: list[LeasedProperty] = []  # leased, but for the answer to the COMMIT
        self._leasing = StageTimer()  # of the thread that leases
        self._one_leases = Lock()
        self._ended = False
        self.counters = Counters()
        self.processed: Counter[tuple[str, str]] = Counter()
        self.kept_reviews = 0
        self.so_far = RunMetrics()

    def through(self, engine: Engine) -> lifecycle.RunEnd:
        """Work until nothing is left, the limit is reached or Ctrl-C; the run's end.

        Raises:
            KeyboardInterrupt: Ctrl-C a second time.
            ImageryError, DBAPIError: see `Engine.run`. What was written is kept.
        """
        drain_calls()
        with Interrupts(self._say_how_it_ends) as interrupts:
            progressed = engine.run(self._chunks(interrupts), interrupts.asked, self._tell_first)
            try:
                with closing(progressed):
                    for each in progressed:
                        self.counters.add(each.counters)
                        for settled in each.settled:
                            self._count(settled)
                        self._settled += len(each.settled)
                        self.so_far = self.account()
                        self._progress.advance(len(each.settled))
            finally:
                self._lease_no_more()
            return "interrupted" if interrupts.asked() and self._remains() else "finished"

    def account(self) -> RunMetrics:
        """What was counted until now."""
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
        """Leases, as the engine has room for them."""
        number = 0
        while self._left > 0:
            if interrupts.asked():
                return
            leased = self._lease(min(CHUNK_LOTS, self._left))
            if not leased:
                break
            self._leased += len(leased)
            self._left -= len(leased)
            yield Chunk(number, tuple(leased))
            number += 1
        self._nothing_waits = True

    @retry_transient
    def _lease(self, most: int) -> list[LeasedProperty]:
        with self._one_leases:
            if self._ended:
                return []
            sweep, leased = copy(self._sweep), []
            try:
                with self._leasing.stage("lease"), self._database.engine.begin() as conn:
                    leased = sweep.still_held(conn, self._unsure) or sweep.lease(conn, most)
                    if not leased and lifecycle.reclaim_killed(conn, self._county, self._run_id):
                        leased = sweep.lease(conn, most)  # what a rival held that was killed
            except SQLAlchemyError:
                # The answer to the COMMIT may have been lost: these are ours then, and not waiting.
                self._unsure = leased or self._unsure
                raise
            self._sweep, self._unsure = sweep, []
            return leased

    def _lease_no_more(self) -> None:
        """What a thread leased that outlives the run, nobody would give back."""
        with self._one_leases:
            self._ended = True
        self.counters.timer.add(self._leasing)

    def _count(self, settled: Completed) -> None:
        """Count what was written."""
        written = settled.written
        if written is None:
            log.warning(
                "%s was changed or taken meanwhile: left alone",
                settled.property_id,
                extra={"property": settled.property_id},
            )
            return
        state, reason = written.state, written.reason
        level = logging.DEBUG if state == "done" else logging.INFO
        log.log(level, "%s (%s)", state, reason, extra={"property": settled.property_id})
        self.processed[state, reason] += 1
        self.kept_reviews += written.suppressed

    def _remains(self) -> bool:
        return not self._nothing_waits or self._settled < self._leased

    def _tell_first(self, chips: FirstChips) -> None:
        self._progress.message(forecast_text(chips, self._total))

    def _say_how_it_ends(self) -> None:
        self._progress.message(
            "stopping: what is being looked at is finished and written; Ctrl-C again stops at once"
        )
