"""Snapshots of entire parcel layers in the database.

A snapshot is fetched page by page, one transaction each, and resumes after an interruption. An
advisory lock allows one writer at a time. Queries use PostGIS's spatial index.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import shapely
from psycopg.errors import LockNotAvailable
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Engine, RowMapping, text
from sqlalchemy.exc import OperationalError

from parcels.cache.interface import version_text
from parcels.cache.layer_snapshot import (
    AddressFilter,
    LayerSnapshot,
    site_numbers,
    site_search_text,
)
from parcels.errors import SnapshotLocked
from parcels.parcel_source import Extent, LayerVersion, Page, ParcelRow
from pipeline.store.parcel_cache.rows import to_columns, to_parcel_rows
from pipeline.store.retries import retry_transient

# One process at a time writes a snapshot of a layer. The database releases the lock when its
# connection ends, for a killed process perhaps before the commit of its last page has ended:
# `_PROGRESS` waits for that commit.
_LOCK_CLASS = 0x10771F
_LOCK_TIMEOUT = text("SET LOCAL lock_timeout = '2s'")
_LOCK = text("SELECT pg_advisory_lock(:class, CAST(:layer AS int))")
_UNLOCK = text("SELECT pg_advisory_unlock(:class, CAST(:layer AS int))")

_DROP_OTHERS = text("""
DELETE FROM lotline.parcel_copy
WHERE layer_fk = :layer AND state = 'copying'
    AND (stamp, origin) <> (:stamp, :origin)
""")

_BEGIN = text("""
INSERT INTO lotline.parcel_copy (layer_fk, stamp, origin) VALUES (:layer, :stamp, :origin)
ON CONFLICT (layer_fk, state) DO NOTHING
""")

_PROGRESS = text("""
SELECT id, after_object_id, rows, without_geometry
FROM lotline.parcel_copy WHERE layer_fk = :layer AND state = 'copying'
FOR UPDATE
""")

_INSERT_ROWS = text("""
INSERT INTO lotline.parcel
    (copy_fk, object_id, place, parcel_id, site, parcel_type, lacks_id, house_keys, geom)
SELECT :copy, new.object_id, new.place, new.parcel_id, CAST(new.site AS jsonb),
    new.parcel_type, new.lacks_id,
    ARRAY(SELECT (CAST(:copy AS bigint) << 32) | number
          FROM unnest(CAST(new.numbers AS bigint[])) AS number),
    ST_GeomFromWKB(new.geom, 4326)
FROM unnest(CAST(:parcel_ids AS text[]), CAST(:object_ids AS bigint[]), CAST(:sites AS text[]),
        CAST(:types AS text[]), CAST(:lack_ids AS boolean[]), CAST(:geoms AS bytea[]),
        CAST(:numbers AS text[]), CAST(:places AS int[]))
    AS new (parcel_id, object_id, site, parcel_type, lacks_id, geom, numbers, place)
ON CONFLICT DO NOTHING
""")

_UPDATE_PROGRESS = text("""
UPDATE lotline.parcel_copy SET after_object_id = :after_object_id, rows = :rows,
    without_geometry = :without_geometry
WHERE id = :copy
""")

_DISCARD = text("DELETE FROM lotline.parcel_copy WHERE id = :copy")
_MARK_COMPLETE = text("UPDATE lotline.parcel_copy SET state = 'complete' WHERE id = :copy")
_DROP_COMPLETE = text("""
DELETE FROM lotline.parcel_copy WHERE layer_fk = :layer AND state = 'complete'
""")

_SNAPSHOT = text("""
SELECT c.origin, c.fetched_at, c.rows,
    EXISTS (SELECT 1 FROM lotline.parcel p WHERE p.copy_fk = c.id AND p.site IS NOT NULL)
        AS has_addresses
