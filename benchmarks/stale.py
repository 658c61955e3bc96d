"""Listing and queueing what older weights measured, in a synthetic county of 100,000 lots."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from sqlalchemy import Connection, text

from benchmarks.results import Result, save
from benchmarks.scratch import OWNER, lease, scratch_county, write_results
from pipeline.store.database import Database
from pipeline.store.queue import stale, states
from pipeline.store.runs import lifecycle
from pipeline.store.runs.metrics import RunMetrics

LOTS = 100_000
NEW_SHARE = 0.1
ROUNDS = 5
_LEASED = text("SELECT id FROM lotline.property WHERE lease_owner = :owner ORDER BY id")
_OLD, _NEW = "a" * 64, "b" * 64


def run() -> None:
    with scratch_county(LOTS) as (database, _):
        _measure(database)
        with database.engine.connect() as conn:
            conn.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))
        rows = _rows(database)
    save(
        Result(
            name="stale",
            order=37,
            title=f"Stale lots: {LOTS:,} synthetic ones, a tenth measured by the new weights",
            command="python -m benchmarks stale",
            columns=["what", "ms, median", "slowest"],
            rows=rows,
            notes=["Nothing is committed: each round finds the same lots."],
        )
    )


def _rows(database: Database) -> list[list[str]]:
    with database.engine.connect() as conn:
        older = stale.older_weights(conn, "synthetic", "synthetic", _NEW)
        [counted] = stale.count_stale(conn, "synthetic", "synthetic", older)
        assert counted.properties == LOTS - round(LOTS * NEW_SHARE), counted
        conn.rollback()

        def waiting() -> int:
            return states.count_waiting(conn, "synthetic", scope="nothing", stale=older)

        def first() -> int:
            return states.reset(conn, "synthetic", scope="nothing", limit=1_000, stale=older)

        def all_stale() -> int:
            return states.reset(conn, "synthetic", scope="nothing", stale=older)

        def everything() -> int:
            return states.reset(conn, "synthetic", scope="everything")

        return [
            _row(
                conn,
                "`lotline models stale`: counted",
                lambda: stale.count_stale(conn, "synthetic", "synthetic", older),
            ),
            _row(conn, "`batch --stale`: counted before it begins", waiting),
            _row(conn, "`batch --stale --limit 1000`: queued again", first),
            _row(conn, f"`batch --stale`: {counted.properties:,} queued again", all_stale),
            _row(conn, f"`batch --again`: {LOTS:,} queued again", everything),
        ]


def _row(conn: Connection, what: str, call: Callable[[], object]) -> list[str]:
    times_ms = []
    for _ in range(ROUNDS):
        started_s = time.perf_counter()
        call()
        times_ms.append(1e3 * (time.perf_counter() - started_s))
        conn.rollback()
    return [what, f"{statistics.median(times_ms):,.0f}", f"{max(times_ms):,.0f}"]


def _measure(database: Database) -> None:
    """All lots by the old weights, then the first ones by the new ones."""
    for count, weights in ((LOTS, _OLD), (round(LOTS * NEW_SHARE), _NEW)):
        run = lease(database.engine, count, weights)
        with database.engine.connect() as conn:
            leased = list(conn.execute(_LEASED, {"owner": OWNER}).scalars())
        write_results(database.engine, run, leased)
        with database.engine.begin() as conn:
            lifecycle.finish(conn, run.id, "finished", RunMetrics())
