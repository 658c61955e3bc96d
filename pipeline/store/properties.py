"""The queue: a county's properties, leased to one batch at a time, neighbours together.

A lease runs out by itself, so that what a killed batch held is taken by the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from parcels import Property
from sqlalchemy import Connection, text

STAGE = text("""
CREATE TEMPORARY TABLE incoming (
    property_id text, longitude double precision, latitude double precision,
    parcel_id text, address text
) ON COMMIT DROP
""")

MERGE = text("""
-- A property that is asked for in another way than before is waiting again.
WITH fresh AS (
    SELECT property_id, parcel_id, address,
           CASE WHEN longitude IS NOT NULL
                THEN ST_SetSRID(ST_MakePoint(longitude, latitude), 4326) END AS point
    FROM incoming
), merged AS (
    INSERT INTO lotline.property AS p (county, property_id, point, parcel_id, address)
    SELECT :county, property_id, point, parcel_id, address FROM fresh
    ON CONFLICT (county, property_id) DO UPDATE SET
        point = excluded.point, parcel_id = excluded.parcel_id, address = excluded.address,
        state = 'pending', reason = '', detail = '', lease_owner = NULL, leased_until = NULL,
        updated_at = now()
    WHERE (p.point IS DISTINCT FROM excluded.point)
       OR (p.parcel_id, p.address) IS DISTINCT FROM (excluded.parcel_id, excluded.address)
    RETURNING (xmax = 0) AS inserted
)
SELECT count(*) FILTER (WHERE inserted) AS new, count(*) FILTER (WHERE NOT inserted) AS changed
FROM merged
""")

# What a batch may take: waiting, put off, or held by a batch that died.
_OPEN = """
p.county = :county
AND (p.state IN ('pending', 'deferred') OR (p.state = 'leased' AND p.leased_until < now()))
AND (CAST(:ids AS text[]) IS NULL OR p.property_id = ANY (CAST(:ids AS text[])))
"""

COUNT = text(f"SELECT count(*) FROM lotline.property p WHERE {_OPEN}")  # noqa: S608

LEASE = text(f"""
-- SKIP LOCKED: two batches never wait for each other, and never take the same property.
WITH next AS (
    SELECT p.id FROM lotline.property p
    WHERE {_OPEN} AND (p.run_fk IS DISTINCT FROM :run OR p.state <> 'deferred')
    ORDER BY p.sort_key, p.id
    LIMIT :count
    FOR UPDATE SKIP LOCKED
), taken AS (
    UPDATE lotline.property p SET
        state = 'leased', reason = '', detail = '', lease_owner = :owner, run_fk = :run,
        leased_until = now() + make_interval(secs => :lease_s), attempts = attempts + 1,
        updated_at = now()
    FROM next WHERE p.id = next.id
    RETURNING p.*
)
SELECT id, property_id, ST_X(point) AS longitude, ST_Y(point) AS latitude, parcel_id, address
FROM taken ORDER BY sort_key, id
""")  # noqa: S608

RESET = text("""
-- Everything but what a living batch holds.
UPDATE lotline.property p SET
    state = 'pending', reason = '', detail = '', lease_owner = NULL, leased_until = NULL,
    updated_at = now()
WHERE p.county = :county AND NOT (p.state = 'leased' AND p.leased_until >= now())
  AND (CAST(:ids AS text[]) IS NULL OR p.property_id = ANY (CAST(:ids AS text[])))
""")

RELEASE = text("""
UPDATE lotline.property SET
    state = 'pending', lease_owner = NULL, leased_until = NULL, updated_at = now()
WHERE county = :county AND state = 'leased' AND lease_owner = :owner
""")

FINISH = text("""
UPDATE lotline.property SET
    state = :state, reason = :reason, detail = :detail, lease_owner = NULL, leased_until = NULL,
    updated_at = now()
WHERE id = ANY (:ids)
""")


@dataclass(frozen=True, slots=True)
class Loaded:
    """How a CSV changed the queue."""

    new: int
    changed: int
    unchanged: int


@dataclass(frozen=True, slots=True)
class LeasedProperty:
    """A property that this batch holds; `id` is its row's."""

    id: int
    property: Property


def load(conn: Connection, county: str, properties: Iterable[Property]) -> Loaded:
    """Put properties into a county's queue, in one statement; none is ever taken out."""
    conn.execute(STAGE)
    count = 0
    driver = conn.connection.cursor()
    columns = "property_id, longitude, latitude, parcel_id, address"
    with driver.copy(f"COPY incoming ({columns}) FROM STDIN") as copy:
        for prop in properties:
            copy.write_row(
                (prop.property_id, prop.longitude, prop.latitude, prop.parcel_id, prop.address)
            )
            count += 1
    new, changed = conn.execute(MERGE, {"county": county}).one()
    conn.execute(text("DROP TABLE incoming"))
    return Loaded(new, changed, count - new - changed)


def count_unprocessed(conn: Connection, county: str, ids: Sequence[str] | None = None) -> int:
    """How many properties a batch would take; of `ids` alone, if they are given."""
    return int(conn.execute(COUNT, {"county": county, "ids": _array(ids)}).scalar_one())


def reset(conn: Connection, county: str, ids: Sequence[str] | None = None) -> int:
    """Make properties wait again, whatever came of them; how many."""
    return conn.execute(RESET, {"county": county, "ids": _array(ids)}).rowcount


def lease(
    conn: Connection,
    county: str,
    owner: str,
    count: int,
    lease_s: float,
    ids: Sequence[str] | None,
    run_id: int,
) -> list[LeasedProperty]:
    """Take up to `count` properties for `lease_s` seconds; what this run put off is left alone."""
    rows = conn.execute(
        LEASE,
        {
            "county": county,
            "owner": owner,
            "count": count,
            "lease_s": lease_s,
            "ids": _array(ids),
            "run": run_id,
        },
    )
    return [
        LeasedProperty(
            row.id,
            Property(row.property_id, row.longitude, row.latitude, row.parcel_id, row.address),
        )
        for row in rows
    ]


def release(conn: Connection, county: str, owner: str) -> None:
    """Give back what a batch still holds."""
    conn.execute(RELEASE, {"county": county, "owner": owner})


def finish(conn: Connection, ids: Sequence[int], state: str, reason: str, detail: str) -> None:
    """Close properties (by row id) that have no result: failed or deferred, and why."""
    conn.execute(FINISH, {"ids": list(ids), "state": state, "reason": reason, "detail": detail})


def _array(ids: Sequence[str] | None) -> list[str] | None:
    return None if ids is None else list(ids)
