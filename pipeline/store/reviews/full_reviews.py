"""Properties that were reviewed in full: every object of their labels was decided by people.

Only there may ground without an object become a negative example in training. A mark holds for the
boundary and the chip that were reviewed, as long as no object of its labels is undecided; a later
boundary, other imagery or a new proposal ends it, without anybody having to withdraw it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from pipeline.errors import NotStored, StoreError
from pipeline.store.review_tables import FULL_REVIEW_HOLDS

HOLDS = FULL_REVIEW_HOLDS

_IN_FORCE = text(f"""
SELECT f.reviewer, f.created_at, f.labels, f.note
FROM lotline.property p
CROSS JOIN LATERAL (SELECT * FROM lotline.full_review WHERE property_fk = p.id
    ORDER BY id DESC LIMIT 1) f
WHERE p.id = :property AND {HOLDS}
""")  # noqa: S608

_PROPERTY = text("""
SELECT p.id, p.boundary_fk, p.chip_sha256,
    (SELECT count(*) FROM lotline.detection d
        WHERE d.property_fk = p.id AND d.state = 'proposed') AS undecided_count,
    ARRAY(SELECT label FROM lotline.measurement m WHERE m.property_fk = p.id AND m.current
        AND m.boundary_fk = p.boundary_fk ORDER BY label) AS labels
FROM lotline.property p WHERE p.id = :property FOR NO KEY UPDATE OF p
""")

_LAST_LABELS = text("""
SELECT labels FROM lotline.full_review
WHERE property_fk = :property ORDER BY id DESC LIMIT 1
""")

_BY_KEY = text("""
SELECT property_fk, is_full FROM lotline.full_review WHERE idempotency_key = :key
""")

_INSERT = text("""
INSERT INTO lotline.full_review
    (property_fk, boundary_fk, chip_sha256, labels, is_full, reviewer, note, idempotency_key)
VALUES (:property, :boundary, :chip, :labels, :is_full, :reviewer, :note, :key)
""")


@dataclass(frozen=True, slots=True)
class FullReview:
    """A mark that holds.

    Attributes:
        labels: those of which every object was decided.
    """

    reviewer: str
    created_at: datetime
    labels: tuple[str, ...]
    note: str


def full_review(conn: Connection, property_key: int) -> FullReview | None:
    """The mark of a property that holds; None if there is none."""
    row = conn.execute(_IN_FORCE, {"property": property_key}).one_or_none()
    if row is None:
        return None
    return FullReview(row.reviewer, row.created_at, tuple(row.labels), row.note)


def mark_fully_reviewed(
    conn: Connection,
    property_key: int,
    reviewer: str,
    note: str = "",
    *,
    idempotency_key: str | None = None,
) -> None:
    """Mark a property: all objects of its measured labels are decided, and none is missing.

    Raises:
        NotStored: there is no such property.
        StoreError: objects are undecided, nothing was measured in its boundary of today, or there
            is no reviewer.
    """
    row = _locked(conn, property_key)
    if _is_repeated(conn, property_key, True, idempotency_key):
        return
    if row.undecided_count:
        raise StoreError(
            f"{row.undecided_count:,} of the property's objects are undecided: accept, edit or "
            "reject what is proposed, then mark it"
        )
    if row.boundary_fk is None or not row.labels:
        raise StoreError(
            "nothing was measured in this property's boundary of today, so nothing can be missing: "
            "run a batch first"
        )
    _write(conn, row, row.labels, True, reviewer, note, idempotency_key)


def withdraw_full_review(
    conn: Connection,
    property_key: int,
    reviewer: str,
    note: str = "",
    *,
    idempotency_key: str | None = None,
) -> None:
    """Withdraw a property's mark; without one it has no effect.

    Raises:
        NotStored: there is no such property.
        StoreError: there is no reviewer.
    """
    row = _locked(conn, property_key)
    if _is_repeated(conn, property_key, False, idempotency_key):
        return
    last = conn.execute(_LAST_LABELS, {"property": property_key}).one_or_none()
    if last is not None and row.boundary_fk is not None:
        _write(conn, row, last.labels, False, reviewer, note, idempotency_key)


def _locked(conn: Connection, property_key: int) -> Row[Any]:
    row = conn.execute(_PROPERTY, {"property": property_key}).one_or_none()
    if row is None:
        raise NotStored(f"there is no property {property_key}")
    return row


def _is_repeated(conn: Connection, property_key: int, is_full: bool, key: str | None) -> bool:
    """Whether this was asked before with the same key."""
    row = None if key is None else conn.execute(_BY_KEY, {"key": key}).one_or_none()
    if row is not None and (row.property_fk, row.is_full) != (property_key, is_full):
        raise StoreError(f"the idempotency key {key!r} was used for another mark: use a new one")
    return row is not None


def _write(
    conn: Connection,
    row: Row[Any],
    labels: Sequence[str],
    is_full: bool,
    reviewer: str,
    note: str,
    key: str | None,
) -> None:
    if not reviewer.strip():
        raise StoreError("a mark has no reviewer: give the name of the person who decides")
    values = {
        "property": row.id,
        "boundary": row.boundary_fk,
        "chip": row.chip_sha256,
        "labels": list(labels),
        "is_full": is_full,
        "reviewer": reviewer,
        "note": note,
        "key": key,
    }
    conn.execute(_INSERT, values)
