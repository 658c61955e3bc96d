"""The export formats: file suffix, writer and columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import BinaryIO

from pipeline.export.columns import BOX, Column, Table
from pipeline.export.csv_format import write_csv
from pipeline.export.geojson import write_geojson
from pipeline.export.geoparquet import write_geoparquet
from pipeline.store.reads.row_cursors import ColumnArrays


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """A value of `--format`.

    Attributes:
        write: streams a table's chunks of rows into an open file, and leaves it open.
        columns: of a table in this format, in file order.
    """

    name: str
    suffix: str
    write: Callable[[BinaryIO, Table, Iterable[ColumnArrays]], None]
    columns: Callable[[Table], tuple[Column, ...]]


CSV = ExportFormat("csv", ".csv", write_csv, lambda table: table.cells)
FORMATS = {
    file_format.name: file_format
    for file_format in (
        ExportFormat(
            "geoparquet", ".parquet", write_geoparquet, lambda table: (*table.columns, BOX)
        ),
        ExportFormat("geojson", ".geojson", write_geojson, lambda table: table.columns),
        CSV,
    )
}
