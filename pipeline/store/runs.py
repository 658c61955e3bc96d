"""Runs: one batch with its settings, counts, faults and timings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, func, insert, select, text, update

from pipeline.errors import StoreError
from pipeline.store import tables

End = Literal["finished", "interrupted", "failed"]

# A living run holds an advisory lock on its number for as long as its connection lives, so that
# the database itself knows when a batch was killed, on whichever machine it ran.
_LOCK_CLASS = 0x10771E

_HOLD = text("SELECT pg_advisory_lock(:class, CAST(:run AS int))")

_DEAD = text("""
WITH running AS MATERIALIZED (
    SELECT id FROM lotline.run WHERE county = :county AND state = 'running'
)
SELECT id FROM running WHERE pg_try_advisory_xact_lock(:class, CAST(id AS int))
""")

_TAKE_BACK = text("""
UPDATE lotline.property SET state = 'pending', lease_owner = NULL, leased_until = NULL,
    updated_at = now()
WHERE state = 'leased' AND run_fk = ANY(CAST(:runs AS bigint[]))
""")

_BURY = text("""
UPDATE lotline.run SET state = 'interrupted', finished_at = now()
WHERE id = ANY(CAST(:runs AS bigint[]))
""")


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it is kept."""

    id: int
    county: str
    settings: dict[str, Any]
    segmenter: str
    weights_sha256: str | None
    state: Literal["running", "finished", "interrupted", "failed"]
    started_at: datetime
    finished_at: datetime | None
    counts: dict[str, Any]
    faults: dict[str, Any]
    timings: dict[str, Any]


def start(
    conn: Connection,
    county: str,
    settings: Mapping[str, Any],
    segmenter: str,
    weights_sha256: str | None,
) -> int:
    """Begin a run; its id. It counts as alive for as long as this connection stays open."""
    values = {
        "county": county,
        "settings": dict(settings),
        "segmenter": segmenter,
        "weights_sha256": weights_sha256,
    }
    run_id = int(
        conn.execute(insert(tables.run).values(values).returning(tables.run.c.id)).scalar_one()
    )
    # Before the row is committed: nobody ever sees a run that lives and is not locked.
    hold(conn, run_id)
    return run_id


def hold(conn: Connection, run_id: int) -> None:
    """Say that a run lives, for as long as this connection stays open."""
    conn.execute(_HOLD, {"class": _LOCK_CLASS, "run": run_id})


def take_back(conn: Connection, county: str) -> int:
    """Give the properties of runs that were killed back to the queue; how many there were."""
    dead = list(conn.execute(_DEAD, {"class": _LOCK_CLASS, "county": county}).scalars())
    if not dead:
        return 0
    taken = conn.execute(_TAKE_BACK, {"runs": dead}).rowcount
    conn.execute(_BURY, {"runs": dead})
    return taken


def finish(
    conn: Connection,
    run_id: int,
    state: End,
    counts: Mapping[str, Any],
    faults: Mapping[str, Any],
    timings: Mapping[str, Any],
) -> None:
    """End a run.

    Raises:
        StoreError: there is no such run.
    """
    values = {
        "state": state,
        "finished_at": func.now(),
        "counts": dict(counts),
        "faults": dict(faults),
        "timings": dict(timings),
    }
    done = conn.execute(update(tables.run).where(tables.run.c.id == run_id).values(values))
    if not done.rowcount:
        raise StoreError(f"there is no run {run_id}: start it before it is finished")


def latest(conn: Connection, county: str) -> Run | None:
    """The county's newest run, None before the first."""
    newest = (
        select(tables.run)
        .where(tables.run.c.county == county)
        .order_by(tables.run.c.id.desc())
        .limit(1)
    )
    row = conn.execute(newest).one_or_none()
    return None if row is None else Run(**row._mapping)
