"""Writes one review event: the event, the detection after it, and the measurements, or nothing.

With an idempotency key, a repeated call has no effect and returns the first review. With an
expected version, a call fails if the detection has changed since (optimistic locking).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import shapely
from shapely import MultiPolygon
from sqlalchemy import Connection, Row, text

from parcels.measure import area_m2
from pipeline.errors import StoreError, VersionConflict
from pipeline.store.results.measurements import remeasure

ReviewAction = Literal["accept", "edit", "relabel", "reject", "add", "restore", "delete", "undo"]

# Reviews and runs write to a property one at a time: its row is locked first.
_LOCK_PROPERTY_OF_DETECTION = text("""
SELECT 1 FROM lotline.property
WHERE id = (SELECT property_fk FROM lotline.detection WHERE id = :id) FOR NO KEY UPDATE
""")

_DETECTION = text("""
SELECT d.id, d.property_fk, d.state, d.label, d.version, d.segmenter, d.review_fk, d.event_fk,
    d.area_m2, d.clipped_area_m2, d.whole_area_m2, CAST(d.geom AS text) AS geom,
    ST_AsBinary(b.geom) AS boundary
FROM lotline.detection d JOIN lotline.boundary b ON b.id = d.boundary_fk
WHERE d.id = :id
""")

_INSERT_REVIEW = text("""
INSERT INTO lotline.review
    (detection_fk, action, reviewer, note, before, after, geom, label, idempotency_key, undoes)
VALUES (:id, :action, :reviewer, :note, CAST(:before AS jsonb), CAST(:after AS jsonb),
    ST_GeomFromWKB(:geom, 4326), :label, :idempotency_key, :undoes)
RETURNING id, detection_fk, action, reviewer, note, after, undoes, created_at
""")

_REVIEW_BY_KEY = text("""
SELECT r.id, r.detection_fk, r.action, r.reviewer, r.note, r.after, r.undoes, r.created_at, r.label,
    ST_AsBinary(r.geom) AS geom, d.property_fk
FROM lotline.review r JOIN lotline.detection d ON d.id = r.detection_fk
WHERE r.idempotency_key = :idempotency_key
""")

# A trigger requires the review event above, and increments the version.
_UPDATE_DETECTION = text("""
UPDATE lotline.detection SET state = :state, label = :label,
    geom = coalesce(ST_GeomFromWKB(:geom, 4326), geom),
    area_m2 = coalesce(:area_m2, area_m2),
    clipped_area_m2 = coalesce(:clipped_area_m2, clipped_area_m2),
    whole_area_m2 = coalesce(:whole_area_m2, whole_area_m2)
