"""One batch: lease -> boundary -> chip -> detect -> write, until the queue is empty."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from detection import Detector, build_segmenter, choose_labels, open_imagery
from detection.clock import Clock
from detection.imagery.protocol import Imagery
from detection.labels import Label
from detection.results import LotResult
from detection.segmenters import check_segmenter
from parcels import Boundary, NoBoundary, ParcelBoundaryService
from parcels.service import WhenUnavailable
from pipeline.batch.report import BatchReport, Problem
from pipeline.batch.views import draw_run, lawn_truth
from pipeline.counties import OpenCounty, open_county
from pipeline.errors import EmptyQueueError
from pipeline.properties_file import PropertiesFile, read_properties
from pipeline.settings import Settings, load_settings
from pipeline.store import properties as queue
from pipeline.store import results, runs
from pipeline.store.database import Database, open_database
from pipeline.store.properties import LeasedProperty, Unfinished
from pipeline.store.results import RunInfo
from pipeline.store.status import county_status

log = logging.getLogger(__name__)

# What is leased, looked up and detected together. A crash repeats at most this many lots.
CHUNK = 256
LEASE_S = 900.0


class Progress(Protocol):
    """Told how far a batch is; see `pipeline.cli.progress`."""

    def start(self, total: int, what: str) -> None:
        """So much is to do."""

    def advance(self, count: int) -> None:
        """So much more is done."""

    def stop(self) -> None:
        """No more will come."""


class Silent:
    """No progress: for library use."""

    def start(self, total: int, what: str) -> None:
        """Say nothing."""

    def advance(self, count: int) -> None:
        """Say nothing."""

    def stop(self) -> None:
        """Say nothing."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a batch is asked to do.

    Attributes:
        labels: names; empty means all that the segmenter finds.
        limit: at most so many properties.
        again: also those that are done.
        when_unavailable: what a county server that does not answer means for a lot.
        out: the folder of the map; None draws none.
    """

    county: str
    registry: Path | None = None
    properties: Path | None = None
    labels: tuple[str, ...] = ()
    segmenter: str = "spectral"
    limit: int | None = None
    again: bool = False
    when_unavailable: WhenUnavailable = "defer"
    out: Path | None = None


def run_batch(
    order: Order, settings: Settings | None = None, progress: Progress | None = None
) -> BatchReport:
    """Work on a county's unprocessed properties until none is left.

    One property that cannot be answered never stops the others: it is in the report, with the
    reason. After Ctrl-C what was written stays, and the next run goes on from there.

    Raises:
        ParcelsError, DetectionError, PipelineError: nothing can be done until something is mended.
    """
    settings = settings or load_settings()
    opened = open_county(order.county, order.registry or settings.registry, settings.home)
    check_segmenter(order.segmenter)
    chosen = choose_labels(order.labels) if order.labels else None
    source = order.properties or opened.county.properties
    file = read_properties(source) if source else None
    with open_database(settings.database_url, settings.home) as database:
        selection = _enqueue(database, opened, file, order)
        with database.engine.connect() as conn:
            waiting = queue.count_unprocessed(conn, opened.county.key, selection)
        total = waiting if order.limit is None else min(waiting, order.limit)
        if not total:
            return _nothing_to_do(database, opened, file)
        imagery = open_imagery(opened.county.imagery)
        service = ParcelBoundaryService(opened.county)
        segmenter = build_segmenter(order.segmenter)
        labels = chosen or choose_labels(segmenter.labels)
        batch = _Batch(database, service, Detector(segmenter), imagery, labels, order, selection)
        return batch.run(opened, file, total, progress or Silent())


def _enqueue(
    database: Database, opened: OpenCounty, file: PropertiesFile | None, order: Order
) -> list[str] | None:
    """Put the CSV's properties into the queue; the ids to work on, None for the whole county."""
    county = opened.county.key
    selection = None if file is None else [prop.property_id for prop in file.properties]
    with database.engine.begin() as conn:
        if file is not None:
            queue.load(conn, county, file.properties)
        if order.again:
            queue.reset(conn, county, selection)
        known = sum(county_status(conn, county).by_state.values())
    if not known and not (file and file.bad_rows):
        raise EmptyQueueError(
            f"{opened.county.name} has no properties yet: name a CSV with PROPERTIES=leads.csv "
            "(columns property_id and longitude, latitude or parcel_id), or set `properties:` "
            "in the registry entry"
        )
    return selection


def _nothing_to_do(
    database: Database, opened: OpenCounty, file: PropertiesFile | None
) -> BatchReport:
    with database.engine.connect() as conn:
        status = county_status(conn, opened.county.key)
    return BatchReport(
        opened.county.name,
        opened.synthetic,
        None,
        {},
        status,
        bad_rows=file.bad_rows if file else (),
        properties_file=file.path if file else None,
    )


