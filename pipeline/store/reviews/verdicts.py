"""What people say of detections: each verdict an event, with the detection and its measurement.

Every function writes all three or nothing, in a savepoint of the caller's transaction. Given an
`idempotency_key`, a verdict that is sent twice counts once and is answered alike. Given an
`expected_version`, a verdict on a detection that has changed meanwhile is refused.
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

# People and runs write to one property one after the other, so the property is locked first.
_LOCK_BY_DETECTION = text("""
SELECT 1 FROM lotline.property
WHERE id = (SELECT property_fk FROM lotline.detection WHERE id = :id) FOR NO KEY UPDATE
""")

_LOCK = text("""
SELECT p.id, p.boundary_fk, p.chip_sha256,
    (SELECT ST_AsBinary(geom) FROM lotline.boundary WHERE id = p.boundary_fk) AS boundary
FROM lotline.property p WHERE p.id = :id FOR NO KEY UPDATE OF p
""")

_BEFORE = text("""
SELECT d.id, d.property_fk, d.state, d.label, d.version, d.review_fk,
    CAST(d.geom AS text) AS geom, ST_AsBinary(b.geom) AS boundary
FROM lotline.detection d JOIN lotline.boundary b ON b.id = d.boundary_fk
WHERE d.id = :id
""")

_EVENT = text("""
INSERT INTO lotline.review
    (detection_fk, action, reviewer, note, before, after, geom, label, idempotency_key)
VALUES (:id, :action, :reviewer, :note, CAST(:before AS jsonb), CAST(:after AS jsonb),
    ST_GeomFromWKB(:geom, 4326), :label, :idempotency_key)
RETURNING id, detection_fk, action, reviewer, note, after, created_at
""")

_EVENT_OF_KEY = text("""
SELECT id, detection_fk, action, reviewer, note, after, created_at
FROM lotline.review WHERE idempotency_key = :idempotency_key
""")

# The database's own guard checks that the event above is there, and counts the version up.
_CHANGE = text("""
UPDATE lotline.detection SET state = :state, label = :label,
    geom = coalesce(ST_GeomFromWKB(:geom, 4326), geom),
    area_m2 = coalesce(:area_m2, area_m2),
    clipped_area_m2 = coalesce(:clipped_area_m2, clipped_area_m2),
    whole_area_m2 = coalesce(:area_m2, whole_area_m2)
WHERE id = :id
""")

_ADD = text("""
INSERT INTO lotline.detection (property_fk, boundary_fk, chip_sha256, label, prompt, segmenter,
    score, relation, geom, area_m2, clipped_area_m2, whole_area_m2, fingerprint)
VALUES (:property, :boundary, :chip, :label, '', 'person', 1, 'belongs',
    ST_GeomFromWKB(:geom, 4326), :area_m2, :clipped_area_m2, :area_m2, :fingerprint)
RETURNING id
""")


@dataclass(frozen=True, slots=True)
class Review:
    """A verdict as it was taken.

    Attributes:
        state, label, version: of the detection after it.
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
    """What a person says, before it is known of what."""

    action: ReviewAction
    reviewer: str
    note: str
    idempotency_key: str | None
    state: str
    label: str | None = None
    geometry: MultiPolygon | None = None


def accept(
    conn: Connection,
    detection_id: int,
    reviewer: str,
    note: str = "",
    *,
    idempotency_key: str | None = None,
    expected_version: int | None = None,
) -> Review:
    """It is right as it is.

    Raises:
        StoreError: no such detection, no reviewer, or one that is rejected or superseded.
        VersionConflict: it is not at the expected version.
    """
    verdict = _Verdict("accept", reviewer, note, idempotency_key, "accepted")
    return _decide(conn, detection_id, verdict, expected_version)


def reject(
    conn: Connection,
    detection_id: int,
    reviewer: str,
    note: str = "",
    *,
    idempotency_key: str | None = None,
    expected_version: int | None = None,
) -> Review:
    """It is wrong, and no later run brings it back. Raises what `accept` raises."""
    verdict = _Verdict("reject", reviewer, note, idempotency_key, "rejected")
    return _decide(conn, detection_id, verdict, expected_version)


