"""Runs: one batch with its settings, what it counted of itself, and what it answered."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, insert, text

from pipeline.errors import StoreError
from pipeline.redaction import redactor
from pipeline.store import tables
from pipeline.store.queue.states import release_runs
from pipeline.store.runs.metrics import RunMetrics
from pipeline.store.runs.totals import RunResults, count_results

log = logging.getLogger(__name__)

RunEnd = Literal["finished", "interrupted", "failed"]
RunState = Literal["running", "finished", "interrupted", "failed", "killed"]

# A living run holds an advisory lock on its number for as long as its connection lives, so that
# the database itself knows when a batch was killed, on whichever machine it ran.
_LOCK_CLASS = 0x10771E

_HOLD = text("SELECT pg_advisory_lock(:class, CAST(:run AS int))")

_DEAD = text("""
WITH running AS MATERIALIZED (
    SELECT id FROM lotline.run
    WHERE county = :county AND state = 'running' AND id IS DISTINCT FROM CAST(:own AS bigint)
)
SELECT id FROM running WHERE pg_try_advisory_xact_lock(:class, CAST(id AS int)) ORDER BY id
""")

# What a killed run wrote last is newer than its last sign of life, and may be the only one.
_LAST_SIGN = """greatest(r.started_at, r.beat_at, (
    SELECT max(p.updated_at) FROM lotline.property p
    WHERE p.county = r.county AND p.run_fk = r.id AND p.state NOT IN ('pending', 'leased')))"""

# Before a later run takes any of them.
_MEASURED = """ARRAY(SELECT p.id FROM lotline.property p
    WHERE p.county = r.county AND p.run_fk = r.id AND p.state = 'done' ORDER BY p.id)"""

_BURY = text(f"""
UPDATE lotline.run r SET state = 'killed', results = CAST(:results AS jsonb),
    measured = {_MEASURED}, finished_at = {_LAST_SIGN}
WHERE r.id = :run
""")  # noqa: S608

_REVIVE = text("""
UPDATE lotline.run SET state = 'running', finished_at = NULL, results = NULL, measured = NULL
WHERE id = :run AND state = 'killed'
""")

_BEAT = text("""
UPDATE lotline.run SET beat_at = now(), account = CAST(:account AS jsonb)
WHERE id = :run AND state = 'running'
""")

_FINISH = text(f"""
UPDATE lotline.run r SET state = :state, finished_at = now(), measured = {_MEASURED},
    account = CAST(:account AS jsonb), results = CAST(:results AS jsonb)
WHERE r.id = :run
""")  # noqa: S608

# A run that says it is running and holds no lock was killed, and no batch has noticed it yet.
_RUNS = f"""
SELECT r.id, r.county, r.settings, r.segmenter, r.weights_sha256, r.started_at, r.finished_at,
    r.beat_at, r.account AS metrics, r.results, was.state,
    CAST(extract(epoch FROM CASE WHEN r.finished_at IS NOT NULL THEN r.finished_at
        WHEN was.state = 'running' THEN now() ELSE {_LAST_SIGN} END - r.started_at) AS float)
        AS took_s
