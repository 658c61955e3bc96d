"""Taking properties from the queue: each to one owner at a time, neighbours together."""

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

# A lease goes along the queue's index, whatever the database believes of tables that a batch has
# just filled: to read them whole and sort them would cost more the larger the county is.
_ALONG_THE_QUEUE = text("""
SELECT set_config(name, 'off', true)
FROM unnest(ARRAY['enable_seqscan', 'enable_bitmapscan', 'enable_sort', 'jit']) AS name
""")

# Those with a place come in the order of it; then those that nobody has located yet.
_PLACED = "p.sort_key IS NOT NULL"
_PLACED_AFTER = "(p.sort_key, p.id) > (:sort_key, :id)"
_UNPLACED_AFTER = "p.sort_key IS NULL AND p.id > :id"

_HELD = text("""
SELECT id FROM lotline.property
WHERE id = ANY(CAST(:ids AS bigint[])) AND state = 'leased' AND lease_owner = :owner
""")


class LeaseScan:
    """Leases a run's properties, chunk by chunk, in one sweep over the county.

    Each lease begins where the last one ended, and so costs the same in a county's last chunk as in
    its first. At the end the sweep begins anew, for what rivals gave back meanwhile, until nothing
    waits. What this run had in hand once, it does not take again: it could not tell what it still
    knows of it from what it asks now. That waits for a later run.
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
        not_mine = "p.run_fk IS DISTINCT FROM :run"
        self._condition = f"{selection.condition} AND {WAITS} AND {not_mine}"
        self._last: tuple[str | None, int] | None = None

    def lease(self, conn: Connection, limit: int) -> list[LeasedProperty]:
        """Lease up to `limit` neighbours; none where nothing waits. The caller commits.

        Rows that another owner is leasing at this moment are skipped, not waited for.
        """
        conn.execute(_ALONG_THE_QUEUE)
        taken = self._lease_next(conn, limit)
        if not taken and self._last is not None:
            self._last = None
            taken = self._lease_next(conn, limit)
        return taken

    def still_held(
        self, conn: Connection, leased: Sequence[LeasedProperty]
    ) -> list[LeasedProperty]:
        """Those that the owner holds: all or none, where the answer to a COMMIT was lost."""
        values = {"ids": [each.id for each in leased], "owner": self._values["owner"]}
        held = set(conn.execute(_HELD, values).scalars()) if leased else set()
        return [each for each in leased if each.id in held]

    def _lease_next(self, conn: Connection, limit: int) -> list[LeasedProperty]:
        taken: list[LeasedProperty] = []
        unplaced_after_id = 0
        if self._last is None:
            taken = self._lease_where(conn, limit, _PLACED)
        elif self._last[0] is not None:
            sort_key, last_id = self._last
            taken = self._lease_where(conn, limit, _PLACED_AFTER, sort_key=sort_key, id=last_id)
        else:
            unplaced_after_id = self._last[1]
        if len(taken) < limit:
            rest = limit - len(taken)
            taken += self._lease_where(conn, rest, _UNPLACED_AFTER, id=unplaced_after_id)
        return taken

    def _lease_where(
        self, conn: Connection, limit: int, where: str, **after: object
    ) -> list[LeasedProperty]:
        leased = text(f"""
            WITH picked AS MATERIALIZED (
                SELECT p.id FROM lotline.property p
                WHERE {self._condition} AND {where}
                ORDER BY p.sort_key, p.id LIMIT :limit
                FOR NO KEY UPDATE OF p SKIP LOCKED
            )
            UPDATE lotline.property p SET state = 'leased', lease_owner = :owner,
                leased_until = clock_timestamp() + make_interval(secs => :lease_s),
                attempts = attempts + CAST(state <> 'leased' AS int),  -- else it never ended
                run_fk = :run, updated_at = now()
            WHERE p.id = ANY(ARRAY(SELECT id FROM picked))
            RETURNING p.id, p.property_id, ST_X(p.point) AS longitude, ST_Y(p.point) AS latitude,
                p.parcel_id, p.address, p.attempts, p.sort_key
        """)  # noqa: S608
        rows = conn.execute(leased, {**self._values, **after, "limit": limit}).all()
        if not rows:
            return []
        rows = sorted(rows, key=lambda row: (row.sort_key or "", row.id))
        self._last = (rows[-1].sort_key, rows[-1].id)
        return [
            LeasedProperty(
                row.id,
                Property(row.property_id, row.longitude, row.latitude, row.parcel_id, row.address),
                row.attempts,
            )
            for row in rows
        ]
