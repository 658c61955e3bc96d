"""The audit queue's samples: detections drawn at random, from which error rates are estimated.

The frame is every detection that a run found in the county and that is not superseded, whatever
people said of it since, as the run drew it: leaving out what was reviewed would leave out what
reviewers look for. Drawings of people are not in it, nor copies that were carried over to another
lot. It is stratified by label and boundary source, and each stratum has up to `per_stratum` of
its detections, each with the same probability. The order is random too, so that an audit that is
not finished is still a random sample of each stratum.

A sample is frozen. A county's newest one is worked on.
"""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import shapely
from sqlalchemy import Connection, Row, text

from parcels.measure import area_m2
from pipeline.errors import NotStored, StoreError

MAX_PER_STRATUM = 1_000
PER_STRATUM = 50
SECOND_FRACTION = 0.2

_HAS_COUNTY = text("SELECT EXISTS (SELECT FROM lotline.property WHERE county = :county)")

# Random numbers by MD5 of seed and id: the same on every server and version. The first event of a
# detection has what the run found.
_DRAW = text("""
WITH frame AS MATERIALIZED (
    SELECT d.id, coalesce(first.before ->> 'label', d.label) AS label, b.source
    FROM lotline.property p
    JOIN lotline.detection d ON d.property_fk = p.id AND d.state <> 'superseded'
        AND d.run_fk IS NOT NULL AND d.segmenter <> 'person'
        AND d.fingerprint NOT LIKE 'carried:%'
    JOIN lotline.boundary b ON b.id = d.boundary_fk
    LEFT JOIN LATERAL (
        SELECT r.before FROM lotline.review r WHERE r.detection_fk = d.id ORDER BY r.id LIMIT 1
    ) first ON true
    WHERE p.county = :county
), ranked AS (
    SELECT *, count(*) OVER (PARTITION BY label, source) AS stratum_count,
        row_number() OVER (PARTITION BY label, source
            ORDER BY md5(CAST(:seed AS text) || ':draw:' || id), id) AS draw
    FROM frame
), drawn AS (
    SELECT *, count(*) OVER () AS total,
        row_number() OVER (ORDER BY md5(CAST(:seed AS text) || ':second:' || id), id) AS second,
        row_number() OVER (ORDER BY md5(CAST(:seed AS text) || ':order:' || id), id) AS position
    FROM ranked WHERE draw <= :per_stratum
)
SELECT drawn.*, d.property_fk, d.boundary_fk, d.score, d.segmenter, d.clipped_area_m2,
    ST_AsBinary(d.geom) AS geom, ST_AsBinary(CAST(first.before ->> 'geom' AS geometry)) AS found,
    ST_AsBinary(b.geom) AS boundary
FROM drawn JOIN lotline.detection d USING (id) JOIN lotline.boundary b ON b.id = d.boundary_fk
LEFT JOIN LATERAL (
    SELECT r.before FROM lotline.review r WHERE r.detection_fk = d.id ORDER BY r.id LIMIT 1
) first ON true
ORDER BY position
""")

_INSERT_SAMPLE = text("""
INSERT INTO lotline.audit_sample
    (county, created_by, seed, per_stratum, second_fraction, idempotency_key)
VALUES (:county, :created_by, :seed, :per_stratum, :second_fraction, :idempotency_key)
RETURNING id
""")

_INSERT_ITEM = text("""
INSERT INTO lotline.audit_item (sample_fk, detection_fk, property_fk, boundary_fk, label, source,
    score, segmenter, geom, clipped_area_m2, stratum_count, needs_second, position)
VALUES (:sample, :detection, :property, :boundary, :label, :source, :score, :segmenter,
    ST_GeomFromWKB(:geom, 4326), :clipped_area_m2, :stratum_count, :needs_second, :position)
""")

# Two samples at the same time would leave one that nobody works on.
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('lotline audit ' || :county, 15))")

_SAMPLES = """
SELECT s.id, s.county, s.created_by, s.created_at, s.seed, s.per_stratum, s.second_fraction,
    (SELECT count(*) FROM lotline.audit_item i WHERE i.sample_fk = s.id) AS items
FROM lotline.audit_sample s WHERE {where} ORDER BY s.id DESC LIMIT 1
"""
_NEWEST = text(_SAMPLES.format(where="s.county = :county"))
_BY_KEY = text(_SAMPLES.format(where="s.idempotency_key = :idempotency_key"))


