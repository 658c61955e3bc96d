"""A run's sign of life: its lock in the database, and the leases of what it works on."""

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
from pipeline.store.runs import lifecycle
from pipeline.store.runs.metrics import RunMetrics

log = logging.getLogger(__name__)

LEASE_S = 900.0
_EVERY_S = 10.0
# While its lock is lost others may take the run for dead.
_AGAIN_S = 1.0


class Heartbeat:
    """Holds a run's lock and leases in a thread of its own, however slow the segmenter is.

    Where the database restarts, the lock is taken anew when it is back. Until then another batch
    may take the run for dead and its properties for free; what this one then brings is not
    written.
    """

    def __init__(
        self,
        engine: Engine,
        run_id: int,
        owner: str,
        alive: Connection,
        account: Callable[[], RunMetrics],
    ) -> None:
        """
        Args:
            alive: the connection that began the run. It is not the pool's any more.
            account: what the run has counted so far; asked for in another thread.
        """
        self._engine = engine
        self._run_id = run_id
        self._owner = owner
        self._alive: Connection | None = alive
        self._account = account
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
        self._close()

    def _beat(self) -> None:
        while not self._ended.wait(_EVERY_S if self._alive is not None else _AGAIN_S):
            try:
                if self._alive is None:
                    self._alive = self._again()
                queue.renew(self._alive, self._owner, LEASE_S)
                lifecycle.heartbeat(self._alive, self._run_id, self._account())
                self._alive.commit()
            except (SQLAlchemyError, StoreError) as error:
                log.info("the database did not take this run's sign of life: %s", error)
                self._close()

    def _again(self) -> Connection:
        alive = self._engine.connect()
        alive.detach()
        lifecycle.reacquire_lock(alive, self._run_id)
        alive.commit()
        return alive

    def _close(self) -> None:
        if self._alive is not None:
            with suppress(SQLAlchemyError, StoreError):
                self._alive.close()
            self._alive = None
