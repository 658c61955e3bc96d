"""Processes that stitch, outline, clip and measure: what Python's lock would keep on one core."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import closing
from threading import Lock
from types import TracebackType

from loky import ProcessPoolExecutor

from detection.strips import Strip
from pipeline.batch.engines.child import begin
from pipeline.batch.engines.flow import Ahead
from pipeline.batch.engines.job import Job
from pipeline.batch.recipe import Recipe
from pipeline.batch.stages import Lot, Settling, Views, failed, measure
from pipeline.batch.tally import Tally
from pipeline.log import setup

log = logging.getLogger(__name__)

# A county server may leave the processes without work for a while.
_IDLE_S = 120

_Measured = tuple[list[Settling], Tally]
_Begun = tuple[Job, Executor, Future[_Measured] | None]


class Measurers:
    """So many processes; with none a thread of this one.

    A process that dies takes with it what the others had in hand: all of that is measured again,
    one strip at a time. Lots of a strip with which a process dies again are `failed`.
    """

    def __init__(self, recipe: Recipe, processes: int) -> None:
        self._recipe = recipe
        self._processes = processes
        self._pool = _pool(processes)
        self._replacing = Lock()

    def __enter__(self) -> Measurers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _shut(self._pool)

    def measured(self, jobs: Ahead[Job]) -> Generator[Job, None, None]:
        """The jobs in their order, each with what becomes of its lots."""
        with closing(Ahead(self._begun(jobs), 2 * max(self._processes, 1), "measure")) as begun:
            for job, pool, future in begun:
                if future is not None:
                    settling, tally = self._result(job, pool, future)
                    job.settling += settling
                    job.tally.add(tally)
                    job.views = {}
                yield job

    def _begun(self, jobs: Ahead[Job]) -> Generator[_Begun, None, None]:
        with closing(jobs):
            for job in jobs:
                pool = self._pool
                is_looked_at = job.strip is not None and bool(job.strip.plans)
                yield job, pool, _submit(pool, job, self._recipe) if is_looked_at else None

    def _result(self, job: Job, pool: Executor, future: Future[_Measured]) -> _Measured:
        try:
            return future.result()
        except BrokenExecutor as error:
            log.warning("a process that measures was lost: %s", error)
        self._replace(pool)
        job.tally.faults["measuring process lost"] += 1
        alone = _pool(1)
        try:
            return _submit(alone, job, self._recipe).result()
        except BrokenExecutor as error:
            why = f"the process that measured it was lost twice: {error}"
            return [failed(lot, "crashed", why) for lot in job.lots.values()], Tally()
        finally:
            _shut(alone)

    def _replace(self, broken: Executor) -> None:
        """Once for each pool, however many jobs it had."""
        with self._replacing:
            if self._pool is broken:
                self._pool = _pool(self._processes)
                _shut(broken)


def _pool(processes: int) -> Executor:
    if not processes:
        return ThreadPoolExecutor(1, "measure")
    # Its processes do not run the caller's main module anew.
    pool: Executor = ProcessPoolExecutor(
        processes, timeout=_IDLE_S, initializer=begin, initargs=(setup(), os.getpid())
    )
    return pool


def _shut(pool: Executor) -> None:
    if isinstance(pool, ProcessPoolExecutor):
        pool.shutdown(kill_workers=True)
    else:
        pool.shutdown(wait=False, cancel_futures=True)


def _submit(pool: Executor, job: Job, recipe: Recipe) -> Future[_Measured]:
    assert job.strip is not None  # noqa: S101 (only strips are measured; for the type checker)
    try:
        return pool.submit(_measure, job.strip, job.views, job.lots, recipe)
    except BrokenExecutor as error:
        broken: Future[_Measured] = Future()
        broken.set_exception(error)
        return broken


def _measure(strip: Strip, views: Views, lots: Mapping[int, Lot], recipe: Recipe) -> _Measured:
    tally = Tally()
    return measure(strip, views, lots, recipe, tally), tally
