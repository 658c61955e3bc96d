"""Parcels that are kept in the database: what batches and other machines share.

See `parcels.cache`; this is the form of it that has transactions of its own.
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
from pipeline.store.parcel_cache.rows import columns_of, rows_of
from pipeline.store.retries import retry_transient

log = logging.getLogger(__name__)

_LAYER = text("""
INSERT INTO lotline.parcel_layer (county, digest, origin) VALUES (:county, :digest, :origin)
ON CONFLICT (county, digest) DO UPDATE SET used_at = clock_timestamp()
RETURNING id
""")

_LAST_STAMP = text("SELECT stamp FROM lotline.parcel_layer WHERE id = :layer")
_SAW = text("UPDATE lotline.parcel_layer SET stamp = :stamp WHERE id = :layer")
_COPY_STAMP = text("""
SELECT stamp FROM lotline.parcel_copy WHERE layer_fk = :layer AND state = 'complete'
""")

_ANSWERS = text("""
SELECT a.question_sha256, a.origin, a.fetched_at, h.answer_fk IS NOT NULL AS is_hit,
    h.parcel_id, h.object_id, h.site, ST_AsBinary(h.geom) AS geom
FROM lotline.parcel_answer a LEFT JOIN lotline.parcel_hit h ON h.answer_fk = a.id
WHERE a.layer_fk = :layer AND a.stamp = :stamp
    AND a.question_sha256 = ANY(CAST(:questions AS text[]))
ORDER BY a.id, h.place
""")

# In one order, so that two that keep the same answers wait for each other and do not lock.
_KEEP = text("""
INSERT INTO lotline.parcel_answer (layer_fk, stamp, question_sha256, origin, fetched_at)
SELECT :layer, :stamp, new.question, new.origin, new.fetched_at
FROM unnest(CAST(:questions AS text[]), CAST(:origins AS text[]), CAST(:times AS timestamptz[]))
    AS new (question, origin, fetched_at)
ORDER BY new.question
ON CONFLICT (layer_fk, stamp, question_sha256) DO UPDATE SET
    origin = excluded.origin, fetched_at = excluded.fetched_at
RETURNING id, question_sha256
""")

_FORGET_HITS = text("""
DELETE FROM lotline.parcel_hit WHERE answer_fk = ANY(CAST(:answers AS bigint[]))
""")

_KEEP_HITS = text("""
INSERT INTO lotline.parcel_hit (answer_fk, place, parcel_id, object_id, site, geom)
SELECT new.answer, new.place, new.parcel_id, new.object_id, CAST(new.site AS jsonb),
    ST_GeomFromWKB(new.geom, 4326)
FROM unnest(CAST(:answers AS bigint[]), CAST(:places AS int[]), CAST(:parcel_ids AS text[]),
        CAST(:object_ids AS bigint[]), CAST(:sites AS text[]), CAST(:geoms AS bytea[]))
    AS new (answer, place, parcel_id, object_id, site, geom)
""")

# Whoever keeps an old answer anew has it locked: neither must wait for the other.
_FORGET_BEFORE = text("""
DELETE FROM lotline.parcel_answer WHERE id IN (
    SELECT id FROM lotline.parcel_answer WHERE layer_fk = :layer AND fetched_at < :instant
    FOR UPDATE SKIP LOCKED)
""")

_USED = text("""
UPDATE lotline.parcel_layer SET used_at = clock_timestamp() WHERE id = :layer RETURNING county
""")
_FORGET_UNUSED = text("""
DELETE FROM lotline.parcel_layer WHERE county = :county AND id <> :layer AND used_at < :instant
""")


class DatabaseCache:
    """Keeps parcels in the database; see `parcels.cache.ParcelCache`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @retry_transient
    def layer(self, key: LayerKey) -> DatabaseLayer:
        """What is kept of a layer."""
        values = {"county": key.county, "digest": key.digest, "origin": key.origin}
        with self._engine.begin() as conn:
            return DatabaseLayer(self._engine, int(conn.execute(_LAYER, values).scalar_one()))


