"""Fault 9: PostgreSQL restarts while a batch writes, and deadlocked transactions.

What was rolled back is written again: no lot is inconsistent, and none is lost.
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
    assert_equal_to_clean_run,
    count_finished,
    environment,
    free_segmenter_command,
    start_process,
    wait_for,
)
from largecounty import KEY, LargeCounty, make_county

from pipeline.store.embedded.postgres import EmbeddedPostgres

# Servers are killed at chosen moments of a batch with worker processes.
pytestmark = pytest.mark.serial

LOTS = 1_500
_COPYING = """
SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query ILIKE 'copy %%'
"""
_DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


@pytest.fixture(scope="module")
def county(tmp_path_factory: pytest.TempPathFactory) -> LargeCounty:
    return make_county(tmp_path_factory.mktemp("large"), LOTS)


@pytest.fixture
def server(open_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A separate database server, to be killed."""
    made = EmbeddedPostgres(open_folder / "postgres")
    made.start()
    yield made
    made.stop()


def restart(server: EmbeddedPostgres, folder: Path, down_s: float = 0) -> None:
    """Kill the server as a power cut does, and start it again."""
    pid = int((folder / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGQUIT)
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 0)
            time.sleep(0.02)
            continue
        break
    server.release()
    time.sleep(down_s)
    server.start()


def test_the_server_restarts_twice(
    server: EmbeddedPostgres,
    open_folder: Path,
    county: LargeCounty,
    tmp_path: Path,
) -> None:
    rng = random.Random(9)
    env = environment(server.url, tmp_path)
    with start_process(
        free_segmenter_command(county, KEY, tmp_path / "log"), tmp_path, env
    ) as batch:
        for share in (0.0, 0.4):
            wait_for(lambda: count_finished(server.url, KEY) > share * LOTS, batch)  # noqa: B023
            _wait_for_copy(server.url, rng.uniform(0.2, 1.0))
            restart(server, open_folder)
        code, output, errors = batch.wait()
        assert code == 0, (output, errors)
    assert_equal_to_clean_run(server.url, county, tmp_path)


def test_the_server_is_down_while_chunks_are_leased(
    server: EmbeddedPostgres,
    open_folder: Path,
    county: LargeCounty,
    tmp_path: Path,
) -> None:
    env = environment(server.url, tmp_path)
    command = free_segmenter_command(county, KEY, tmp_path / "log", chunk_lots=100)
    with start_process(command, tmp_path, env) as batch:
        wait_for(lambda: count_finished(server.url, KEY) > 0, batch)
        restart(server, open_folder, down_s=4)
        code, output, errors = batch.wait()
        assert code == 0, (output, errors)
    assert "Retrying pipeline.batch.lease_loop.LeaseLoop._lease" in errors
    assert_equal_to_clean_run(server.url, county, tmp_path)


def _wait_for_copy(url: str, timeout_s: float) -> None:
    """Wait until a chunk is being copied, or for the timeout."""
    deadline_s = time.monotonic() + timeout_s
    with psycopg.connect(url, autocommit=True) as conn:
        while time.monotonic() < deadline_s:
            row = conn.execute(_COPYING).fetchone()
            if row and row[0]:
                return


def test_deadlocked_transactions_are_retried(
    server: EmbeddedPostgres, county: LargeCounty, tmp_path: Path
) -> None:
    with psycopg.connect(server.url, autocommit=True) as conn:
        conn.execute("ALTER SYSTEM SET deadlock_timeout = '20ms'")
        conn.execute("SELECT pg_reload_conf()")
    env = environment(server.url, tmp_path)
    stopped = threading.Event()
    with start_process(
        free_segmenter_command(county, KEY, tmp_path / "log"), tmp_path, env
    ) as batch:
        wait_for(lambda: count_finished(server.url, KEY) > 0, batch)
        rival = threading.Thread(target=_lock_in_reverse_order, args=(server.url, stopped))
        rival.start()
        try:
            code, output, errors = batch.wait()
        finally:
            stopped.set()
            rival.join()
        assert code == 0, (output, errors)
    deadlocks, deadline_s = 0, time.monotonic() + 60
    with psycopg.connect(server.url, autocommit=True) as conn:
        # A server process reports its statistics when it ends, a moment after its client.
        while deadlocks == 0 and time.monotonic() < deadline_s:
            time.sleep(0.1)
            [deadlocks] = conn.execute(_DEADLOCKS).fetchone() or [0]
    assert deadlocks > 0
    assert_equal_to_clean_run(server.url, county, tmp_path)


def _lock_in_reverse_order(url: str, stopped: threading.Event) -> None:
    """Lock leased properties in descending order; the batch locks them in ascending order."""
    query = "SELECT id FROM lotline.property WHERE state = 'leased' ORDER BY id DESC"
    lock = "SELECT 1 FROM lotline.property WHERE id = %s FOR UPDATE"
    with psycopg.connect(url, autocommit=True) as conn:
        while not stopped.is_set():
            ids = [row[0] for row in conn.execute(query)][::25]
            with contextlib.suppress(psycopg.errors.DeadlockDetected), conn.transaction():
                for number in ids:
                    conn.execute(lock, [number])
