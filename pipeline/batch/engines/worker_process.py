"""A process below the batch's own: it leaves signals to that one, and ends when that one does."""

from __future__ import annotations

import os
import signal
import threading
import time

from pipeline.batch.interrupts import SIGNALS
from pipeline.log import LogSetup, configure_as

_LOOK_S = 1.0


def start_worker_process(logs: LogSetup, parent: int) -> None:
    """The first thing in such a process.

    Args:
        logs: how the parent writes its log.
        parent: its process id.
    """
    configure_as(logs)
    # A terminal's Ctrl-C, and a service manager's SIGTERM, go to all processes of a batch; which
    # of them ends when is for the first one to say.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_watch, args=(parent,), name="parent", daemon=True).start()


def _watch(parent: int) -> None:
    """A parent that was killed told nobody: who has another one now is an orphan."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)
