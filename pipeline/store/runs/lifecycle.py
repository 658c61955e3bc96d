"""The lifecycle of a run (one batch): start, heartbeat, finish, reclaim if it was killed.

A running run holds an advisory lock on its id while its connection is open. If its process is
killed, on whichever machine, the database releases the lock, and the next batch of the county
reclaims the run's leases and marks it `killed`.

Behind a pooler that shares server sessions, the lock may be lost while the run lives, or be the
caller's own. `store.connection_pooler` refuses those that it recognises. If one is not recognised,
the run's heartbeat finds that its session does not hold the lock, and from then on the run counts
as alive until its last heartbeat is as old as a lease.
"""

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
from pipeline.store.queue.leases import LEASE_S
from pipeline.store.queue.states import release_runs
from pipeline.store.runs.metrics import RunMetrics
from pipeline.store.runs.overlaps import compare_new
from pipeline.store.runs.totals import RunResults, count_results

log = logging.getLogger(__name__)

RunEnd = Literal["finished", "interrupted", "failed"]
RunState = Literal["running", "finished", "interrupted", "failed", "killed"]

_LOCK_CLASS = 0x10771E

_ACQUIRE_LOCK = text("SELECT pg_advisory_lock(:class, CAST(:run AS int))")

_LOCK = """SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted
        AND l.classid = :class AND l.objid = r.id AND l.objsubid = 2
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"""

# The lock of any session, the caller's included: `pg_try_advisory_lock` would grant it again.
_IS_ALIVE = f"""(EXISTS ({_LOCK})
    OR r.lock_is_unsure
    AND coalesce(r.beat_at, r.started_at) > now() - make_interval(secs => {LEASE_S}))"""

_VERIFY_LOCK = text(f"""
UPDATE lotline.run r SET lock_is_unsure = true
WHERE id = :run AND NOT lock_is_unsure AND NOT EXISTS ({_LOCK} AND l.pid = pg_backend_pid())
""")  # noqa: S608

# The lock is also taken: of two batches that reclaim at the same time, one does.
_KILLED_RUNS = text(f"""
WITH running AS MATERIALIZED (
    SELECT id FROM lotline.run r
    WHERE county = :county AND state = 'running' AND id IS DISTINCT FROM CAST(:own AS bigint)
        AND NOT {_IS_ALIVE}
)
SELECT id FROM running WHERE pg_try_advisory_xact_lock(:class, CAST(id AS int)) ORDER BY id
""")  # noqa: S608

# The last write of a killed run is newer than its last heartbeat, which may be missing.
_LAST_ACTIVITY = """greatest(r.started_at, r.beat_at, (
    SELECT max(p.updated_at) FROM lotline.property p
    WHERE p.county = r.county AND p.run_fk = r.id AND p.state NOT IN ('pending', 'leased')))"""

# Stored when the run ends, before a later run leases any of these properties.
_MEASURED = """ARRAY(SELECT p.id FROM lotline.property p
    WHERE p.county = r.county AND p.run_fk = r.id AND p.state = 'done' ORDER BY p.id)"""

_MARK_KILLED = text(f"""
UPDATE lotline.run r SET state = 'killed', results = CAST(:results AS jsonb),
    measured = {_MEASURED}, finished_at = {_LAST_ACTIVITY}
WHERE r.id = :run
""")  # noqa: S608

_REOPEN = text("""
UPDATE lotline.run SET state = 'running', finished_at = NULL, results = NULL, measured = NULL
WHERE id = :run AND state = 'killed'
""")

_HEARTBEAT = text("""
UPDATE lotline.run SET beat_at = now(), account = CAST(:account AS jsonb)
WHERE id = :run AND state = 'running'
""")

_FINISH = text(f"""
UPDATE lotline.run r SET state = :state, finished_at = now(), measured = {_MEASURED},
    account = CAST(:account AS jsonb), results = CAST(:results AS jsonb)
WHERE r.id = :run
""")  # noqa: S608

_UPDATE_SETTINGS = text("""
UPDATE lotline.run SET settings = settings || CAST(:changes AS jsonb) WHERE id = :run
""")

_ALIVE_IDS = text(f"""
SELECT r.id FROM lotline.run r
WHERE r.county = :county AND r.state = 'running' AND {_IS_ALIVE} ORDER BY r.id
""")  # noqa: S608

# A run whose state is 'running' but that holds no lock was killed and is not yet reclaimed.
_RUNS = f"""
SELECT r.id, r.county, r.settings, r.segmenter, r.weights_sha256, r.started_at, r.finished_at,
    r.beat_at, r.account AS metrics, r.results, actual.state,
    -- Not negative, should the clock be set back during the run.
    CAST(extract(epoch FROM greatest(CASE WHEN r.finished_at IS NOT NULL THEN r.finished_at
        WHEN actual.state = 'running' THEN now() ELSE {_LAST_ACTIVITY} END - r.started_at,
        interval '0')) AS float) AS took_s
FROM lotline.run r CROSS JOIN LATERAL (
    SELECT CASE WHEN r.state = 'running' AND NOT {_IS_ALIVE} THEN 'killed' ELSE r.state END
        AS state) actual
"""  # noqa: S608

