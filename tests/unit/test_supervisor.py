"""A batch in a process of its own: exit codes, signals, and a process that ends without a word."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

_SCRIPT = """
import ctypes, os, signal, sys, time
from pipeline.cli.second_signal import exit_at_second_signal
from pipeline.cli.supervisor import run_supervised

def report():
    return 1

def fail():
    sys.exit(7)

def vanish():
    os._exit(1)

def crash():
    os.kill(os.getpid(), signal.SIGKILL)

def interrupt():
    raise KeyboardInterrupt

def wait():
    received = []
    signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    print(os.getpid(), flush=True)
    while not received:
        time.sleep(0.01)
    time.sleep(0.2)
    return 40 + len(received)

def freeze():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGINT, lambda number, frame: None)
    print(os.getpid(), flush=True)
    while True:
        time.sleep(1)

def hold_the_lock():
    signal.signal(signal.SIGINT, lambda *_: None)  # one may come before the call below
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # another thread takes it
    print(os.getpid(), flush=True)
    ctypes.PyDLL(None).sleep(60)  # in C, with Python's lock

exit_at_second_signal(130)
sys.exit(run_supervised(globals()[sys.argv[1]]))
"""


def _start(work: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, work], text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize(("work", "code"), [("report", 1), ("fail", 7)])
def test_an_end_with_a_report_keeps_its_exit_code(work: str, code: int) -> None:
    with _start(work) as batch:
        _, errors = batch.communicate(timeout=60)
    assert (batch.returncode, errors) == (code, "")


def test_a_ctrl_c_that_nothing_handles_is_one_for_the_shell_too() -> None:
    with _start("interrupt") as batch:
        batch.communicate(timeout=60)
    assert batch.returncode == 130


@pytest.mark.parametrize("work", ["vanish", "crash"])
def test_an_end_without_a_report_is_an_error(work: str) -> None:
    with _start(work) as batch:
        _, errors = batch.communicate(timeout=60)
    assert batch.returncode == 2
    assert "error: the Ray cluster was lost" in errors
    assert "run the same command: it resumes" in errors


def test_a_signal_to_all_processes_arrives_once() -> None:
    with _start("wait") as batch:
        assert batch.stdout is not None
        batch.stdout.readline()
        os.killpg(batch.pid, signal.SIGINT)
        _, errors = batch.communicate(timeout=60)
    assert (batch.returncode, errors) == (41, "")


@pytest.mark.parametrize("work", ["freeze", "hold_the_lock"])
def test_the_second_signal_ends_both(work: str) -> None:
    with _start(work) as batch:
        assert batch.stdout is not None
        child = int(batch.stdout.readline())
        for _ in range(2):
            os.killpg(batch.pid, signal.SIGINT)
            time.sleep(0.2)
        _, errors = batch.communicate(timeout=60)
    assert batch.returncode == 130
    assert "the next batch resumes" in errors
    assert not psutil.pid_exists(child)


def test_the_batch_ends_with_the_process_that_started_it() -> None:
    with _start("freeze") as batch:
        assert batch.stdout is not None
        child = psutil.Process(int(batch.stdout.readline()))
        batch.kill()
    child.wait(10)
