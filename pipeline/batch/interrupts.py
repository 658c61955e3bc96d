"""Ctrl-C: once asks a run to end with what it has in hand, twice stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

# A terminal, or a service manager, sends them to all processes of a batch.
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While it is entered, the first signal is only noted, and the second is a KeyboardInterrupt.

    In another thread than the main one, where Python lets nobody handle signals, it does nothing.

    Args:
        on_first: called once, in a thread of its own: a signal may come in the middle of a print.
    """

    def __init__(self, on_first: Callable[[], None]) -> None:
        self._on_first = on_first
        self._asked = threading.Event()
        self._before: dict[int, Any] = {}

    def asked(self) -> bool:
        """Whether the run is to end."""
        return self._asked.is_set()

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._asked.is_set():
            raise KeyboardInterrupt
        self._asked.set()
        threading.Thread(target=self._on_first, name="interrupted").start()
