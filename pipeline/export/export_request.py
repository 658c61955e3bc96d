"""What is asked of an export: the whole county, or a properties file, a run or a box of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from parcels import County
from pipeline.bbox import BBox
from pipeline.errors import ExportError
from pipeline.plurals import count_of
from pipeline.properties_csv import file_sha256
from pipeline.store.reads.export_selection import ExportSelection, count_reprocessed, find_list
from pipeline.store.runs import lifecycle


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """Which of a county's properties are exported; several conditions have to hold together.

    Attributes:
        properties: a properties file that a batch has loaded.
        run_id: properties that this run was the last to process.
        bbox: properties inside (west, south, east, north), in degrees.
    """

    properties: Path | None = None
    run_id: int | None = None
    bbox: BBox | None = None


WHOLE_COUNTY_REQUEST = ExportRequest()


@dataclass(frozen=True, slots=True)
class SelectedRows:
    """The rows of a request.

    Attributes:
        description: which they are, as Markdown; "" for the whole county.
        nothing: the message if there are none.
    """

    selection: ExportSelection
    description: str
    nothing: str


def resolve(conn: Connection, county: County, request: ExportRequest) -> SelectedRows:
    """Find the list and the run of a request.

    Raises:
        ExportError: no batch has loaded the file, or the run is of another county.
        PropertiesFileError: the file cannot be read.
        StoreError: no such run.
    """
    parts = []
    list_id = None
    if request.properties is not None:
        list_id = _list_id(conn, county, request.properties)
        parts.append(f"of `{request.properties.name}`")
    if request.run_id is not None:
        parts.append(_of_run(conn, county, request.run_id))
    if request.bbox is not None:
        box = ",".join(f"{degrees:g}" for degrees in request.bbox)
        parts.append(f"in the box {box} (west, south, east, north)")
    selection = ExportSelection(list_id, request.bbox, request.run_id)
    if not parts:
        nothing = f"{county.name} has nothing to export. Run `lotline batch` first"
        return SelectedRows(selection, "", nothing)
    which = " and ".join(parts)
    return SelectedRows(
        selection,
        f"**A part of the county:** only properties {which}.",
        f"{county.name} has no property {which.replace('`', '')}. `lotline runs list` has the "
        "runs, and `lotline status` the number of properties",
    )


def _list_id(conn: Connection, county: County, path: Path) -> int:
    list_id = find_list(conn, county.key, file_sha256(path))
    if list_id is None:
        raise ExportError(
            f"{path}: no batch of {county.name} has loaded this file as it is now. Run `lotline "
            f"batch --county {county.key} --properties {path}` first; what is done stays done"
        )
    return list_id


def _of_run(conn: Connection, county: County, run_id: int) -> str:
    run = lifecycle.get_run(conn, run_id)
    if run.county != county.key:
        raise ExportError(
            f"run {run_id} is of the county {run.county}, not of {county.key}. Pass --county "
            f"{run.county}, or another run"
        )
    taken = count_reprocessed(conn, run_id)
    since = f" ({count_of(taken, 'properties')} of it that a later run has processed are left out)"
    return f"of run {run_id}{since if taken else ''}"
