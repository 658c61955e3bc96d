"""What a worker process does first: log as its parent, ignore signals, exit with its parent."""

from __future__ import annotations

import os
import signal
import threading
import time

from pipeline.batch.interrupts import SIGNALS
from pipeline.log import LogSetup, configure_as

_POLL_S = 1.0


def start_worker_process(logs: LogSetup, parent_pid: int) -> None:
    """The initializer of a worker process.

    Args:
        logs: the log setup of the parent.
    """
    configure_as(logs)
    # Ctrl-C and SIGTERM reach all processes of a batch, but the parent alone decides which of
    # them ends, and when.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_exit_with, args=(parent_pid,), name="parent", daemon=True).start()


def _exit_with(parent_pid: int) -> None:
    """Poll the parent: one that is killed sends no signal, it leaves an orphan."""
    while os.getppid() == parent_pid:
        time.sleep(_POLL_S)
    os._exit(1)
