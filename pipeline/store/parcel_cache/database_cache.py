"""A parcel cache in the database, shared by batches and machines.

Implements `parcels.cache.interface`: query results are stored by layer version and SHA-256 of the
query. Writes are upserts, each in its own transaction.
"""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DataError, IntegrityError

from parcels.cache import LayerKey
from parcels.cache.interface import SnapshotInProgress, parse_version, version_text
from parcels.cache.layer_snapshot import LayerSnapshot
from parcels.parcel_source import LayerVersion, ParcelRow, QueryResult
from pipeline.store.parcel_cache.layer_snapshot import begin_snapshot, read_snapshot
from pipeline.store.parcel_cache.rows import to_columns, to_parcel_rows
from pipeline.store.retries import retry_transient

log = logging.getLogger(__name__)

_UPSERT_LAYER = text("""
INSERT INTO lotline.parcel_layer (county, digest, origin) VALUES (:county, :digest, :origin)
ON CONFLICT (county, digest) DO UPDATE SET used_at = clock_timestamp()
RETURNING id
""")

_LAST_VERSION = text("SELECT stamp FROM lotline.parcel_layer WHERE id = :layer")
_RECORD_VERSION = text("UPDATE lotline.parcel_layer SET stamp = :stamp WHERE id = :layer")
_SNAPSHOT_VERSION = text("""
SELECT stamp FROM lotline.parcel_copy WHERE layer_fk = :layer AND state = 'complete'
""")

_READ_RESULTS = text("""
SELECT a.question_sha256, a.origin, a.fetched_at, h.answer_fk IS NOT NULL AS is_hit,
    h.parcel_id, h.object_id, h.site, h.parcel_type, h.lacks_id, ST_AsBinary(h.geom) AS geom
FROM lotline.parcel_answer a LEFT JOIN lotline.parcel_hit h ON h.answer_fk = a.id
WHERE a.layer_fk = :layer AND a.stamp = :stamp
    AND a.question_sha256 = ANY(CAST(:questions AS text[]))
ORDER BY a.id, h.place
""")

# A fixed order, so that two writers of the same results do not deadlock.
_UPSERT_RESULTS = text("""
INSERT INTO lotline.parcel_answer (layer_fk, stamp, question_sha256, origin, fetched_at)
SELECT :layer, :stamp, new.question, new.origin, new.fetched_at
FROM unnest(CAST(:questions AS text[]), CAST(:origins AS text[]), CAST(:times AS timestamptz[]))
    AS new (question, origin, fetched_at)
ORDER BY new.question
ON CONFLICT (layer_fk, stamp, question_sha256) DO UPDATE SET
    origin = excluded.origin, fetched_at = excluded.fetched_at
RETURNING id, question_sha256
""")

_DELETE_ROWS = text("""
DELETE FROM lotline.parcel_hit WHERE answer_fk = ANY(CAST(:answers AS bigint[]))
""")

_INSERT_ROWS = text("""
INSERT INTO lotline.parcel_hit
    (answer_fk, place, parcel_id, object_id, site, parcel_type, lacks_id, geom)
SELECT new.answer, new.place, new.parcel_id, new.object_id, CAST(new.site AS jsonb),
    new.parcel_type, new.lacks_id, ST_GeomFromWKB(new.geom, 4326)
FROM unnest(CAST(:answers AS bigint[]), CAST(:places AS int[]), CAST(:parcel_ids AS text[]),
        CAST(:object_ids AS bigint[]), CAST(:sites AS text[]), CAST(:types AS text[]),
        CAST(:lack_ids AS boolean[]), CAST(:geoms AS bytea[]))
    AS new (answer, place, parcel_id, object_id, site, parcel_type, lacks_id, geom)
""")

# SKIP LOCKED: a locked result is being refreshed by another process.
_EVICT_RESULTS = text("""
DELETE FROM lotline.parcel_answer WHERE id IN (
    SELECT id FROM lotline.parcel_answer WHERE layer_fk = :layer AND fetched_at < :instant
    FOR UPDATE SKIP LOCKED)
""")

_MARK_USED = text("""
UPDATE lotline.parcel_layer SET used_at = clock_timestamp() WHERE id = :layer RETURNING county
""")
_EVICT_UNUSED_LAYERS = text("""
DELETE FROM lotline.parcel_layer WHERE county = :county AND id <> :layer AND used_at < :instant
""")


