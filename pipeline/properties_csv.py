"""A CSV of properties -> properties, and the rows that are wrong, each with its reason."""

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

# Raised when the same file is read otherwise: what was kept of it before is then read anew.
_FORM = 3

# An index of the database takes some 2,700 bytes, of which a character may need four.
_LONGEST_ID = 500

_KEPT_FROM_RUNNING = re.compile(r"^'(?='*[=+\-@])")


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is no property: where it is, and what to mend."""

    line: int
    problem: str


@dataclass(slots=True)
class BadRows:
    """How many rows of a file are bad, and the first of them as examples, in order."""

    MAX_EXAMPLES: ClassVar[int] = 100

    count: int = 0
    examples: list[BadRow] = field(default_factory=list)

    def add(self, *rows: BadRow, count: int | None = None) -> None:
        """There are these too; `count` says how many, where they are examples themselves."""
        self.count += len(rows) if count is None else count
        if len(self.examples) < self.MAX_EXAMPLES or count is not None:
            both = sorted([*self.examples, *rows], key=lambda row: row.line)
            self.examples = both[: self.MAX_EXAMPLES]


@dataclass(frozen=True, slots=True)
class PropertiesFile:
    """What a CSV holds: its good rows, and its bad ones, which stop nothing."""

    path: Path
    properties: tuple[Property, ...]
    bad_rows: tuple[BadRow, ...]


def read_properties(path: Path) -> PropertiesFile:
    """Read a whole CSV into memory; see `read_rows`.

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
    """What is wrong with a row whose id an earlier one has; the earlier one counts."""
    return f"property_id {property_id} is on line {first_line} already"


def read_rows(path: Path) -> Iterator[tuple[int, Property] | BadRow]:
    """Each row of a UTF-8 CSV: a property with its line, or what is wrong with it.

    A row has a `property_id` and a place: a point, a parcel_id or an address. Of a point,
    `longitude` and `latitude` are degrees. A property may have all three. Whether an id comes
    twice is not looked at.

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
            f"{path}: not UTF-8 (byte {error.start}): save the CSV as UTF-8"
        ) from error
    except csv.Error as error:
        raise PropertiesFileError(f"{path}: not a CSV: {error}") from error


def file_sha256(path: Path) -> str:
    """Hexadecimal digest of a CSV and of how it is read: with the same one, the same rows.

    Raises:
        PropertiesFileError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
    except OSError as error:
        raise _unreadable(path, error) from error
    digest.update(f"form {_FORM}".encode())
    return digest.hexdigest()


def _unreadable(path: Path, error: OSError) -> PropertiesFileError:
    if isinstance(error, FileNotFoundError):
        return PropertiesFileError(
            f"{path}: no such file; name a CSV with --properties or PROPERTIES="
        )
    return PropertiesFileError(f"{path}: {error.strerror}")


@dataclass(frozen=True, slots=True)
class _Record:
    """A row as it stands in the file, from its first line; or what keeps it from being one."""

    line: int
    cells: list[str]
    problem: str | None = None


def _records(file: Iterable[str]) -> Iterator[_Record]:
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in file:
            taken.append(line)
            yield line

    rows = csv.reader(lines())
    start = 1
    while True:
        taken.clear()
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error:
            # Of one value as long as a book, the cause is a quote that takes in all the lines.
            if '"' not in "".join(taken):
                raise
            count = len(taken) + sum(1 for _ in file)
            yield _Record(start, [], _not_closed(start, count))
            return
        open_quote = any("\n" in cell or "\r" in cell for cell in cells) and _ends_open(taken)
        problem = _not_closed(start, len(taken)) if open_quote else None
        yield _Record(start, cells, problem)
        start = rows.line_num + 1


def _ends_open(lines: list[str]) -> bool:
    """Whether the lines of a row end inside a quoted value, which `csv` lets pass."""
    try:
        list(csv.reader(lines, strict=True))
    except csv.Error as error:
        return "unexpected end of data" in str(error)
    return False


def _not_closed(line: int, count: int) -> str:
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
                f"{path}: the values have {name} between them; save it as a CSV with commas"
            )
    raise PropertiesFileError(
        f"{path}: the first line must name the columns property_id and longitude, latitude "
        f"(or parcel_id, or address); it says {', '.join(header) or 'nothing'}"
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
    """What is wrong with a row."""


def _property(header: list[str], row: list[str]) -> Property:
    if len(row) != len(header):
        raise _RowError(
            f"{len(row)} values for {len(header)} columns; put quotes round a value with a comma"
        )
    # Ids may hold runs of spaces that mean something; only the outermost are the CSV's.
    if any("\0" in cell for cell in row):
        raise _RowError("holds a NUL byte, which is no text: save the CSV anew")
    cells = {name: _typed(cell.strip()) for name, cell in zip(header, row, strict=True)}
    if len(cells["property_id"]) > _LONGEST_ID:
        raise _RowError(
            f"property_id has {len(cells['property_id']):,} characters: {_LONGEST_ID} at most"
        )
    return Property(
        property_id=cells["property_id"],
        longitude=_degrees(cells, "longitude"),
        latitude=_degrees(cells, "latitude"),
        parcel_id=cells.get("parcel_id") or None,
        address=cells.get("address") or None,
    )


def _typed(cell: str) -> str:
    """Without the apostrophe that keeps a spreadsheet from running it, as our exports write it."""
    return _KEPT_FROM_RUNNING.sub("", cell)


def _degrees(cells: dict[str, str], column: str) -> float | None:
    text = cells.get(column, "")
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise _RowError(
            f"{column} is {text!r}, which is no number: use decimal degrees such as -89.97"
        ) from None
