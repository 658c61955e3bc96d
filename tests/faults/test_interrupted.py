"""Ctrl-C through the command, as a terminal sends it: to all of its processes at once."""

from __future__ import annotations

import os
import pty
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from batches import (
    LOTLINE,
    Batch,
    environment,
    finished,
    half_written,
    leased,
    spectral_batch,
    started,
    states_of,
    wait_for,
)
from largecounty import KEY, LargeCounty, make

from pipeline.store.database import Database

# A batch with processes of its own is stopped while it has much left to do.
pytestmark = pytest.mark.serial

# Of the spectral segmenter.
LABELS = 3


@pytest.fixture(scope="module")
def county(tmp_path_factory: pytest.TempPathFactory) -> LargeCounty:
    return make(tmp_path_factory.mktemp("large"), 3_000)


@pytest.fixture
def batch(
    county: LargeCounty,
    database: Database,
    tmp_path: Path,
) -> Iterator[Batch]:
    """The command at work, with something written and much still to do."""
    command = spectral_batch(county)
    with started(command, tmp_path, environment(database.url, tmp_path)) as running:
        wait_for(lambda: "done" in states_of(database.url, KEY), running)
        yield running


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_once_ends_with_what_is_in_hand(
    database: Database,
    batch: Batch,
    how: signal.Signals,
) -> None:
    batch.stop(how)
    code, said, complained = batch.ended(60)
    assert code == 130, (said, complained)
    assert "Traceback" not in complained, complained
    assert "lost" not in complained, "no process below it ended before it"
    assert "the same command resumes" in said
    assert leased(database.url, KEY) == []
    assert half_written(database.url, KEY, LABELS) == []
    states = states_of(database.url, KEY)
    assert states["done"] > 0
    assert states["pending"] > 0
    assert batch.family() == []


def test_twice_stops_at_once(database: Database, batch: Batch) -> None:
    batch.stop()
    time.sleep(0.05)
    batch.stop()
    code, _, complained = batch.ended(60)
    assert code == 130
    assert "Traceback" not in complained, complained
    assert leased(database.url, KEY) == []
    assert half_written(database.url, KEY, LABELS) == []
    wait_for(lambda: not batch.family(), seconds=20)


def test_ctrl_c_in_a_terminal(
    county: LargeCounty,
    database: Database,
    tmp_path: Path,
) -> None:
    """The terminal itself makes the signal of the key, for the group in front."""
    env = {**environment(database.url, tmp_path), "TERM": "xterm", "COLUMNS": "120"}
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover - another process
        os.chdir(tmp_path)
        os.execve(LOTLINE, spectral_batch(county), env)
    shown = _shown_until(terminal, lambda: finished(database.url, KEY) > 0)
    os.write(terminal, b"\x03")
    shown += _shown_until(terminal, lambda: False)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 130, shown
    assert "Ctrl-C again stops at once" in shown
    assert "the same command resumes" in shown
    assert "Traceback" not in shown
    assert leased(database.url, KEY) == []


def _shown_until(terminal: int, enough: Callable[[], bool]) -> str:
    """What is shown until something is so, or the other side is gone."""
    shown = b""
    os.set_blocking(terminal, False)
    until_s = time.monotonic() + 90
    while not enough():
        assert time.monotonic() < until_s, shown.decode(errors="replace")
        try:
            shown += os.read(terminal, 65_536)
        except BlockingIOError:
            time.sleep(0.01)
        except OSError:  # how Linux says that nobody has the other side open
            break
    return " ".join(shown.decode(errors="replace").split())
