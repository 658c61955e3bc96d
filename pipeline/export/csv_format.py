"""CSV, streamed row by row, safe against formula injection in spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any, BinaryIO

from pipeline.export.columns import Column, Table
from pipeline.formula_guard import escape_formula
from pipeline.store.reads.row_cursors import ColumnArrays


def write_csv(file: BinaryIO, table: Table, chunks: Iterable[ColumnArrays]) -> None:
    """Write a table without its geometry, as UTF-8; None is an empty cell."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(escape_formula(column.name) for column in table.cells)
    for columns in chunks:
        cells = (_cells(column, columns[column.name]) for column in table.cells)
        rows.writerows(zip(*cells, strict=True))
    text.detach()  # flushes, and leaves the file open


def _cells(column: Column, values: Iterable[Any]) -> Iterable[Any]:
    return map(escape_formula, values) if column.kind == "text" else values
