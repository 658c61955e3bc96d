"""Ctrl-C, SIGTERM and SIGHUP: the first one ends a run gracefully, the second one at once.

A terminal that is closed may send SIGHUP several times: it counts once. Under `nohup` it is
ignored.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

# A terminal or a service manager sends these to all processes of a batch.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """A context in which the first signal is only recorded; the second is a KeyboardInterrupt.

    Outside the main thread, where Python allows no signal handlers, it does nothing.

    Args:
        on_first_signal: called once, in its own thread, because a signal may arrive in the middle
            of a print.
    """

    def __init__(self, on_first_signal: Callable[[], None]) -> None:
        self._on_first_signal = on_first_signal
        self._requested = threading.Event()
        self._previous_handlers: dict[int, Any] = {}

    def stop_requested(self) -> bool:
        """Whether a first signal has arrived."""
        return self._requested.is_set()

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                    continue
                self._previous_handlers[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._requested.is_set():
            if number == signal.SIGHUP:
                return
            raise KeyboardInterrupt
        self._requested.set()
        threading.Thread(target=self._on_first_signal, name="interrupted").start()
