"""Cached query results in a folder: immutable GeoParquet parts that are merged when they are many.

    STAMP/                         the layer version that the results belong to
        1700000000000-9f86d081.parquet     time of its newest result in ms since 1970, random name

Each part appears atomically, by one rename. Concurrent processes write parts of their own. A merge
writes the merged part before it removes the others; duplicate results are read once. So a crash
at any moment never leaves a partial result.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice
from pathlib import Path

import pyarrow as pa

from parcels.cache.geoparquet_rows import (
    COLUMNS,
    UnreadableRows,
    check_geometry,
    read_table,
    rows_from_table,
    table_from_rows,
    take_rows,
    write_table,
)
from parcels.parcel_source import ParcelRow, QueryResult

log = logging.getLogger(__name__)

# Reading a part takes about 2 ms; a service that queries one by one writes many.
_MAX_PARTS = 100
_TEMP_FILE_MAX_AGE_S = 86_400
_NAME = re.compile(r"(\d+)-[0-9a-f]+\.parquet")
_QUERY_FIELDS = (
    pa.field("question", pa.string()),
    pa.field("is_hit", pa.bool_()),  # an empty result is stored as one row
    pa.field("origin", pa.string()),
    pa.field("fetched_at", pa.timestamp("us", tz="UTC")),
)


@dataclass(frozen=True, slots=True)
class _ResultLocation:
    """Where a result is stored: consecutive rows of a part."""

    part: pa.Table
    start: int
    count: int
    fetched_at: datetime


class FolderResults:
    """The results of one layer version. A disk error is logged and costs cached results only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read_parts: set[str] = set()
        self._locations: dict[str, _ResultLocation] = {}
        self._has_warned = False

    def get(self, queries: Sequence[str]) -> dict[str, QueryResult]:
        """The newest cached results of these queries; misses are left out."""
        if any(query not in self._locations for query in queries):
            self._read_new_parts()
        by_part: dict[int, dict[str, _ResultLocation]] = defaultdict(dict)
        for query in queries:
            location = self._locations.get(query)
            if location is not None:
                by_part[id(location.part)][query] = location
        return {
            query: result
            for locations in by_part.values()
            for query, result in _read_results(locations).items()
        }

    def add(self, results: Mapping[str, QueryResult]) -> None:
        """Store results as a new part."""
        if not results:
            return
        newest = max(result.fetched_at for result in results.values())
        self._write(_table(results), newest)

    def evict_before(self, instant: datetime) -> None:
        """Remove the parts whose results are all older, and merge the others if they are many."""
        parts = dict(self._parts())
        old = [path for path, newest_ms in parts.items() if newest_ms < instant.timestamp() * 1000]
        for path in old:
            path.unlink(missing_ok=True)
        for path in self._folder.glob(".*.part"):
            _remove_stale_temp_file(path)
        if len(parts) - len(old) <= _MAX_PARTS:
            return
        self._read_new_parts()
        merged = [path for path in parts if path.name in self._read_parts]
        live = {q: p for q, p in self._locations.items() if p.fetched_at >= instant}
        if not live:
            return
        rows = [each.part.slice(each.start, each.count) for each in live.values()]
        if self._write(pa.concat_tables(rows), max(p.fetched_at for p in live.values())):
            for path in merged:
                path.unlink(missing_ok=True)

    def _parts(self) -> Iterator[tuple[Path, int]]:
        """The parts, each with the time of its newest result in ms since 1970."""
        for path in sorted(self._folder.glob("*.parquet")):
            name = _NAME.fullmatch(path.name)
            if name:
                yield path, int(name[1])

    def _read_new_parts(self) -> None:
        for path, _ in self._parts():
            if path.name in self._read_parts:
                continue
            try:
                table, _ = read_table(path)
                self._index(table)
            except FileNotFoundError:
                continue  # merged or evicted by another process
            except (UnreadableRows, KeyError, IsADirectoryError, pa.ArrowException) as error:
                self._remove_damaged(path, error)
            except OSError as error:
                self._warn_not_writable(error)
            self._read_parts.add(path.name)

    def _remove_damaged(self, path: Path, error: Exception) -> None:
        try:
            path.unlink(missing_ok=True)
            log.warning("%s is damaged and was removed: %s", path, error)
        except OSError:
            log.warning("%s is damaged and cannot be removed: %s", path, error)

    def _index(self, table: pa.Table) -> None:
        if not set(COLUMNS.names) <= set(table.column_names):
            raise UnreadableRows("columns are missing")
        if table["fetched_at"].null_count or table["origin"].null_count:
            raise UnreadableRows("times or origins are missing")
        check_geometry(table)
        times = table["fetched_at"].to_pylist()
        start = 0
        for query, rows in groupby(table["question"].to_pylist()):
            location = _ResultLocation(table, start, sum(1 for _ in rows), times[start])
            known = self._locations.get(query)
            if known is None or known.fetched_at <= location.fetched_at:
                self._locations[query] = location
            start += location.count

    def _write(self, table: pa.Table, newest: datetime) -> bool:
        """Whether the part was written."""
        name = f"{int(newest.timestamp() * 1000)}-{secrets.token_hex(8)}.parquet"
        try:
            write_table(self._folder / name, table, {"holds": "answers"})
        except OSError as error:
            self._warn_not_writable(error)
            return False
        self._index(table)
        self._read_parts.add(name)
        return True

    def _warn_not_writable(self, error: OSError) -> None:
        if not self._has_warned:
            log.warning(
                "parcels cannot be cached in %s (%s), so every query goes to the server; make the "
                "folder writable, or use another one",
                self._folder,
                error.strerror,
            )
        self._has_warned = True


def _table(results: Mapping[str, QueryResult]) -> pa.Table:
    rows: list[tuple[str, QueryResult, ParcelRow | None]] = [
        (query, result, row) for query, result in results.items() for row in result.rows or (None,)
    ]
    table = pa.table(
        {
            "question": [query for query, _, _ in rows],
            "is_hit": [row is not None for _, _, row in rows],
            "origin": [result.origin for _, result, _ in rows],
            "fetched_at": [result.fetched_at for _, result, _ in rows],
        },
        schema=pa.schema(_QUERY_FIELDS),
    )
    columns = table_from_rows([row or ParcelRow(None, None) for _, _, row in rows])
    for name in COLUMNS.names:
        table = table.append_column(COLUMNS.field(name), columns[name])
    return table


def _read_results(locations: Mapping[str, _ResultLocation]) -> dict[str, QueryResult]:
    """The results stored in one part, converted from its columns in one go."""
    [part] = {id(each.part): each.part for each in locations.values()}.values()
    rows = [
        row for each in locations.values() for row in range(each.start, each.start + each.count)
    ]
    taken = take_rows(part, rows)
    parcel_rows = iter(zip(taken["is_hit"].to_pylist(), rows_from_table(taken), strict=True))
    origins = taken["origin"].to_pylist()
    results: dict[str, QueryResult] = {}
    start = 0
    for query, location in locations.items():
        own = tuple(row for is_row, row in islice(parcel_rows, location.count) if is_row)
        results[query] = QueryResult(own, origins[start], location.fetched_at)
        start += location.count
    return results


def _remove_stale_temp_file(path: Path) -> None:
    """Remove the temporary file of a killed process; one in use is younger."""
    try:
        if time.time() - path.stat().st_mtime > _TEMP_FILE_MAX_AGE_S:
            path.unlink()
    except FileNotFoundError:
        pass
