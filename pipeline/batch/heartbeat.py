"""The heartbeat of a run: it keeps the run's advisory lock and renews its leases."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from pipeline.errors import StoreError
from pipeline.store.queue import states as queue
from pipeline.store.queue.leases import LEASE_RENEWAL_S, LEASE_S
from pipeline.store.runs import lifecycle
from pipeline.store.runs.metrics import RunMetrics

log = logging.getLogger(__name__)

# Short: while the lock is lost, another batch may take this run for a killed one.
_RECONNECT_S = 1.0


class Heartbeat:
    """Renews a run's leases and writes its metrics, in a thread, however slow the stages are.

    When the database restarts, the advisory lock is reacquired as soon as it is back. Until then
    another batch may mark the run as killed and reclaim its leases; results for lost leases are
    discarded when they are written.
    """

    def __init__(
        self,
        engine: Engine,
        run_id: int,
        owner: str,
        lock_connection: Connection,
        metrics: Callable[[], RunMetrics],
    ) -> None:
        """
        Args:
            lock_connection: holds the run's advisory lock; detached from the pool.
            metrics: the run's metrics so far; called in another thread.
        """
        self._engine = engine
        self._run_id = run_id
        self._owner = owner
        self._lock_connection: Connection | None = lock_connection
        self._metrics = metrics
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._disconnect()

    def _beat(self) -> None:
        while not self._ended.wait(self._interval_s()):
            try:
                if self._lock_connection is None:
                    self._lock_connection = self._reconnect()
                queue.renew(self._lock_connection, self._owner, LEASE_S)
                lifecycle.heartbeat(self._lock_connection, self._run_id, self._metrics())
                lifecycle.verify_lock(self._lock_connection, self._run_id)
                self._lock_connection.commit()
            except (SQLAlchemyError, StoreError) as error:
                log.info("heartbeat failed, trying again: %s", error)
                self._disconnect()

    def _interval_s(self) -> float:
        return _RECONNECT_S if self._lock_connection is None else LEASE_RENEWAL_S

    def _reconnect(self) -> Connection:
        connection = self._engine.connect()
        connection.detach()
        lifecycle.reacquire_lock(connection, self._run_id)
        connection.commit()
        return connection

    def _disconnect(self) -> None:
        if self._lock_connection is not None:
            with suppress(SQLAlchemyError, StoreError):
                self._lock_connection.close()
            self._lock_connection = None
