"""What runs on the machines of a cluster: the stages, and what each process builds for them once.

Nothing here knows of Ray, which calls these functions and classes.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version

from sqlalchemy import Engine

from detection.chip_batches import ChipBatch
from detection.chip_plan import ChipKey
from detection.imagery.interface import ImagerySource
from detection.inference import ChipFailure, InferenceResult
from detection.labels import Label
from detection.segmenters.interface import Segmenter
from parcels import ParcelBoundaryService
from pipeline.batch.engine import Completed
from pipeline.batch.engines.ray.telemetry import WorkerTelemetry, collect_telemetry
from pipeline.batch.run_context import RunContext, SegmenterInfo, cached_parcels, segmenter_info
from pipeline.batch.stages import (
    ChipsByKey,
    Chunk,
    LeasedLot,
    PendingOutcome,
    Surveyed,
    measure,
    read_places,
    segment,
    survey,
)
from pipeline.batch.write_stage import write_outcomes
from pipeline.store.database import Database, open_engine

ChipResult = InferenceResult | ChipFailure


@dataclass(frozen=True)
class ReadChips:
    """The chips of a strip, on their way to the segmenter."""

    chips: ChipsByKey
    told: WorkerTelemetry


@dataclass(frozen=True)
class SegmentReport:
    """What a segmenter tells of chips that it was shown together."""

    told: WorkerTelemetry
    device: str
    seconds: float


@dataclass(frozen=True)
class WorkerInfo:
    """A worker that can be used.

    Attributes:
        where: its machine, in words.
        version: of the lotline that is installed there.
    """

    where: str
    version: str


class Surveyor:
    """The one process that asks the county's servers, so that their limits hold.

    Its methods may be called in several threads.
    """

    def __init__(self, recipe: RunContext) -> None:
        self._recipe = recipe
        self._one_at_a_time = threading.Lock()

    def stay(self) -> None:
        """Until the process ends: so is it known when it does."""
        threading.Event().wait()

    def survey(self, chunk: Chunk) -> tuple[Surveyed, WorkerTelemetry]:
        """See `stages.survey`."""
        with collect_telemetry() as told, self._one_at_a_time:
            surveyed = survey(chunk, self._recipe, self._service, self._imagery, told.counters)
        return surveyed, told

    def read(self, places: Sequence[ChipKey]) -> ReadChips:
        """The chips of imagery that is a server."""
        with collect_telemetry() as told:
            chips = read_places(places, self._imagery, told.counters)
        return ReadChips(chips, told)

    @cached_property
    def _service(self) -> ParcelBoundaryService:
        url = self._recipe.database_url
        kept = cached_parcels(self._recipe.county, Database(open_engine(url), url, None))
        return ParcelBoundaryService(self._recipe.county, kept)

    @property
    def _imagery(self) -> ImagerySource:
        return _here.imagery(self._recipe)


class SegmentWorker:
    """A process with the segmenter."""

    def __init__(self, build: Callable[[], Segmenter]) -> None:
        self._build = build
        self._built: Segmenter | None = None
        self._labels: tuple[Label, ...] = ()

    def load(self) -> tuple[SegmenterInfo, WorkerInfo]:
        """Load the segmenter, where that has not been done."""
        return segmenter_info(self._segmenter()), worker_info()

    def prepare(self, labels: tuple[Label, ...]) -> None:
        """See `Segmenter.prepare`."""
        if labels != self._labels:
            self._segmenter().prepare(labels)
            self._labels = labels

    def segment(self, recipe: RunContext, *reads: ReadChips) -> list[SegmentReport | ChipResult]:
        """What it tells, then the views of all chips in the order of the strips and places."""
        with collect_telemetry() as told:
            self.prepare(recipe.labels)
            chips = {place: chip for each in reads for place, chip in each.chips.items()}
            started_s = time.perf_counter()
            views = segment(chips, recipe, self._segmenter(), told.counters)
            seconds = time.perf_counter() - started_s
        for each in reads:
            told.add(each.told)
        shown = SegmentReport(told, self._segmenter().device, seconds)
        return [shown, *(views[place] for each in reads for place in each.chips)]

    def _segmenter(self) -> Segmenter:
        if self._built is None:
            self._built = self._build()
        return self._built


def worker_info() -> WorkerInfo:
    """Where this process is."""
    return WorkerInfo(socket.gethostname(), version("lotline"))


def check_machine(recipe: RunContext) -> WorkerInfo:
    """See that a machine has what the stages need there.

    Raises:
        ImageryError: it does not have the imagery's files.
    """
    if recipe.county.imagery.path is not None:
        _here.imagery(recipe)
    return worker_info()


def read_files(recipe: RunContext, places: Sequence[ChipKey]) -> ReadChips:
    """The chips of imagery that is files."""
    with collect_telemetry() as told:
        chips = read_places(places, _here.imagery(recipe), told.counters)
    return ReadChips(chips, told)


def measure_strip(
    recipe: RunContext,
    strip: ChipBatch,
    lots: dict[int, LeasedLot],
    places: Sequence[ChipKey],
    *views: ChipResult,
) -> tuple[WorkerTelemetry, list[PendingOutcome]]:
    """See `stages.measure`; the views are of the places."""
    with collect_telemetry() as told:
        seen = dict(zip(places, views, strict=True))
        settling = measure(strip, seen, lots, recipe, told.counters)
    return told, settling


def write_parts(
    recipe: RunContext, fetch: Callable[[], tuple[list[list[PendingOutcome]], list[int]]]
) -> tuple[list[Completed], list[int], WorkerTelemetry]:
    """Write what can be fetched.

    Returns:
        What was written, which parts could not be fetched, and what is told.
    """
    with collect_telemetry() as told:
        parts, lost = fetch()
        settling = [each for part in parts for each in part]
        written = (
            write_outcomes(settling, recipe, _here.database(recipe), told.counters)
            if settling
            else []
        )
    return written, lost, told


class _Here:
    """What this process has made for one run; it is made anew for another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = ""
        self._imagery: ImagerySource | None = None
        self._database: Engine | None = None

    def imagery(self, recipe: RunContext) -> ImagerySource:
        with self._lock:
            self._be_for(recipe)
            if self._imagery is None:
                self._imagery = recipe.open_imagery()
            return self._imagery

    def database(self, recipe: RunContext) -> Engine:
        self._be_for(recipe)
        if self._database is None:
            self._database = open_engine(recipe.database_url)
        return self._database

    def _be_for(self, recipe: RunContext) -> None:
        if recipe.owner != self._owner:
            if self._database is not None:
                self._database.dispose()
            self._owner, self._imagery, self._database = recipe.owner, None, None


_here = _Here()
