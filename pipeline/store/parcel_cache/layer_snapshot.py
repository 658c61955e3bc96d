"""Copies of whole layers in the database: made page by page, read with its indexes."""

from __future__ import annotations

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
from pipeline.store.parcel_cache.rows import columns_of, rows_of
from pipeline.store.retries import retry_transient

# One process at a time copies a layer. The database frees the lock when its connection ends; of
# one that was killed in the middle of a page, it learns that at the end of the page.
_LOCK_CLASS = 0x10771F
_WAIT = text("SET LOCAL lock_timeout = '2s'")
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

_SO_FAR = text("""
SELECT id, after_object_id, rows, without_geometry
FROM lotline.parcel_copy WHERE layer_fk = :layer AND state = 'copying'
""")

_ADD_ROWS = text("""
INSERT INTO lotline.parcel (copy_fk, object_id, parcel_id, site, house_keys, geom)
SELECT :copy, new.object_id, new.parcel_id, CAST(new.site AS jsonb),
    ARRAY(SELECT (CAST(:copy AS bigint) << 32) | number
          FROM unnest(CAST(new.numbers AS bigint[])) AS number),
    ST_GeomFromWKB(new.geom, 4326)
FROM unnest(CAST(:parcel_ids AS text[]), CAST(:object_ids AS bigint[]), CAST(:sites AS text[]),
        CAST(:geoms AS bytea[]), CAST(:numbers AS text[]))
    AS new (parcel_id, object_id, site, geom, numbers)
ON CONFLICT DO NOTHING
""")

_ADD_PAGE = text("""
UPDATE lotline.parcel_copy SET after_object_id = :after_object_id, rows = :rows,
    without_geometry = :without_geometry
WHERE id = :copy
""")

_DISCARD = text("DELETE FROM lotline.parcel_copy WHERE id = :copy")
_SWAP_IN = text("UPDATE lotline.parcel_copy SET state = 'complete' WHERE id = :copy")
_DROP_COMPLETE = text("""
DELETE FROM lotline.parcel_copy WHERE layer_fk = :layer AND state = 'complete'
""")

_COPY = text("""
SELECT c.origin, c.fetched_at, c.rows,
    EXISTS (SELECT 1 FROM lotline.parcel p WHERE p.copy_fk = c.id AND p.site IS NOT NULL)
        AS has_addresses
FROM lotline.parcel_copy c WHERE c.layer_fk = :layer AND c.state = 'complete'
""")

# Always of the copy that is there now: one that was replaced meanwhile has no rows any more, and
# "none" would be said of every lot.
_COMPLETE = """
p.copy_fk = (SELECT id FROM lotline.parcel_copy WHERE layer_fk = :layer AND state = 'complete')
"""
_ROW = "p.parcel_id, p.object_id, p.site, ST_AsBinary(p.geom) AS geom"

_ROWS_AT_ONCE = 1_000

_WITH_IDS = text(f"""
SELECT asked.place, {_ROW}
FROM unnest(CAST(:ids AS text[])) WITH ORDINALITY AS asked (id, place)
JOIN lotline.parcel p ON p.parcel_id = asked.id AND {_COMPLETE}
ORDER BY asked.place, p.object_id
""")  # noqa: S608

_MEETING = text(f"""
SELECT asked.place, {_ROW}
FROM unnest(CAST(:places AS bytea[])) WITH ORDINALITY AS asked (geom, place)
JOIN lotline.parcel p ON ST_Intersects(p.geom, ST_GeomFromWKB(asked.geom, 4326)) AND {_COMPLETE}
ORDER BY asked.place, p.object_id
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
ORDER BY asked.place, p.object_id
""")  # noqa: S608

_EVERY = text(f"SELECT {_ROW} FROM lotline.parcel p WHERE {_COMPLETE}")  # noqa: S608

_EXTENT = text(f"""
SELECT ST_XMin(box) AS west, ST_YMin(box) AS south, ST_XMax(box) AS east, ST_YMax(box) AS north
FROM (SELECT ST_Extent(p.geom) AS box FROM lotline.parcel p WHERE {_COMPLETE}) AS whole
""")  # noqa: S608


@retry_transient
def read_snapshot(engine: Engine, layer_fk: int) -> DatabaseSnapshot | None:
    """The copy of a layer; None where there is none that is whole."""
    with engine.connect() as conn:
        row = conn.execute(_COPY, {"layer": layer_fk}).one_or_none()
    return None if row is None else DatabaseSnapshot(engine, layer_fk, row._mapping)


