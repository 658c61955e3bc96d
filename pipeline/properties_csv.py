"""Read a CSV of properties: the valid ones, and each invalid row with its reason."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from parcels import ParcelsError, Property
from pipeline.errors import PropertiesFileError

COLUMNS = ("property_id", "longitude", "latitude", "parcel_id", "address")

# Raise it when parsing changes: lists stored from the same file are then read again.
_PARSER_VERSION = 3

# A PostgreSQL index entry holds about 2,700 bytes; a character takes up to four.
_MAX_ID_CHARS = 500

_FORMULA_GUARD = re.compile(r"^'(?='*[=+\-@])")


@dataclass(frozen=True, slots=True)
class BadRow:
    """An invalid row: its line, and what to fix."""

    line: int
    problem: str


@dataclass(slots=True)
class BadRows:
    """The number of invalid rows in a file, and the first of them as examples, by line."""

    MAX_EXAMPLES: ClassVar[int] = 100

    count: int = 0
    examples: list[BadRow] = field(default_factory=list)

    def add(self, *rows: BadRow, count: int | None = None) -> None:
        """Add rows; with `count`, that many, of which `rows` are examples."""
        self.count += len(rows) if count is None else count
        if len(self.examples) < self.MAX_EXAMPLES or count is not None:
            merged = sorted([*self.examples, *rows], key=lambda row: row.line)
            self.examples = merged[: self.MAX_EXAMPLES]


@dataclass(frozen=True, slots=True)
class PropertiesFile:
    """The contents of a CSV: its properties, and its invalid rows, which are skipped."""

    path: Path
    properties: tuple[Property, ...]
    bad_rows: tuple[BadRow, ...]


def read_properties(path: Path) -> PropertiesFile:
    """Read a CSV into memory; see `read_rows`.

    Raises:
        PropertiesFileError: no such file, not UTF-8, or columns missing.
    """
    properties: dict[str, tuple[int, Property]] = {}
    bad_rows: list[BadRow] = []
    for row in read_rows(path):
        if isinstance(row, BadRow):
            bad_rows.append(row)
            continue
        line, prop = row
        first, _ = properties.setdefault(prop.property_id, row)
        if first != line:
            bad_rows.append(BadRow(line, duplicate_problem(prop.property_id, first)))
    return PropertiesFile(path, tuple(prop for _, prop in properties.values()), tuple(bad_rows))


def duplicate_problem(property_id: str, first_line: int) -> str:
    """Describe a row with the id of an earlier row; the earlier one is used."""
    return f"property_id {property_id} is already on line {first_line}"


def read_rows(path: Path) -> Iterator[tuple[int, Property] | BadRow]:
    """Yield each row of a UTF-8 CSV: a property with its line, or a `BadRow`.

    A row has a `property_id` and at least one of: a point (`longitude`, `latitude` in degrees), a
    `parcel_id`, an `address`. Duplicate ids are not checked.

    Raises:
        PropertiesFileError: no such file, not UTF-8, or columns missing.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            records = _records(file)
            first = next(records, _Record(1, []))
            if first.problem is not None:
                raise PropertiesFileError(f"{path}: {first.problem}")
            header = [name.strip() for name in first.cells]
            _check_header(path, header)
            yield from _read_rows(header, records)
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise PropertiesFileError(
            f"{path}: not UTF-8 (byte {error.start}); save the CSV as UTF-8"
        ) from error
    except csv.Error as error:
        raise PropertiesFileError(f"{path}: not a CSV: {error}") from error


