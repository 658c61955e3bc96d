"""Takes reviews back, and does them again; both are events of their own, nothing is removed.

An undo takes a detection to the state, label and outline that it had before the event, exactly.
When no event is left that counts, the detection is as if nobody had reviewed it: runs may change
it.
"""

from __future__ import annotations

from typing import Any

import shapely
from sqlalchemy import Connection, Row, text

from parcels.measure import area_m2, polygonal
from pipeline.errors import NotStored, StoreError
from pipeline.store.reviews.events import (
    OutlineAreas,
    Review,
    Verdict,
    clipped_area_m2,
    review_detection,
)

# A trigger sets review_fk to the newest event that was not undone.
_EVENT = text("""
SELECT r.id, r.detection_fk, r.action, r.reviewer, r.note, r.label, r.before, r.after,
    ST_AsBinary(r.geom) AS geom, ST_AsBinary(CAST(r.before ->> 'geom' AS geometry)) AS geom_before,
    (SELECT u.id FROM lotline.review u WHERE u.undoes = r.id) AS undone_by
FROM lotline.review r WHERE r.id = :id
""")


def detection_of_event(conn: Connection, review_id: int) -> int:
    """The id of the detection that an event is about.

    Raises:
        NotStored: there is no such event.
    """
    return int(_event(conn, review_id).detection_fk)


def undo(
    conn: Connection,
    review_id: int,
    reviewer: str,
    note: str | None = None,
    *,
    idempotency_key: str | None = None,
    expected_version: int | None = None,
) -> Review:
    """Take a review back: its detection is what it was before.

    Raises:
        NotStored: there is no such event.
        StoreError: it is undone already, is an undo, is of another reviewer, or is not the newest
            event of its detection that counts.
        VersionConflict: the detection is not at the expected version.
    """
    note = note or ""
    asked = Verdict("undo", reviewer, note, idempotency_key, "", undoes=review_id)

    def judge(before: Row[Any]) -> Verdict:
        event = _event(conn, review_id)  # again: the property is locked now
        _require_undoable(event, before, reviewer)
        if event.action == "add":
            return Verdict("undo", reviewer, note, idempotency_key, "superseded", undoes=review_id)
        return Verdict(
            "undo",
            reviewer,
            note,
            idempotency_key,
            event.before["state"],
            event.before["label"],
            polygonal(shapely.from_wkb(event.geom_before)),
            _areas_before(event, before),
            review_id,
        )

    detection_id = detection_of_event(conn, review_id)
    return review_detection(conn, detection_id, asked, expected_version, judge)


def redo(
    conn: Connection,
    review_id: int,
    reviewer: str,
    note: str | None = None,
    *,
    idempotency_key: str | None = None,
    expected_version: int | None = None,
) -> Review:
    """Do a review again that was taken back: a new event like it.

    Args:
        review_id: the event that was undone.
        note: of the new event; that of the old one if None.

    Raises:
        NotStored: there is no such event.
        StoreError: it is not undone, or its detection was reviewed since.
        VersionConflict: the detection is not at the expected version.
    """
    event = _event(conn, review_id)
    asked = Verdict(
        event.action,
        reviewer,
        event.note if note is None else note,
        idempotency_key,
        event.after["state"],
        event.label,
        None if event.geom is None else polygonal(shapely.from_wkb(event.geom)),
    )

    def judge(before: Row[Any]) -> Verdict:
        undone_by = _event(conn, review_id).undone_by
        if undone_by is None:
            raise StoreError(f"review {review_id} is not undone: there is nothing to do again")
        # After a chain of undos the detection is where the event found it, by a later redo.
        is_as_found = all(
            getattr(before, name) == event.before[name] for name in ("state", "label", "geom")
        )
        if undone_by != before.event_fk and not is_as_found:
            raise StoreError(
                f"detection {before.id} was reviewed after review {review_id} was undone: decide "
                "about it anew"
            )
        return asked

    return review_detection(conn, event.detection_fk, asked, expected_version, judge)


def _event(conn: Connection, review_id: int) -> Row[Any]:
    row = conn.execute(_EVENT, {"id": review_id}).one_or_none()
    if row is None:
        raise NotStored(f"there is no review {review_id}")
    return row


def _require_undoable(event: Row[Any], before: Row[Any], reviewer: str) -> None:
    if event.action == "undo":
        raise StoreError(f"review {event.id} is an undo: do the review again that it took back")
    if event.undone_by is not None:
        raise StoreError(f"review {event.id} is undone already")
    if event.reviewer != reviewer:
        raise StoreError(
            f"review {event.id} is by {event.reviewer}: decide about detection {before.id} anew "
            "instead of undoing what somebody else decided"
        )
    if before.review_fk != event.id:
        raise StoreError(
            f"detection {before.id} was reviewed again after review {event.id}: undo that first"
        )


def _areas_before(event: Row[Any], now: Row[Any]) -> OutlineAreas:
    """The areas before an event; events of earlier versions of Lotline did not keep them."""
    kept = event.before
    if "area_m2" in kept:
        return OutlineAreas(kept["area_m2"], kept["clipped_area_m2"], kept["whole_area_m2"])
    if event.geom is None:  # it left the outline as it was
        return OutlineAreas(now.area_m2, now.clipped_area_m2, now.whole_area_m2)
    outline = polygonal(shapely.from_wkb(event.geom_before))
    size_m2 = area_m2(outline)
    return OutlineAreas(size_m2, clipped_area_m2(outline, now.boundary), size_m2)
