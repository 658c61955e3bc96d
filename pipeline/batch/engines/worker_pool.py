"""Processes that do what Python's lock would keep on one core; or, for little work, threads."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from types import TracebackType
from typing import Any, Generic, TypeVar

from loky import ProcessPoolExecutor

from pipeline.batch.engines.worker_process import start_worker_process
from pipeline.batch.interrupts import SIGNALS
from pipeline.log import setup

log = logging.getLogger(__name__)

_T = TypeVar("_T")

# A county server may leave the processes without work for a while.
_IDLE_S = 120


class WorkerLost(Exception):
    """The process that was to do it died, and so did the one that tried again."""


class PoolCall(Generic[_T]):
    """What a helper was asked to do."""

    def __init__(
        self, helpers: WorkerPool, function: Callable[..., _T], given: tuple[Any, ...]
    ) -> None:
        self.lost = 0
        """How often a process died meanwhile."""
        self._helpers = helpers
        self._function = function
        self._given = given
        self._pool = helpers.pool
        self._future = _submit(self._pool, function, given)

    def result(self) -> _T:
        """What came of it.

        Raises:
            HelperLost: a process died with it twice, the second time with nothing else in hand.
            Exception: whatever the function raised.
        """
        try:
            return self._future.result()
        except BrokenExecutor as error:
            log.warning("a helping process was lost: %s", error)
            self.lost += 1
        self._helpers.replace(self._pool)
        try:
            return self._helpers.alone(self._function, self._given)
        except BrokenExecutor as error:
            self.lost += 1
            raise WorkerLost(f"the process that worked on it was lost twice: {error}") from error


class WorkerPool:
    """So many processes; with none, threads of this one.

    A process that dies takes with it what the others had in hand: all of that is done again, one
    call at a time, so that only what kills a process fails.
    """

    def __init__(self, processes: int, threads: int = 1) -> None:
        self._processes = processes
        self._replacing = Lock()
        self._for_one = Lock()
        self._single: Executor | None = None
        self.pool = _pool(processes, threads)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _shut(self.pool)
        if self._single is not None:
            _shut(self._single)

    @property
    def are_processes(self) -> bool:
        """Whether what they are given must be such as can be sent."""
        return self._processes > 0

    def call(self, function: Callable[..., _T], *given: Any) -> PoolCall[_T]:  # noqa: ANN401
        """Begin a call; to a process, the function is sent by its name."""
        return PoolCall(self, function, given)

    def alone(self, function: Callable[..., _T], given: tuple[Any, ...]) -> _T:
        """What comes of a call in a process with nothing else in hand.

        Raises:
            BrokenExecutor: the process died.
            Exception: whatever the function raised.
        """
        with self._for_one:
            # Kept: to start one takes longer than what most calls take.
            self._single = single = self._single or _pool(1)
            try:
                return _submit(single, function, given).result()
            except BrokenExecutor:
                self._single = None
                _shut(single)
                raise

    def replace(self, broken: Executor) -> None:
        """Once for each pool, however many calls it had."""
        with self._replacing:
            if self.pool is broken:
                self.pool = _pool(self._processes)
                _shut(broken)


def _pool(processes: int, threads: int = 1) -> Executor:
    if not processes:
        return ThreadPoolExecutor(threads, "help")
    # Its processes do not run the caller's main module anew.
    pool: Executor = ProcessPoolExecutor(
        processes,
        timeout=_IDLE_S,
        initializer=start_worker_process,
        initargs=(setup(), os.getpid()),
    )
    return pool


def _shut(pool: Executor) -> None:
    if isinstance(pool, ProcessPoolExecutor):
        pool.shutdown(kill_workers=True)
    else:
        pool.shutdown(wait=False, cancel_futures=True)


def _submit(pool: Executor, function: Callable[..., _T], given: tuple[Any, ...]) -> Future[_T]:
    try:
        with _signals_kept():
            return pool.submit(function, *given)
    except BrokenExecutor as error:
        broken: Future[_T] = Future()
        broken.set_exception(error)
        return broken


@contextmanager
def _signals_kept() -> Iterator[None]:
    """A process that is started in here, as a call may, has no signal end it before it begins."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
