"""Reviews of detections: accept, reject, restore, relabel, edit, add.

Each function writes the review event, the detection and its measurement in a savepoint of the
caller's transaction: all of them or none. With an `idempotency_key`, a repeated call has no effect
and returns the first review. With an `expected_version`, a call fails if the detection has changed
since (optimistic locking).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import shapely
from shapely import MultiPolygon
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection, Row, text

from parcels.errors import GeometryError
from parcels.measure import area_m2, polygonal
from pipeline.errors import StoreError, VersionConflict
from pipeline.store.results.measurements import remeasure

ReviewAction = Literal["accept", "edit", "relabel", "reject", "add", "restore"]

# Reviews and runs write to a property one at a time: its row is locked first.
_LOCK_PROPERTY_OF_DETECTION = text("""
SELECT 1 FROM lotline.property
WHERE id = (SELECT property_fk FROM lotline.detection WHERE id = :id) FOR NO KEY UPDATE
""")

_LOCK_PROPERTY = text("""
SELECT p.id, p.boundary_fk, p.chip_sha256,
    (SELECT ST_AsBinary(geom) FROM lotline.boundary WHERE id = p.boundary_fk) AS boundary
FROM lotline.property p WHERE p.id = :id FOR NO KEY UPDATE OF p
""")

_DETECTION = text("""
SELECT d.id, d.property_fk, d.state, d.label, d.version, d.review_fk,
    CAST(d.geom AS text) AS geom, ST_AsBinary(b.geom) AS boundary
FROM lotline.detection d JOIN lotline.boundary b ON b.id = d.boundary_fk
WHERE d.id = :id
""")

_INSERT_REVIEW = text("""
INSERT INTO lotline.review
    (detection_fk, action, reviewer, note, before, after, geom, label, idempotency_key)
VALUES (:id, :action, :reviewer, :note, CAST(:before AS jsonb), CAST(:after AS jsonb),
    ST_GeomFromWKB(:geom, 4326), :label, :idempotency_key)
RETURNING id, detection_fk, action, reviewer, note, after, created_at
""")

_REVIEW_BY_KEY = text("""
SELECT id, detection_fk, action, reviewer, note, after, created_at
FROM lotline.review WHERE idempotency_key = :idempotency_key
""")

# A trigger requires the review event above, and increments the version.
_UPDATE_DETECTION = text("""
UPDATE lotline.detection SET state = :state, label = :label,
    geom = coalesce(ST_GeomFromWKB(:geom, 4326), geom),
    area_m2 = coalesce(:area_m2, area_m2),
    clipped_area_m2 = coalesce(:clipped_area_m2, clipped_area_m2),
    whole_area_m2 = coalesce(:area_m2, whole_area_m2)
WHERE id = :id
""")

_INSERT_DETECTION = text("""
INSERT INTO lotline.detection (property_fk, boundary_fk, chip_sha256, label, prompt, segmenter,
    score, relation, geom, area_m2, clipped_area_m2, whole_area_m2, fingerprint)
VALUES (:property, :boundary, :chip, :label, '', 'person', 1, 'belongs',
    ST_GeomFromWKB(:geom, 4326), :area_m2, :clipped_area_m2, :area_m2, :fingerprint)
