"""Enqueue a batch's properties: load the CSV, select from the queue, count what waits."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, text

from detection.labels import Label
from parcels import County
from pipeline.batch.registry_entry import registry_sha256
from pipeline.batch.request import BatchRequest, ConfirmLots, Progress
from pipeline.bbox import BBox
from pipeline.errors import EmptyQueueError, PropertiesFileError
from pipeline.open_county import OpenCounty
from pipeline.properties_csv import BadRows, file_sha256, layout_of, read_rows
from pipeline.properties_csv.layout import CsvLayout
from pipeline.properties_csv.rejected import REJECTED_NAME, set_aside_stale, write_rejected
from pipeline.store.database import Database
from pipeline.store.queue import loading, missing_labels
from pipeline.store.queue import states as queue
from pipeline.store.queue.missing_labels import AskedLabels
from pipeline.store.queue.selection import Selection
from pipeline.store.queue.stale import StaleWeights
from pipeline.store.queue.states import ReprocessScope
from pipeline.store.runs import lifecycle
from pipeline.store.runs.concurrent import check_running

log = logging.getLogger(__name__)

# Reading a file of this size takes some seconds.
_LARGE_FILE_BYTES = 5_000_000


@dataclass(frozen=True, slots=True)
class EnqueueResult:
    """The properties that a batch works on.

    Attributes:
        selection: which of the county's properties.
        waiting: how many of them the batch will lease, at most its limit.
        properties_file: the CSV; None for the county's queue.
        bad_rows: rows of the CSV that are not valid.
        without_location: properties that the bounding box skips because they are not located yet.
        requested_at: by the database's clock.
        understood: one line about the CSV's encoding, separator and columns; "" without a CSV.
        rejected_path: the file with the rows that are not valid; None if not written.
        asked: labels for which finished properties are processed again where they lack them; None
            if the batch reprocesses all, or its labels are not known yet.
        is_beside: other batches are working on these properties.
        stale: the weights whose measurements are repeated; None if they stay.
    """

    selection: Selection
    waiting: int
    properties_file: Path | None
    bad_rows: BadRows
    without_location: int
    requested_at: datetime
    understood: str = ""
    rejected_path: Path | None = None
    asked: AskedLabels | None = None
    is_beside: bool = False
    stale: StaleWeights | None = None


@dataclass(frozen=True, slots=True)
class LoadedCsv:
    """A CSV that is a list in the database; see `EnqueueResult`."""

    list_id: int
    bad_rows: BadRows
    understood: str
    rejected_path: Path | None


def enqueue(
    database: Database,
    opened: OpenCounty,
    request: BatchRequest,
    progress: Progress,
    confirm: ConfirmLots,
    asked: AskedLabels | None = None,
    shared: Mapping[str, str] | None = None,
    stale: StaleWeights | None = None,
) -> EnqueueResult:
    """Put the request's properties into the queue.

    Leases of killed runs are reclaimed first. Loading an unchanged CSV again is nearly free,
    unless another CSV has changed the county's properties.

    Args:
        confirm: called with the number of lots before `all_lots` makes them properties.
        asked: the labels that finished properties should have; None leaves them finished.
        shared: settings that running batches on the same properties must have too.
        stale: the weights whose measurements are to be repeated.

    Raises:
        ConcurrentBatchError: a running batch on the same properties has other settings.
        ParcelsError: the layer of all lots cannot be read.
        PropertiesFileError: the CSV cannot be read.
        EmptyQueueError: the county has no properties, or none in the bounding box.
    """
    county = opened.county.key
    path = request.properties or opened.county.properties
    with database.engine.begin() as conn:
        lifecycle.reclaim_killed(conn, county)
        # Before the CSV is loaded: a batch of the whole county would process its properties.
        check_running(conn, county, None, shared or {})
    loaded = None if path is None else _load_csv(database, county, path, request.out, progress)
    bad_rows = BadRows() if loaded is None else loaded.bad_rows
    understood = "" if loaded is None else loaded.understood
    rejected_path = None if loaded is None else loaded.rejected_path
    list_id = None if loaded is None or request.all_lots else loaded.list_id
    selection = Selection(list_id, request.bbox)
    with database.engine.begin() as conn:
        is_beside = check_running(conn, county, selection, shared or {})
    if request.all_lots:
        # A lazy import: reading layers is slow to import, and few batches need it here.
        from pipeline.batch.enqueue_all_lots import add_all_lots

        add_all_lots(database, opened, progress, confirm)
    if request.again:
        asked = None
    if asked is not None:
        with database.engine.begin() as conn:
            missing_labels.settle(conn, county, selection, asked.names)
    with database.engine.connect() as conn:
        requested_at = conn.execute(text("SELECT now()")).scalar_one()
        if queue.is_empty(conn, county):
            if not bad_rows.count:
                raise _empty_queue_error(opened)
            return EnqueueResult(
                selection, 0, path, bad_rows, 0, requested_at, understood, rejected_path
            )
        waiting = _count_waiting(conn, opened.county, request, selection, asked, stale)
        without_location = 0
        if request.bbox is not None:
            without_location = queue.count_without_location(conn, county, selection)
            if not waiting and not queue.count_states(conn, county, selection):
                raise _empty_bbox_error(opened, request.bbox, without_location)
            if without_location:
                progress.message(
                    f"skipped by the bounding box: {without_location:,} not located yet"
                )
    return EnqueueResult(
        selection,
        waiting,
        path,
        bad_rows,
        without_location,
        requested_at,
        understood,
        rejected_path,
        asked,
        is_beside,
        stale,
    )


def labels_to_run(
    database: Database,
    county: County,
    request: BatchRequest,
    enqueued: EnqueueResult,
    labels: tuple[Label, ...],
) -> tuple[Label, ...]:
    """The labels that a run must find: all, or those that finished properties lack.

    All, if any property waits that is not finished.
    """
    if enqueued.asked is None:
        return labels
    scope, sha256 = _reprocess_scope(request), registry_sha256(county)
    with database.engine.connect() as conn:
        if queue.any_waits_for_all_labels(
            conn, county.key, enqueued.selection, scope, sha256, enqueued.stale
        ):
            return labels
        missing = missing_labels.missing_anywhere(
            conn, county.key, enqueued.selection, enqueued.asked
        )
    return tuple(label for label in labels if label.name in missing) or labels


def make_pending(
    database: Database,
    county: County,
    request: BatchRequest,
    enqueued: EnqueueResult,
    shared: Mapping[str, str] | None = None,
) -> None:
    """Reset to pending what is to be reprocessed, or may succeed with a changed registry entry.

    Called right before the work begins, so that an invalid request leaves the queue unchanged.

    Args:
        shared: the run's settings; what a batch with others has completed meanwhile is not fresh.
    """
    with database.engine.begin() as conn:
        queue.reset(
            conn,
            county.key,
            enqueued.selection,
            _reprocess_scope(request),
            registry_sha256(county),
            request.limit,
            enqueued.requested_at,
            shared,
            enqueued.stale,
        )
        if enqueued.asked is not None:
            missing_labels.reopen(
                conn, county.key, enqueued.selection, enqueued.asked, request.limit
            )


def _reprocess_scope(request: BatchRequest) -> ReprocessScope:
    if request.again:
        return "everything"
    return "without_result" if request.retry_failed else "nothing"


def _count_waiting(
    conn: Connection,
    county: County,
    request: BatchRequest,
    selection: Selection,
    asked: AskedLabels | None,
    stale: StaleWeights | None,
) -> int:
    """How many properties the batch will lease, at most its limit."""
    scope = _reprocess_scope(request)
    sha256 = registry_sha256(county)
    waiting = queue.count_waiting(conn, county.key, selection, scope, sha256, stale)
    if asked is not None:
        waiting += missing_labels.count_missing(conn, county.key, selection, asked)
    return waiting if request.limit is None else min(waiting, request.limit)


def _load_csv(
    database: Database, county: str, path: Path, out: Path | None, progress: Progress
) -> LoadedCsv:
    """The CSV as a list in the database; it is loaded only if its content is not loaded already."""
    sha256 = file_sha256(path)
    layout = layout_of(path)
    if not layout.is_plain:
        progress.message(layout.understood)
    with database.engine.begin() as conn:
        listed = loading.current_list(conn, county, sha256)
        is_staged = listed is None
        if listed is None:
            if path.stat().st_size > _LARGE_FILE_BYTES:
                progress.message(f"reading {path}")
            own_names = tuple(layout.own_columns.values())
            listed = loading.load_list(conn, county, sha256, read_rows(path), own_names)
            if file_sha256(path) != sha256:
                raise PropertiesFileError(
                    f"{path}: changed while it was read: run the command again"
                )
        rejected_path = None
        if out is not None:
            rejected_path = _write_rejected(conn, layout, listed.bad_rows, out, is_staged=is_staged)
    return LoadedCsv(listed.id, listed.bad_rows, layout.understood, rejected_path)


def _write_rejected(
    conn: Connection, layout: CsvLayout, bad_rows: BadRows, out: Path, *, is_staged: bool
) -> Path | None:
    """Write all invalid rows into the folder of the report; None if there are none.

    A file that cannot be written is only a warning: the valid rows are in the queue.
    """
    try:
        if not bad_rows.count:
            set_aside_stale(layout, out)
            return None
        if bad_rows.is_complete:
            return write_rejected(layout, bad_rows.examples, out)
        if not is_staged:
            loading.stage_again(conn, read_rows(layout.path))
        return write_rejected(layout, loading.iter_duplicates(conn), out)
    except OSError as error:
        log.warning("%s cannot be written: %s", out / REJECTED_NAME, error.strerror)
        return None


def _empty_queue_error(opened: OpenCounty) -> EmptyQueueError:
    return EmptyQueueError(
        f"{opened.name} has no properties yet: pass a CSV with PROPERTIES=leads.csv "
        "(columns property_id and longitude, latitude, or parcel_id, or address), set "
        "`properties:` in the registry entry, or add every lot of the county with --all-lots "
        "(ALL_LOTS=1)"
    )


def _empty_bbox_error(opened: OpenCounty, bbox: BBox, without_location: int) -> EmptyQueueError:
    box = ",".join(f"{degrees:g}" for degrees in bbox)
    not_located = (
        f" ({without_location:,} are not located yet: they have a parcel id or an address only)"
        if without_location
        else ""
    )
    return EmptyQueueError(
        f"no property of {opened.name} is in the bounding box {box}{not_located}: write "
        "WEST,SOUTH,EAST,NORTH in degrees, longitude before latitude"
    )
