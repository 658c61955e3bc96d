"""A county's results as files: a table a label, one of the properties, one of the errors."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from detection.results import FULL_COVERAGE_FRACTION
from parcels import County
from pipeline.errors import ExportError
from pipeline.export.columns import (
    ERRORS,
    SYNTHETIC,
    Column,
    Table,
    column_stems,
    detections_tables,
    properties_table,
)
from pipeline.export.export_folder import README, draft
from pipeline.export.formats import CSV, FORMATS, ExportFormat
from pipeline.export.guide import dictionary
from pipeline.export.readme import ExportedFile, readme
from pipeline.open_county import display_name
from pipeline.store.reads import row_cursors
from pipeline.store.reads.county_status import county_status
from pipeline.store.reads.row_cursors import ColumnArrays
from pipeline.units import M2_PER_SQFT

GUIDE = "DATA_DICTIONARY.md"


def export_county(
    engine: Engine,
    county: County,
    out: Path,
    kind: str,
    on_rows: Callable[[int, int], None] | None = None,
) -> dict[Path, int | None]:
    """Write a county's results into a folder, as they are at one moment.

    Rows come through a cursor of the server and are written as they come: memory does not grow
    with the county. A batch may write meanwhile; what it writes is not in the export.

    Args:
        kind: "geoparquet", "geojson" or "csv".
        on_rows: told how many rows are written, of how many.

    Returns:
        The files, with their numbers of rows (None for the guides), README.md last.

    Raises:
        ExportError: the folder cannot be used or is full, the county has no properties, or the
            database fails.
    """
    moment = engine.connect().execution_options(
        isolation_level="REPEATABLE READ", postgresql_readonly=True
    )
    with _read(out), moment as conn:
        begun = datetime.now(UTC)
        status = county_status(conn, county.key)
        if not status.by_state:
            raise ExportError(f"{county.name} has nothing to export: run `lotline batch` first")
        live = row_cursors.count_live_detections(conn, county.key)
        # What was looked for and not found has a file, too: an empty one.
        labels = sorted({*row_cursors.measured_labels(conn, county.key), *live})
        unfinished = sum(n for (state, _), n in status.by_state.items() if state != "done")
        total = sum(live.values()) + sum(status.by_state.values()) + unfinished
        passing = _Passing(on_rows, total)
        synthetic = county.synthetic is not None
        files: dict[str, ExportedFile] = {}
        columns: dict[str, tuple[Column, ...]] = {}
        tables = _tables(conn, county.key, labels, FORMATS[kind])
        with draft(out) as new, closing(tables):
            for table, chunks, form in tables:
                name = table.name + form.suffix
                before = passing.done
                with new.file(name) as file:
                    whole = (_completed(chunk, table, synthetic) for chunk in chunks)
                    form.write(file, table, passing.through(whole))
                files[name] = ExportedFile(table.what, passing.done - before, new.size_bytes(name))
                columns[name] = form.columns(table)
            title = display_name(county.name, synthetic=synthetic)
            notes = _notes(kind, begun, synthetic=synthetic)
            with new.file(GUIDE) as file:
                file.write(dictionary(title, notes, columns).encode())
            with new.file(README) as file:
                file.write(readme(title, notes, files, status, kind).encode())
            new.publish(outdated=f"detections_*{FORMATS[kind].suffix}")
    counts = {out / name: contents.rows for name, contents in files.items()}
    return {**counts, out / GUIDE: None, out / README: None}


@contextmanager
def _read(out: Path) -> Iterator[None]:
    """What the database says when it fails, with what that means for the export."""
    try:
        yield
    except DBAPIError as error:
        raise ExportError(
            f"the database failed while it was read ({error.orig}): the export into {out} is not "
            "complete and has no README.md. See that the database runs and that its disk has room "
            "(it sorts the county there, which takes about 1.5 kB a polygon), then export again"
        ) from error


class _Passing:
    """Counts the rows that pass, and says so."""

    def __init__(self, on_rows: Callable[[int, int], None] | None, total: int) -> None:
        self.done = 0
        self._on_rows = on_rows
        self._total = total

    def through(self, chunks: Iterable[ColumnArrays]) -> Iterator[ColumnArrays]:
        for columns in chunks:
            yield columns
            self.done += len(next(iter(columns.values())))
            if self._on_rows is not None:
                self._on_rows(self.done, self._total)


def _tables(
    conn: Connection, county: str, labels: list[str], form: ExportFormat
) -> Generator[tuple[Table, Iterable[ColumnArrays], ExportFormat]]:
    """Each table with its rows; take those before you ask for the next."""
    empty = detections_tables(labels)
    with closing(row_cursors.detection_columns(conn, county)) as chunks:
        parts = (part for columns in chunks for part in _apart(columns))
        for label, of_label in groupby(parts, lambda part: part["label"][0]):
            yield empty.pop(label), of_label, form
    for table in empty.values():
        yield table, [], form
    stems = column_stems(labels)
    with closing(row_cursors.property_columns(conn, county, stems)) as chunks:
        yield properties_table(stems), chunks, form
    # Always a CSV: to be mended, and given to the next batch.
    with closing(row_cursors.unfinished_columns(conn, county)) as chunks:
        yield ERRORS, chunks, CSV


def _apart(columns: ColumnArrays) -> Iterator[ColumnArrays]:
    """The rows of each label, which stand together, by themselves."""
    start = 0
    for _, same in groupby(columns["label"]):
        end = start + sum(1 for _ in same)
        yield {name: values[start:end] for name, values in columns.items()}
        start = end


def _completed(columns: ColumnArrays, table: Table, synthetic: bool) -> ColumnArrays:
    """The rows with the columns that follow from others, or are of the whole county."""
    made = dict(columns)
    for column in table.cells:
        if column.unit == "sq ft":
            areas_m2 = columns[f"{column.name.removesuffix('_sqft')}_m2"]
            made[column.name] = [None if m2 is None else m2 / M2_PER_SQFT for m2 in areas_m2]
    if "parcel_ids" in columns:
        # As text: CSV and GeoJSON readers know no lists.
        made["parcel_ids"] = [";".join(ids or ()) for ids in columns["parcel_ids"]]
    if "segmenters" in columns:
        made["segmenters"] = [";".join(names) or None for names in columns["segmenters"]]
    if any(column == SYNTHETIC for column in table.cells):
        made["synthetic"] = [synthetic] * len(columns["property_id"])
    if "coverage_fraction" in columns:
        shares = columns["coverage_fraction"]
        made["partly_imaged"] = [None if s is None else s < FULL_COVERAGE_FRACTION for s in shares]
    return made


def _notes(kind: str, begun: datetime, *, synthetic: bool) -> list[str]:
    """What holds for all files of an export."""
    notes = [
        f"Of {begun:%Y-%m-%d %H:%M} UTC, as {kind}: what the database held at that moment. Areas "
        "are equal-area, within 0.01 % of the geodesic area. Rejected and superseded detections "
        "are left out.",
        "A spreadsheet runs text that begins with = + - or @ as a formula: in CSV files such text "
        "has an apostrophe before it, and nowhere else. Numbers have none.",
    ]
    if synthetic:
        notes.append("**Synthetic:** generated imagery and lots, not a real place.")
    return notes
