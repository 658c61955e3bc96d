"""Export a county: one table per label, one of properties, one of errors, and the guides."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from detection.results import FULL_COVERAGE_FRACTION
from parcels import County
from pipeline.errors import ExportError
from pipeline.export.columns import (
    ID_COLUMNS,
    SYNTHETIC,
    Column,
    Table,
    column_stems,
    detections_tables,
    errors_table,
    properties_table,
)
from pipeline.export.export_folder import README, draft
from pipeline.export.export_request import WHOLE_COUNTY_REQUEST, ExportRequest, resolve
from pipeline.export.formats import CSV, FORMATS, ExportFormat
from pipeline.export.own_columns import OwnColumnNames, name_own_columns
from pipeline.export.readme import (
    ExportedFile,
    render_data_dictionary,
    render_readme,
    table_cell,
)
from pipeline.export.row_caveats import row_caveats
from pipeline.open_county import display_name
from pipeline.report.advice import county_caveats, label_notes
from pipeline.store.reads import row_cursors
from pipeline.store.reads.county_status import county_status
from pipeline.store.reads.export_selection import ExportSelection
from pipeline.store.reads.row_cursors import ColumnArrays
from pipeline.units import M2_PER_SQFT

DATA_DICTIONARY = "DATA_DICTIONARY.md"


def export_county(
    engine: Engine,
    county: County,
    out: Path,
    kind: str,
    on_rows: Callable[[int, int], None] | None = None,
    request: ExportRequest = WHOLE_COUNTY_REQUEST,
) -> dict[Path, int | None]:
    """Write a snapshot of a county's results into a folder.

    Rows are streamed through server-side cursors, so memory does not grow with the county. One
    REPEATABLE READ transaction reads everything: a batch that writes at the same time does not
    change the export.

    Args:
        kind: "geoparquet", "geojson" or "csv".
        on_rows: called with the rows written so far and the total.
        request: which of the county's properties; all by default.

    Returns:
        Row counts by file (None for the guides), README.md last.

    Raises:
        ExportError: the folder cannot be used or is full, it has files that are not from an
            export, there is nothing to export, or the database fails.
    """
    snapshot = engine.connect().execution_options(
        isolation_level="REPEATABLE READ", postgresql_readonly=True
    )
    with _database_errors(out), snapshot as conn:
        snapshot_at = datetime.now(UTC)
        selected = resolve(conn, county, request)
        selection = selected.selection
        status = county_status(conn, county.key, selection)
        if not status.by_state:
            raise ExportError(selected.nothing)
        live = row_cursors.count_live_detections(conn, county.key, selection)
        # A label without detections has an empty file.
        labels = sorted({*row_cursors.measured_labels(conn, county.key, selection), *live})
        own = name_own_columns(
            row_cursors.own_columns(conn, county.key, selection), column_stems(labels)
        )
        unfinished = sum(n for (state, _), n in status.by_state.items() if state != "done")
        total = sum(live.values()) + sum(status.by_state.values()) + unfinished
        counter = _RowCounter(on_rows, total)
        synthetic = county.synthetic is not None
        caveats = county_caveats(status, synthetic=synthetic)
        own_notes = label_notes([area.label for area in status.areas], status.prompts)
        files: dict[str, ExportedFile] = {}
        columns: dict[str, tuple[Column, ...]] = {}
        tables = _tables(conn, county.key, labels, FORMATS[kind], selection, own)
        with draft(out) as new, closing(tables):
            for table, chunks, file_format in tables:
                name = table.name + file_format.suffix
                rows_before = counter.rows
                with new.file(name) as file:
                    completed = (_completed(chunk, table, synthetic, own_notes) for chunk in chunks)
                    with_caveats = replace(table, caveats=tuple(caveats))
                    file_format.write(file, with_caveats, counter.count(completed))
                rows = counter.rows - rows_before
                files[name] = ExportedFile(table.what, rows, new.size_bytes(name))
                columns[name] = file_format.columns(table)
            title = display_name(county.name, synthetic=synthetic)
            notes = [selected.description] if selected.description else []
            notes += _notes(kind, snapshot_at, own, caveats)
            with new.file(DATA_DICTIONARY) as file:
                file.write(render_data_dictionary(title, notes, columns).encode())
            with new.file(README) as file:
                text_columns = (*ID_COLUMNS, *own.by_exported)
                readme = render_readme(title, notes, files, status, kind, text_columns)
                file.write(readme.encode())
            new.publish()
    row_counts = {out / name: exported.rows for name, exported in files.items()}
    return {**row_counts, out / DATA_DICTIONARY: None, out / README: None}


@contextmanager
def _database_errors(out: Path) -> Iterator[None]:
    """Turn a database error into what it means for the export."""
    try:
        yield
    except DBAPIError as error:
        raise ExportError(
            f"the database failed during the export ({error.orig}): {out} is incomplete and has "
            "no README.md. Check that the database runs and that its disk has free space for "
            "sorting (about 1.5 kB per polygon), then export again"
        ) from error


class _RowCounter:
    """Counts rows while they stream through, and reports progress."""

    def __init__(self, on_rows: Callable[[int, int], None] | None, total: int) -> None:
        self.rows = 0
        self._on_rows = on_rows
        self._total = total

    def count(self, chunks: Iterable[ColumnArrays]) -> Iterator[ColumnArrays]:
        for columns in chunks:
            yield columns
            self.rows += len(next(iter(columns.values())))
            if self._on_rows is not None:
                self._on_rows(self.rows, self._total)


def _tables(
    conn: Connection,
    county: str,
    labels: list[str],
    table_format: ExportFormat,
    selection: ExportSelection,
    own: OwnColumnNames,
) -> Generator[tuple[Table, Iterable[ColumnArrays], ExportFormat]]:
    """Each table with its rows and format; consume the rows before the next table."""
    empty = detections_tables(labels)
    with closing(row_cursors.detection_columns(conn, county, selection=selection)) as chunks:
        parts = (part for columns in chunks for part in _split_by_label(columns))
        for label, of_label in groupby(parts, lambda part: part["label"][0]):
            yield empty.pop(label), of_label, table_format
    for table in empty.values():
        yield table, [], table_format
    stems = column_stems(labels)
    with closing(
        row_cursors.property_columns(
            conn, county, stems, selection=selection, own_names=own.by_exported
        )
    ) as chunks:
        yield properties_table(stems, own.columns), chunks, table_format
    # Always a CSV: people fix it and pass it to the next batch.
    with closing(
        row_cursors.unfinished_columns(conn, county, selection=selection, own_names=own.by_exported)
    ) as chunks:
        yield errors_table(own.columns), chunks, CSV


def _split_by_label(columns: ColumnArrays) -> Iterator[ColumnArrays]:
    """The rows of each label; they come sorted by label."""
    start = 0
    for _, same in groupby(columns["label"]):
        end = start + sum(1 for _ in same)
        yield {name: values[start:end] for name, values in columns.items()}
        start = end


def _completed(
    columns: ColumnArrays, table: Table, synthetic: bool, label_caveats: Sequence[str]
) -> ColumnArrays:
    """The rows with derived columns, and with those that are the same for the county."""
    completed = dict(columns)
    if (caveats := row_caveats(columns, label_caveats)) is not None:
        completed["caveats"] = caveats
    for column in table.cells:
        if column.unit == "sq ft":
            areas_m2 = columns[f"{column.name.removesuffix('_sqft')}_m2"]
            completed[column.name] = [None if m2 is None else m2 / M2_PER_SQFT for m2 in areas_m2]
    if "parcel_ids" in columns:
        # As text: CSV and GeoJSON readers have no lists.
        completed["parcel_ids"] = [";".join(ids or ()) for ids in columns["parcel_ids"]]
    if "imagery_files" in columns:
        sources = columns["imagery_files"]
        completed["imagery_files"] = [";".join(paths or ()) or None for paths in sources]
    if "segmenters" in columns:
        completed["segmenters"] = [";".join(names) or None for names in columns["segmenters"]]
    if any(column == SYNTHETIC for column in table.cells):
        completed["synthetic"] = [synthetic] * len(columns["property_id"])
    if "coverage_fraction" in columns:
        fractions = columns["coverage_fraction"]
        completed["partly_imaged"] = [
            None if f is None else f < FULL_COVERAGE_FRACTION for f in fractions
        ]
    return completed


def _notes(
    kind: str, snapshot_at: datetime, own: OwnColumnNames, caveats: Sequence[str]
) -> list[str]:
    """Markdown notes that hold for all files of an export."""
    notes = [
        f"Snapshot of {snapshot_at:%Y-%m-%d %H:%M} UTC, as {kind}. Areas are equal-area, within "
        "0.01 % of the geodesic area. Rejected and superseded detections are left out.",
        "Spreadsheets run text that begins with = + - or @ as a formula, so CSV files have an "
        "apostrophe before such text. Numbers have none.",
    ]
    if own.columns:
        listed = ", ".join(f"`{table_cell(name)}`" for name in own.by_exported)
        renamed = "".join(
            f" `{table_cell(name)}` is called `{table_cell(exported)}`, because Lotline has a "
            "column of that name."
            for name, exported in own.renamed.items()
        )
        notes.append(
            "Columns of the properties CSV are carried along as text in the tables of properties "
            f"and errors: {listed}.{renamed}"
        )
    return [*notes, *(f"**{note}**" for note in caveats)]
