"""Read a CSV of properties: the valid ones, and each invalid row with its reason."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from parcels import ParcelsError, Property
from pipeline.errors import PropertiesFileError
from pipeline.properties_csv.layout import CsvLayout, check_file, is_separator_line, read_layout
from pipeline.properties_csv.own_columns import own_values
from pipeline.properties_csv.problems import SAVE_AS, BadRow, RowProblem, duplicate_problem
from pipeline.properties_csv.records import RawRecord, bounded_lines, read_records
from pipeline.properties_csv.rows import RowReader

# Raise it when parsing changes: lists stored from the same file are then read again.
_PARSER_VERSION = 6


@dataclass(frozen=True, slots=True)
class PropertiesFile:
    """The contents of a CSV: its properties, and its invalid rows, which are skipped.

    Attributes:
        understood: one line about encoding, separator and columns, for people.
    """

    path: Path
    properties: tuple[Property, ...]
    bad_rows: tuple[BadRow, ...]
    understood: str = ""


class PropertyRow(NamedTuple):
    """A valid row of the file.

    Attributes:
        line: on which it begins.
        own: the text of the customer's own columns by name, "" for a blank cell.
    """

    line: int
    prop: Property
    own: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CheckedRecord:
    """A row of the file: its property and its own columns, or its problem."""

    record: RawRecord
    prop: Property | None
    problem: str = ""
    own: Mapping[str, str] = field(default_factory=dict)


def read_properties(path: Path) -> PropertiesFile:
    """Read a CSV into memory; see `read_rows`.

    Raises:
        PropertiesFileError: no such file, no CSV, an unclear encoding, or columns missing.
    """
    properties: dict[str, tuple[int, Property]] = {}
    bad_rows: list[BadRow] = []
    layout = layout_of(path)
    for row in _rows(layout):
        if isinstance(row, BadRow):
            bad_rows.append(row)
            continue
        line, prop, _ = row
        first, _ = properties.setdefault(prop.property_id, (line, prop))
        if first != line:
            bad_rows.append(BadRow(line, duplicate_problem(prop.property_id, first)))
    found = tuple(prop for _, prop in properties.values())
    return PropertiesFile(path, found, tuple(bad_rows), layout.understood)


def read_rows(path: Path) -> Iterator[PropertyRow | BadRow]:
    """Yield each row of a CSV: a property with its line and its own columns, or a `BadRow`.

    A row has an id and at least one of: a point (longitude, latitude in degrees), a parcel id, an
    address. Encoding, separator and columns are found as `layout_of` says. Duplicate ids are not
    checked.

    Raises:
        PropertiesFileError: no such file, no CSV, an unclear encoding, or columns missing.
    """
    yield from _rows(layout_of(path))


def layout_of(path: Path) -> CsvLayout:
    """The layout of a CSV; the entire file is checked to be text in one encoding.

    Raises:
        PropertiesFileError: no such file, no CSV, an unclear encoding, or columns missing.
    """
    with _as_properties_error(path):
        return read_layout(path)


def checked_records(layout: CsvLayout) -> Iterator[CheckedRecord]:
    """Yield each row that is not blank, one at a time.

    Raises:
        PropertiesFileError: it cannot be read any more.
    """
    reader = RowReader(layout.columns, layout.delimiter)
    own = layout.own_columns
    with _as_properties_error(layout.path), layout.open_text() as file:
        for record in read_records(bounded_lines(file), layout.delimiter):
            if record.is_blank or is_separator_line(record, layout.delimiter):
                continue
            if record.line <= layout.header_line:
                # A title is one cell; several are a row that the file's writer meant as one.
                is_title = sum(bool(cell.strip()) for cell in record.cells) == 1
                if record.line < layout.header_line and not is_title:
                    yield CheckedRecord(record, None, "above the header; move it below")
                continue
            try:
                prop = reader.property_of(record)
                yield CheckedRecord(record, prop, own=own_values(own, reader.cells(record)))
            except (RowProblem, ParcelsError) as error:
                yield CheckedRecord(record, None, str(error))


def file_sha256(path: Path) -> str:
    """Return the hex digest of a CSV and the parser version: equal digests mean equal rows.

    Raises:
        PropertiesFileError: it cannot be read.
    """
    try:
        check_file(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
    except OSError as error:
        raise _unreadable(path, error) from error
    digest.update(f"form {_PARSER_VERSION}".encode())
    return digest.hexdigest()


def _rows(layout: CsvLayout) -> Iterator[PropertyRow | BadRow]:
    for row in checked_records(layout):
        if row.prop is None:
            yield BadRow(row.record.line, row.problem)
        else:
            yield PropertyRow(row.record.line, row.prop, row.own)


@contextmanager
def _as_properties_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise PropertiesFileError(f"{path}: changed while it was read: {error.reason}") from error
    except csv.Error as error:
        raise PropertiesFileError(f"{path}: not a CSV: {error}; {SAVE_AS}") from error


def _unreadable(path: Path, error: OSError) -> PropertiesFileError:
    if isinstance(error, FileNotFoundError):
        return PropertiesFileError(
            f"{path}: no such file; name a CSV with --properties or PROPERTIES="
        )
    if path.suffix.lower() == ".numbers" and path.is_dir():
        return PropertiesFileError(
            f"{path}: this is a Numbers document, not a CSV; export it as CSV with the encoding "
            f"UTF-8 ({SAVE_AS})"
        )
    return PropertiesFileError(f"{path}: {error.strerror}")