def file_sha256(path: Path) -> str:
    """Return the hex digest of a CSV and the parser version: equal digests mean equal rows.

    Raises:
        PropertiesFileError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
    except OSError as error:
        raise _unreadable(path, error) from error
    digest.update(f"form {_PARSER_VERSION}".encode())
    return digest.hexdigest()


def _unreadable(path: Path, error: OSError) -> PropertiesFileError:
    if isinstance(error, FileNotFoundError):
        return PropertiesFileError(
            f"{path}: no such file; name a CSV with --properties or PROPERTIES="
        )
    return PropertiesFileError(f"{path}: {error.strerror}")


@dataclass(frozen=True, slots=True)
class _Record:
    """A raw row with its first line; or the problem that makes it unreadable."""

    line: int
    cells: list[str]
    problem: str | None = None


def _records(file: Iterable[str]) -> Iterator[_Record]:
    consumed: list[str] = []

    def lines() -> Iterator[str]:
        for line in file:
            consumed.append(line)
            yield line

    rows = csv.reader(lines())
    start = 1
    while True:
        consumed.clear()
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error:
            # `csv` rejects values over 131,072 characters; the cause is a quote that is not closed.
            if '"' not in "".join(consumed):
                raise
            count = len(consumed) + sum(1 for _ in file)
            yield _Record(start, [], _open_quote_problem(start, count))
            return
        open_quote = any("\n" in cell or "\r" in cell for cell in cells) and _ends_in_quote(
            consumed
        )
        problem = _open_quote_problem(start, len(consumed)) if open_quote else None
        yield _Record(start, cells, problem)
        start = rows.line_num + 1


def _ends_in_quote(lines: list[str]) -> bool:
    """Whether a row ends inside a quoted value, which `csv` accepts by default."""
    try:
        list(csv.reader(lines, strict=True))
    except csv.Error as error:
        return "unexpected end of data" in str(error)
    return False


def _open_quote_problem(line: int, count: int) -> str:
    lines = "that line" if count == 1 else f"the {count:,} lines from there to the end of the file"
    return f"a quote is opened on line {line} and not closed, so {lines} cannot be read; close it"


def _check_header(path: Path, header: list[str]) -> None:
    names = set(header)
    repeated = [name for name in COLUMNS if header.count(name) > 1]
    if repeated:
        raise PropertiesFileError(
            f"{path}: the column {repeated[0]} occurs twice; keep one of them"
        )
    has_place = {"longitude", "latitude"} <= names or names & {"parcel_id", "address"}
    if "property_id" in names and has_place:
        return
    for sign, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and "property_id" in (
            column.strip() for column in header[0].split(sign)
        ):
            raise PropertiesFileError(
                f"{path}: the values are separated by {name}; save the CSV with commas"
            )
    raise PropertiesFileError(
        f"{path}: the first line must name the columns property_id and longitude, latitude "
        f"(or parcel_id, or address); it has {', '.join(header) or 'nothing'}"
    )


def _read_rows(
    header: list[str], records: Iterable[_Record]
) -> Iterator[tuple[int, Property] | BadRow]:
    for record in records:
        line, row = record.line, record.cells
        if record.problem is not None:
            yield BadRow(line, record.problem)
            continue
        if not any(cell.strip() for cell in row):
            continue
        try:
            yield line, _property(header, row)
        except (_RowError, ParcelsError) as error:
            yield BadRow(line, str(error))


class _RowError(Exception):
    """The problem of an invalid row."""


def _property(header: list[str], row: list[str]) -> Property:
    if len(row) != len(header):
        raise _RowError(
            f"{len(row)} values for {len(header)} columns; put quotes around a value with a comma"
        )
    # Only outer spaces are stripped: those inside an id may be significant.
    if any("\0" in cell for cell in row):
        raise _RowError("contains a NUL byte; save the CSV again as text")
    cells = {name: _without_guard(cell.strip()) for name, cell in zip(header, row, strict=True)}
    if len(cells["property_id"]) > _MAX_ID_CHARS:
        raise _RowError(
            f"property_id has {len(cells['property_id']):,} characters; "
            f"the maximum is {_MAX_ID_CHARS}"
        )
    return Property(
        property_id=cells["property_id"],
        longitude=_degrees(cells, "longitude"),
        latitude=_degrees(cells, "latitude"),
        parcel_id=cells.get("parcel_id") or None,
        address=cells.get("address") or None,
    )


def _without_guard(cell: str) -> str:
    """Strip the apostrophe that exports put before a formula character (CSV injection)."""
    return _FORMULA_GUARD.sub("", cell)


def _degrees(cells: dict[str, str], column: str) -> float | None:
    text = cells.get(column, "")
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise _RowError(
            f"{column} is {text!r}, not a number; use decimal degrees such as -89.97"
        ) from None
