"""One machine: threads that work ahead of one another, and processes that measure.

    lease, survey │ read (several at a time) │ segment │ measure (processes) │ write

Each waits where the next one's queue is full. So imagery is read, and lots are measured and
written, while the segmenter looks at other chips; and what is in memory does not grow with the
county.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

from sqlalchemy import Engine as Database

from detection.detector import FirstChips
from detection.imagery.protocol import Imagery
from detection.look import Seen, Unseen
from detection.segmenters.protocol import Segmenter
from detection.strips import Looks
from parcels import ParcelBoundaryService
from pipeline.batch.engines.flow import Ahead, gathered, side_by_side
from pipeline.batch.engines.job import Job
from pipeline.batch.engines.measurers import Measurers
from pipeline.batch.engines.protocol import Progressed, Workplace
from pipeline.batch.engines.recent import Recent
from pipeline.batch.engines.room import Room
from pipeline.batch.recipe import Recipe, facts_of
from pipeline.batch.stages import Chunk, Surveyed, read_places, segment, survey
from pipeline.batch.tally import Tally
from pipeline.batch.writing import MOST_LOTS, WITHIN_S, write

# GDAL decodes without Python's lock, and a server takes its time.
_READERS = 4
# Properties whose measuring takes longer than a process takes to start.
_WORTH_A_PROCESS = 1_000
# Lots that were looked at and are not yet written: what a crash makes a run look at again.
_UNWRITTEN_LOTS = 1_024
# Batches of chips that are read before the segmenter asks for them.
_READ_AHEAD = 2


class LocalEngine:
    """See `pipeline.batch.engines.protocol.Engine`.

    Args:
        measurers: processes that measure; 0 measures in a thread of this one, which is as good
            where there is little to do.
    """

    def __init__(
        self,
        recipe: Recipe,
        service: ParcelBoundaryService,
        imagery: Imagery,
        segmenter: Segmenter,
        database: Database,
        measurers: int = 0,
    ) -> None:
        self._recipe = recipe
        self._service = service
        self._imagery = imagery
        self._segmenter = segmenter
        self._database = database
        self._measurers = measurers
        self._recent = Recent()
        self._unwritten = Room(_UNWRITTEN_LOTS)

    def run(
        self,
        chunks: Iterable[Chunk],
        stopping: Callable[[], bool],
        on_first: Callable[[FirstChips], None],
    ) -> Generator[Progressed, None, None]:
        """See `Engine.run`."""
        ahead = _READ_AHEAD * self._recipe.shown.chips_at_once
        with ExitStack() as stack:
            readers = ThreadPoolExecutor(_READERS, "read")
            stack.callback(readers.shutdown, wait=False, cancel_futures=True)
            measurers = stack.enter_context(Measurers(self._recipe, self._measurers))
            surveyed = Ahead(self._surveyed(chunks), 1, "survey")
            jobs = self._jobs(surveyed, stopping)
            read = Ahead(side_by_side(self._read, jobs, readers, ahead, "read"), ahead, "ready")
            seen = Ahead(self._seen(read, stopping, on_first), 2, "segment")
            finished = Ahead(measurers.measured(seen), 2 * MOST_LOTS, "measured")
            written = Ahead(self._written(finished), 2, "write")
            with closing(written):
                try:
                    yield from written
                finally:
                    self._unwritten.close()

    def _surveyed(self, chunks: Iterable[Chunk]) -> Iterator[tuple[Surveyed, Tally]]:
        for chunk in chunks:
            tally = Tally()
            yield survey(chunk, self._recipe, self._service, self._imagery, tally), tally

    def _jobs(
        self, surveyed: Ahead[tuple[Surveyed, Tally]], stopping: Callable[[], bool]
    ) -> Iterator[Job]:
        """A job for each strip, and one for what needs no look."""
        with closing(surveyed):
            for found, tally in surveyed:
                yield Job(found, tally, settling=list(found.settling))
                looks: Looks[Seen | Unseen] = Looks(found.strips)
                for strip in found.strips:
                    if stopping():
                        return
                    yield Job(found, Tally(), strip, looks)

    def _read(self, job: Job) -> Job:
        if job.strip is not None:
            known = {place: self._recent.get(place) for place in job.strip.places}
            unknown = [place for place, view in known.items() if view is None]
            job.chips = read_places(unknown, self._imagery, job.tally)
            job.chips |= {place: view for place, view in known.items() if view is not None}
        return job

    def _seen(
        self,
        read: Ahead[Job],
        stopping: Callable[[], bool],
        on_first: Callable[[FirstChips], None],
    ) -> Iterator[Job]:
        """Show the segmenter the strips that are ready, as many as it takes together."""
        told = False
        with closing(read):
            for batch in self._batches(read, stopping):
                job = batch[0]
                chips = {
                    # Another chunk's strip may have been shown it since it was read.
                    place: self._recent.get(place) or chip
                    for each in batch
                    for place, chip in each.chips.items()
                }
                started_s = time.perf_counter()
                views = segment(chips, self._recipe, self._segmenter, job.tally)
                self._recent.add(views)
                if job.tally.encoder_calls and not told:
                    told = True
                    on_first(self._first(job, time.perf_counter() - started_s))
                for each in batch:
                    each.see(views)
                    yield each

    def _batches(self, read: Ahead[Job], stopping: Callable[[], bool]) -> Iterator[list[Job]]:
        batch: list[Job] = []
        left = self._recipe.shown.chips_at_once
        for job in read:
            if job.strip is not None and stopping():
                continue
            if batch and (len(job.chips) > left or not self._unwritten.has(len(job.lots))):
                yield batch
                batch, left = [], self._recipe.shown.chips_at_once
            if not self._unwritten.take(len(job.lots)):
                return
            batch.append(job)
            left -= len(job.chips)
            if not read.waiting:
                yield batch
                batch, left = [], self._recipe.shown.chips_at_once
        if batch:
            yield batch

    def _first(self, job: Job, seconds: float) -> FirstChips:
        strips = job.surveyed.strips
        return FirstChips(
            self._segmenter.device,
            job.tally.encoder_calls,
            seconds,
            len(self._recipe.labels),
            sum(len(strip.places) for strip in strips),
            sum(len(strip.lots) for strip in strips),
        )

    def _written(self, finished: Ahead[Job]) -> Iterator[Progressed]:
        with closing(finished):
            for jobs in gathered(finished, MOST_LOTS, WITHIN_S, lambda job: len(job.settling)):
                tally = Tally()
                for job in jobs:
                    tally.add(job.tally)
                settling = [each for job in jobs for each in job.settling]
                settled = write(settling, self._recipe, self._database, tally)
                self._unwritten.give(sum(len(job.lots) for job in jobs))
                yield Progressed(settled, tally)


def local_workplace(
    build: Callable[[], Segmenter],
    service: ParcelBoundaryService,
    imagery: Imagery,
    database: Database,
    total: int,
) -> Workplace:
    """Here, with as many processes as `total` properties are worth.

    Raises:
        SegmenterError: the segmenter cannot be built.
    """
    segmenter = build()
    measurers = _cores() - 1 if total >= _WORTH_A_PROCESS else 0

    def engine(recipe: Recipe) -> LocalEngine:
        return LocalEngine(recipe, service, imagery, segmenter, database, measurers)

    return Workplace(facts_of(segmenter), build, segmenter.prepare, engine)


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))
