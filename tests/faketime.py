"""Time that passes only when somebody waits."""

from __future__ import annotations

from threading import Lock


class FakeTime:
    """Its `clock` goes on by what `sleep` was asked for, which is kept in `waits_s`."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.waits_s: list[float] = []
        self._lock = Lock()

    def clock(self) -> float:
        return self.now_s

    def sleep(self, wait_s: float) -> None:
        with self._lock:
            self.waits_s.append(wait_s)
            self.now_s += wait_s
