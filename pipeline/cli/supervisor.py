"""A batch on a Ray cluster runs in a process of its own, because Ray ends that process itself.

When the cluster's head or this machine's part of it is lost, Ray's library exits in C++: without an
error, a message, or an exit code of ours. So this process starts the batch in a child, hands on
the signals, and says what happened if the child ends without a report.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable
from types import FrameType

from pipeline.cli.output import print_message
from pipeline.cli.second_signal import GRACE_S, exit_at_second_signal
from pipeline.exit_codes import INTERRUPTED

_HANDED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_POLL_S = 1.0
# The child ends itself first, if it can.
_MARGIN_S = 0.3


def run_supervised(work: Callable[[], int]) -> int:
    """Run `work` in a child process and return its exit code; 2 if it was lost.

    In the child it does not return if `work` raises: the error is the child's.
    """
    reads, writes = os.pipe()
    with warnings.catch_warnings():
        # The only other thread waits for signals; the child starts its own.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        os.close(writes)
        return _supervise(child, reads)
    os.close(reads)
    _prepare_child(os.getppid())
    try:
        return work()
    finally:
        os.write(writes, b"e")  # it ends as Python does: what follows is its own message and code


def _prepare_child(parent: int) -> None:
    # Signals of the terminal reach the parent alone, which hands each on once.
    os.setsid()
    exit_at_second_signal(INTERRUPTED)
    threading.Thread(target=_exit_with, args=(parent,), name="parent", daemon=True).start()


def _exit_with(parent: int) -> None:
    """Poll the parent: one that is killed sends no signal, it leaves an orphan."""
    while os.getppid() == parent:
        time.sleep(_POLL_S)
    os._exit(1)


def _supervise(child: int, ended: int) -> int:
    # The child counts the signals; the watcher of this process must not end it before the child.
    signal.set_wakeup_fd(-1)

    count = 0

    def hand_on(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        nonlocal count
        count += number != signal.SIGHUP
        os.kill(child, number)
        if count > 1:  # a call into Ray may hold Python's lock, so that the child cannot end itself
            signal.setitimer(signal.ITIMER_REAL, GRACE_S + _MARGIN_S)

    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    for number in _HANDED_ON:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, hand_on)
    _, status = os.waitpid(child, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    code = os.waitstatus_to_exitcode(status)
    is_told = bool(os.read(ended, 1))
    if code == -signal.SIGINT:  # how Python ends at a Ctrl-C that nothing has handled
        code = INTERRUPTED
    if is_told or code == INTERRUPTED:
        return code
    if count > 1:
        print_message("stopped at once; the next batch resumes", logging.WARNING)
        return INTERRUPTED
    print_message(
        "the Ray cluster was lost: its head, or Ray on this machine, ended or cannot be reached. "
        "What was written stays. Start the cluster again, then run the same command: it resumes",
        logging.ERROR,
    )
    return 2


def is_child_needed(engine: str) -> bool:
    """Whether a batch with this engine needs a process of its own."""
    return engine == "ray" and threading.current_thread() is threading.main_thread()