WHERE id = :id
""")

# What an event says of the detection before it: what an undo takes it back to.
_BEFORE = ("state", "label", "version", "geom", "area_m2", "clipped_area_m2", "whole_area_m2")


@dataclass(frozen=True, slots=True)
class Review:
    """A stored review.

    Attributes:
        state, label, version: of the detection after the review.
    """

    id: int
    detection_id: int
    action: ReviewAction
    reviewer: str
    note: str
    state: str
    label: str
    version: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class OutlineAreas:
    """The areas of an outline in m², as a detection has them."""

    area_m2: float
    clipped_area_m2: float
    whole_area_m2: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """A requested review, without its detection.

    Attributes:
        state: of the detection after it.
        geometry: its new outline in EPSG:4326; None leaves it.
        areas: of `geometry`; measured if None.
        undoes: the event that it takes back.
    """

    action: ReviewAction
    reviewer: str
    note: str
    idempotency_key: str | None
    state: str
    label: str | None = None
    geometry: MultiPolygon | None = None
    areas: OutlineAreas | None = None
    undoes: int | None = None


Judge = Callable[[Row[Any]], Verdict]


def review_detection(
    conn: Connection, detection_id: int, asked: Verdict, expected_version: int | None, judge: Judge
) -> Review:
    """Lock a detection, have `judge` decide about it as it is then, and write the event.

    Args:
        asked: what a call with the same idempotency key must have asked for.
        judge: the verdict on the stored detection; raises StoreError if it cannot be reviewed so.

    Raises:
        StoreError: there is no such detection or no reviewer, or `judge` refuses.
        VersionConflict: the detection is not at the expected version.
    """

    def write() -> Review:
        conn.execute(_LOCK_PROPERTY_OF_DETECTION, {"id": detection_id})
        before = stored_detection(conn, detection_id)
        if before is None:
            raise StoreError(
                f"there is no detection {detection_id}: run `lotline export` to list detections"
            )
        if (earlier := earlier_review(conn, asked, detection_id)) is not None:
            return earlier
        if expected_version is not None and before.version != expected_version:
            raise VersionConflict(
                f"detection {detection_id} is at version {before.version}, not "
                f"{expected_version}: it was changed after you read it. Read it again, then decide"
            )
        return write_event(conn, before, judge(before))

    return in_savepoint(conn, asked, write)


def in_savepoint(conn: Connection, verdict: Verdict, write: Callable[[], Review]) -> Review:
    """Write an event in a savepoint of the caller's transaction.

    Raises:
        StoreError: it has no reviewer.
    """
    if not verdict.reviewer.strip():
        raise StoreError("a review has no reviewer: give the name of the person who decides")
    with conn.begin_nested():
        return write()


def stored_detection(conn: Connection, detection_id: int) -> Row[Any] | None:
    """A detection as an event needs it, with its boundary; None if there is none."""
    return conn.execute(_DETECTION, {"id": detection_id}).one_or_none()


def write_event(conn: Connection, before: Row[Any], verdict: Verdict) -> Review:
    """Write the event (without it a trigger refuses the change), detection and measurement."""
    label = verdict.label or before.label
    wkb = None if verdict.geometry is None else shapely.to_wkb(verdict.geometry)
    old = {name: getattr(before, name) for name in _BEFORE}
    new = {"state": verdict.state, "label": label, "version": before.version + 1}
    event = {
        "id": before.id,
        "action": verdict.action,
        "reviewer": verdict.reviewer,
        "note": verdict.note,
        "before": json.dumps(old),
        "after": json.dumps(new),
        "geom": wkb,
        "label": verdict.label,
        "idempotency_key": verdict.idempotency_key,
        "undoes": verdict.undoes,
    }
    review = _review_from_row(conn.execute(_INSERT_REVIEW, event).one())
    areas = verdict.areas
    if verdict.geometry is not None and areas is None:
        areas = _measured(verdict.geometry, before.boundary)
    conn.execute(
        _UPDATE_DETECTION,
        {
            "id": before.id,
            "state": verdict.state,
            "label": label,
            "geom": wkb,
            "area_m2": None if areas is None else areas.area_m2,
            "clipped_area_m2": None if areas is None else areas.clipped_area_m2,
            "whole_area_m2": None if areas is None else areas.whole_area_m2,
        },
    )
    remeasure(conn, before.property_fk, list({before.label, label}))
    return review


def is_sent_before(conn: Connection, idempotency_key: str) -> bool:
    """Whether a review has an idempotency key."""
    return conn.execute(_REVIEW_BY_KEY, {"idempotency_key": idempotency_key}).first() is not None


def earlier_review(
    conn: Connection,
    asked: Verdict,
    detection_id: int | None,
    *,
    added: tuple[int, str] | None = None,
) -> Review | None:
    """The review with the same idempotency key, if the verdict was sent before.

    Args:
        added: for a drawing, the key of its property and its label.

    Raises:
        StoreError: another verdict was sent with the key: to answer with the earlier one would lose
            this one.
    """
    if asked.idempotency_key is None:
        return None
    key = {"idempotency_key": asked.idempotency_key}
    row = conn.execute(_REVIEW_BY_KEY, key).one_or_none()
    if row is None:
        return None
    is_same = (
        (row.action, row.reviewer, row.undoes) == (asked.action, asked.reviewer, asked.undoes)
        and detection_id in (None, row.detection_fk)
        and added in (None, (row.property_fk, row.after["label"]))
        and asked.label in (None, row.label)
        and (asked.geometry is None or asked.geometry == shapely.from_wkb(row.geom))
    )
    if not is_same:
        raise StoreError(
            f"the idempotency key {asked.idempotency_key!r} was used for another review "
            f"({row.action} of detection {row.detection_fk}): give each review its own key"
        )
    return _review_from_row(row)


def clipped_area_m2(outline: MultiPolygon, boundary_wkb: bytes) -> float:
    """The area of an outline inside a boundary, both in EPSG:4326."""
    return area_m2(shapely.intersection(outline, shapely.from_wkb(boundary_wkb)))


def _measured(outline: MultiPolygon, boundary_wkb: bytes) -> OutlineAreas:
    whole_m2 = area_m2(outline)
    return OutlineAreas(whole_m2, clipped_area_m2(outline, boundary_wkb), whole_m2)


def _review_from_row(row: Row[Any]) -> Review:
    return Review(
        row.id,
        row.detection_fk,
        row.action,
        row.reviewer,
        row.note,
        row.after["state"],
        row.after["label"],
        row.after["version"],
        row.created_at,
    )
