"""The formats of an export: how the files are called, and what writes them."""

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
    """A format by its name, as `--format` takes it.

    Attributes:
        write: writes a table into an open file as its chunks of rows come, and leaves it open.
        columns: what of a table is in the file, in its order.
    """

    name: str
    suffix: str
    write: Callable[[BinaryIO, Table, Iterable[ColumnArrays]], None]
    columns: Callable[[Table], tuple[Column, ...]]


CSV = ExportFormat("csv", ".csv", write_csv, lambda table: table.cells)
FORMATS = {
    each.name: each
    for each in (
        ExportFormat(
            "geoparquet", ".parquet", write_geoparquet, lambda table: (*table.columns, BOX)
        ),
        ExportFormat("geojson", ".geojson", write_geojson, lambda table: table.columns),
        CSV,
    )
}
