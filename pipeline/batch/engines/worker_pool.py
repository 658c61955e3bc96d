"""A pool of worker processes, free of Python's global lock; or of threads, for small batches."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from threading import Lock
from types import TracebackType
from typing import Any, Generic, TypeVar

from loky import ProcessPoolExecutor
from loky.backend import resource_tracker as loky_tracker

from pipeline.batch.engines.worker_process import start_worker_process
from pipeline.batch.interrupts import SIGNALS
from pipeline.log import setup

log = logging.getLogger(__name__)

_T = TypeVar("_T")

# Long, because a slow county server may leave the workers idle for a while.
_IDLE_TIMEOUT_S = 120


class WorkerLost(Exception):
    """A call's worker process died, and so did the one that retried it."""


class PoolCall(Generic[_T]):
    """A call that was submitted to a pool."""

    def __init__(
        self, pool: WorkerPool, function: Callable[..., _T], args: tuple[Any, ...]
    ) -> None:
        self.lost_workers = 0
        """How many worker processes died during the call."""
        self._pool = pool
        self._function = function
        self._args = args
        self._executor = pool.executor
        self._future = _submit(self._executor, function, args)

    def result(self) -> _T:
        """Wait for the result; retry once if the worker process died.

        Raises:
            WorkerLost: the retry's process died too, though it ran nothing else.
            Exception: whatever the function raised.
        """
        try:
            return self._future.result()
        except BrokenExecutor as error:
            log.warning("a worker process was lost: %s", error)
            self.lost_workers += 1
        self._pool.replace(self._executor)
        try:
            return self._pool.run_isolated(self._function, self._args)
        except BrokenExecutor as error:
            self.lost_workers += 1
            raise WorkerLost(f"two worker processes were lost with it: {error}") from error


class WorkerPool:
    """A pool of `processes` worker processes; with 0, of threads.

    When a process dies, the executor fails all calls in flight. Each of them is retried in
    isolation, so that only the call that kills its process fails.
    """

    def __init__(self, processes: int, threads: int = 1) -> None:
        self._processes = processes
        self._replace_lock = Lock()
        self._isolated_lock = Lock()
        self._isolated: Executor | None = None
        self.executor = _create_executor(processes, threads)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _shut_down(self.executor)
        if self._isolated is not None:
            _shut_down(self._isolated)

    @property
    def uses_processes(self) -> bool:
        """Whether functions and arguments must be picklable."""
        return self._processes > 0

    def call(self, function: Callable[..., _T], *args: Any) -> PoolCall[_T]:  # noqa: ANN401
        """Submit a call; to a process, the function is sent by its name."""
        return PoolCall(self, function, args)

    def run_isolated(self, function: Callable[..., _T], args: tuple[Any, ...]) -> _T:
        """Run a call in a process that runs nothing else at that time.

        Raises:
            BrokenExecutor: the process died.
            Exception: whatever the function raised.
        """
        with self._isolated_lock:
            # Reused, because starting a process takes longer than most calls.
            self._isolated = executor = self._isolated or _create_executor(1)
            try:
                return _submit(executor, function, args).result()
            except BrokenExecutor:
                self._isolated = None
                _shut_down(executor)
                raise

    def replace(self, broken: Executor) -> None:
        """Replace a broken executor; only the first of its failed calls does."""
        with self._replace_lock:
            if self.executor is broken:
                self.executor = _create_executor(self._processes)
                _shut_down(broken)


def _create_executor(processes: int, threads: int = 1) -> Executor:
    if not processes:
        return ThreadPoolExecutor(threads, "worker")
    _start_trackers()
    # loky, unlike multiprocessing's spawn, does not import the caller's main module again.
    executor: Executor = ProcessPoolExecutor(
        processes,
        timeout=_IDLE_TIMEOUT_S,
        initializer=start_worker_process,
        initargs=(setup(), os.getpid()),
    )
    return executor


def _start_trackers() -> None:
    """Start the resource trackers; they ignore Ctrl-C and SIGTERM, but not a closed terminal."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        resource_tracker.ensure_running()
        loky_tracker.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _shut_down(executor: Executor) -> None:
    if isinstance(executor, ProcessPoolExecutor):
        executor.shutdown(kill_workers=True)
    else:
        executor.shutdown(wait=False, cancel_futures=True)


def _submit(executor: Executor, function: Callable[..., _T], args: tuple[Any, ...]) -> Future[_T]:
    try:
        if isinstance(executor, ProcessPoolExecutor):
            # A process pool starts the trackers, which unblock signals; so they start before.
            _start_trackers()
        with _signals_blocked():
            return executor.submit(function, *args)
    except BrokenExecutor as error:
        broken: Future[_T] = Future()
        broken.set_exception(error)
        return broken


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Submitting may start a process, which must not be killed before it ignores signals."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
