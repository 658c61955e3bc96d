"""Time that passes only in `sleep`."""

from __future__ import annotations

from threading import Lock


class FakeTime:
    """`sleep` advances `clock` at once and records the wait in `waits_s`."""

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