FROM lotline.run r CROSS JOIN LATERAL (
    SELECT CASE WHEN r.state = 'running' AND NOT EXISTS (
            SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted
                AND l.classid = :class AND l.objid = r.id AND l.objsubid = 2
                AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
        THEN 'killed' ELSE r.state END AS state) was
"""  # noqa: S608

_ONE = text(f"{_RUNS} WHERE r.id = :run")

_NEWEST = text(f"""
{_RUNS} WHERE CAST(:county AS text) IS NULL OR r.county = :county ORDER BY r.id DESC LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it is kept.

    Attributes:
        state: `interrupted` by a person, `failed` by an error, `killed` without a last word.
        beat_at: its last sign of life, of which `account` is; None before the first.
        took_s: until it ended, or until now.
        results: what it had answered when it ended; None before.
    """

    id: int
    county: str
    settings: dict[str, Any]
    segmenter: str
    weights_sha256: str | None
    state: RunState
    started_at: datetime
    finished_at: datetime | None
    beat_at: datetime | None
    took_s: float
    metrics: RunMetrics
    results: RunResults | None


def start(
    conn: Connection,
    county: str,
    settings: Mapping[str, Any],
    segmenter: str,
    weights_sha256: str | None,
) -> int:
    """Begin a run; its id. It counts as alive for as long as this connection stays open.

    `settings` are shown to people: secrets in them are masked.
    """
    values = {
        "county": county,
        "settings": redactor.mapping(settings),
        "segmenter": segmenter,
        "weights_sha256": weights_sha256,
    }
    run_id = int(
        conn.execute(insert(tables.run).values(values).returning(tables.run.c.id)).scalar_one()
    )
    # Before the row is committed: nobody ever sees a run that lives and is not locked.
    acquire_lock(conn, run_id)
    return run_id


def acquire_lock(conn: Connection, run_id: int) -> None:
    """Say that a run lives, for as long as this connection stays open."""
    conn.execute(_HOLD, {"class": _LOCK_CLASS, "run": run_id})


def heartbeat(conn: Connection, run_id: int, metrics: RunMetrics) -> None:
    """A running run's sign of life, with what it has counted so far."""
    conn.execute(_BEAT, {"run": run_id, "account": json.dumps(metrics.as_json())})


def reacquire_lock(conn: Connection, run_id: int) -> None:
    """`acquire_lock`, of a run that lost its connection; another may have reclaimed it."""
    acquire_lock(conn, run_id)
    conn.execute(_REVIVE, {"run": run_id})


def reclaim_killed(conn: Connection, county: str, own: int | None = None) -> int:
    """Give the properties of runs that were killed back to the queue; how many there were.

    What those runs had answered is kept as their results, before another run takes any of it.

    Args:
        own: the caller's run, which lives even while it has lost its connection.
    """
    values = {"class": _LOCK_CLASS, "county": county, "own": own}
    dead = list(conn.execute(_DEAD, values).scalars())
    if not dead:
        return 0
    taken = release_runs(conn, dead)
    for run_id in dead:
        results = _count(conn, get_run(conn, run_id))
        conn.execute(_BURY, {"run": run_id, "results": json.dumps(results.as_json())})
    if taken:
        log.warning("a batch was killed; what it held waits again: %d of the queue", taken)
    return taken


def finish(conn: Connection, run_id: int, state: RunEnd, metrics: RunMetrics) -> RunResults:
    """End a run that gave back what it held; what it answered.

    Raises:
        StoreError: there is no such run.
    """
    results = _count(conn, get_run(conn, run_id))
    values = {
        "run": run_id,
        "state": state,
        "account": json.dumps(metrics.as_json()),
        "results": json.dumps(results.as_json()),
    }
    conn.execute(_FINISH, values)
    return results


def get_run(conn: Connection, run_id: int) -> Run:
    """A run by its id.

    Raises:
        StoreError: there is no such run.
    """
    row = conn.execute(_ONE, {"class": _LOCK_CLASS, "run": run_id}).one_or_none()
    if row is None:
        raise StoreError(f"there is no run {run_id}: `lotline runs list` names those that are kept")
    return _run(row)


def recent_runs(conn: Connection, county: str | None = None, limit: int = 1) -> list[Run]:
    """So many runs at most, of one county or of all, the newest first."""
    where = {"class": _LOCK_CLASS, "county": county, "limit": limit}
    return [_run(row) for row in conn.execute(_NEWEST, where)]


def latest_run(conn: Connection, county: str) -> Run | None:
    """The county's newest run, None before the first."""
    return next(iter(recent_runs(conn, county)), None)


def results_of(conn: Connection, run: Run) -> RunResults:
    """What a run answered: as it was when it ended, else as it stands now."""
    return _count(conn, run) if run.results is None else run.results


def _count(conn: Connection, run: Run) -> RunResults:
    return count_results(conn, run.county, run.id, run.settings.get("labels"))


def _run(row: Row[Any]) -> Run:
    values = dict(row._mapping)
    results = values["results"]
    values["metrics"] = RunMetrics.from_json(values["metrics"])
    values["results"] = None if results is None else RunResults.from_json(results)
    return Run(**values)