class DatabaseLayer:
    """See `parcels.cache.KeptLayer`."""

    def __init__(self, engine: Engine, layer_fk: int) -> None:
        self._engine = engine
        self._layer = {"layer": layer_fk}

    def last_version(self) -> LayerVersion | None:
        """See `KeptLayer`."""
        return self._stamp(_LAST_STAMP)

    @retry_transient
    def record_version(self, layer_version: LayerVersion) -> None:
        """See `KeptLayer`."""
        with self._engine.begin() as conn:
            conn.execute(_SAW, {**self._layer, "stamp": version_text(layer_version)})

    @retry_transient
    def read_results(
        self, questions: Sequence[str], layer_version: LayerVersion
    ) -> dict[str, QueryResult]:
        """See `KeptLayer`."""
        by_digest = {_digest(question): question for question in questions}
        values = {**self._layer, "stamp": version_text(layer_version), "questions": list(by_digest)}
        about: dict[str, tuple[str, datetime]] = {}
        hits: dict[str, list[ParcelRow]] = defaultdict(list)
        with self._engine.connect() as conn:
            rows = conn.execute(_ANSWERS, values).all()
        for row, hit in zip(rows, rows_of(rows), strict=True):
            question = by_digest[row.question_sha256]
            about[question] = (row.origin, row.fetched_at.astimezone(UTC))
            if row.is_hit:
                hits[question].append(hit)
        return {
            q: QueryResult(tuple(hits[q]), *origin_and_time) for q, origin_and_time in about.items()
        }

    @retry_transient
    def store_results(
        self, results: Mapping[str, QueryResult], layer_version: LayerVersion
    ) -> None:
        """See `KeptLayer`."""
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
                rows = conn.execute(_KEEP, values)
                kept = {row.id: by_digest[row.question_sha256] for row in rows}
                conn.execute(_FORGET_HITS, {"answers": list(kept)})
                _keep_hits(conn, kept)
        except (DataError, IntegrityError) as error:
            # Text that PostgreSQL cannot hold, or a layer forgotten meanwhile; the lots are good.
            log.warning("%d answers are not kept: %s", len(results), error.orig)

    @retry_transient
    def evict_before(self, instant: datetime) -> None:
        """See `KeptLayer`."""
        values = {**self._layer, "instant": instant}
        with self._engine.begin() as conn:
            conn.execute(_FORGET_BEFORE, values)
        with self._engine.begin() as conn:
            county = conn.execute(_USED, self._layer).scalar()
            conn.execute(_FORGET_UNUSED, {**values, "county": county})

    def snapshot_version(self) -> LayerVersion | None:
        """See `KeptLayer`."""
        return self._stamp(_COPY_STAMP)

    def snapshot(self) -> LayerSnapshot | None:
        """See `KeptLayer`."""
        return read_snapshot(self._engine, self._layer["layer"])

    def begin_snapshot(
        self, layer_version: LayerVersion, origin: str
    ) -> AbstractContextManager[SnapshotInProgress]:
        """See `KeptLayer`."""
        return begin_snapshot(self._engine, self._layer["layer"], layer_version, origin)

    @retry_transient
    def _stamp(self, query: Any) -> LayerVersion | None:  # noqa: ANN401
        with self._engine.connect() as conn:
            found = conn.execute(query, self._layer).scalar()
        return None if found is None else parse_version(found)


def _keep_hits(conn: Connection, kept: Mapping[int, QueryResult]) -> None:
    rows = [
        (answer, place, hit)
        for answer, found in kept.items()
        for place, hit in enumerate(found.rows)
    ]
    if rows:
        values = {
            "answers": [answer for answer, _, _ in rows],
            "places": [place for _, place, _ in rows],
            **columns_of([hit for _, _, hit in rows]),
        }
        conn.execute(_KEEP_HITS, values)


def _digest(question: str) -> str:
    return hashlib.sha256(question.encode()).hexdigest()
