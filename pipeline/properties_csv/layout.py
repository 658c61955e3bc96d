"""How a properties file is laid out: its encoding, separator, header and number format.

All of it is found from the file, said in one line (`CsvLayout.understood`), or refused with every
problem in one error.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

from parcels.regular_file import other_than_file
from pipeline.errors import PropertiesFileError
from pipeline.properties_csv.file_kind import other_kind
from pipeline.properties_csv.header import HeaderColumns, read_header
from pipeline.properties_csv.header_names import Role
from pipeline.properties_csv.joined_address import restore_zip
from pipeline.properties_csv.own_columns import own_columns
from pipeline.properties_csv.problems import SAVE_AS
from pipeline.properties_csv.records import RawRecord, read_records, unwrap
from pipeline.properties_csv.text_encoding import TextEncoding, detect_encoding

_HEAD_BYTES = 8192
_SAMPLE_CHARS = 1 << 18
_MAX_BYTES = 4_000_000_000
# Titles may stand above the header, but not a page of them.
_MAX_HEADER_RECORD = 20
_SAMPLE_RECORDS = 200

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
# The first line with which Excel is told the separator.
_SEPARATOR_LINE = re.compile(r'"?sep=(?P<sign>.)"?[;,\t|]*', re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"(?<![\d.,])\d{1,3},\d+(?![\d,.])", re.ASCII)
_POINT_ROLES: tuple[Role, ...] = ("longitude", "latitude", "coordinates")


@dataclass(frozen=True, slots=True)
class CsvLayout:
    """How to read a properties file.

    Attributes:
        header_line: the line on which the header begins.
        has_title: whether there is text above the header.
        decimal_comma, restored_zips: whether the first rows have such values.
        is_plain: UTF-8 with commas, and the columns named as documented: nothing was inferred.
    """

    path: Path
    encoding: TextEncoding
    delimiter: str
    header_line: int
    has_title: bool
    columns: HeaderColumns
    decimal_comma: bool
    restored_zips: bool

    @contextmanager
    def open_text(self) -> Iterator[TextIO]:
        """The file as text, with its line endings."""
        with self.path.open(encoding=self.encoding.codec, newline="") as file:
            yield file

    @property
    def own_columns(self) -> dict[int, str]:
        """The index and the name of each column that is the customer's own."""
        return own_columns(self.columns)

    @property
    def is_plain(self) -> bool:
        """Whether nothing was inferred."""
        inferred = (
            self.encoding.name != "UTF-8", self.delimiter != ",", self.decimal_comma,
            self.restored_zips, any("→" in column for column in self.columns.understood()),
        )  # fmt: skip
        return not any(inferred)

    @property
    def understood(self) -> str:
        """What was understood, for people: "Read leads.csv: UTF-8, commas; ID → property_id"."""
        facts = [self.encoding.name, _DELIMITERS.get(self.delimiter, repr(self.delimiter))]
        if self.decimal_comma:
            facts.append("decimal commas")
        if self.has_title:
            facts.append(f"header on line {self.header_line}")
        if self.restored_zips:
            facts.append("leading zeros of ZIP codes restored")
        columns = ", ".join(self.columns.understood())
        return f"Read {self.path.name}: {', '.join(facts)}; {columns}"


def read_layout(path: Path) -> CsvLayout:
    """Find the layout of a file.

    Raises:
        PropertiesFileError: it is no CSV, its encoding is unclear, or its header lacks columns.
        OSError: it cannot be read.
    """
    check_file(path)
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        if (kind := other_kind(path, file, head)) is not None:
            raise PropertiesFileError(
                f"{path}: this is {kind}, not a CSV. Open it and save its table as a CSV with "
                f"UTF-8 ({SAVE_AS})"
            )
        encoding = detect_encoding(path, file, head)
    with path.open(encoding=encoding.codec, newline="") as text:
        sample = text.read(_SAMPLE_CHARS)
    delimiter, record, columns = _find_header(sample)
    if record.problem is not None:
        raise PropertiesFileError(f"{path}: {record.problem}; {SAVE_AS}")
    if columns.problems:
        raise _header_error(path, record, columns)
    rows = [
        unwrap(each.cells, delimiter)
        for each in islice(read_records(io.StringIO(sample, newline=""), delimiter), 2000)
        if each.line > record.line and each.problem is None
    ][:_SAMPLE_RECORDS]
    return CsvLayout(
        path,
        encoding,
        delimiter,
        record.line,
        any(each.line < record.line for each in _first_records(sample, delimiter)),
        columns,
        any(
            _DECIMAL_COMMA.search(_cell(columns, row, role))
            for row in rows
            for role in _POINT_ROLES
        ),
        any(_has_short_zip(columns, row) for row in rows),
    )