class _Batch:
    """The running of one order."""

    def __init__(
        self,
        database: Database,
        service: ParcelBoundaryService,
        detector: Detector,
        imagery: Imagery,
        labels: Sequence[Label],
        order: Order,
        selection: list[str] | None,
    ) -> None:
        self.database = database
        self.service = service
        self.detector = detector
        self.imagery = imagery
        self.labels = labels
        self.order = order
        self.selection = selection
        self.owner = f"{socket.gethostname()}:{os.getpid()}"
        self.clock = Clock()
        self.processed: Counter[tuple[str, str]] = Counter()
        self.problems: list[Problem] = []
        self.kept_reviews = 0
        self.held: set[int] = set()

    def run(
        self, opened: OpenCounty, file: PropertiesFile | None, total: int, progress: Progress
    ) -> BatchReport:
        """Chunks until nothing is left, the limit is reached or Ctrl-C; then the report."""
        started = time.perf_counter()
        county = opened.county.key
        segmenter = self.detector.segmenter
        with self.database.engine.begin() as conn:
            run_id = runs.start(
                conn, county, self._settings(), segmenter.name, segmenter.weights_sha256
            )
        run = RunInfo(
            run_id,
            segmenter.name,
            segmenter.weights_sha256,
            tuple(label.name for label in self.labels),
        )
        state: runs.End = "failed"
        progress.start(total, opened.county.name)
        try:
            state = self._work(run, county, total, progress)
        finally:
            progress.stop()
            self._close_run(run, state)
        map_path = None
        if self.order.out and self.processed:
            with self.clock.stage("map"):
                map_path = draw_run(
                    self.database, opened, run_id, self.imagery, self.order.out / "map.png"
                )
        with self.database.engine.connect() as conn:
            status = county_status(conn, county)
        return BatchReport(
            opened.county.name,
            opened.synthetic,
            run_id,
            dict(self.processed),
            status,
            tuple(self.problems),
            file.bad_rows if file else (),
            file.path if file else None,
            self.clock,
            time.perf_counter() - started,
            self.kept_reviews,
            map_path,
            lawn_truth(self.database, opened),
            state == "interrupted",
        )

    def _work(self, run: RunInfo, county: str, total: int, progress: Progress) -> runs.End:
        """The state that the run ends in."""
        left = total
        try:
            while left > 0:
                with self.clock.stage("lease"), self.database.engine.begin() as conn:
                    leased = queue.lease(
                        conn, county, self.owner, min(CHUNK, left), LEASE_S, self.selection, run.id
                    )
                if not leased:
                    break
                self._chunk(run, leased, progress)
                left -= len(leased)
        except KeyboardInterrupt:
            return "interrupted"
        return "finished"

    def _chunk(self, run: RunInfo, leased: Sequence[LeasedProperty], progress: Progress) -> None:
        self.held = {lease.id for lease in leased}
        with self.clock.stage("boundary"):
            found = self.service.boundaries(
                [lease.property for lease in leased], self.order.when_unavailable
            )
        todo: list[tuple[LeasedProperty, Boundary]] = []
        for lease, boundary in zip(leased, found, strict=True):
            if isinstance(boundary, NoBoundary):
                state: Unfinished = "deferred" if boundary.reason == "unavailable" else "failed"
                self._finish(lease, state, boundary.reason, boundary.detail)
                progress.advance(1)
            else:
                todo.append((lease, boundary))
        boundaries = [boundary for _, boundary in todo]
        detected = self.detector.detect_iter(boundaries, self.imagery, self.labels, self.clock)
        for index, result in detected:
            lease, boundary = todo[index]
            self._write(run, lease, boundary, result)
            progress.advance(1)

    def _write(
        self, run: RunInfo, lease: LeasedProperty, boundary: Boundary, result: LotResult
    ) -> None:
        """One lot: its detections, its measurements and its state in one transaction."""
        if result.status == "unavailable":
            self._finish(lease, "deferred", "imagery_unavailable", result.detail)
        elif result.status == "failed":
            self._finish(lease, "failed", result.reason, result.detail)
        else:
            with self.clock.stage("write"), self.database.engine.begin() as conn:
                written = results.write_lot(conn, run, lease.id, boundary, result)
            self.kept_reviews += written.suppressed
            self._count(lease, written.state, written.reason, result.detail)

    def _finish(self, lease: LeasedProperty, state: Unfinished, reason: str, detail: str) -> None:
        with self.clock.stage("write"), self.database.engine.begin() as conn:
            queue.finish(conn, [lease.id], state, reason, detail)
        self._count(lease, state, reason, detail)

    def _count(self, lease: LeasedProperty, state: str, reason: str, detail: str) -> None:
        self.held.discard(lease.id)
        self.processed[state, reason] += 1
        if state != "done":
            self.problems.append(Problem(lease.property.property_id, state, reason, detail))

    def _close_run(self, run: RunInfo, state: runs.End) -> None:
        with self.database.engine.begin() as conn:
            queue.finish(conn, sorted(self.held), "pending")
            runs.finish(
                conn,
                run.id,
                state,
                counts={f"{s}/{reason}": n for (s, reason), n in self.processed.items()},
                # One example of each is enough here: every property keeps its own reason.
                faults={f"{p.state}/{p.reason}": p.detail for p in reversed(self.problems)},
                timings={"seconds": self.clock.seconds, "calls": self.clock.calls},
            )

    def _settings(self) -> dict[str, object]:
        return {
            "segmenter": self.order.segmenter,
            "labels": [label.name for label in self.labels],
            "limit": self.order.limit,
            "again": self.order.again,
            "when_unavailable": self.order.when_unavailable,
            "imagery": self.service.county.imagery.model_dump(mode="json", exclude_none=True),
        }
