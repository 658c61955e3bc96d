"""A CSV of properties -> properties, and the rows that are wrong, each with its reason."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from parcels import ParcelsError, Property
from pipeline.errors import PropertiesFileError

COLUMNS = ("property_id", "longitude", "latitude", "parcel_id", "address")


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is no property: where it is, and what to mend."""

    line: int
    problem: str


@dataclass(frozen=True, slots=True)
class PropertiesFile:
    """What a CSV holds: its good rows, and its bad ones, which stop nothing."""

    path: Path
    properties: tuple[Property, ...]
    bad_rows: tuple[BadRow, ...]


def read_properties(path: Path) -> PropertiesFile:
    """Read a UTF-8 CSV with `property_id` and longitude and latitude, or a parcel_id, or both.

    Raises:
        PropertiesFileError: no such file, not UTF-8, or columns missing.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            header = [name.strip() for name in next(rows, [])]
            _check_header(path, header)
            return _read_rows(path, header, ((rows.line_num, row) for row in rows))
    except FileNotFoundError:
        raise PropertiesFileError(f"{path}: no such file; PROPERTIES= names a CSV") from None
    except OSError as error:
        raise PropertiesFileError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PropertiesFileError(
            f"{path}: not UTF-8 (byte {error.start}): save the CSV as UTF-8"
        ) from error
    except csv.Error as error:
        raise PropertiesFileError(f"{path}: not a CSV: {error}") from error


def _check_header(path: Path, header: list[str]) -> None:
    has_place = {"longitude", "latitude"} <= set(header) or "parcel_id" in header
    if "property_id" in header and has_place:
        return
    raise PropertiesFileError(
        f"{path}: the first line must name the columns property_id and longitude, latitude "
        f"(or parcel_id); it says {', '.join(header) or 'nothing'}"
    )


def _read_rows(
    path: Path, header: list[str], rows: Iterable[tuple[int, list[str]]]
) -> PropertiesFile:
    properties: list[Property] = []
    bad_rows: list[BadRow] = []
    seen: dict[str, int] = {}
    for line, row in rows:
        if not any(cell.strip() for cell in row):
            continue
        try:
            prop = _property(header, row)
            if prop.property_id in seen:
                raise _RowError(
                    f"property_id {prop.property_id} is on line {seen[prop.property_id]} already"
                )
        except (_RowError, ParcelsError) as error:
            bad_rows.append(BadRow(line, str(error)))
            continue
        seen[prop.property_id] = line
        properties.append(prop)
    return PropertiesFile(path, tuple(properties), tuple(bad_rows))


class _RowError(Exception):
    """What is wrong with a row."""


def _property(header: list[str], row: list[str]) -> Property:
    if len(row) != len(header):
        raise _RowError(
            f"{len(row)} values for {len(header)} columns; put quotes round a value with a comma"
        )
    # Ids may hold runs of spaces that mean something; only the outermost are the CSV's.
    cells = {name: cell.strip() for name, cell in zip(header, row, strict=True)}
    return Property(
        property_id=cells["property_id"],
        longitude=_degrees(cells, "longitude"),
        latitude=_degrees(cells, "latitude"),
        parcel_id=cells.get("parcel_id") or None,
        address=cells.get("address") or None,
    )


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