def restore(
    conn: Connection,
    detection_id: int,
    reviewer: str,
    note: str = "",
    *,
    idempotency_key: str | None = None,
    expected_version: int | None = None,
) -> Review:
    """It was rejected by mistake: back to proposed, where no run changes it any more.

    Raises what `accept` raises, also where it is not rejected.
    """
    verdict = _Verdict("restore", reviewer, note, idempotency_key, "proposed")
    return _decide(conn, detection_id, verdict, expected_version)


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
    """It is something else, and accepted as that. Raises what `accept` raises."""
    verdict = _Verdict("relabel", reviewer, note, idempotency_key, "accepted", label=label)
    return _decide(conn, detection_id, verdict, expected_version)


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
    """Its outline is this one (EPSG:4326 polygons), and accepted as that.

    Its area and the area inside the boundary are measured anew; what is seen of it is whole.
    Raises what `accept` raises, also for a geometry without an area.
    """
    outline = _outline(geometry)
    verdict = _Verdict("edit", reviewer, note, idempotency_key, "accepted", geometry=outline)
    return _decide(conn, detection_id, verdict, expected_version)


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
    """Something that no run found: an accepted detection with this outline (EPSG:4326 polygons).

    It belongs to the property's current boundary and to the picture that was looked at last.

    Raises:
        StoreError: no such property, one without a boundary, no reviewer, no area.
    """
    outline = _outline(geometry)
    verdict = _Verdict("add", reviewer, note, idempotency_key, "accepted", geometry=outline)

    def write() -> Review:
        place = conn.execute(_LOCK, {"id": property_fk}).one_or_none()
        if place is None or place.boundary_fk is None:
            raise StoreError(
                f"property {property_fk} has no boundary to add a detection to: run a batch first"
            )
        if (first := _first_answer(conn, verdict, None)) is not None:
            return first
        values = {
            "property": place.id,
            "boundary": place.boundary_fk,
            "chip": place.chip_sha256,
            "label": label,
            "geom": shapely.to_wkb(outline),
            "area_m2": area_m2(outline),
            "clipped_area_m2": _inside_m2(outline, place.boundary),
            "fingerprint": f"person:{uuid.uuid4()}",
        }
        detection_id = conn.execute(_ADD, values).scalar_one()
        return _write(conn, conn.execute(_BEFORE, {"id": detection_id}).one(), verdict)

    return _in_savepoint(conn, verdict, write)


def _decide(
    conn: Connection, detection_id: int, verdict: _Verdict, expected_version: int | None
) -> Review:
    def write() -> Review:
        conn.execute(_LOCK_BY_DETECTION, {"id": detection_id})
        before = conn.execute(_BEFORE, {"id": detection_id}).one_or_none()
        if before is None:
            raise StoreError(f"there is no detection {detection_id}: `lotline export` lists them")
        if (first := _first_answer(conn, verdict, detection_id)) is not None:
            return first
        if expected_version is not None and before.version != expected_version:
            raise VersionConflict(
                f"detection {detection_id} is at version {before.version}, not at "
                f"{expected_version}: somebody changed it; look at it again, then decide"
            )
        _require_reviewable(before, verdict.action)
        return _write(conn, before, verdict)

    return _in_savepoint(conn, verdict, write)


def _in_savepoint(conn: Connection, verdict: _Verdict, write: Callable[[], Review]) -> Review:
    if not verdict.reviewer.strip():
        raise StoreError("a review has no reviewer: give the name of the person who says it")
    with conn.begin_nested():
        return write()


def _write(conn: Connection, before: Row[Any], verdict: _Verdict) -> Review:
    """The event first, without which the database refuses the change; then the measurement."""
    label = verdict.label or before.label
    wkb = None if verdict.geometry is None else shapely.to_wkb(verdict.geometry)
    was = {name: getattr(before, name) for name in ("state", "label", "version", "geom")}
    becomes = {"state": verdict.state, "label": label, "version": before.version + 1}
    event = {
        "id": before.id,
        "action": verdict.action,
        "reviewer": verdict.reviewer,
        "note": verdict.note,
        "before": json.dumps(was),
        "after": json.dumps(becomes),
        "geom": wkb,
        "label": verdict.label,
        "idempotency_key": verdict.idempotency_key,
    }
    review = _review(conn.execute(_EVENT, event).one())
    area, inside = None, None
    if verdict.geometry is not None:
        area = area_m2(verdict.geometry)
        inside = _inside_m2(verdict.geometry, before.boundary)
    change = {"area_m2": area, "clipped_area_m2": inside}
    conn.execute(
        _CHANGE,
        {"id": before.id, "state": verdict.state, "label": label, "geom": wkb, **change},
    )
    remeasure(conn, before.property_fk, list({before.label, label}))
    return review


def _require_reviewable(before: Row[Any], action: ReviewAction) -> None:
    if before.state == "superseded":
        raise StoreError(
            f"detection {before.id} was superseded by a later run: review what took its place"
        )
    if before.state == "rejected" and action != "restore":
        raise StoreError(f"detection {before.id} is rejected: restore it first")
    if before.state != "rejected" and action == "restore":
        raise StoreError(f"detection {before.id} is {before.state}: only a rejected one comes back")


def _first_answer(conn: Connection, verdict: _Verdict, detection_id: int | None) -> Review | None:
    """What the same verdict was answered when it was sent before."""
    if verdict.idempotency_key is None:
        return None
    key = {"idempotency_key": verdict.idempotency_key}
    row = conn.execute(_EVENT_OF_KEY, key).one_or_none()
    if row is None:
        return None
    if row.action != verdict.action or detection_id not in (None, row.detection_fk):
        raise StoreError(
            f"the idempotency key {verdict.idempotency_key!r} was used for another review "
            f"({row.action} of detection {row.detection_fk}): give each review a key of its own"
        )
    return _review(row)


def _review(row: Row[Any]) -> Review:
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
        raise StoreError(f"the outline cannot be used: {error}") from error


def _inside_m2(outline: MultiPolygon, boundary_wkb: bytes) -> float:
    return area_m2(shapely.intersection(outline, shapely.from_wkb(boundary_wkb)))
