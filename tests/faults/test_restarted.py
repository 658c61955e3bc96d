"""Fault 9: PostgreSQL restarts while a batch writes, and transactions that wait for each other.

What was rolled back is written again: no lot is half written, and none is lost.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from batches import (
    check_like_clean,
    environment,
    finished,
    free_batch,
    started,
    wait_for,
)
from largecounty import KEY, LargeCounty, make

from pipeline.store.embedded.postgres import EmbeddedPostgres

# Servers are killed at chosen instants of a batch with processes of its own.
pytestmark = pytest.mark.serial

LOTS = 1_500
_COPYING = """
SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query ILIKE 'copy %%'
"""
_DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


@pytest.fixture(scope="module")
def county(tmp_path_factory: pytest.TempPathFactory) -> LargeCounty:
    return make(tmp_path_factory.mktemp("large"), LOTS)


@pytest.fixture
def server(open_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A cluster of its own, to be treated badly."""
    made = EmbeddedPostgres(open_folder / "postgres")
    made.start()
    yield made
    made.stop()


def restart(server: EmbeddedPostgres, folder: Path, away_s: float = 0) -> None:
    """As after a power cut: nothing is asked, nothing is waited for."""
    pid = int((folder / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGQUIT)
    until_s = time.monotonic() + 30
    while time.monotonic() < until_s:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 0)
            time.sleep(0.02)
            continue
        break
    server.release()
    time.sleep(away_s)
    server.start()


def test_a_server_that_restarts_twice(
    server: EmbeddedPostgres,
    open_folder: Path,
    county: LargeCounty,
    tmp_path: Path,
) -> None:
    rng = random.Random(9)
    env = environment(server.url, tmp_path)
    with started(free_batch(county, KEY, tmp_path / "log"), tmp_path, env) as batch:
        for share in (0.0, 0.4):
            wait_for(lambda: finished(server.url, KEY) > share * LOTS, batch)  # noqa: B023
            _wait_for_copy(server.url, rng.uniform(0.2, 1.0))
            restart(server, open_folder)
        code, said, complained = batch.ended()
        assert code == 0, (said, complained)
    check_like_clean(server.url, county, tmp_path)


def test_a_server_that_is_away_while_chunks_are_leased(
    server: EmbeddedPostgres,
    open_folder: Path,
    county: LargeCounty,
    tmp_path: Path,
) -> None:
    env = environment(server.url, tmp_path)
    command = free_batch(county, KEY, tmp_path / "log", chunk_lots=100)
    with started(command, tmp_path, env) as batch:
        wait_for(lambda: finished(server.url, KEY) > 0, batch)
        restart(server, open_folder, away_s=4)
        code, said, complained = batch.ended()
        assert code == 0, (said, complained)
    assert "Retrying pipeline.batch.lease_loop.LeaseLoop._lease" in complained
    check_like_clean(server.url, county, tmp_path)


def _wait_for_copy(url: str, at_most_s: float) -> None:
    """Until a chunk is being copied, or for so long."""
    until_s = time.monotonic() + at_most_s
    with psycopg.connect(url, autocommit=True) as conn:
        while time.monotonic() < until_s:
            row = conn.execute(_COPYING).fetchone()
            if row and row[0]:
                return


def test_transactions_that_wait_for_each_other(
    server: EmbeddedPostgres, county: LargeCounty, tmp_path: Path
) -> None:
    with psycopg.connect(server.url, autocommit=True) as conn:
        conn.execute("ALTER SYSTEM SET deadlock_timeout = '20ms'")
        conn.execute("SELECT pg_reload_conf()")
    env = environment(server.url, tmp_path)
    over = threading.Event()
    with started(free_batch(county, KEY, tmp_path / "log"), tmp_path, env) as batch:
        wait_for(lambda: finished(server.url, KEY) > 0, batch)
        quarrel = threading.Thread(target=_lock_the_wrong_way_round, args=(server.url, over))
        quarrel.start()
        try:
            code, said, complained = batch.ended()
        finally:
            over.set()
            quarrel.join()
        assert code == 0, (said, complained)
    with psycopg.connect(server.url) as conn:
        [deadlocks] = conn.execute(_DEADLOCKS).fetchone() or [0]
    assert deadlocks > 0
    check_like_clean(server.url, county, tmp_path)


def _lock_the_wrong_way_round(url: str, over: threading.Event) -> None:
    """Take leased properties from the last to the first, where the batch goes up."""
    query = "SELECT id FROM lotline.property WHERE state = 'leased' ORDER BY id DESC"
    lock = "SELECT 1 FROM lotline.property WHERE id = %s FOR UPDATE"
    with psycopg.connect(url, autocommit=True) as conn:
        while not over.is_set():
            ids = [row[0] for row in conn.execute(query)][::25]
            with contextlib.suppress(psycopg.errors.DeadlockDetected), conn.transaction():
                for number in ids:
                    conn.execute(lock, [number])