class DatabaseSnapshot(LayerSnapshot):
    """A copy that PostGIS looks things up in: its rows are not read into memory."""

    def __init__(self, engine: Engine, layer_fk: int, about: RowMapping) -> None:
        self.origin = about["origin"]
        self.fetched_at = about["fetched_at"]
        self.rows = about["rows"]
        self.has_addresses = about["has_addresses"]
        self._engine = engine
        self._layer = {"layer": layer_fk}

    @retry_transient
    def extent(self) -> Extent | None:
        """(west, south, east, north) in degrees of all parcels."""
        with self._engine.connect() as conn:
            box = conn.execute(_EXTENT, self._layer).one()
        return None if box.west is None else (box.west, box.south, box.east, box.north)

    def all_rows(self) -> Iterator[ParcelRow]:
        """See `LayerSnapshot`: they are read some at a time."""
        # Without a cursor of the server's, the driver would hold all rows first.
        streamed = {"stream_results": True, "max_row_buffer": _ROWS_AT_ONCE}
        with self._engine.connect() as conn:
            rows = conn.execute(_EVERY, self._layer, execution_options=streamed)
            for some in rows.partitions(_ROWS_AT_ONCE):
                yield from rows_of(some)

    def rows_with_ids(self, parcel_ids: Sequence[str]) -> list[list[ParcelRow]]:
        """See `LayerSnapshot`."""
        return self._hits(_WITH_IDS, "ids", list(parcel_ids))

    def rows_intersecting(self, places: Sequence[BaseGeometry]) -> list[list[ParcelRow]]:
        """See `LayerSnapshot`."""
        return self._hits(_MEETING, "places", list(shapely.to_wkb(list(places))))

    def rows_with_addresses(self, sought: Sequence[AddressFilter]) -> list[list[ParcelRow]]:
        """See `LayerSnapshot`."""
        found = self._hits(_WITH_NUMBERS, "numbers", [_array(each.numbers) for each in sought])
        return [
            [hit for hit in hits if each.letters in site_search_text(hit.site)]
            for each, hits in zip(sought, found, strict=True)
        ]

    @retry_transient
    def _hits(self, query: Any, name: str, asked: list[Any]) -> list[list[ParcelRow]]:  # noqa: ANN401
        found: list[list[ParcelRow]] = [[] for _ in asked]
        if asked:
            with self._engine.connect() as conn:
                rows = conn.execute(query, {**self._layer, name: asked}).all()
            for row, hit in zip(rows, rows_of(rows), strict=True):
                found[row.place - 1].append(hit)
        return found


@contextmanager
def begin_snapshot(
    engine: Engine, layer_fk: int, layer_version: LayerVersion, origin: str
) -> Iterator[DatabaseSnapshotInProgress]:
    """Begin a copy of a layer in this state, or go on with one that was stopped.

    Raises:
        SnapshotLocked: another process makes one.
    """
    values = {"layer": layer_fk, "stamp": version_text(layer_version), "origin": origin}
    with _locked(engine, layer_fk):
        with engine.begin() as conn:
            conn.execute(_DROP_OTHERS, values)
            conn.execute(_BEGIN, values)
            row = conn.execute(_SO_FAR, values).one()
        yield DatabaseSnapshotInProgress(engine, layer_fk, row._mapping)


@contextmanager
def _locked(engine: Engine, layer_fk: int) -> Iterator[None]:
    lock = {"class": _LOCK_CLASS, "layer": layer_fk}
    with engine.connect() as alive:
        alive.detach()  # never pooled: where it ends, the lock does
        try:
            alive.execute(_WAIT)
            alive.execute(_LOCK, lock)
        except OperationalError as error:
            if not isinstance(error.orig, LockNotAvailable):
                raise
            raise SnapshotLocked(
                "another process copies the same parcels into the database: wait until it is done"
            ) from error
        alive.commit()
        try:
            yield
        finally:
            alive.execute(_UNLOCK, lock)


class DatabaseSnapshotInProgress:
    """See `parcels.cache.interface.CopyInProgress`: a page is a transaction."""

    def __init__(self, engine: Engine, layer_fk: int, so_far: RowMapping) -> None:
        self.after_object_id: int | None = so_far["after_object_id"]
        self.rows: int = so_far["rows"]
        self.without_geometry: int = so_far["without_geometry"]
        self._engine = engine
        self._ids = {"layer": layer_fk, "copy": so_far["id"]}

    def add(self, page: Page) -> None:
        """See `CopyInProgress`."""
        numbers = [_array(site_numbers(hit.site)) for hit in page.rows]
        with self._engine.begin() as conn:
            rows = {**self._ids, **columns_of(page.rows), "numbers": numbers}
            added = conn.execute(_ADD_ROWS, rows).rowcount
            without = sum(hit.geometry is None for hit in page.rows)
            so_far = {
                "after_object_id": page.last_object_id,
                "rows": self.rows + added,
                "without_geometry": self.without_geometry + without,
            }
            conn.execute(_ADD_PAGE, {**self._ids, **so_far})
        self.after_object_id = page.last_object_id
        self.rows += added
        self.without_geometry += without

    def finish(self) -> None:
        """See `CopyInProgress`."""
        with self._engine.begin() as conn:
            conn.execute(_DROP_COMPLETE, self._ids)
            conn.execute(_SWAP_IN, self._ids)
            # Without new statistics the first questions would read the whole table.
            conn.execute(text("ANALYZE lotline.parcel"))

    def discard(self) -> None:
        """See `CopyInProgress`."""
        with self._engine.begin() as conn:
            conn.execute(_DISCARD, self._ids)


def _array(numbers: Sequence[int]) -> str:
    """As PostgreSQL writes an array: `unnest` cannot hold arrays of several lengths."""
    return "{" + ",".join(str(number) for number in numbers) + "}"