FROM lotline.parcel_copy c WHERE c.layer_fk = :layer AND c.state = 'complete'
""")

# The current snapshot, read by each query: one that was replaced has no rows, and every query would
# find no lot.
_COMPLETE = """
p.copy_fk = (SELECT id FROM lotline.parcel_copy WHERE layer_fk = :layer AND state = 'complete')
"""
_ROW = """
p.parcel_id, p.object_id, p.site, p.parcel_type, p.lacks_id, ST_AsBinary(p.geom) AS geom
"""

_ROWS_PER_CHUNK = 1_000

_WITH_IDS = text(f"""
SELECT asked.place, {_ROW}
FROM unnest(CAST(:ids AS text[])) WITH ORDINALITY AS asked (id, place)
JOIN lotline.parcel p ON p.parcel_id = asked.id AND {_COMPLETE}
ORDER BY asked.place, p.object_id, p.place
""")  # noqa: S608

_INTERSECTING = text(f"""
SELECT asked.place, {_ROW}
FROM unnest(CAST(:places AS bytea[])) WITH ORDINALITY AS asked (geom, place)
JOIN lotline.parcel p ON ST_Intersects(p.geom, ST_GeomFromWKB(asked.geom, 4326)) AND {_COMPLETE}
ORDER BY asked.place, p.object_id, p.place
""")  # noqa: S608

_WITH_NUMBERS = text(f"""
WITH asked AS MATERIALIZED (
    SELECT place, ARRAY(SELECT (id << 32) | number
                        FROM unnest(CAST(numbers AS bigint[])) AS number) AS keys
    FROM lotline.parcel_copy,
        unnest(CAST(:numbers AS text[])) WITH ORDINALITY AS each (numbers, place)
    WHERE layer_fk = :layer AND state = 'complete'
)
SELECT asked.place, {_ROW}
FROM asked JOIN lotline.parcel p ON p.house_keys && asked.keys AND {_COMPLETE}
ORDER BY asked.place, p.object_id, p.place
""")  # noqa: S608

# In the layer's order, by the primary key: the table's own order changes after an interrupted page.
_ALL = text(f"""
SELECT {_ROW} FROM lotline.parcel p WHERE {_COMPLETE} ORDER BY p.object_id, p.place
""")  # noqa: S608

_EXTENT = text(f"""
SELECT ST_XMin(box) AS west, ST_YMin(box) AS south, ST_XMax(box) AS east, ST_YMax(box) AS north
FROM (SELECT ST_Extent(p.geom) AS box FROM lotline.parcel p WHERE {_COMPLETE}) AS whole
""")  # noqa: S608


@retry_transient
def read_snapshot(engine: Engine, layer_fk: int) -> DatabaseSnapshot | None:
    """The complete snapshot of a layer; None if there is none."""
    with engine.connect() as conn:
        row = conn.execute(_SNAPSHOT, {"layer": layer_fk}).one_or_none()
    return None if row is None else DatabaseSnapshot(engine, layer_fk, row._mapping)


class DatabaseSnapshot(LayerSnapshot):
    """A snapshot that PostGIS queries: its rows are not read into memory."""

    def __init__(self, engine: Engine, layer_fk: int, row: RowMapping) -> None:
        self.origin = row["origin"]
        self.fetched_at = row["fetched_at"]
        self.rows = row["rows"]
        self.has_addresses = row["has_addresses"]
        self._engine = engine
        self._layer = {"layer": layer_fk}

    @retry_transient
    def extent(self) -> Extent | None:
        """(west, south, east, north) in degrees of all parcels."""
        with self._engine.connect() as conn:
            box = conn.execute(_EXTENT, self._layer).one()
        return None if box.west is None else (box.west, box.south, box.east, box.north)

    def all_rows(self) -> Iterator[ParcelRow]:
        """See `LayerSnapshot`; the rows are streamed."""
        # A server-side cursor: otherwise the driver would hold all rows in memory.
        streamed = {"stream_results": True, "max_row_buffer": _ROWS_PER_CHUNK}
        with (
            self._engine.connect() as conn,
            # Closed also if the caller stops early.
            conn.execute(_ALL, self._layer, execution_options=streamed) as rows,
        ):
            for chunk in rows.partitions(_ROWS_PER_CHUNK):
                yield from to_parcel_rows(chunk)

    def rows_with_ids(self, parcel_ids: Sequence[str]) -> list[list[ParcelRow]]:
        """See `LayerSnapshot`."""
        return self._find(_WITH_IDS, "ids", list(parcel_ids))

    def rows_intersecting(self, places: Sequence[BaseGeometry]) -> list[list[ParcelRow]]:
        """See `LayerSnapshot`."""
        return self._find(_INTERSECTING, "places", list(shapely.to_wkb(list(places))))

    def rows_with_addresses(self, filters: Sequence[AddressFilter]) -> list[list[ParcelRow]]:
        """See `LayerSnapshot`."""
        found = self._find(_WITH_NUMBERS, "numbers", [_array(each.numbers) for each in filters])
        return [
            [row for row in rows if each.letters in site_search_text(row.site)]
            for each, rows in zip(filters, found, strict=True)
        ]

    @retry_transient
    def _find(self, query: Any, name: str, values: list[Any]) -> list[list[ParcelRow]]:  # noqa: ANN401
        """The rows for each value, in the order of the values."""
        found: list[list[ParcelRow]] = [[] for _ in values]
        if values:
            with self._engine.connect() as conn:
                rows = conn.execute(query, {**self._layer, name: values}).all()
            for row, parcel_row in zip(rows, to_parcel_rows(rows), strict=True):
                found[row.place - 1].append(parcel_row)
        return found


@contextmanager
def begin_snapshot(
    engine: Engine, layer_fk: int, layer_version: LayerVersion, origin: str
) -> Iterator[DatabaseSnapshotInProgress]:
    """Begin a snapshot of a layer version, or resume an interrupted one.

    Raises:
        SnapshotLocked: another process is writing a snapshot of the layer.
    """
    values = {"layer": layer_fk, "stamp": version_text(layer_version), "origin": origin}
    with _locked(engine, layer_fk):
        with engine.begin() as conn:
            conn.execute(_DROP_OTHERS, values)
            conn.execute(_BEGIN, values)
            row = conn.execute(_PROGRESS, values).one()
        yield DatabaseSnapshotInProgress(engine, layer_fk, row._mapping)


@contextmanager
def _locked(engine: Engine, layer_fk: int) -> Iterator[None]:
    lock = {"class": _LOCK_CLASS, "layer": layer_fk}
    with engine.connect() as holder:
        holder.detach()  # not pooled: the lock is released when the connection ends
        try:
            holder.execute(_LOCK_TIMEOUT)
            holder.execute(_LOCK, lock)
        except OperationalError as error:
            if not isinstance(error.orig, LockNotAvailable):
                raise
            raise SnapshotLocked(
                "another process downloads these parcels into the database: wait until it has "
                "finished"
            ) from error
        holder.commit()
        try:
            yield
        finally:
            holder.execute(_UNLOCK, lock)


class DatabaseSnapshotInProgress:
    """A `parcels.cache.interface.SnapshotInProgress`: each page is a transaction."""

    def __init__(self, engine: Engine, layer_fk: int, progress: RowMapping) -> None:
        self.after_object_id: int | None = progress["after_object_id"]
        self.rows: int = progress["rows"]
        self.without_geometry: int = progress["without_geometry"]
        self._engine = engine
        self._ids = {"layer": layer_fk, "copy": progress["id"]}

    def add(self, page: Page) -> None:
        """See `SnapshotInProgress`."""
        numbers = [_array(site_numbers(row.site)) for row in page.rows]
        with self._engine.begin() as conn:
            columns = {
                **self._ids,
                **to_columns(page.rows),
                "numbers": numbers,
                "places": _places(page.rows),
            }
            added = conn.execute(_INSERT_ROWS, columns).rowcount
            without_geometry = sum(row.geometry is None for row in page.rows)
            progress = {
                "after_object_id": page.last_object_id,
                "rows": self.rows + added,
                "without_geometry": self.without_geometry + without_geometry,
            }
            conn.execute(_UPDATE_PROGRESS, {**self._ids, **progress})
        self.after_object_id = page.last_object_id
        self.rows += added
        self.without_geometry += without_geometry

    def finish(self) -> None:
        """See `SnapshotInProgress`."""
        with self._engine.begin() as conn:
            conn.execute(_DROP_COMPLETE, self._ids)
            conn.execute(_MARK_COMPLETE, self._ids)
            # Without new statistics the first queries would scan the entire table.
            conn.execute(text("ANALYZE lotline.parcel"))

    def discard(self) -> None:
        """See `SnapshotInProgress`."""
        with self._engine.begin() as conn:
            conn.execute(_DISCARD, self._ids)


def _places(rows: Sequence[ParcelRow]) -> list[int]:
    """The number of each row among those with its object id, from 0."""
    seen: Counter[int | None] = Counter()
    places = []
    for row in rows:
        places.append(seen[row.object_id])
        seen[row.object_id] += 1
    return places


def _array(numbers: Sequence[int]) -> str:
    """A PostgreSQL array literal: `unnest` does not accept arrays of different lengths."""
    return "{" + ",".join(str(number) for number in numbers) + "}"
