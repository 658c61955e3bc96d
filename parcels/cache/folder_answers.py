"""Answers in a folder: parts of GeoParquet that are added, merged now and then, never changed.

    STAMP/                         the state of the layer that the answers are of
        1700000000000-9f86d081.parquet     the newest answer in it, in ms since 1970; a random name

Each part appears by one rename. Processes that write at once write parts of their own; one that
merges puts the merged part there before it removes the others, and an answer that is there twice
is there once. So whatever dies when, no answer is ever half there.
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
    rows_of,
    table_of,
    take,
    write_table,
)
from parcels.parcel_source import ParcelRow, QueryResult

log = logging.getLogger(__name__)

# Each costs about 2 ms when a process reads them; a service that asks one by one makes many.
_MOST_PARTS = 100
_LEFT_OVER_S = 86_400
_NAME = re.compile(r"(\d+)-[0-9a-f]+\.parquet")
_QUESTION = (
    pa.field("question", pa.string()),
    pa.field("is_hit", pa.bool_()),  # an answer without hits is a row too
    pa.field("origin", pa.string()),
    pa.field("fetched_at", pa.timestamp("us", tz="UTC")),
)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an answer is: some rows of a part."""

    part: pa.Table
    start: int
    count: int
    fetched_at: datetime


class FolderAnswers:
    """The answers in one state of a layer. Faults of the disk are logged, and cost answers only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: set[str] = set()
        self._places: dict[str, _Place] = {}
        self._has_complained = False

    def get(self, questions: Sequence[str]) -> dict[str, QueryResult]:
        """The newest answers to those questions that have one."""
        if any(question not in self._places for question in questions):
            self._read_new_parts()
        by_part: dict[int, dict[str, _Place]] = defaultdict(dict)
        for question in questions:
            place = self._places.get(question)
            if place is not None:
                by_part[id(place.part)][question] = place
        return {q: found for places in by_part.values() for q, found in _found(places).items()}

    def add(self, answered: Mapping[str, QueryResult]) -> None:
        """Keep answers as one more part."""
        if not answered:
            return
        self._write(_table(answered), max(found.fetched_at for found in answered.values()))

    def evict_before(self, instant: datetime) -> None:
        """Remove the parts whose answers are all older, and merge the others if they are many."""
        parts = dict(self._parts())
        old = [path for path, newest_ms in parts.items() if newest_ms < instant.timestamp() * 1000]
        for path in old:
            path.unlink(missing_ok=True)
        for path in self._folder.glob(".*.part"):
            _remove_left_over(path)
        if len(parts) - len(old) <= _MOST_PARTS:
            return
        self._read_new_parts()
        merged = [path for path in parts if path.name in self._read]
        live = {q: p for q, p in self._places.items() if p.fetched_at >= instant}
        if not live:
            return
        rows = [place.part.slice(place.start, place.count) for place in live.values()]
        if self._write(pa.concat_tables(rows), max(p.fetched_at for p in live.values())):
            for path in merged:
                path.unlink(missing_ok=True)

    def _parts(self) -> Iterator[tuple[Path, int]]:
        """The parts, each with its newest answer in ms since 1970."""
        for path in sorted(self._folder.glob("*.parquet")):
            named = _NAME.fullmatch(path.name)
            if named:
                yield path, int(named[1])

    def _read_new_parts(self) -> None:
        for path, _ in self._parts():
            if path.name in self._read:
                continue
            try:
                table, _ = read_table(path)
                self._take(table)
            except FileNotFoundError:
                continue  # merged or grown old meanwhile
            except (UnreadableRows, KeyError, IsADirectoryError, pa.ArrowException) as error:
                self._remove_damaged(path, error)
            except OSError as error:
                self._complain(error)
            self._read.add(path.name)

    def _remove_damaged(self, path: Path, error: Exception) -> None:
        try:
            path.unlink(missing_ok=True)
            log.warning("%s is damaged and was removed: %s", path, error)
        except OSError:
            log.warning("%s is damaged, and cannot be removed: %s", path, error)

    def _take(self, table: pa.Table) -> None:
        if not set(COLUMNS.names) <= set(table.column_names):
            raise UnreadableRows("columns are missing")
        if table["fetched_at"].null_count or table["origin"].null_count:
            raise UnreadableRows("times or origins are missing")
        check_geometry(table)
        times = table["fetched_at"].to_pylist()
        start = 0
        for question, rows in groupby(table["question"].to_pylist()):
            place = _Place(table, start, sum(1 for _ in rows), times[start])
            known = self._places.get(question)
            if known is None or known.fetched_at <= place.fetched_at:
                self._places[question] = place
            start += place.count

    def _write(self, table: pa.Table, newest: datetime) -> bool:
        """Whether it is there now."""
        name = f"{int(newest.timestamp() * 1000)}-{secrets.token_hex(8)}.parquet"
        try:
            write_table(self._folder / name, table, {"holds": "answers"})
        except OSError as error:
            self._complain(error)
            return False
        self._take(table)
        self._read.add(name)
        return True

    def _complain(self, error: OSError) -> None:
        if not self._has_complained:
            log.warning(
                "parcels cannot be kept in %s (%s): the server is asked again each time; make the "
                "folder writable, or name another one",
                self._folder,
                error.strerror,
            )
        self._has_complained = True


def _table(answered: Mapping[str, QueryResult]) -> pa.Table:
    rows: list[tuple[str, QueryResult, ParcelRow | None]] = [
        (question, found, hit)
        for question, found in answered.items()
        for hit in (found.rows or (None,))
    ]
    about = pa.table(
        {
            "question": [question for question, _, _ in rows],
            "is_hit": [hit is not None for _, _, hit in rows],
            "origin": [found.origin for _, found, _ in rows],
            "fetched_at": [found.fetched_at for _, found, _ in rows],
        },
        schema=pa.schema(_QUESTION),
    )
    columns = table_of([hit or ParcelRow(None, None) for _, _, hit in rows])
    for name in COLUMNS.names:
        about = about.append_column(COLUMNS.field(name), columns[name])
    return about


def _found(places: Mapping[str, _Place]) -> dict[str, QueryResult]:
    """The answers at places of one part, made from its columns at once."""
    [part] = {id(place.part): place.part for place in places.values()}.values()
    rows = [row for p in places.values() for row in range(p.start, p.start + p.count)]
    taken = take(part, rows)
    hits = iter(zip(taken["is_hit"].to_pylist(), rows_of(taken), strict=True))
    origins = taken["origin"].to_pylist()
    answers: dict[str, QueryResult] = {}
    start = 0
    for question, place in places.items():
        own = tuple(hit for is_hit, hit in islice(hits, place.count) if is_hit)
        answers[question] = QueryResult(own, origins[start], place.fetched_at)
        start += place.count
    return answers


def _remove_left_over(path: Path) -> None:
    """Remove what a killed process was writing; one that is still being written is young."""
    try:
        if time.time() - path.stat().st_mtime > _LEFT_OVER_S:
            path.unlink()
    except FileNotFoundError:
        pass
