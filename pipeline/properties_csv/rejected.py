"""Writes `rejected.csv`: the refused rows of a properties file, to be corrected and given again.

It has the original columns after `line` and `problem`, which are ignored when it is read.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TextIO

from pipeline.formula_guard import escape_formula, strip_guard
from pipeline.properties_csv.excel_values import without_formula
from pipeline.properties_csv.header import REJECTED_COLUMNS
from pipeline.properties_csv.layout import CsvLayout
from pipeline.properties_csv.problems import BadRow
from pipeline.properties_csv.read import checked_records
from pipeline.properties_csv.records import RawRecord, split_line
from pipeline.properties_csv.rows import RowReader

REJECTED_NAME = "rejected.csv"
_PREVIOUS_NAME = "rejected.previous.csv"
_OTHER_NAME = "rejected_2.csv"
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)


def write_rejected(layout: CsvLayout, duplicates: Iterable[BadRow], folder: Path) -> Path:
    """Write the refused rows of a file; returns the path.

    UTF-8 with a byte order mark, which Excel needs; semicolons if the file has them, else commas.
    The rows are streamed. A file of another content that is there already, which a person may have
    corrected, becomes rejected.previous.csv; the properties file itself is never replaced.

    Args:
        duplicates: rows whose id an earlier row has, by line; the file alone does not show them.

    Raises:
        OSError: it cannot be written.
        PropertiesFileError: the properties file cannot be read any more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / REJECTED_NAME
    if _is_same(path, layout.path):
        path = folder / _OTHER_NAME
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("w", encoding="utf-8-sig", newline="", errors="replace") as file:
            _write_rows(file, layout, duplicates)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    if path.exists() and not _has_equal_content(path, part):
        _set_aside(path, layout)
    part.replace(path)
    return path


def set_aside_stale(layout: CsvLayout, folder: Path) -> None:
    """Rename the rejected.csv of an earlier batch, when a batch has no refused rows.

    Raises:
        OSError: it cannot be renamed.
    """
    path = folder / REJECTED_NAME
    if path.is_file() and not _is_same(path, layout.path) and _is_ours(path):
        _set_aside(path, layout)


def _write_rows(file: TextIO, layout: CsvLayout, duplicates: Iterable[BadRow]) -> None:
    rows = csv.writer(file, delimiter=";" if layout.delimiter == ";" else ",")
    names = layout.columns.names
    kept = _kept_columns(names)
    rows.writerow([*REJECTED_COLUMNS, *(_safe(names[index]) for index in kept)])
    for line, problem, cells in _refused(layout, duplicates):
        beyond = range(len(names), len(cells))
        values = [cells[i] if i < len(cells) else "" for i in (*kept, *beyond)]
        rows.writerow([line, _safe(problem), *map(_safe, values)])


def _refused(
    layout: CsvLayout, duplicates: Iterable[BadRow]
) -> Iterator[tuple[int, str, list[str]]]:
    """Line, problem and cells of each refused row, by line."""
    reader = RowReader(layout.columns, layout.delimiter)
    remaining = iter(duplicates)
    duplicate = next(remaining, None)
    for row in checked_records(layout):
        record = row.record
        if record.problem is not None:
            yield from _unquoted_lines(layout, record)
        elif row.prop is None:
            yield record.line, row.problem, reader.cells(record)
        while duplicate is not None and duplicate.line <= record.line:
            if duplicate.line == record.line and row.prop is not None:
                yield record.line, duplicate.problem, reader.cells(record)
            duplicate = next(remaining, None)


def _unquoted_lines(layout: CsvLayout, record: RawRecord) -> Iterator[tuple[int, str, list[str]]]:
    """The line with a wrong quote, and each line that it hides."""
    for number, text in enumerate(record.lines or _lines_from(layout, record.line), record.line):
        if not text.strip():
            continue
        is_first = number == record.line
        problem = record.problem if is_first else f"behind the quote of line {record.line}"
        yield number, problem or "", split_line(text, layout.delimiter, has_quotes=not is_first)


def _lines_from(layout: CsvLayout, line: int) -> Iterator[str]:
    with layout.open_text() as file:
        yield from islice(file, line - 1, None)


def _kept_columns(names: Iterable[str]) -> list[int]:
    """The columns without those that an earlier rejected.csv added."""
    listed = [name.casefold() for name in names]
    added = set(REJECTED_COLUMNS) if all(name in listed for name in REJECTED_COLUMNS) else set()
    return [index for index, name in enumerate(listed) if name not in added]


def _safe(cell: str) -> str:
    """A cell that no spreadsheet runs, and that is read as the original is."""
    text = strip_guard(without_formula(cell.strip().replace("\0", "\ufffd")))
    return text if _DECIMAL_COMMA.fullmatch(text) else escape_formula(text) or ""


def _set_aside(path: Path, layout: CsvLayout) -> None:
    previous = path.with_name(_PREVIOUS_NAME)
    if not _is_same(previous, layout.path):
        path.replace(previous)


def _is_same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(32).lower()
    return any(sign.join((b"line", b"problem")) in head for sign in (b",", b";", b"\t"))


def _has_equal_content(path: Path, other: Path) -> bool:
    if path.stat().st_size != other.stat().st_size:
        return False
    with path.open("rb") as one, other.open("rb") as two:
        while chunk := one.read(1 << 20):
            if chunk != two.read(1 << 20):
                return False
    return True
