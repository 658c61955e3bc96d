"""What a batch is to work on: its properties go into the queue, and those that wait are counted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, text

from parcels import County
from pipeline.batch.request import BatchRequest, ConfirmLots, Progress
from pipeline.batch.result import BatchReport
from pipeline.bbox import BBox
from pipeline.errors import EmptyQueueError, PropertiesFileError
from pipeline.open_county import OpenCounty
from pipeline.properties_csv import BadRows, file_sha256, read_rows
from pipeline.store.database import Database
from pipeline.store.queue import loading
from pipeline.store.queue import states as queue
from pipeline.store.queue.loading import PropertyList
from pipeline.store.queue.selection import Selection
from pipeline.store.queue.states import ReprocessScope
from pipeline.store.reads.county_status import queue_status
from pipeline.store.runs import lifecycle

# It takes some seconds to read.
_LONG_FILE_BYTES = 5_000_000

# What an entry says that is no reason to look again at what it had no answer for.
_NO_MATTER = {
    "name",
    "state",
    "fips",
    "labels",
    "properties",
    "verified",
    "lot_offset_m",
    "line_tolerance_m",
    "calls_in_flight",
    "calls_per_second",
}


@dataclass(frozen=True, slots=True)
class EnqueueResult:
    """What a batch is to work on.

    Attributes:
        selection: which of the county's properties.
        waiting: how many of them the batch will take, the limit observed.
        file: the CSV that names them; None for the county's queue.
        bad_rows: of the CSV.
        without_place: properties that the bounding box leaves out, as nobody has located them.
        ordered_at: by the database's clock.
    """

    selection: Selection
    waiting: int
    file: Path | None
    bad_rows: BadRows
    without_place: int
    ordered_at: datetime


def enqueue(
    database: Database,
    opened: OpenCounty,
    order: BatchRequest,
    progress: Progress,
    confirm: ConfirmLots,
) -> EnqueueResult:
    """Put what is ordered into the queue.

    What a batch that was killed held waits again. The same CSV again costs next to nothing, as
    long as no other changed the county's properties.

    Args:
        confirm: told how many lots are to become properties, before they do.

    Raises:
        ParcelsError: all lots are wanted, and their layer cannot be read.
        PropertiesFileError: the CSV cannot be read.
        EmptyQueueError: the county has no properties, or none where the order asks for them.
    """
    county = opened.county.key
    path = order.properties or opened.county.properties
    with database.engine.begin() as conn:
        lifecycle.reclaim_killed(conn, county)
    listed = None if path is None else _listed(database, county, path, progress)
    bad_rows = BadRows() if listed is None else listed.bad_rows
    if order.all_lots:
        # Reads layers, which few batches do before they begin.
        from pipeline.batch.enqueue_all_lots import add_all_lots

        add_all_lots(database, opened, progress, confirm)
    list_id = None if listed is None or order.all_lots else listed.id
    selection = Selection(list_id, order.bbox)
    with database.engine.connect() as conn:
        ordered_at = conn.execute(text("SELECT now()")).scalar_one()
        if queue.is_empty(conn, county):
            if not bad_rows.count:
                raise _empty(opened)
            return EnqueueResult(selection, 0, path, bad_rows, 0, ordered_at)
        waiting = _count(conn, opened.county, order, selection)
        without_place = 0
        if order.bbox is not None:
            without_place = queue.count_without_location(conn, county, selection)
            if not waiting and not queue.count_states(conn, county, selection):
                raise _nothing_there(opened, order.bbox, without_place)
            if without_place:
                progress.message(f"left out by the box: {without_place:,} that have no place yet")
    return EnqueueResult(selection, waiting, path, bad_rows, without_place, ordered_at)


def make_pending(
    database: Database, county: County, order: BatchRequest, queued: EnqueueResult
) -> None:
    """Make pending what is ordered to be done once more, and what another entry may help.

    Just before the work begins: what is wrong with an order must leave the queue as it was.
    """
    entry = registry_sha256(county)
    with database.engine.begin() as conn:
        queue.reset(
            conn,
            county.key,
            queued.selection,
            _redo(order),
            entry,
            order.limit,
            queued.ordered_at,
        )


def nothing_to_do(database: Database, opened: OpenCounty, queued: EnqueueResult) -> BatchReport:
    """The report where nothing waits."""
    with database.engine.connect() as conn:
        return BatchReport(
            opened.name,
            opened.synthetic,
            None,
            selected_by_state=queue.count_states(conn, opened.county.key, queued.selection),
            status=queue_status(conn, opened.county.key),
            bad_rows=queued.bad_rows,
            properties_file=queued.file,
        )


def registry_sha256(county: County) -> str:
    """Hexadecimal digest of what an entry, and a file that it names, say of parcels and imagery."""
    digest = hashlib.sha256(county.model_dump_json(exclude=_NO_MATTER).encode())
    if county.path is not None and county.path.exists():
        about = county.path.stat()
        digest.update(f"{about.st_size} {about.st_mtime_ns}".encode())
    return digest.hexdigest()


def _redo(order: BatchRequest) -> ReprocessScope:
    if order.again:
        return "everything"
    return "without_result" if order.retry_failed else "nothing"


def _count(conn: Connection, county: County, order: BatchRequest, selection: Selection) -> int:
    """How many properties the batch will take."""
    entry = registry_sha256(county)
    waiting = queue.count_waiting(conn, county.key, selection, _redo(order), entry)
    return waiting if order.limit is None else min(waiting, order.limit)


def _listed(database: Database, county: str, path: Path, progress: Progress) -> PropertyList:
    """The CSV as a list of the database; read only where that is not there already."""
    sha256 = file_sha256(path)
    with database.engine.begin() as conn:
        known = loading.current_list(conn, county, sha256)
        if known is not None:
            return known
        if path.stat().st_size > _LONG_FILE_BYTES:
            progress.message(f"reading {path}")
        listed = loading.load_list(conn, county, sha256, read_rows(path))
        if file_sha256(path) != sha256:
            raise PropertiesFileError(f"{path}: it was changed while it was read: run this again")
    return listed


def _empty(opened: OpenCounty) -> EmptyQueueError:
    return EmptyQueueError(
        f"{opened.name} has no properties yet: name a CSV with PROPERTIES=leads.csv "
        "(columns property_id and longitude, latitude, or parcel_id, or address), set "
        "`properties:` in the registry entry, or take every lot of the county with --all-lots "
        "(ALL_LOTS=1)"
    )


def _nothing_there(opened: OpenCounty, bbox: BBox, without_place: int) -> EmptyQueueError:
    box = ",".join(f"{degrees:g}" for degrees in bbox)
    unknown = (
        f" ({without_place:,} have no place yet: they are given by a parcel id or an address)"
        if without_place
        else ""
    )
    return EmptyQueueError(
        f"no property of {opened.name} lies in the box {box}{unknown}: write "
        "WEST,SOUTH,EAST,NORTH in degrees, longitude before latitude"
    )
