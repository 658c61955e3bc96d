"""One run: load what the stages need, work through the queue, close the run, report."""

from __future__ import annotations

import logging
import os
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from detection.county_settings import lot_lines, open_county_imagery
from detection.imagery.interface import ImagerySource
from detection.labels import Label, contained_labels
from detection.required_bands import band_notes, check_bands
from detection.segmenters import WITHOUT_WEIGHTS
from parcels import County, ParcelBoundaryService
from parcels.cache import CachedSource
from parcels.errors import SourceUnavailable
from parcels.parcel_source import ParcelSource
from pipeline.batch.cached_parcels import cached_parcels
from pipeline.batch.engine import EngineRuntime
from pipeline.batch.engines.local import local_runtime
from pipeline.batch.engines.ray import ray_runtime
from pipeline.batch.enqueue import labels_to_run, make_pending
from pipeline.batch.heartbeat import Heartbeat
from pipeline.batch.lease_loop import LeaseLoop, new_owner
from pipeline.batch.registry_entry import registry_sha256
from pipeline.batch.request import Progress
from pipeline.batch.result import BatchReport
from pipeline.batch.run_context import RunContext
from pipeline.batch.shared_settings import all_shared_settings
from pipeline.batch.stage_context import StageContext, chip_spec
from pipeline.batch.stale_work import check_weights
from pipeline.errors import PipelineError, StoreError
from pipeline.log import log_context
from pipeline.report.map_imagery import map_imagery
from pipeline.report.run_outputs import draw_map, lawn_errors_of_county, write_run_report
from pipeline.report.run_report import MAX_REJECTED
from pipeline.store.models.promoted_segmenter import ChampionBuilder
from pipeline.store.queue import states as queue
from pipeline.store.reads.county_status import county_status
from pipeline.store.results.outcomes import RunInfo
from pipeline.store.retries import retry_transient
from pipeline.store.reviews.carried_over import carry_over
from pipeline.store.runs import concurrent, lifecycle

log = logging.getLogger(__name__)


def run(context: RunContext) -> BatchReport:
    """Work through the properties that wait, and report.

    Raises:
        ParcelsError, DetectionError, PipelineError: nothing can be done until the cause is fixed.
    """
    county, progress = context.county, context.progress
    # All of these may fail, so they come before the queue is changed.
    imagery = open_county_imagery(county)
    check_bands(context.request.segmenter, imagery)
    parcels = cached_parcels(county, context.database, progress)
    service = _open_service(county, parcels, progress)
    _make_output_folder(context.request.out)
    if context.request.segmenter not in WITHOUT_WEIGHTS:
        progress.message(f"loading {context.request.segmenter}")
    with ExitStack() as stack:
        if context.request.engine == "ray":
            settings = context.settings
            runtime = stack.enter_context(
                ray_runtime(
                    context.build_segmenter, settings.ray_address, settings.ray_gpus_per_worker
                )
            )
        else:
            runtime = local_runtime(context, service, imagery)
        segmenter = runtime.segmenter_info
        if isinstance(context.build_segmenter, ChampionBuilder):
            progress.message(context.build_segmenter.description(segmenter.weights_sha256))
        check_weights(context.expected_weights, segmenter.weights_sha256)
        labels = context.labels.for_segmenter(segmenter.name, segmenter.labels)
        shared = all_shared_settings(county, context.request, labels, segmenter.weights_sha256)
        labels = labels_to_run(context.database, county, context.request, context.enqueued, labels)
        runtime.prepare(labels)
        report = BatchRunner(context, runtime, labels, shared, service, imagery).run()
    if not isinstance(parcels, CachedSource):
        return report
    return replace(
        report,
        parcel_cache_hits=parcels.cache_hits,
        parcel_requests=parcels.cache_misses,
        snapshot_is_unverified=parcels.snapshot_is_unverified,
    )


