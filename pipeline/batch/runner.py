"""One run from its row in the database to its report."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from detection.imagery.interface import ImagerySource
from detection.labels import Label
from pipeline.batch.engine import EngineRuntime
from pipeline.batch.enqueue import EnqueueResult, registry_sha256
from pipeline.batch.heartbeat import Heartbeat
from pipeline.batch.lease_loop import LeaseLoop, new_owner
from pipeline.batch.request import BatchRequest, Progress
from pipeline.batch.result import BatchReport
from pipeline.batch.run_context import RunContext, chip_spec, lot_lines
from pipeline.errors import StoreError
from pipeline.log import log_context
from pipeline.open_county import OpenCounty
from pipeline.report.run_outputs import draw_run, lawn_truth, report_run
from pipeline.store.database import Database
from pipeline.store.queue import states as queue
from pipeline.store.reads.county_status import county_status
from pipeline.store.results.outcomes import RunInfo
from pipeline.store.retries import retry_transient
from pipeline.store.runs import lifecycle

log = logging.getLogger(__name__)


class BatchRunner:
    """The running of one order, when everything that it needs is at hand."""

    def __init__(
        self,
        database: Database,
        opened: OpenCounty,
        order: BatchRequest,
        place: EngineRuntime,
        labels: Sequence[Label],
        imagery: ImagerySource,
        queued: EnqueueResult,
        progress: Progress,
    ) -> None:
        self.database = database
        self.opened = opened
        self.order = order
        self.place = place
        self.labels = tuple(labels)
        self.imagery = imagery
        self.queued = queued
        self.progress = progress
        self.owner = new_owner()

    def run(self) -> BatchReport:
        """Work until nothing is left, the limit is reached or Ctrl-C; then the report."""
        started_s = time.perf_counter()
        county = self.opened.county.key
        facts = self.place.facts
        # Its lock says that this run lives; never pooled, so that closing it says otherwise.
        alive = self.database.engine.connect()
        alive.detach()
        run_id = lifecycle.start(alive, county, self._settings(), facts.name, facts.weights_sha256)
        alive.commit()
        names = tuple(label.name for label in self.labels)
        run = RunInfo(run_id, facts.name, facts.weights_sha256, names)
        limit = self.order.limit
        work = LeaseLoop(
            self.database, county, run_id, self.owner, self.queued, limit, self.progress
        )
        self.progress.start(self.queued.waiting, self.opened.name)
        beating = Heartbeat(self.database.engine, run_id, self.owner, alive, lambda: work.so_far)
        with log_context(run=run_id, county=county), beating:
            try:
                end = work.through(self.place.engine(self._recipe(run)))
            except BaseException as error:
                interrupted = isinstance(error, KeyboardInterrupt)
                self._close_if_it_can(run_id, "interrupted" if interrupted else "failed", work)
                raise
            finally:
                self.progress.stop()
            retry_transient(self._close)(run_id, end, work)
        return retry_transient(self._report)(run, work, started_s)

    def _recipe(self, run: RunInfo) -> RunContext:
        county = self.opened.county
        return RunContext(
            county,
            run,
            self.owner,
            self.labels,
            lot_lines(county),
            chip_spec(self.place.facts, county),
            self.order.when_unavailable,
            self.database.url,
        )

    def _close(self, run_id: int, end: lifecycle.RunEnd, work: LeaseLoop) -> None:
        with self.database.engine.begin() as conn:
            queue.release(conn, self.owner)
            lifecycle.finish(conn, run_id, end, work.account())

    def _close_if_it_can(self, run_id: int, end: lifecycle.RunEnd, work: LeaseLoop) -> None:
        """`_close`; the error that ended the run is told, and not what comes of it."""
        try:
            self._close(run_id, end, work)
        except (SQLAlchemyError, StoreError) as error:
            log.warning("the next batch takes back what this one held: %s", error)

    def _report(self, run: RunInfo, work: LeaseLoop, started_s: float) -> BatchReport:
        map_path = self._draw(run, work)
        told, page_path = report_run(self.database, run.id, self.order.out)
        with self.database.engine.connect() as conn:
            status = county_status(conn, self.opened.county.key)
            asked = queue.count_states(conn, self.opened.county.key, self.queued.selection)
        return BatchReport(
            self.opened.name,
            self.opened.synthetic,
            told,
            asked,
            status,
            self.queued.bad_rows,
            self.queued.file,
            work.counters.timer,
            time.perf_counter() - started_s,
            map_path,
            page_path,
            lawn_truth(self.database, self.opened),
        )

    def _draw(self, run: RunInfo, work: LeaseLoop) -> Path | None:
        """The map; what was measured is kept, even where its picture cannot be."""
        if self.order.out is None or not work.processed:
            return None
        path = self.order.out / "map.png"
        try:
            with work.counters.timer.stage("map"):
                lines = lot_lines(self.opened.county)
                return draw_run(self.database, self.opened, run, self.imagery, lines, path)
        except OSError as error:
            log.warning("%s cannot be written: %s", path, error.strerror)
            return None

    def _settings(self) -> dict[str, object]:
        return {
            "county_name": self.opened.name,
            "synthetic": self.opened.synthetic,
            "properties_file": None if self.queued.file is None else str(self.queued.file),
            "rows_left_out": self.queued.bad_rows.count,
            "segmenter": self.order.segmenter,
            "engine": self.order.engine,
            "labels": [label.name for label in self.labels],
            "limit": self.order.limit,
            "again": self.order.again,
            "retry_failed": self.order.retry_failed,
            "bbox": self.order.bbox,
            "registry_sha256": registry_sha256(self.opened.county),
            "when_unavailable": self.order.when_unavailable,
            "imagery": self.opened.county.imagery.model_dump(mode="json", exclude_none=True),
        }