def check_file(path: Path) -> None:
    """Refuse what is no regular file, is empty, or is too large to be a list of properties.

    Raises:
        PropertiesFileError: with the reason.
        OSError: it does not exist.
    """
    kind = other_than_file(path)
    if kind is not None:
        raise PropertiesFileError(
            f"{path}: this is {kind}, not a file; save it as a CSV file first"
        )
    size = path.stat().st_size
    if path.is_file() and size > _MAX_BYTES:
        raise PropertiesFileError(
            f"{path}: {size / 1e9:,.1f} GB, but a CSV has at most {_MAX_BYTES / 1e9:.0f} GB; "
            "split it"
        )
    if path.is_file() and size == 0:  # also files of /proc, whose reading may wait
        raise _header_error(path, RawRecord(1, []), read_header([]))


def is_separator_line(record: RawRecord, delimiter: str) -> bool:
    """Whether a record is the line `sep=;` that tells Excel the separator."""
    return record.line == 1 and _separator_in(delimiter.join(record.cells)) is not None


def _find_header(sample: str) -> tuple[str, RawRecord, HeaderColumns]:
    """The delimiter, and the header's record and columns: those with which most is recognized."""
    first_line = sample.partition("\n")[0].partition("\r")[0]
    declared = _separator_in(first_line.strip())
    delimiters = dict.fromkeys([*([declared] if declared else []), *_DELIMITERS])
    candidates = [
        (delimiter, record, read_header(unwrap(record.cells, delimiter)))
        for delimiter in delimiters
        for record in _first_records(sample, delimiter)
    ]
    if not candidates:
        return ",", RawRecord(1, []), read_header([])
    # `max` returns the first of equals: the declared delimiter, else commas; the earliest line.
    best = max(candidates, key=_plausibility)
    if best[2].recognized:
        return best
    first = [each for each in candidates if each[1].line == candidates[0][1].line]
    return max(first, key=lambda each: len(each[2].names))


def _plausibility(candidate: tuple[str, RawRecord, HeaderColumns]) -> tuple[bool, int]:
    columns = candidate[2]
    return not columns.problems, columns.recognized


def _first_records(sample: str, delimiter: str) -> Iterator[RawRecord]:
    records = read_records(io.StringIO(sample, newline=""), delimiter)
    for record in islice(records, 2 * _MAX_HEADER_RECORD):
        if not record.is_blank and not is_separator_line(record, delimiter):
            yield record


def _separator_in(line: str) -> str | None:
    match = _SEPARATOR_LINE.fullmatch(line)
    return match["sign"] if match else None


def _cell(columns: HeaderColumns, row: list[str], role: Role) -> str:
    index = columns.roles.get(role)
    return row[index].strip() if index is not None and index < len(row) else ""


def _has_short_zip(columns: HeaderColumns, row: list[str]) -> bool:
    postcode = _cell(columns, row, "zip")
    restored = restore_zip(postcode, _cell(columns, row, "state"))
    return restored.startswith("0") and not postcode.startswith("0")


def _header_error(path: Path, record: RawRecord, columns: HeaderColumns) -> PropertiesFileError:
    """Every problem of a header in one error."""
    problems = "; ".join(columns.problems)
    if any(problem.startswith("no column") for problem in columns.problems):
        return PropertiesFileError(
            f"{path}: the first line must name the columns property_id and longitude, latitude (or "
            f"parcel_id, or address); it has {columns.listed_names()}. Problems: {problems}. "
            f"Rename or add columns, and save ({SAVE_AS})"
        )
    return PropertiesFileError(
        f"{path}, line {record.line}: {problems}; keep one of them, or rename the others. "
        f"Then save ({SAVE_AS})"
    )
