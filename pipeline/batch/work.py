"""The work of one run: lease -> boundary -> chip -> detect -> write, until the queue is empty."""

from __future__ import annotations

import logging
import os
import socket
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection

from detection import Detector
from detection.clock import Clock
from detection.detector import FirstChips
from detection.imagery.protocol import Imagery
from detection.labels import Label
from detection.results import LotResult
from parcels import Boundary, NoBoundary, ParcelBoundaryService
from pipeline.batch.forecast import in_words
from pipeline.batch.order import Order, Progress
from pipeline.batch.report import BatchReport, Problem
from pipeline.batch.views import draw_run, lawn_truth
from pipeline.batch.writing import LEASE_S, ChunkWriter
from pipeline.counties import OpenCounty
from pipeline.properties_file import PropertiesFile
from pipeline.store import properties as queue
from pipeline.store import runs
from pipeline.store.database import Database
from pipeline.store.outcomes import Answered, Outcome, RunInfo, Unanswered, Written
from pipeline.store.properties import LeasedProperty, Unfinished
from pipeline.store.status import county_status

log = logging.getLogger(__name__)

# What is leased, looked up and detected together; a crash repeats at most this many lots. A server
# is asked for a hundred lots in a call, two calls at a time.
CHUNK = {"file": 256, "arcgis": 1_000, "synthetic": 256}


class Batch:
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
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.clock = Clock()
        self.processed: Counter[tuple[str, str]] = Counter()
        self.problems: list[Problem] = []
        self.notes: list[Problem] = []
        self.kept_reviews = 0
        self.first_chips_seen = False

    def run(
        self, opened: OpenCounty, file: PropertiesFile | None, total: int, progress: Progress
    ) -> BatchReport:
        """Chunks until nothing is left, the limit is reached or Ctrl-C; then the report."""
        started = time.perf_counter()
        # Its lock says that this run lives; never pooled, so that closing it says otherwise.
        with self.database.engine.connect() as alive:
            alive.detach()
            run = self._start(alive, opened.county.key)
            state: runs.End = "failed"
            progress.start(total, opened.name)
            try:
                state = self._work(run, opened.county.key, total, progress)
            finally:
                progress.stop()
                self._close_run(run, state)
        return self._report(opened, file, run, state, started)

    def _start(self, alive: Connection, county: str) -> RunInfo:
        segmenter = self.detector.segmenter
        names = tuple(label.name for label in self.labels)
        weights = segmenter.weights_sha256
        run_id = runs.start(alive, county, self._settings(), segmenter.name, weights)
        alive.commit()
        return RunInfo(run_id, segmenter.name, weights, names)

    def _report(
        self,
        opened: OpenCounty,
        file: PropertiesFile | None,
        run: RunInfo,
        state: runs.End,
        started: float,
    ) -> BatchReport:
        map_path = self._draw(opened, run)
        with self.database.engine.connect() as conn:
            status = county_status(conn, opened.county.key)
            asked = queue.states(conn, opened.county.key, self.selection)
        return BatchReport(
            opened.name,
            opened.synthetic,
            run.id,
            dict(self.processed),
            asked,
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
            notes=tuple(self.notes),
        )

    def _draw(self, opened: OpenCounty, run: RunInfo) -> Path | None:
        """The map; what was measured is kept, even where its picture cannot be."""
        if self.order.out is None or not self.processed:
            return None
        path = self.order.out / "map.png"
        try:
            with self.clock.stage("map"):
                lines = self.detector.lines
                return draw_run(self.database, opened, run, self.imagery, lines, path)
        except OSError as error:
            log.warning("%s cannot be written: %s", path, error.strerror)
            return None

    def _work(self, run: RunInfo, county: str, total: int, progress: Progress) -> runs.End:
        """The state that the run ends in."""
        left = total
        chunk = CHUNK[self.service.county.source]
        writer = ChunkWriter(self.database.engine, run, self.owner, self._told)
        try:
            while left > 0:
                with self.clock.stage("lease"), self.database.engine.begin() as conn:
                    leased = queue.lease(
                        conn, county, self.owner, min(chunk, left), LEASE_S, self.selection, run.id
                    )
                if not leased:
                    break
                self._chunk(writer, leased, left, progress)
                left -= len(leased)
        except KeyboardInterrupt:
            with self.clock.stage("write"):
                writer.flush()  # what is found already need not be looked for again
            return "interrupted"
        return "finished"

    def _chunk(
        self,
        writer: ChunkWriter,
        leased: Sequence[LeasedProperty],
        left: int,
        progress: Progress,
    ) -> None:
        with self.clock.stage("boundary"):
            found = self.service.boundaries(
                [lease.property for lease in leased], self.order.when_unavailable
            )
        todo: list[tuple[LeasedProperty, Boundary]] = []
        for lease, boundary in zip(leased, found, strict=True):
            if isinstance(boundary, NoBoundary):
                state: Unfinished = "deferred" if boundary.reason == "unavailable" else "failed"
                outcome = Unanswered(lease.id, state, boundary.reason, boundary.detail)
                self._write(writer, progress, lease, outcome)
            else:
                todo.append((lease, boundary))
        boundaries = [boundary for _, boundary in todo]

        def first(chips: FirstChips) -> None:
            if not self.first_chips_seen:
                progress.say(in_words(chips, left))
            self.first_chips_seen = True

        detected = self.detector.detect_iter(
            boundaries, self.imagery, self.labels, self.clock, first
        )
        for index, result in detected:
            lease, boundary = todo[index]
            self._write(writer, progress, lease, _outcome(lease.id, boundary, result))
        with self.clock.stage("write"):
            written = writer.flush()
        progress.advance(written)

    def _write(
        self, writer: ChunkWriter, progress: Progress, lease: LeasedProperty, outcome: Outcome
    ) -> None:
        with self.clock.stage("write"):
            written = writer.add(lease, outcome)
        if written:
            progress.advance(written)

    def _told(self, lease: LeasedProperty, outcome: Outcome, written: Written | None) -> None:
        """Count what was written, and keep what a person should know of it."""
        property_id = lease.property.property_id
        if written is None:
            log.warning("%s was changed or taken meanwhile: left alone", property_id)
            return
        state, reason = written.state, written.reason
        self.processed[state, reason] += 1
        self.kept_reviews += written.suppressed
        if state != "done":
            self.problems.append(Problem(property_id, state, reason, written.detail))
        if isinstance(outcome, Answered) and outcome.boundary.note:
            self.notes.append(Problem(property_id, state, reason, outcome.boundary.note))

    def _close_run(self, run: RunInfo, state: runs.End) -> None:
        with self.database.engine.begin() as conn:
            queue.release(conn, self.owner)
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


def _outcome(property_fk: int, boundary: Boundary, result: LotResult) -> Outcome:
    if result.status == "unavailable":
        return Unanswered(property_fk, "deferred", "imagery_unavailable", result.detail)
    if result.status == "failed":
        return Unanswered(property_fk, "failed", result.reason, result.detail)
    return Answered(property_fk, boundary, result)
