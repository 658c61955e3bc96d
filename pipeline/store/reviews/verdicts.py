"""Reviews of detections: accept, reject, restore, relabel, edit, add, delete.

Each function writes the review event, the detection and its measurement in a savepoint of the
caller's transaction: all of them or none; see `events` for idempotency keys and versions.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import shapely
from shapely import MultiPolygon
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection, Row, text

from parcels.errors import GeometryError
from parcels.measure import area_m2, polygonal
from pipeline.errors import StoreError
from pipeline.store.reviews.events import (
    Review,
    ReviewAction,
    Verdict,
    clipped_area_m2,
    earlier_review,
    in_savepoint,
    review_detection,
    stored_detection,
    write_event,
)

_LOCK_PROPERTY = text("""
SELECT p.id, p.boundary_fk, p.chip_sha256,
    (SELECT ST_AsBinary(geom) FROM lotline.boundary WHERE id = p.boundary_fk) AS boundary
FROM lotline.property p WHERE p.id = :id FOR NO KEY UPDATE OF p
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
    verdict = Verdict("accept", reviewer, note, idempotency_key, "accepted")
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
    verdict = Verdict("reject", reviewer, note, idempotency_key, "rejected")
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
    verdict = Verdict("restore", reviewer, note, idempotency_key, "proposed")
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
    verdict = Verdict("relabel", reviewer, note, idempotency_key, "accepted", label=label)
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
    verdict = Verdict("edit", reviewer, note, idempotency_key, "accepted", geometry=outline)
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
    verdict = Verdict("add", reviewer, note, idempotency_key, "accepted", geometry=outline)

    def write() -> Review:
        row = conn.execute(_LOCK_PROPERTY, {"id": property_fk}).one_or_none()
        if row is None or row.boundary_fk is None:
            raise StoreError(
                f"property {property_fk} has no boundary to add a detection to: run a batch first"
            )
        if (earlier := earlier_review(conn, verdict, None, added=(row.id, label))) is not None:
            return earlier
        values = {
            "property": row.id,
            "boundary": row.boundary_fk,
            "chip": row.chip_sha256,
            "label": label,
            "geom": shapely.to_wkb(outline),
            "area_m2": area_m2(outline),
            "clipped_area_m2": clipped_area_m2(outline, row.boundary),
            "fingerprint": f"person:{uuid.uuid4()}",
        }
        detection_id = conn.execute(_INSERT_DETECTION, values).scalar_one()
        before = stored_detection(conn, detection_id)
        assert before is not None  # noqa: S101 - it was just inserted
        return write_event(conn, before, verdict)

    return in_savepoint(conn, verdict, write)


def delete(
    conn: Connection,
    detection_id: int,
    reviewer: str,
    note: str = "",
    *,
    idempotency_key: str | None = None,
    expected_version: int | None = None,
) -> Review:
    """Delete a detection, such as the second outline of one object.

    It says nothing of the ground: it is no error of the segmenter. What a run found becomes
    rejected, so that later runs do not bring it back; what a person drew is superseded. Raises
    what `accept` raises.
    """
    asked = Verdict("delete", reviewer, note, idempotency_key, "rejected")

    def judge(before: Row[Any]) -> Verdict:
        _require_reviewable(before, "delete")
        return replace(asked, state="superseded") if before.segmenter == "person" else asked

    return review_detection(conn, detection_id, asked, expected_version, judge)


def _review(
    conn: Connection, detection_id: int, verdict: Verdict, expected_version: int | None
) -> Review:
    def judge(before: Row[Any]) -> Verdict:
        _require_reviewable(before, verdict.action)
        return verdict

    return review_detection(conn, detection_id, verdict, expected_version, judge)


def _require_reviewable(before: Row[Any], action: ReviewAction) -> None:
    if before.state == "superseded":
        raise StoreError(f"detection {before.id} is superseded: review what took its place instead")
    if before.state == "rejected" and action != "restore":
        raise StoreError(f"detection {before.id} is rejected: restore it first")
    if before.state != "rejected" and action == "restore":
        raise StoreError(
            f"detection {before.id} is {before.state}: only a rejected detection can be restored"
        )


def _outline(geometry: BaseGeometry) -> MultiPolygon:
    try:
        return polygonal(geometry)
    except GeometryError as error:
        raise StoreError(f"the outline is not valid: {error}") from error