@dataclass(frozen=True, slots=True)
class AuditSample:
    """A random sample of a county's detections; `items` is its size."""

    id: int
    county: str
    created_by: str
    created_at: datetime
    seed: int
    per_stratum: int
    second_fraction: float
    items: int


def start_sample(
    conn: Connection,
    county: str,
    created_by: str,
    *,
    per_stratum: int = PER_STRATUM,
    second_fraction: float = SECOND_FRACTION,
    seed: int | None = None,
    idempotency_key: str | None = None,
) -> AuditSample:
    """Draw a sample; from now on it is the county's audit.

    Args:
        per_stratum: the number of detections of each label and boundary source, or all of them if
            there are fewer.
        second_fraction: the share of items, 0..1, that a second reviewer answers too.
        seed: the same seed and the same detections give the same sample; random if None.

    Raises:
        NotStored: there is no such county.
        StoreError: a number is out of range, nobody draws it, or no run has found anything.
    """
    _check(created_by, per_stratum, second_fraction)
    if idempotency_key is not None and (earlier := _by_key(conn, idempotency_key, county)):
        return earlier
    if not conn.execute(_HAS_COUNTY, {"county": county}).scalar_one():
        raise NotStored(f"there is no county {county[:100]!r}")
    conn.execute(_LOCK, {"county": county})
    if idempotency_key is not None and (earlier := _by_key(conn, idempotency_key, county)):
        return earlier
    values = {
        "county": county,
        "created_by": created_by.strip(),
        "seed": secrets.randbits(31) if seed is None else seed,
        "per_stratum": per_stratum,
        "second_fraction": second_fraction,
        "idempotency_key": idempotency_key,
    }
    rows = conn.execute(_DRAW, values).all()
    if not rows:
        raise StoreError(
            f"no run has found anything in {county}: run `lotline batch` before an audit"
        )
    sample_id = conn.execute(_INSERT_SAMPLE, values).scalar_one()
    conn.execute(_INSERT_ITEM, [_item(row, sample_id, second_fraction) for row in rows])
    found = newest_sample(conn, county)
    assert found is not None  # noqa: S101 - just inserted
    return found


def newest_sample(conn: Connection, county: str) -> AuditSample | None:
    """The sample that a county's audit works on; None before the first."""
    row = conn.execute(_NEWEST, {"county": county}).one_or_none()
    return None if row is None else AuditSample(*row)


def _by_key(conn: Connection, idempotency_key: str, county: str) -> AuditSample | None:
    row = conn.execute(_BY_KEY, {"idempotency_key": idempotency_key}).one_or_none()
    if row is not None and row.county != county:
        raise StoreError(
            f"the idempotency key {idempotency_key!r} was used for another sample: give each its "
            "own key"
        )
    return None if row is None else AuditSample(*row)


def _check(created_by: str, per_stratum: int, second_fraction: float) -> None:
    if not created_by.strip():
        raise StoreError("a sample needs the name of who draws it")
    if not 1 <= per_stratum <= MAX_PER_STRATUM:
        raise StoreError(
            f"{per_stratum} detections of each label and boundary: give 1 to {MAX_PER_STRATUM:,}"
        )
    if not 0 <= second_fraction <= 1:  # not for NaN either
        raise StoreError(f"a share of {second_fraction} second opinions: give 0 to 1")


def _item(row: Row[Any], sample_id: int, second_fraction: float) -> dict[str, Any]:
    clipped_m2 = row.clipped_area_m2
    geometry = row.geom
    if row.found is not None and row.found != row.geom:  # a person has edited it since
        geometry = row.found
        clipped_m2 = area_m2(
            shapely.intersection(shapely.from_wkb(row.found), shapely.from_wkb(row.boundary))
        )
    return {
        "sample": sample_id,
        "detection": row.id,
        "property": row.property_fk,
        "boundary": row.boundary_fk,
        "label": row.label,
        "source": row.source,
        "score": row.score,
        "segmenter": row.segmenter,
        "geom": geometry,
        "clipped_area_m2": clipped_m2,
        "stratum_count": row.stratum_count,
        "needs_second": row.second <= _count_of_seconds(row.total, second_fraction),
        "position": row.position,
    }


def _count_of_seconds(total: int, second_fraction: float) -> int:
    """Rounded up: a share above 0 of a small sample is one item, not none."""
    return min(total, math.ceil(total * second_fraction))