_RUN = text(f"{_RUNS} WHERE r.id = :run")

_RECENT_RUNS = text(f"""
{_RUNS} WHERE CAST(:county AS text) IS NULL OR r.county = :county ORDER BY r.id DESC LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class Run:
    """A stored run.

    Attributes:
        state: `interrupted` by a person, `failed` by an error, or `killed` without finishing.
        beat_at: time of the last heartbeat; None before the first.
        took_s: duration until its end, or until now.
        metrics: as of the last heartbeat, or of the end.
        results: as of the end of the run; None before.
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
    """Start a run and return its id. It counts as alive while this connection is open.

    Secrets in `settings` are masked, as these are shown to people.
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
    # Before the commit: otherwise another batch could see a running run without a lock.
    acquire_lock(conn, run_id)
    return run_id


def update_settings(conn: Connection, run_id: int, changes: Mapping[str, Any]) -> None:
    """Store what became known only while the run worked. Secrets are masked."""
    changes_json = json.dumps(redactor.mapping(changes))
    conn.execute(_UPDATE_SETTINGS, {"run": run_id, "changes": changes_json})


def acquire_lock(conn: Connection, run_id: int) -> None:
    """Acquire the run's advisory lock: it counts as alive while this connection is open."""
    conn.execute(_ACQUIRE_LOCK, {"class": _LOCK_CLASS, "run": run_id})


def heartbeat(conn: Connection, run_id: int, metrics: RunMetrics) -> None:
    """Record a heartbeat of a running run, with its metrics so far."""
    conn.execute(_HEARTBEAT, {"run": run_id, "account": json.dumps(metrics.as_json())})


def verify_lock(conn: Connection, run_id: int) -> None:
    """Check that the connection which acquired the run's lock still holds it.

    If not, a pooler has given the connection another server session: the lock says nothing more,
    and the run's heartbeats show that it lives.
    """
    if conn.execute(_VERIFY_LOCK, {"class": _LOCK_CLASS, "run": run_id}).rowcount:
        log.warning(
            "a connection pooler has exchanged the server session of this run: point DATABASE_URL "
            "to the server's own port. If this run is killed, its leases are reclaimed only after "
            "%.0f minutes", LEASE_S / 60,
        )  # fmt: skip


def reacquire_lock(conn: Connection, run_id: int) -> None:
    """Acquire the lock again after a lost connection, and reopen the run if it was reclaimed."""
    acquire_lock(conn, run_id)
    conn.execute(_REOPEN, {"run": run_id})


def reclaim_killed(conn: Connection, county: str, own: int | None = None) -> int:
    """Release the leases of killed runs and mark the runs `killed`; returns how many leases.

    The results of those runs are stored first, before another run leases their properties.

    Args:
        own: the caller's run, which is alive even if it has lost its connection.
    """
    values = {"class": _LOCK_CLASS, "county": county, "own": own}
    killed = list(conn.execute(_KILLED_RUNS, values).scalars())
    if not killed:
        return 0
    released = release_runs(conn, killed)
    for run_id in killed:
        results = _count(conn, get_run(conn, run_id))
        conn.execute(_MARK_KILLED, {"run": run_id, "results": json.dumps(results.as_json())})
    if released:
        log.warning("a batch was killed: %d leased properties are pending again", released)
    return released


def finish(conn: Connection, run_id: int, state: RunEnd, metrics: RunMetrics) -> RunResults:
    """End a run that has released its leases; returns its results.

    Raises:
        StoreError: there is no such run.
    """
    run = get_run(conn, run_id)
    compare_new(conn, run.county)
    results = _count(conn, run)
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
    row = conn.execute(_RUN, {"class": _LOCK_CLASS, "run": run_id}).one_or_none()
    if row is None:
        raise StoreError(f"there is no run {run_id}: run `lotline runs list` to list all runs")
    return _run(row)


def recent_runs(conn: Connection, county: str | None = None, limit: int = 1) -> list[Run]:
    """Up to `limit` runs of one county or of all, newest first."""
    where = {"class": _LOCK_CLASS, "county": county, "limit": limit}
    return [_run(row) for row in conn.execute(_RECENT_RUNS, where)]


def running_runs(conn: Connection, county: str) -> list[Run]:
    """The county's runs that are alive, oldest first."""
    values = {"class": _LOCK_CLASS, "county": county}
    return [get_run(conn, run_id) for run_id in conn.execute(_ALIVE_IDS, values).scalars().all()]


def latest_run(conn: Connection, county: str) -> Run | None:
    """The county's newest run; None if there is none."""
    return next(iter(recent_runs(conn, county)), None)


def results_of(conn: Connection, run: Run) -> RunResults:
    """The results of a run: those stored at its end, or its current ones."""
    return _count(conn, run) if run.results is None else run.results


def _count(conn: Connection, run: Run) -> RunResults:
    return count_results(conn, run.county, run.id, run.settings.get("labels"))


def _run(row: Row[Any]) -> Run:
    values = dict(row._mapping)
    results = values["results"]
    values["metrics"] = RunMetrics.from_json(values["metrics"])
    values["results"] = None if results is None else RunResults.from_json(results)
    return Run(**values)