RETURNING id
""")

_PLACE = text("""
SELECT p.property_id, p.county FROM lotline.property p
JOIN lotline.detection d ON d.property_fk = p.id WHERE d.id = :id
""")


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
class _Verdict:
    """A requested review, without its detection."""

    action: ReviewAction
    reviewer: str
    note: str
    idempotency_key: str | None
    state: str
    label: str | None = None
    geometry: MultiPolygon | None = None


def place_of(conn: Connection, detection_id: int) -> str:
    """The property and the county of an existing detection, in words."""
    found = conn.execute(_PLACE, {"id": detection_id}).one()
    return f"{found.property_id} of {found.county}"


def accept(
    conn: Connection,
    detection_id: int,
    reviewer: str,
    note: str = "",
    *,
    idempotency_key: str | None = None,
    expected_version: int | None = None,
) -> Review:
    """Accept a detection: it is correct.

    Raises:
        StoreError: there is no such detection or no reviewer, or the detection is rejected or
            superseded.
        VersionConflict: the detection is not at the expected version.
    """
    verdict = _Verdict("accept", reviewer, note, idempotency_key, "accepted")
    return _review(conn, detection_id, verdict, expected_version)


def reject(
    conn: Connection,
    detection_id: int,
    reviewer: str,
    note: str = "",
    *,
    idempotency_key: str | None = None,
    expected_version: int | None = None,
) -> Review:
    """Reject a detection: it is wrong, and later runs suppress it. Raises what `accept` raises."""
    verdict = _Verdict("reject", reviewer, note, idempotency_key, "rejected")
    return _review(conn, detection_id, verdict, expected_version)


def restore(
    conn: Connection,
    detection_id: int,
    reviewer: str,
    note: str = "",
    *,
    idempotency_key: str | None = None,
    expected_version: int | None = None,
) -> Review:
    """Restore a rejected detection to proposed; later runs do not change it.

    Raises what `accept` raises, and StoreError if the detection is not rejected.
    """
    verdict = _Verdict("restore", reviewer, note, idempotency_key, "proposed")
    return _review(conn, detection_id, verdict, expected_version)


def relabel(
    conn: Connection,
    detection_id: int,
    reviewer: str,
    label: str,
    note: str = "",
    *,
    idempotency_key: str | None = None,
    expected_version: int | None = None,
) -> Review:
    """Change the label of a detection and accept it. Raises what `accept` raises."""
    verdict = _Verdict("relabel", reviewer, note, idempotency_key, "accepted", label=label)
    return _review(conn, detection_id, verdict, expected_version)


def edit(
    conn: Connection,
    detection_id: int,
    reviewer: str,
    geometry: BaseGeometry,
    note: str = "",
    *,
    idempotency_key: str | None = None,
    expected_version: int | None = None,
) -> Review:
    """Replace the outline of a detection (EPSG:4326 polygons) and accept it.

    Its areas are measured again: the clipped area inside the boundary, and the whole area of the
    new outline. Raises what `accept` raises, and StoreError for a geometry without an area.
    """
    outline = _outline(geometry)
    verdict = _Verdict("edit", reviewer, note, idempotency_key, "accepted", geometry=outline)
    return _review(conn, detection_id, verdict, expected_version)


def add(
    conn: Connection,
    property_fk: int,
    reviewer: str,
    label: str,
    geometry: BaseGeometry,
    note: str = "",
    *,
    idempotency_key: str | None = None,
) -> Review:
    """Add a detection that no run found, with this outline (EPSG:4326 polygons); it is accepted.

    It belongs to the property's current boundary and to the chip of its last inference.

    Raises:
        StoreError: there is no such property, it has no boundary, there is no reviewer, or the
            outline has no area.
    """
    outline = _outline(geometry)
    verdict = _Verdict("add", reviewer, note, idempotency_key, "accepted", geometry=outline)

    def write() -> Review:
        row = conn.execute(_LOCK_PROPERTY, {"id": property_fk}).one_or_none()
        if row is None or row.boundary_fk is None:
            raise StoreError(
                f"property {property_fk} has no boundary to add a detection to: run a batch first"
            )
        if (earlier := _earlier_review(conn, verdict, None)) is not None:
            return earlier
        values = {
            "property": row.id,
            "boundary": row.boundary_fk,
            "chip": row.chip_sha256,
            "label": label,
            "geom": shapely.to_wkb(outline),
            "area_m2": area_m2(outline),
            "clipped_area_m2": _clipped_area_m2(outline, row.boundary),
            "fingerprint": f"person:{uuid.uuid4()}",
        }
        detection_id = conn.execute(_INSERT_DETECTION, values).scalar_one()
        return _write(conn, conn.execute(_DETECTION, {"id": detection_id}).one(), verdict)

    return _in_savepoint(conn, verdict, write)


def _review(
    conn: Connection, detection_id: int, verdict: _Verdict, expected_version: int | None
) -> Review:
    def write() -> Review:
        conn.execute(_LOCK_PROPERTY_OF_DETECTION, {"id": detection_id})
        before = conn.execute(_DETECTION, {"id": detection_id}).one_or_none()
        if before is None:
            raise StoreError(
                f"there is no detection {detection_id}: run `lotline export` to list detections"
            )
        if (earlier := _earlier_review(conn, verdict, detection_id)) is not None:
            return earlier
        if expected_version is not None and before.version != expected_version:
            raise VersionConflict(
                f"detection {detection_id} is at version {before.version}, not "
                f"{expected_version}: it was changed after you read it. Read it again, then decide"
            )
        _require_reviewable(before, verdict.action)
        return _write(conn, before, verdict)

    return _in_savepoint(conn, verdict, write)


def _in_savepoint(conn: Connection, verdict: _Verdict, write: Callable[[], Review]) -> Review:
    if not verdict.reviewer.strip():
        raise StoreError("a review has no reviewer: give the name of the person who decides")
    with conn.begin_nested():
        return write()


def _write(conn: Connection, before: Row[Any], verdict: _Verdict) -> Review:
    """Write the event (without it a trigger refuses the change), detection and measurement."""
    label = verdict.label or before.label
    wkb = None if verdict.geometry is None else shapely.to_wkb(verdict.geometry)
    old = {name: getattr(before, name) for name in ("state", "label", "version", "geom")}
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
    }
    review = _review_from_row(conn.execute(_INSERT_REVIEW, event).one())
    whole_m2, clipped_m2 = None, None
    if verdict.geometry is not None:
        whole_m2 = area_m2(verdict.geometry)
        clipped_m2 = _clipped_area_m2(verdict.geometry, before.boundary)
    areas = {"area_m2": whole_m2, "clipped_area_m2": clipped_m2}
    conn.execute(
        _UPDATE_DETECTION,
        {"id": before.id, "state": verdict.state, "label": label, "geom": wkb, **areas},
    )
    remeasure(conn, before.property_fk, list({before.label, label}))
    return review


def _require_reviewable(before: Row[Any], action: ReviewAction) -> None:
    if before.state == "superseded":
        raise StoreError(
            f"detection {before.id} was superseded by a later run: review the later one instead"
        )
    if before.state == "rejected" and action != "restore":
        raise StoreError(f"detection {before.id} is rejected: restore it first")
    if before.state != "rejected" and action == "restore":
        raise StoreError(
            f"detection {before.id} is {before.state}: only a rejected detection can be restored"
        )


def _earlier_review(conn: Connection, verdict: _Verdict, detection_id: int | None) -> Review | None:
    """The review with the same idempotency key, if the verdict was sent before."""
    if verdict.idempotency_key is None:
        return None
    key = {"idempotency_key": verdict.idempotency_key}
    row = conn.execute(_REVIEW_BY_KEY, key).one_or_none()
    if row is None:
        return None
    if row.action != verdict.action or detection_id not in (None, row.detection_fk):
        raise StoreError(
            f"the idempotency key {verdict.idempotency_key!r} was used for another review "
            f"({row.action} of detection {row.detection_fk}): give each review its own key"
        )
    return _review_from_row(row)


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


def _outline(geometry: BaseGeometry) -> MultiPolygon:
    try:
        return polygonal(geometry)
    except GeometryError as error:
        raise StoreError(f"the outline is not valid: {error}") from error


def _clipped_area_m2(outline: MultiPolygon, boundary_wkb: bytes) -> float:
    return area_m2(shapely.intersection(outline, shapely.from_wkb(boundary_wkb)))
