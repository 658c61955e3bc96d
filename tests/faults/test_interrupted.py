"""Ctrl-C and SIGTERM, as a terminal sends them: to all processes of a batch at once."""

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
    count_by_state,
    count_finished,
    environment,
    inconsistent_properties,
    leased_properties,
    spectral_command,
    start_process,
    wait_for,
)
from frozenserver import frozen
from largecounty import KEY, LargeCounty, make_county

from pipeline.store.database import Database

# A batch with worker processes is stopped while it has much left to do.
pytestmark = pytest.mark.serial

# Labels of the spectral segmenter.
LABELS = 3


@pytest.fixture(scope="module")
def county(tmp_path_factory: pytest.TempPathFactory) -> LargeCounty:
    return make_county(tmp_path_factory.mktemp("large"), 3_000)


@pytest.fixture
def batch(
    county: LargeCounty,
    database: Database,
    tmp_path: Path,
) -> Iterator[Batch]:
    """A running batch, with some lots written and many left."""
    command = spectral_command(county)
    with start_process(command, tmp_path, environment(database.url, tmp_path)) as running:
        wait_for(lambda: "done" in count_by_state(database.url, KEY), running)
        yield running


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_finishes_the_work_in_progress(
    database: Database,
    batch: Batch,
    number: signal.Signals,
) -> None:
    batch.stop(number)
    code, output, errors = batch.wait(120)
    assert code == 130, (output, errors)
    assert "Traceback" not in errors, errors
    assert "lost" not in errors, "no worker process ended before it"
    assert "the same command resumes" in output
    assert leased_properties(database.url, KEY) == []
    assert inconsistent_properties(database.url, KEY, LABELS) == []
    states = count_by_state(database.url, KEY)
    assert states["done"] > 0
    assert states["pending"] > 0
    assert batch.group() == []


def test_a_closed_terminal_that_sends_its_signal_again_stops_gracefully(
    database: Database, batch: Batch
) -> None:
    for _ in range(3):
        batch.stop(signal.SIGHUP)
        time.sleep(0.02)
    code, output, errors = batch.wait(120)
    assert code == 130, (output, errors)
    assert "the same command resumes" in output
    assert leased_properties(database.url, KEY) == []


def test_under_nohup_a_closed_terminal_does_not_matter(
    county: LargeCounty, database: Database, tmp_path: Path
) -> None:
    command = ["nohup", *spectral_command(county, "--limit", "400")]
    with start_process(command, tmp_path, environment(database.url, tmp_path)) as running:
        wait_for(lambda: "leased" in count_by_state(database.url, KEY), running)
        running.stop(signal.SIGHUP)
        code, output, errors = running.wait(120)
    assert code in (0, 1), (output, errors)
    assert count_finished(database.url, KEY) == 400


def test_two_signals_stop_at_once(
    county: LargeCounty, database: Database, batch: Batch, tmp_path: Path
) -> None:
    batch.stop()
    time.sleep(0.05)
    batch.stop()
    code, _, errors = batch.wait(120)
    assert code == 130
    assert "Traceback" not in errors, errors
    wait_for(lambda: not batch.group(), seconds=60)
    _assert_next_batch_resumes(county, database, tmp_path)


def test_two_signals_end_a_batch_whose_database_is_frozen(
    county: LargeCounty, database: Database, batch: Batch, tmp_path: Path
) -> None:
    with frozen(database.engine):
        batch.stop()
        time.sleep(0.5)
        assert batch.group(), "the first signal waits for the work in progress"
        batch.stop()
        code, _, errors = batch.wait(120)
        assert code == 130
        assert "the next batch resumes" in errors
        wait_for(lambda: not batch.group(), seconds=60)
    _assert_next_batch_resumes(county, database, tmp_path)


def _assert_next_batch_resumes(county: LargeCounty, database: Database, tmp_path: Path) -> None:
    """On a slow machine the leases are reclaimed by the next batch, not released by the last."""
    assert inconsistent_properties(database.url, KEY, LABELS) == []
    command = [*spectral_command(county), "--limit", "10"]
    with start_process(command, tmp_path, environment(database.url, tmp_path)) as resumed:
        code, output, errors = resumed.wait()
    assert code in (0, 1), (output, errors)  # 1: the county has lots that fail
    assert leased_properties(database.url, KEY) == []


def test_ctrl_c_in_a_terminal(
    county: LargeCounty,
    database: Database,
    tmp_path: Path,
) -> None:
    """A pseudo-terminal turns the key into the signal, for its foreground group."""
    env = {**environment(database.url, tmp_path), "TERM": "xterm", "COLUMNS": "120"}
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover - another process
        os.chdir(tmp_path)
        os.execve(LOTLINE, spectral_command(county), env)
    shown = _read_until(terminal, lambda: count_finished(database.url, KEY) > 0)
    os.write(terminal, b"\x03")
    shown += _read_until(terminal, lambda: False)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 130, shown
    assert "Ctrl-C again stops at once" in shown
    assert "the same command resumes" in shown
    assert "Traceback" not in shown
    assert leased_properties(database.url, KEY) == []


def _read_until(terminal: int, ready: Callable[[], bool]) -> str:
    """The terminal's output until `ready`, or until the process has closed it."""
    shown = b""
    os.set_blocking(terminal, False)
    deadline_s = time.monotonic() + 90
    while not ready():
        assert time.monotonic() < deadline_s, shown.decode(errors="replace")
        try:
            shown += os.read(terminal, 65_536)
        except BlockingIOError:
            time.sleep(0.01)
        except OSError:  # Linux raises it once the other side is closed
            break
    return " ".join(shown.decode(errors="replace").split())