class DatabaseCache:
    """A `parcels.cache.ParcelCache` in the database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @retry_transient
    def layer(self, key: LayerKey) -> DatabaseLayer:
        """The cached data of a layer."""
        values = {"county": key.county, "digest": key.digest, "origin": key.origin}
        with self._engine.begin() as conn:
            layer_fk = int(conn.execute(_UPSERT_LAYER, values).scalar_one())
            return DatabaseLayer(self._engine, layer_fk)


class DatabaseLayer:
    """A `parcels.cache.CachedLayer` in the database."""

    def __init__(self, engine: Engine, layer_fk: int) -> None:
        self._engine = engine
        self._layer = {"layer": layer_fk}

    def last_version(self) -> LayerVersion | None:
        """See `CachedLayer`."""
        return self._read_version(_LAST_VERSION)

    @retry_transient
    def record_version(self, layer_version: LayerVersion) -> None:
        """See `CachedLayer`."""
        with self._engine.begin() as conn:
            conn.execute(_RECORD_VERSION, {**self._layer, "stamp": version_text(layer_version)})

    @retry_transient
    def read_results(
        self, questions: Sequence[str], layer_version: LayerVersion
    ) -> dict[str, QueryResult]:
        """See `CachedLayer`."""
        by_digest = {_digest(question): question for question in questions}
        values = {**self._layer, "stamp": version_text(layer_version), "questions": list(by_digest)}
        provenance: dict[str, tuple[str, datetime]] = {}
        rows_of: dict[str, list[ParcelRow]] = defaultdict(list)
        with self._engine.connect() as conn:
            found = conn.execute(_READ_RESULTS, values).all()
        for row, parcel_row in zip(found, to_parcel_rows(found), strict=True):
            question = by_digest[row.question_sha256]
            provenance[question] = (row.origin, row.fetched_at.astimezone(UTC))
            if row.is_hit:
                rows_of[question].append(parcel_row)
        return {
            question: QueryResult(tuple(rows_of[question]), origin, fetched_at)
            for question, (origin, fetched_at) in provenance.items()
        }

    @retry_transient
    def store_results(
        self, results: Mapping[str, QueryResult], layer_version: LayerVersion
    ) -> None:
        """See `CachedLayer`."""
        if not results:
            return
        by_digest = {_digest(question): found for question, found in results.items()}
        values = {
            **self._layer,
            "stamp": version_text(layer_version),
            "questions": list(by_digest),
            "origins": [found.origin for found in by_digest.values()],
            "times": [found.fetched_at for found in by_digest.values()],
        }
        try:
            with self._engine.begin() as conn:
                rows = conn.execute(_UPSERT_RESULTS, values)
                stored = {row.id: by_digest[row.question_sha256] for row in rows}
                conn.execute(_DELETE_ROWS, {"answers": list(stored)})
                _insert_rows(conn, stored)
        except (DataError, IntegrityError) as error:
            # Text that PostgreSQL cannot store, or an evicted layer; the results are still valid.
            log.warning("%d parcel results were not cached: %s", len(results), error.orig)

    @retry_transient
    def evict_before(self, instant: datetime) -> None:
        """See `CachedLayer`."""
        values = {**self._layer, "instant": instant}
        with self._engine.begin() as conn:
            conn.execute(_EVICT_RESULTS, values)
        with self._engine.begin() as conn:
            county = conn.execute(_MARK_USED, self._layer).scalar()
            conn.execute(_EVICT_UNUSED_LAYERS, {**values, "county": county})

    def snapshot_version(self) -> LayerVersion | None:
        """See `CachedLayer`."""
        return self._read_version(_SNAPSHOT_VERSION)

    def snapshot(self) -> LayerSnapshot | None:
        """See `CachedLayer`."""
        return read_snapshot(self._engine, self._layer["layer"])

    def begin_snapshot(
        self, layer_version: LayerVersion, origin: str
    ) -> AbstractContextManager[SnapshotInProgress]:
        """See `CachedLayer`."""
        return begin_snapshot(self._engine, self._layer["layer"], layer_version, origin)

    @retry_transient
    def _read_version(self, query: Any) -> LayerVersion | None:  # noqa: ANN401
        with self._engine.connect() as conn:
            found = conn.execute(query, self._layer).scalar()
        return None if found is None else parse_version(found)


def _insert_rows(conn: Connection, stored: Mapping[int, QueryResult]) -> None:
    rows = [
        (result_fk, index, row)
        for result_fk, result in stored.items()
        for index, row in enumerate(result.rows)
    ]
    if rows:
        values = {
            "answers": [result_fk for result_fk, _, _ in rows],
            "places": [index for _, index, _ in rows],
            **to_columns([row for _, _, row in rows]),
        }
        conn.execute(_INSERT_ROWS, values)


def _digest(question: str) -> str:
    return hashlib.sha256(question.encode()).hexdigest()
