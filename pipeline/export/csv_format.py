"""CSV that a spreadsheet opens without running any of it, written as the rows come."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from typing import Any, BinaryIO

from pipeline.export.columns import Column, Table
from pipeline.store.reads.row_cursors import ColumnArrays

# What spreadsheets take for the beginning of a formula; and what has such an apostrophe already,
# so that whoever takes one away has the text again.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def write_csv(file: BinaryIO, table: Table, chunks: Iterable[ColumnArrays]) -> None:
    """Write a table without its geometry, as UTF-8; None is an empty cell."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(harmless(column.name) for column in table.cells)
    for columns in chunks:
        cells = (_cells(column, columns[column.name]) for column in table.cells)
        rows.writerows(zip(*cells, strict=True))
    text.detach()  # writes what waits, and leaves the file open


def _cells(column: Column, values: Iterable[Any]) -> Iterable[Any]:
    return map(harmless, values) if column.kind == "text" else values


def harmless(text: str | None) -> str | None:
    """Text that a spreadsheet would run as a formula, with an apostrophe before it.

    Numbers that are written as text are left alone: "-90.05" is no formula.
    """
    if text and _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text
