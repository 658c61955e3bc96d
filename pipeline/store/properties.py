"""The queue of a county's properties: loading, leasing, and states that have no result.

Functions take a `Connection`, and the caller commits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, text

from parcels.boundary import Property

Unfinished = Literal["pending", "deferred", "failed", "no_imagery"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """How many properties were new, changed (and are pending again), or as they were."""

    new: int
    changed: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class LeasedProperty:
    """A property that one owner works on.

    Attributes:
        id: the row's key, which the other functions of the store take.
        attempts: how often it has been leased, this time included.
    """

    id: int
    property: Property
    attempts: int


_STAGE = text("""
CREATE TEMPORARY TABLE staged_property (
    line bigint GENERATED ALWAYS AS IDENTITY,
    property_id text, longitude double precision, latitude double precision,
    parcel_id text, address text
) ON COMMIT DROP
""")

_STAGE_COPY = """
COPY staged_property (property_id, longitude, latitude, parcel_id, address) FROM STDIN
"""

# The last line of a property_id counts. What is asked about a property decides: where it differs,
# the property is asked about anew; where it does not, the row is left alone. Where it lies
# elsewhere now (another address moves only what was found by its address), what was found at the
# old place is no longer said of it, whatever becomes of the new place; only what a person reviewed
# stays. All parts see the rows as they were before; the properties are written, and so locked,
# first.
_UPSERT = text("""
WITH staged AS (
    SELECT DISTINCT ON (property_id) property_id, parcel_id, address,
        ST_SetSRID(ST_MakePoint(longitude, latitude), 4326) AS point
    FROM staged_property ORDER BY property_id, line DESC
), moved AS (
    SELECT old.id FROM lotline.property old JOIN staged USING (property_id)
    WHERE old.county = :county
        AND ((old.point, old.parcel_id) IS DISTINCT FROM (staged.point, staged.parcel_id)
             OR (old.address IS DISTINCT FROM staged.address
                 AND (old.method IN ('address', 'house_number') OR old.located_by <> 'given')))
), written AS (
    INSERT INTO lotline.property AS old (county, property_id, point, parcel_id, address)
    SELECT :county, property_id, point, parcel_id, address FROM staged
    ON CONFLICT (county, property_id) DO UPDATE SET
        point = excluded.point, parcel_id = excluded.parcel_id, address = excluded.address,
        (boundary_fk, chip_sha256, imaged_share, method, located_by, located_point, confidence,
         matched_address) = (
            SELECT old.boundary_fk, old.chip_sha256, old.imaged_share, old.method, old.located_by,
                old.located_point, old.confidence, old.matched_address
            WHERE old.id NOT IN (SELECT id FROM moved)),  -- else all NULL
        state = 'pending', reason = '', detail = '', attempts = 0,
        lease_owner = NULL, leased_until = NULL, updated_at = now()
    WHERE (old.point, old.parcel_id, old.address)
        IS DISTINCT FROM (excluded.point, excluded.parcel_id, excluded.address)
    RETURNING id, xmax = 0 AS is_new  -- xmax is 0 in a row that this statement inserted
), retired AS (
    UPDATE lotline.measurement SET current = false
    FROM written JOIN moved USING (id) WHERE property_fk = moved.id AND current
), superseded AS (
    UPDATE lotline.detection SET state = 'superseded'
    FROM written JOIN moved USING (id)
    WHERE property_fk = moved.id AND state = 'proposed' AND review_fk IS NULL
)
SELECT (SELECT count(*) FROM staged) AS staged,
    count(*) FILTER (WHERE is_new) AS new, count(*) FILTER (WHERE NOT is_new) AS changed
FROM written
""")

# NULL for the ids means the whole county.
_CHOSEN = """
county = :county AND (CAST(:property_ids AS text[]) IS NULL
                      OR property_id = ANY(CAST(:property_ids AS text[])))
"""

_RESET = text(f"""
UPDATE lotline.property SET state = 'pending', reason = '', detail = '', attempts = 0,
    lease_owner = NULL, leased_until = NULL, updated_at = now()
WHERE id IN (
    SELECT id FROM lotline.property
    WHERE {_CHOSEN} AND NOT (state = 'leased' AND leased_until >= clock_timestamp())
    ORDER BY sort_key, id LIMIT :limit)
    AND state <> 'pending'
""")  # noqa: S608

_STATES = text(f"""
SELECT state, reason, count(*) FROM lotline.property WHERE {_CHOSEN} GROUP BY state, reason
""")  # noqa: S608

# A worker whose lease ran out, or whose property was changed under its hands, holds it no more.
_HOLDS = text("""
SELECT 1 FROM lotline.property WHERE id = :id AND state = 'leased' AND lease_owner = :owner
FOR NO KEY UPDATE
""")

_RENEW = text("""
UPDATE lotline.property SET leased_until = clock_timestamp() + make_interval(secs => :lease_s)
WHERE state = 'leased' AND lease_owner = :owner
""")

_RELEASE = text("""
UPDATE lotline.property SET state = 'pending', lease_owner = NULL, leased_until = NULL,
    updated_at = now()
WHERE state = 'leased' AND lease_owner = :owner
""")

_COUNT_UNPROCESSED = text(f"""
SELECT count(*) FROM lotline.property
WHERE {_CHOSEN} AND (state IN ('pending', 'deferred')
                     OR (state = 'leased' AND leased_until < clock_timestamp()))
