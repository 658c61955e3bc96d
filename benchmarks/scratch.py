"""A synthetic county in a temporary embedded database."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
from sqlalchemy import Engine, text

from benchmarks import synthetic_lots
from pipeline.store.database import Database, open_database
from pipeline.store.queue import loading, states
from pipeline.store.queue.leases import LeaseScan
from pipeline.store.results import writer
from pipeline.store.results.outcomes import Processed, RunInfo
from pipeline.store.runs import lifecycle

OWNER = "benchmark"
_CHUNK = 500


@contextmanager
def scratch_county(count: int) -> Iterator[tuple[Database, list[int]]]:
    """`count` pending properties, and their keys in order; the server stops at the end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with open_database(None, folder) as database:
            with database.engine.begin() as conn:
                loading.load(conn, "synthetic", synthetic_lots.properties(count))
                by_name = text("SELECT id FROM lotline.property ORDER BY property_id")
                ids = list(conn.execute(by_name).scalars())
            yield database, ids
            database.engine.dispose()
            if database.server is not None:
                database.server.stop()


def lease(engine: Engine, count: int, weights_sha256: str | None = None) -> RunInfo:
    """Start a run that leases the first `count` properties."""
    with engine.begin() as conn:
        settings = {"segmenter": "synthetic"}
        run_id = lifecycle.start(conn, "synthetic", settings, "synthetic", weights_sha256)
        states.reset(conn, "synthetic", limit=count)
        LeaseScan("synthetic", OWNER, run_id, 3600).lease(conn, count)
    return RunInfo(run_id, "synthetic", weights_sha256, synthetic_lots.LABELS)


def write_results(engine: Engine, run: RunInfo, keys: Sequence[int]) -> None:
    """Write a synthetic result for each of the properties, which the run leases."""
    for first in range(0, len(keys), _CHUNK):
        some = keys[first : first + _CHUNK]
        lots = zip(some, synthetic_lots.results(first, len(some)), strict=True)
        writer.write(engine, run, [Processed(key, *lot) for key, lot in lots], OWNER)


def server_s(database: Database) -> float:
    """CPU seconds of the server's processes, including ended ones."""
    with database.engine.connect() as conn:
        pid = conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
    postmaster = psutil.Process(pid).parent()
    assert postmaster is not None
    times = [process.cpu_times() for process in [postmaster, *postmaster.children()]]
    ended = times[0].children_user + times[0].children_system
    return sum(t.user + t.system for t in times) + ended
