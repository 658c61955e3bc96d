"""Leases properties from the queue: one owner at a time, neighbours together.

`LeaseScan` reads the queue with a keyset cursor and SKIP LOCKED. `states` renews and releases
leases; `runs.lifecycle` reclaims those of killed runs.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

from parcels.boundary import Property
from pipeline.store.queue.selection import WHOLE_COUNTY, Selection
from pipeline.store.queue.states import WAITS, LeasedProperty

# A lease expires this long after its last renewal; then any batch may lease the property again.
# The run's heartbeat (`pipeline.batch.heartbeat`) renews its leases at this interval.
LEASE_S = 900.0
LEASE_RENEWAL_S = 10.0

# Forces a scan of the queue's index, even when statistics are out of date because a batch has just
# filled the table. A sequential scan and sort would cost more in a larger county.
_SCAN_QUEUE_INDEX = text("""
SELECT set_config(name, 'off', true)
FROM unnest(ARRAY['enable_seqscan', 'enable_bitmapscan', 'enable_sort', 'jit']) AS name
""")

# Keyset pagination: located properties in the order of their sort key, then unlocated ones.
_LOCATED = "p.sort_key IS NOT NULL"
_LOCATED_AFTER = "(p.sort_key, p.id) > (:sort_key, :id)"
_UNLOCATED_AFTER = "p.sort_key IS NULL AND p.id > :id"

_STILL_HELD = text("""
SELECT id FROM lotline.property
WHERE id = ANY(CAST(:ids AS bigint[])) AND state = 'leased' AND lease_owner = :owner
""")


class LeaseScan:
    """Leases a run's properties chunk by chunk, in one pass over the county.

    A keyset cursor marks the end of the last chunk, so the last chunk of a county costs as much as
    the first. At the end the scan starts over, for what other runs released in between, until
    nothing is waiting. A run never leases a property twice: its own state may be out of date. That
    property waits for a later run.
    """

    def __init__(
        self,
        county: str,
        owner: str,
        run_id: int,
        lease_s: float,
        selection: Selection = WHOLE_COUNTY,
    ) -> None:
        self._values = {
            "county": county,
            "owner": owner,
            "run": run_id,
            "lease_s": lease_s,
            **selection.values,
        }
        not_leased_before = "p.run_fk IS DISTINCT FROM :run"
        self._condition = f"{selection.condition} AND {WAITS} AND {not_leased_before}"
        # (sort_key, id) of the last leased row; None at the start.
        self._keyset_cursor: tuple[str | None, int] | None = None

    def lease(self, conn: Connection, limit: int) -> list[LeasedProperty]:
        """Lease up to `limit` neighbours; empty if nothing is waiting. The caller commits.

        Rows that another owner is leasing at the same time are skipped (SKIP LOCKED).
        """
        conn.execute(_SCAN_QUEUE_INDEX)
        leased = self._lease_next(conn, limit)
        if not leased and self._keyset_cursor is not None:
            self._keyset_cursor = None
            leased = self._lease_next(conn, limit)
        return leased

    def still_held(
        self, conn: Connection, leased: Sequence[LeasedProperty]
    ) -> list[LeasedProperty]:
        """The leases that the owner still holds: all or none, if the reply to COMMIT was lost."""
        values = {"ids": [each.id for each in leased], "owner": self._values["owner"]}
        held = set(conn.execute(_STILL_HELD, values).scalars()) if leased else set()
        return [each for each in leased if each.id in held]

    def _lease_next(self, conn: Connection, limit: int) -> list[LeasedProperty]:
        leased: list[LeasedProperty] = []
        unlocated_after_id = 0
        if self._keyset_cursor is None:
            leased = self._lease_where(conn, limit, _LOCATED)
        elif self._keyset_cursor[0] is not None:
            sort_key, last_id = self._keyset_cursor
            leased = self._lease_where(conn, limit, _LOCATED_AFTER, sort_key=sort_key, id=last_id)
        else:
            unlocated_after_id = self._keyset_cursor[1]
        if len(leased) < limit:
            rest = limit - len(leased)
            leased += self._lease_where(conn, rest, _UNLOCATED_AFTER, id=unlocated_after_id)
        return leased

    def _lease_where(
        self, conn: Connection, limit: int, where: str, **after: object
    ) -> list[LeasedProperty]:
        statement = text(f"""
            WITH picked AS MATERIALIZED (
                SELECT p.id FROM lotline.property p
                WHERE {self._condition} AND {where}
                ORDER BY p.sort_key, p.id LIMIT :limit
                FOR NO KEY UPDATE OF p SKIP LOCKED
            )
            UPDATE lotline.property p SET state = 'leased', lease_owner = :owner,
                leased_until = clock_timestamp() + make_interval(secs => :lease_s),
                -- An expired lease was counted when it was taken, and never finished.
                attempts = attempts + CAST(state <> 'leased' AS int),
                run_fk = :run, updated_at = now()
            WHERE p.id = ANY(ARRAY(SELECT id FROM picked))
            RETURNING p.id, p.property_id, ST_X(p.point) AS longitude, ST_Y(p.point) AS latitude,
                p.parcel_id, p.address, p.attempts, p.sort_key
        """)  # noqa: S608
        rows = conn.execute(statement, {**self._values, **after, "limit": limit}).all()
        if not rows:
            return []
        rows = sorted(rows, key=lambda row: (row.sort_key or "", row.id))
        self._keyset_cursor = (rows[-1].sort_key, rows[-1].id)
        return [
            LeasedProperty(
                row.id,
                Property(row.property_id, row.longitude, row.latitude, row.parcel_id, row.address),
                row.attempts,
            )
            for row in rows
        ]