""")  # noqa: S608

# What this run deferred is left for a later run, or a run would never end. Rows that another
# owner is leasing at this moment are skipped, not waited for.
_LEASE = text(f"""
WITH picked AS (
    SELECT id FROM lotline.property
    WHERE {_CHOSEN} AND (
        state = 'pending'
        OR (state = 'deferred' AND run_fk IS DISTINCT FROM :run)
        OR (state = 'leased' AND leased_until < clock_timestamp()))
    ORDER BY sort_key, id LIMIT :limit
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE lotline.property AS p SET state = 'leased', lease_owner = :owner,
    leased_until = clock_timestamp() + make_interval(secs => :lease_s),
    attempts = attempts + 1, run_fk = :run, updated_at = now()
FROM picked WHERE p.id = picked.id
RETURNING p.id, p.property_id, ST_X(p.point) AS longitude, ST_Y(p.point) AS latitude,
    p.parcel_id, p.address, p.attempts, p.sort_key
""")  # noqa: S608

# A worker whose lease ran out may come late: what somebody else finished stays finished.
_FINISH = text("""
UPDATE lotline.property SET state = :state, reason = :reason, detail = :detail,
    lease_owner = NULL, leased_until = NULL, updated_at = now()
WHERE id = ANY(CAST(:ids AS bigint[])) AND state NOT IN ('done', 'no_imagery')
""")


def load(conn: Connection, county: str, properties: Iterable[Property]) -> Loaded:
    """Put properties into a county's queue, however many, in one statement.

    A property that is there already goes back to pending if its point, parcel id or address
    changed. Where a property_id comes twice, the last one counts.
    """
    conn.execute(text("DROP TABLE IF EXISTS staged_property"))
    conn.execute(_STAGE)
    driver = conn.connection.driver_connection
    assert driver is not None  # noqa: S101 (an open Connection has one; for the type checker)
    with driver.cursor() as cursor, cursor.copy(_STAGE_COPY) as copy:
        for item in properties:
            place = (item.longitude, item.latitude)
            copy.write_row((item.property_id, *place, item.parcel_id, item.address))
    counts = conn.execute(_UPSERT, {"county": county}).one()
    return Loaded(counts.new, counts.changed, counts.staged - counts.new - counts.changed)


def reset(
    conn: Connection,
    county: str,
    property_ids: Sequence[str] | None = None,
    limit: int | None = None,
) -> int:
    """Make properties (None: all of the county) pending again, except what is being worked on.

    With `limit` only the first so many. Returns how many changed.
    """
    values = {"county": county, "property_ids": _ids(property_ids), "limit": limit}
    return conn.execute(_RESET, values).rowcount


def states(
    conn: Connection, county: str, property_ids: Sequence[str] | None = None
) -> dict[tuple[str, str], int]:
    """How many properties (None: of the whole county) are in which state, for which reason."""
    chosen = {"county": county, "property_ids": _ids(property_ids)}
    return {(state, reason): count for state, reason, count in conn.execute(_STATES, chosen)}


def holds(conn: Connection, property_fk: int, owner: str) -> bool:
    """Whether the lease is still the owner's; if so, it stays so until the transaction ends."""
    return conn.execute(_HOLDS, {"id": property_fk, "owner": owner}).first() is not None


def renew(conn: Connection, owner: str, lease_s: float) -> None:
    """Hold what the owner holds for `lease_s` seconds from now."""
    conn.execute(_RENEW, {"owner": owner, "lease_s": lease_s})


def release(conn: Connection, owner: str) -> None:
    """Give back to the queue what the owner still holds."""
    conn.execute(_RELEASE, {"owner": owner})


def count_unprocessed(
    conn: Connection, county: str, property_ids: Sequence[str] | None = None
) -> int:
    """How many properties (None: of the whole county) wait: pending, deferred, lease run out."""
    chosen = {"county": county, "property_ids": _ids(property_ids)}
    return int(conn.execute(_COUNT_UNPROCESSED, chosen).scalar_one())


def lease(
    conn: Connection,
    county: str,
    owner: str,
    limit: int,
    lease_s: float,
    property_ids: Sequence[str] | None,
    exclude_attempted_in_run: int,
) -> list[LeasedProperty]:
    """Take up to `limit` unprocessed properties for `owner`, for `lease_s` seconds.

    Neighbours come together. No property is leased to two owners at a time. What the run
    `exclude_attempted_in_run` deferred is not leased to it again; it becomes the properties' run.
    """
    rows = conn.execute(
        _LEASE,
        {
            "county": county,
            "owner": owner,
            "limit": limit,
            "lease_s": lease_s,
            "property_ids": _ids(property_ids),
            "run": exclude_attempted_in_run,
        },
    ).all()
    ordered = sorted(rows, key=lambda row: (row.sort_key is None, row.sort_key, row.id))
    return [
        LeasedProperty(
            row.id,
            Property(row.property_id, row.longitude, row.latitude, row.parcel_id, row.address),
            row.attempts,
        )
        for row in ordered
    ]


def finish(
    conn: Connection, ids: Sequence[int], state: Unfinished, reason: str = "", detail: str = ""
) -> int:
    """Give up the leases of properties that have no result, and say why; how many there were.

    `pending` gives them back to the queue. A property that has a result by now is left alone.
    """
    values = {"ids": list(ids), "state": state, "reason": reason, "detail": detail}
    return conn.execute(_FINISH, values).rowcount


def _ids(property_ids: Sequence[str] | None) -> list[str] | None:
    return None if property_ids is None else list(property_ids)
