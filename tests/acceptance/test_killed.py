"""A killed batch, and two batches at once: the next resumes, and nothing is lost."""

from __future__ import annotations

import subprocess
import time

import psycopg
import pytest
from user import LOTLINE, User

# A batch is killed, or joined by another, while it has much left to do.
pytestmark = pytest.mark.serial

DONE = "SELECT count(*) FROM lotline.property WHERE state IN ('done', 'no_imagery')"
MEASURED = """
SELECT p.property_id, p.state, p.reason, m.label, m.area_m2 FROM lotline.property p
LEFT JOIN lotline.measurement m ON m.property_fk = p.id AND m.current ORDER BY 1, 4
"""


def _start(user: User) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(LOTLINE), "batch", "--segmenter", "spectral"],
        cwd=user.folder,
        env=user.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _wait_for_some(user: User, running: subprocess.Popen[str], count: int) -> None:
    """Wait until the batch has written `count` lots."""
    for _ in range(1200):
        assert running.poll() is None, running.communicate()
        try:
            with psycopg.connect(user.env["DATABASE_URL"]) as conn:
                row = conn.execute(DONE).fetchone()
        except psycopg.errors.UndefinedTable:
            row = (0,)
        if row and row[0] >= count:
            return
        time.sleep(0.05)
    pytest.fail("the batch wrote nothing in a minute")


def test_after_a_kill_the_next_batch_resumes_at_once(fresh: User) -> None:
    running = _start(fresh)
    _wait_for_some(fresh, running, 20)
    running.kill()
    running.communicate()

    resumed = fresh.run("batch")
    assert "a batch was killed" in resumed.stderr
    states = {s["state"]: s["properties"] for s in fresh.status()["by_state"]}
    assert states == {"done": 205, "no_imagery": 1}
    with psycopg.connect(fresh.env["DATABASE_URL"]) as conn:
        runs = conn.execute("SELECT state FROM lotline.run ORDER BY id").fetchall()
        before = conn.execute(MEASURED).fetchall()
    assert runs == [("killed",), ("finished",)]

    # A clean run of everything has the same results.
    fresh.run("batch", "--again")
    with psycopg.connect(fresh.env["DATABASE_URL"]) as conn:
        assert conn.execute(MEASURED).fetchall() == before


def test_two_concurrent_batches_process_no_lot_twice(fresh: User) -> None:
    first = _start(fresh)
    _wait_for_some(fresh, first, 1)
    second = fresh.run("batch")
    assert "being processed by another batch" in second.stdout
    first.communicate(timeout=120)
    assert first.returncode == 0
    with psycopg.connect(fresh.env["DATABASE_URL"]) as conn:
        attempts = conn.execute("SELECT DISTINCT attempts FROM lotline.property").fetchall()
    assert attempts == [(1,)]
