"""Leases of properties: who has one open, so that nobody else gets it from a queue.

A lease warns and does not lock: versions protect what is saved. It ends when its holder goes on,
leaves, or does nothing for `LEASE_MINUTES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar, get_args

from sqlalchemy import Connection, Row, text

from pipeline.errors import NotStored, StoreError

ReviewQueue = Literal["list", "teaching", "audit"]
QUEUES: tuple[ReviewQueue, ...] = get_args(ReviewQueue)
LEASE_MINUTES = 10
# Others take a candidate between the look and the lease; more than so many times in a row is a
# fault, not a race.
_MAX_TRIES = 200

# In a statement over properties: the key of a candidate is free for :holder.
_FREE = """NOT EXISTS (
    SELECT FROM lotline.review_lease lease WHERE lease.property_fk = {key}
        AND lease.holder <> :holder AND lease.leased_until > now())"""

# The primary key decides who is first; an expired lease is taken over.
_TAKE = text(f"""
INSERT INTO lotline.review_lease AS lease (property_fk, reviewer, holder, queue, leased_until)
VALUES (:property, :reviewer, :holder, :queue, now() + interval '{LEASE_MINUTES} minutes')
ON CONFLICT (property_fk) DO UPDATE SET reviewer = EXCLUDED.reviewer, holder = EXCLUDED.holder,
    queue = EXCLUDED.queue, leased_until = EXCLUDED.leased_until
WHERE lease.holder = EXCLUDED.holder OR lease.leased_until <= now()
RETURNING property_fk, reviewer, holder, queue, leased_until
""")  # noqa: S608

_LEASE = text("""
SELECT property_fk, reviewer, holder, queue, leased_until FROM lotline.review_lease
WHERE property_fk = :property AND leased_until > now()
""")

# SKIP LOCKED: one that somebody is just taking over has expired.
_RELEASE_OTHERS = text("""
DELETE FROM lotline.review_lease WHERE property_fk IN (
    SELECT property_fk FROM lotline.review_lease
    WHERE holder = :holder AND property_fk <> :property FOR UPDATE SKIP LOCKED)
""")

_RELEASE = text("""
DELETE FROM lotline.review_lease WHERE property_fk = :property AND holder = :holder
""")

_IS_VISIBLE = text("""
SELECT EXISTS (SELECT FROM lotline.property p WHERE p.id = :property
    AND (CAST(:counties AS text[]) IS NULL OR p.county = ANY(:counties)))
""")


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """Who leases: a reviewer, in one tab of one browser or in one program.

    Attributes:
        key: of the tab; two tabs of a reviewer are two holders.
    """

    reviewer: str
    key: str


@dataclass(frozen=True, slots=True)
class ReviewLease:
    """A lease of a property; `is_mine` for the holder who asks."""

    property_key: int
    reviewer: str
    queue: ReviewQueue
    leased_until: datetime
    is_mine: bool


class _Candidate(Protocol):
    @property
    def property_key(self) -> int: ...


_Found = TypeVar("_Found", bound=_Candidate)


def is_free(key: str) -> str:
    """SQL: whether nobody but :holder has a lease of the property whose key is this expression."""
    return _FREE.format(key=key)


def require_property(
    conn: Connection, property_key: int, counties: Sequence[str] | None = None
) -> None:
    """Refuse a property that does not exist, or is in none of the counties (None for all).

    Raises:
        NotStored: there is none.
    """
    values = {"property": property_key, "counties": None if counties is None else list(counties)}
    if not conn.execute(_IS_VISIBLE, values).scalar_one():
        raise NotStored(f"there is no property {property_key}")


def take(
    conn: Connection, property_key: int, holder: LeaseHolder, queue: ReviewQueue
) -> ReviewLease:
    """Take or renew the lease of a property; that of another holder is returned, not taken."""
    values = {
        "property": property_key,
        "reviewer": holder.reviewer,
        "holder": holder.key,
        "queue": queue,
    }
    for _ in range(_MAX_TRIES):
        row = conn.execute(_TAKE, values).one_or_none()
        row = row or conn.execute(_LEASE, {"property": property_key}).one_or_none()
        if row is not None:  # else the other's lease ended between the two statements
            return _lease(row, holder)
    raise StoreError(f"property {property_key} is taken and released all the time: try again")


def take_first(
    conn: Connection,
    find: Callable[[], _Found | None],
    holder: LeaseHolder,
    queue: ReviewQueue,
) -> tuple[_Found, ReviewLease] | None:
    """Lease the first candidate that is still free, and release the holder's other leases.

    Args:
        find: the best candidate that `is_free` at the moment; None if there is none.
    """
    lease: ReviewLease | None = None
    for _ in range(_MAX_TRIES):
        if (found := find()) is None:
            if lease is not None:
                release(conn, lease.property_key, holder)
            return None
        # Looked at again after the lease: until then others may have taken it, decided, and left.
        if lease is not None and found.property_key == lease.property_key:
            conn.execute(_RELEASE_OTHERS, {"holder": holder.key, "property": found.property_key})
            return found, lease
        taken = take(conn, found.property_key, holder, queue)
        lease = taken if taken.is_mine else None
    raise StoreError("other reviewers take every property first: try again")


def lease_of(conn: Connection, property_key: int, holder: LeaseHolder) -> ReviewLease | None:
    """The lease of a property, if somebody has one."""
    row = conn.execute(_LEASE, {"property": property_key}).one_or_none()
    return None if row is None else _lease(row, holder)


def release(conn: Connection, property_key: int, holder: LeaseHolder) -> None:
    """End the holder's lease of a property; that of another holder stays."""
    conn.execute(_RELEASE, {"property": property_key, "holder": holder.key})


def _lease(row: Row[Any], holder: LeaseHolder) -> ReviewLease:
    return ReviewLease(
        row.property_fk, row.reviewer, row.queue, row.leased_until, row.holder == holder.key
    )
