"""The second Ctrl-C or SIGTERM ends the process soon, whatever its threads wait for.

The first one is handled where the command is: a batch finishes the work in progress. Both handlers
run in the main thread, which may wait for a frozen database or disk. So a thread reads the signals
as the interpreter receives them, and ends the process if the second one has not done so.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import suppress

GRACE_S = 1.5
_COUNTED = (signal.SIGINT, signal.SIGTERM)
_COUNTED_ONCE = signal.SIGHUP  # a terminal that is closed may send it several times


def exit_at_second_signal(exit_code: int) -> None:
    """From now on, exit with this code at most `GRACE_S` after a second signal."""
    receives, sends = socket.socketpair()
    sends.setblocking(False)
    # It keeps no reference to the socket.
    signal.set_wakeup_fd(sends.detach(), warn_on_full_buffer=False)
    threading.Thread(
        target=_watch, args=(receives, exit_code), name="second signal", daemon=True
    ).start()


def _watch(receives: socket.socket, exit_code: int) -> None:
    count, hung_up = 0, False
    while count + hung_up < 2:
        received = receives.recv(64)
        count += sum(number in _COUNTED for number in received)
        hung_up = hung_up or _COUNTED_ONCE in received
    time.sleep(GRACE_S)
    with suppress(OSError):  # not by Python's streams: the main thread may hold their locks
        os.write(2, b"stopped at once; the next batch resumes\n")
    os._exit(exit_code)
