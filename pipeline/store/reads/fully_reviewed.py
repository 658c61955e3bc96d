"""Properties whose mark "fully reviewed" holds, with what people decided about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import shapely
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection, Row, text

from parcels.boundary import Boundary
from pipeline.store.review_tables import detections_of
from pipeline.store.reviews.full_reviews import HOLDS
from pipeline.store.runs.counted_ground import HAS_VANISHED

_KEYS = text(f"""
SELECT p.id FROM lotline.property p
CROSS JOIN LATERAL (SELECT * FROM lotline.full_review WHERE property_fk = p.id
    ORDER BY id DESC LIMIT 1) f
WHERE p.county = :county AND {HOLDS} AND NOT {HAS_VANISHED}
ORDER BY coalesce(p.sort_key, ''), p.id
""")  # noqa: S608

_PROPERTY = text(f"""
SELECT p.id, p.county, p.property_id, p.chip_sha256, p.method, p.boundary_fk,
    b.source, b.area_m2, b.origin, b.parcel_ids, ST_AsBinary(b.geom) AS geom,
    f.id AS full_review, f.reviewer, f.created_at, f.labels,
    EXISTS (SELECT FROM lotline.audit_item a WHERE a.property_fk = p.id) AS is_audited
FROM lotline.property p
JOIN lotline.boundary b ON b.id = p.boundary_fk
CROSS JOIN LATERAL (SELECT * FROM lotline.full_review WHERE property_fk = p.id
    ORDER BY id DESC LIMIT 1) f
WHERE p.id = :id AND {HOLDS}
""")  # noqa: S608

# The newest first: the chip of the property is that of the last inference.
_MEASURED = text("""
SELECT m.label, m.segmenter, m.weights_sha256, r.settings -> 'prompts' ->> m.label AS prompt
FROM lotline.measurement m LEFT JOIN lotline.run r ON r.id = m.run_fk
WHERE m.property_fk = :id AND m.current ORDER BY m.run_fk DESC NULLS LAST, m.label
""")

_OBJECTS = text("""
SELECT id, label, version, ST_AsBinary(geom) AS geom FROM lotline.detection
WHERE property_fk = :id AND state = 'accepted' ORDER BY label, id
""")

_EVENTS = text(f"""
SELECT r.id, r.detection_fk, r.action, r.reviewer, r.created_at
FROM {detections_of(":id")} d JOIN lotline.review r ON r.detection_fk = d.id ORDER BY r.id
""")  # noqa: S608


@dataclass(frozen=True, slots=True)
class AcceptedObject:
    """An object that people confirmed, drew or corrected; EPSG:4326."""

    id: int
    label: str
    version: int
    outline: BaseGeometry


@dataclass(frozen=True, slots=True)
class DecisionEvent:
    """What somebody decided about a detection of the property."""

    id: int
    detection: int
    action: str
    reviewer: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ReviewedProperty:
    """A property of which every object of some labels was decided.

    Attributes:
        labels: those; of others, absence means nothing.
        imagery_sha256: of the lot's imagery in the last inference.
        measured: (label, segmenter, hash of its weights, its prompt), the newest first.
        is_audited: whether it is in the audit queue, from which error rates are estimated.
    """

    key: int
    county: str
    property_id: str
    boundary: Boundary
    full_review: int
    reviewer: str
    reviewed_at: datetime
    labels: tuple[str, ...]
    imagery_sha256: str | None
    measured: tuple[tuple[str, str, str | None, str | None], ...]
    is_audited: bool
    objects: tuple[AcceptedObject, ...]
    events: tuple[DecisionEvent, ...]


def fully_reviewed_keys(conn: Connection, county: str) -> list[int]:
    """The keys of a county's properties whose mark holds, neighbours together."""
    return list(conn.execute(_KEYS, {"county": county}).scalars())


def reviewed_property(conn: Connection, key: int) -> ReviewedProperty | None:
    """A property by its key; None if its mark does not hold any more."""
    row = conn.execute(_PROPERTY, {"id": key}).one_or_none()
    return None if row is None else _reviewed(conn, row)


def _reviewed(conn: Connection, row: Row[Any]) -> ReviewedProperty:
    boundary = Boundary(
        shapely.from_wkb(row.geom), row.source, row.area_m2, row.method or "point", row.origin,
        tuple(row.parcel_ids or ()),
    )  # fmt: skip
    where = {"id": row.id}
    return ReviewedProperty(
        row.id,
        row.county,
        row.property_id,
        boundary,
        row.full_review,
        row.reviewer,
        row.created_at,
        tuple(sorted(row.labels)),
        row.chip_sha256,
        _tuples(conn.execute(_MEASURED, where).all()),
        row.is_audited,
        tuple(
            AcceptedObject(each.id, each.label, each.version, shapely.from_wkb(each.geom))
            for each in conn.execute(_OBJECTS, where)
        ),
        tuple(DecisionEvent(*each) for each in conn.execute(_EVENTS, where)),
    )


def _tuples(
    rows: Sequence[Row[Any]],
) -> tuple[tuple[str, str, str | None, str | None], ...]:
    return tuple((row.label, row.segmenter, row.weights_sha256, row.prompt) for row in rows)