def _open_service(
    county: County, source: ParcelSource | None, progress: Progress
) -> ParcelBoundaryService:
    """The parcel service. A server that is down is no error yet: its lots are deferred later."""
    service = ParcelBoundaryService(county, source)
    if county.source == "arcgis":
        progress.message(f"querying {county.name}'s parcel server")
    with suppress(SourceUnavailable):
        service.check()
    return service


def _make_output_folder(out: Path | None) -> None:
    try:
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PipelineError(
            f"cannot create the output folder {out} ({error.strerror}): choose another with OUT="
        ) from error
    if out is not None and not os.access(out, os.W_OK | os.X_OK):
        raise PipelineError(
            f"cannot write into the output folder {out}: make it writable, or choose another with "
            "OUT="
        )


class BatchRunner:
    """A run from its row in the database to its report."""

    def __init__(
        self,
        context: RunContext,
        runtime: EngineRuntime,
        labels: tuple[Label, ...],
        shared: dict[str, str],
        service: ParcelBoundaryService,
        imagery: ImagerySource,
    ) -> None:
        self._context = context
        self._runtime = runtime
        self._labels = labels
        self._shared = shared
        self._service = service
        self._imagery = imagery
        self._database = context.database
        self._owner = new_owner()
        self._is_output_lost = False

    def run(self) -> BatchReport:
        """Work until the queue is empty, the limit is reached or Ctrl-C; then report."""
        context, segmenter = self._context, self._runtime.segmenter_info
        county = context.county.key
        started_s = time.perf_counter()
        run_id, lock_connection = self._start()
        min_areas_m2 = {label.name: label.min_area_m2 for label in self._labels}
        run_info = RunInfo(
            run_id, segmenter.name, segmenter.weights_sha256, tuple(min_areas_m2), min_areas_m2
        )
        loop = LeaseLoop(context, run_id, self._owner)
        context.progress.start(context.enqueued.waiting, context.opened.name)
        heartbeat = Heartbeat(
            self._database.engine, run_id, self._owner, lock_connection, lambda: loop.last_metrics
        )
        with log_context(run=run_id, county=county), heartbeat:
            try:
                make_pending(
                    self._database, context.county, context.request, context.enqueued, self._shared
                )
                end = loop.run(self._runtime.create_engine(self._stage_context(run_info)))
            except BaseException as error:
                interrupted = isinstance(error, KeyboardInterrupt)
                self._try_to_close(run_id, "interrupted" if interrupted else "failed", loop)
                raise
            finally:
                context.progress.stop()
            if end == "finished":
                carry_over(self._database.engine, county, min_areas_m2)
            retry_transient(self._close)(run_id, end, loop)
        return retry_transient(self._report)(run_info, loop, started_s)

    def _start(self) -> tuple[int, Connection]:
        """The run's id, and the connection whose advisory lock marks it as alive.

        Raises:
            ConcurrentBatchError: a running batch on the same properties has other settings.
        """
        county, segmenter = self._context.county.key, self._runtime.segmenter_info
        connection = self._database.engine.connect()
        # Detached from the pool, so that closing it releases the lock.
        connection.detach()
        try:
            concurrent.serialize_starts(connection, county)
            selection = self._context.enqueued.selection
            concurrent.check_running(connection, county, selection, self._shared)
            run_id = lifecycle.start(
                connection, county, self._settings(), segmenter.name, segmenter.weights_sha256
            )
            connection.commit()
        except BaseException:
            connection.close()
            raise
        return run_id, connection

    def _stage_context(self, run_info: RunInfo) -> StageContext:
        county = self._context.county
        return StageContext(
            county,
            run_info,
            self._owner,
            self._labels,
            lot_lines(county),
            chip_spec(self._runtime.segmenter_info, county),
            self._context.request.when_unavailable,
            self._database.url,
        )

    def _close(self, run_id: int, end: lifecycle.RunEnd, loop: LeaseLoop) -> None:
        with self._database.engine.begin() as conn:
            queue.release(conn, self._owner)
            # Again, because servers are known better after they have answered.
            lifecycle.update_settings(conn, run_id, self._notes())
            lifecycle.finish(conn, run_id, end, loop.metrics())

    def _try_to_close(self, run_id: int, end: lifecycle.RunEnd, loop: LeaseLoop) -> None:
        """`_close`, without hiding the error that ended the run."""
        try:
            self._close(run_id, end, loop)
        except (SQLAlchemyError, StoreError) as error:
            log.warning("leases not released; the next batch reclaims them: %s", error)

    def _report(self, run_info: RunInfo, loop: LeaseLoop, started_s: float) -> BatchReport:
        opened, enqueued = self._context.opened, self._context.enqueued
        map_path = self._draw_map(run_info, loop)
        entry = self._context.county.imagery.model_dump(mode="json", exclude_none=True)
        page_imagery = map_imagery(entry, self._imagery, lot_lines(opened.county))
        run_report, page_path = write_run_report(
            self._database, run_info.id, self._context.request.out, page_imagery
        )
        if page_path is None and self._context.request.out is not None and run_report.properties:
            self._is_output_lost = True
        with self._database.engine.connect() as conn:
            status = county_status(conn, opened.county.key)
            selected_by_state = queue.count_states(conn, opened.county.key, enqueued.selection)
        return BatchReport(
            opened.name,
            opened.synthetic,
            run_report,
            selected_by_state,
            status,
            enqueued.bad_rows,
            enqueued.properties_file,
            loop.counters.timer,
            time.perf_counter() - started_s,
            map_path,
            page_path,
            lawn_errors_of_county(self._database, opened),
            understood=enqueued.understood,
            rejected_path=enqueued.rejected_path,
            is_output_lost=self._is_output_lost,
        )

    def _draw_map(self, run_info: RunInfo, loop: LeaseLoop) -> Path | None:
        """Draw the map; a full disk must not lose the report of what was measured."""
        out, opened = self._context.request.out, self._context.opened
        if out is None or not loop.processed:
            return None
        path = out / "map.png"
        try:
            with loop.counters.timer.stage("map"):
                lines = lot_lines(opened.county)
                return draw_map(self._database, opened, run_info, self._imagery, lines, path)
        except OSError as error:
            log.warning("%s cannot be written: %s", path, error.strerror)
            self._is_output_lost = True
            return None

    def _settings(self) -> dict[str, object]:
        """What the run's row keeps of its settings."""
        request, opened = self._context.request, self._context.opened
        enqueued, county = self._context.enqueued, self._context.county
        file, rejected = enqueued.properties_file, enqueued.rejected_path
        return {
            "county_name": opened.name,
            "synthetic": opened.synthetic,
            "properties_file": None if file is None else str(file),
            "properties_understood": enqueued.understood or None,
            "rows_left_out": enqueued.bad_rows.count,
            "rejected_rows": [
                (row.line, row.problem) for row in enqueued.bad_rows.examples[:MAX_REJECTED]
            ],
            "rejected_file": None if rejected is None else str(rejected),
            "segmenter": request.segmenter,
            "engine": request.engine,
            "labels": [label.name for label in self._labels],
            "prompts": {label.name: label.prompt for label in self._labels},
            "label_contains": contained_labels(self._labels),
            "limit": request.limit,
            "again": request.again,
            "stale": request.stale,
            "retry_failed": request.retry_failed,
            "bbox": request.bbox,
            concurrent.LIST_ID: enqueued.selection.list_id,
            concurrent.SHARED_SETTINGS: self._shared,
            "registry_sha256": registry_sha256(county),
            "when_unavailable": request.when_unavailable,
            "lot_offset_m": county.lot_offset_m,
            "imagery": county.imagery.model_dump(mode="json", exclude_none=True),
            **self._notes(),
        }

    def _notes(self) -> dict[str, list[str]]:
        """What the county's imagery and lots were taken for; the report shows it."""
        notes = [
            *self._imagery.notes,
            *band_notes(self._runtime.segmenter_info.name, self._imagery),
        ]
        return {
            "imagery_notes": list(dict.fromkeys(notes)),
            "county_notes": list(dict.fromkeys(self._service.warnings)),
        }
