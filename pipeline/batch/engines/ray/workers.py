"""The code that runs on the machines of a cluster: stages, and the state that a process caches.

These functions and classes do not use Ray; the engine calls them through it.
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
from pipeline.batch.cached_parcels import cached_parcels
from pipeline.batch.engine import Completed
from pipeline.batch.engines.ray.telemetry import WorkerTelemetry, collect_telemetry
from pipeline.batch.stage_context import SegmenterInfo, StageContext, segmenter_info
from pipeline.batch.stages import (
    ChipsByKey,
    Chunk,
    LeasedLot,
    PendingOutcome,
    Surveyed,
    measure,
    read,
    segment,
    survey,
)
from pipeline.batch.write_stage import write_outcomes
from pipeline.store.database import Database, open_engine

ChipResult = InferenceResult | ChipFailure


@dataclass(frozen=True)
class ReadChips:
    """Chips on their way to the segmenter."""

    chips: ChipsByKey
    telemetry: WorkerTelemetry


@dataclass(frozen=True)
class SegmentReport:
    """How one inference call went; `telemetry` includes that of the reads."""

    telemetry: WorkerTelemetry
    device: str
    seconds: float


@dataclass(frozen=True)
class WorkerInfo:
    """A worker's machine, and the version of lotline that is installed there."""

    hostname: str
    version: str


class Surveyor:
    """The one process that queries the county's servers, so that their rate limits hold.

    Its methods may be called in several threads.
    """

    def __init__(self, context: StageContext) -> None:
        self._context = context
        self._survey_lock = threading.Lock()

    def block(self) -> None:
        """Block until the process ends: Ray then fails the call, which reports the death."""
        threading.Event().wait()

    def survey(self, chunk: Chunk) -> tuple[Surveyed, WorkerTelemetry]:
        """See `stages.survey`."""
        with collect_telemetry() as telemetry, self._survey_lock:
            surveyed = survey(
                chunk, self._context, self._service, self._imagery, telemetry.counters
            )
        return surveyed, telemetry

    def read(self, keys: Sequence[ChipKey]) -> ReadChips:
        """Read chips from an imagery server."""
        with collect_telemetry() as telemetry:
            chips = read(keys, self._imagery, telemetry.counters)
        return ReadChips(chips, telemetry)

    @cached_property
    def _service(self) -> ParcelBoundaryService:
        url = self._context.database_url
        parcels = cached_parcels(self._context.county, Database(open_engine(url), url, None))
        return ParcelBoundaryService(self._context.county, parcels)

    @property
    def _imagery(self) -> ImagerySource:
        return _process_cache.imagery(self._context)


class SegmentWorker:
    """A process with the segmenter."""

    def __init__(self, build_segmenter: Callable[[], Segmenter]) -> None:
        self._build_segmenter = build_segmenter
        self._labels: tuple[Label, ...] = ()

    def load(self) -> tuple[SegmenterInfo, WorkerInfo]:
        """Load the segmenter, unless it is loaded already."""
        return segmenter_info(self._segmenter), worker_info()

    def prepare(self, labels: tuple[Label, ...]) -> None:
        """See `Segmenter.prepare`."""
        if labels != self._labels:
            self._segmenter.prepare(labels)
            self._labels = labels

    def segment(self, context: StageContext, *reads: ReadChips) -> list[SegmentReport | ChipResult]:
        """The report, then the results of all chips in the order of the reads and their keys."""
        with collect_telemetry() as telemetry:
            self.prepare(context.labels)
            chips = {key: chip for each in reads for key, chip in each.chips.items()}
            started_s = time.perf_counter()
            results = segment(chips, context, self._segmenter, telemetry.counters)
            seconds = time.perf_counter() - started_s
        for each in reads:
            telemetry.add(each.telemetry)
        report = SegmentReport(telemetry, self._segmenter.device, seconds)
        return [report, *(results[key] for each in reads for key in each.chips)]

    @cached_property
    def _segmenter(self) -> Segmenter:
        return self._build_segmenter()


def worker_info() -> WorkerInfo:
    """Of this process."""
    return WorkerInfo(socket.gethostname(), version("lotline"))


def check_machine(context: StageContext) -> WorkerInfo:
    """Check that this machine has what the stages need.

    Raises:
        ImageryError: it does not have the imagery's files.
    """
    if context.county.imagery.path is not None:
        _process_cache.imagery(context)
    return worker_info()


def read_files(context: StageContext, keys: Sequence[ChipKey]) -> ReadChips:
    """Read chips from imagery files."""
    with collect_telemetry() as telemetry:
        chips = read(keys, _process_cache.imagery(context), telemetry.counters)
    return ReadChips(chips, telemetry)


def measure_chip_batch(
    context: StageContext,
    chip_batch: ChipBatch,
    lots: dict[int, LeasedLot],
    keys: Sequence[ChipKey],
    *results: ChipResult,
) -> tuple[WorkerTelemetry, list[PendingOutcome]]:
    """See `stages.measure`; there is one result for each key."""
    with collect_telemetry() as telemetry:
        by_key = dict(zip(keys, results, strict=True))
        outcomes = measure(chip_batch, by_key, lots, context, telemetry.counters)
    return telemetry, outcomes


def write_parts(
    context: StageContext, fetch: Callable[[], tuple[list[list[PendingOutcome]], list[int]]]
) -> tuple[list[Completed], list[int], WorkerTelemetry]:
    """Write the parts that can be fetched.

    Returns:
        What was written, the indexes of the parts that are lost, and the telemetry.
    """
    with collect_telemetry() as telemetry:
        parts, lost = fetch()
        outcomes = [each for part in parts for each in part]
        written = (
            write_outcomes(outcomes, context, _process_cache.database(context), telemetry.counters)
            if outcomes
            else []
        )
    return written, lost, telemetry


class _ProcessCache:
    """The imagery and the database that this process has opened for a run; replaced by the next."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = ""
        self._imagery: ImagerySource | None = None
        self._database: Engine | None = None

    def imagery(self, context: StageContext) -> ImagerySource:
        with self._lock:
            self._reset_for(context)
            if self._imagery is None:
                self._imagery = context.open_imagery()
            return self._imagery

    def database(self, context: StageContext) -> Engine:
        self._reset_for(context)
        if self._database is None:
            self._database = open_engine(context.database_url)
        return self._database

    def _reset_for(self, context: StageContext) -> None:
        if context.owner != self._owner:
            if self._database is not None:
                self._database.dispose()
            self._owner, self._imagery, self._database = context.owner, None, None


_process_cache = _ProcessCache()
