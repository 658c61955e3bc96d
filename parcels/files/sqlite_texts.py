"""Texts in a number column of a GeoPackage: SQLite allows them, and GDAL reads "012-A" as 12."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

_SUFFIXES = (".gpkg", ".sqlite")


def texts_in_number_columns(
    path: Path, layer: str, columns: Sequence[str]
) -> dict[str, dict[int, str]]:
    """For each column with texts among its numbers: feature id -> text.

    Empty for a file that is not SQLite, or that SQLite cannot read so.
    """
    if path.suffix.lower() not in _SUFFIXES or not columns:
        return {}
    found = {}
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            for column in columns:
                name, table = _quoted(column), _quoted(layer)
                rows = database.execute(
                    f"SELECT rowid, {name} FROM {table} WHERE typeof({name}) = 'text'"  # noqa: S608
                )
                texts = {int(row): str(text) for row, text in rows}
                if texts:
                    found[column] = texts
    except (sqlite3.Error, UnicodeDecodeError):
        return {}
    return found


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
