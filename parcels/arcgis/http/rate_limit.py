"""Rate limits for each host: calls per second, calls in flight, Retry-After.

All clients of the process share the limits of a host.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import Condition, Lock
from urllib.parse import urlsplit

from parcels.errors import RateLimited

MonotonicClock = Callable[[], float]
Sleep = Callable[[float], None]

# A call waits this long for a Retry-After; a longer one is left to the next run.
_MAX_PAUSE_S = 60.0
# Calls bunch up on their way, and the server must not count one too many in its second.
_WINDOW_MARGIN = 1.05

_limiters: dict[tuple[str, MonotonicClock, Sleep], HostLimiter] = {}
_limiters_lock = Lock()
_calls: Counter[str] = Counter()


class HostLimiter:
    """The limits of one host. Thread-safe.

    In flight: a counting semaphore. Calls per second: a sliding window, not a token bucket. With
    4 calls per second, four start at once and the fifth starts a second after the first; idle
    time earns no larger burst. Retry-After pauses every call to the host.

    Of the limits of several clients the strictest apply.
    """

    def __init__(self, name: str, clock: MonotonicClock, sleep: Sleep) -> None:
        self.name = name
        self.degraded = False
        """Whether the last call failed after all its retries; the next calls retry less."""
        self._clock, self._sleep = clock, sleep
        self._slot_released = Condition()
        self._in_flight = 0
        self._max_in_flight: int | None = None
        self._calls_per_second = float("inf")
        self._start_times_s: deque[float] = deque()
        self._paused_until_s = float("-inf")

    def restrict(self, in_flight: int, calls_per_second: float) -> None:
        """Apply these limits from now on, where they are stricter than the current ones."""
        with self._slot_released:
            self._max_in_flight = min(in_flight, self._max_in_flight or in_flight)
            self._calls_per_second = min(calls_per_second, self._calls_per_second)

    @contextmanager
    def acquire(self) -> Iterator[None]:
        """Wait until a call may start; the call is in flight until the block ends.

        Raises:
            RateLimited: the host's Retry-After is longer than a call may wait.
        """
        with self._slot_released:
            self._slot_released.wait_for(self._has_free_slot)
            self._in_flight += 1
        try:
            self._wait_to_start()
            yield
        finally:
            with self._slot_released:
                self._in_flight -= 1
                self._slot_released.notify()

    def pause(self, wait_s: float) -> None:
        """Start no call to the host for `wait_s` seconds (Retry-After).

        Raises:
            RateLimited: that is longer than a call may wait.
        """
        with self._slot_released:
            now_s = self._clock()
            self._paused_until_s = max(self._paused_until_s, now_s + wait_s)
            self._refuse_long_pause(now_s)

    def _has_free_slot(self) -> bool:
        return self._max_in_flight is None or self._in_flight < self._max_in_flight

    def _wait_to_start(self) -> None:
        now_s = self._clock()
        while True:
            with self._slot_released:
                self._refuse_long_pause(now_s)
                start_s = max(self._paused_until_s, self._window_free_at_s())
                if start_s <= now_s:
                    self._start_times_s.append(now_s)
                    _count_call(self.name)
                    return
            self._sleep(start_s - now_s)
            now_s = max(self._clock(), start_s)

    def _window_free_at_s(self) -> float:
        """When the sliding window has a free place; a limit below 1/s makes the window longer."""
        window_calls = max(1, int(min(self._calls_per_second, 1_000)))
        while len(self._start_times_s) > window_calls:
            self._start_times_s.popleft()
        if len(self._start_times_s) < window_calls:
            return float("-inf")
        return self._start_times_s[0] + window_calls / self._calls_per_second * _WINDOW_MARGIN

    def _refuse_long_pause(self, now_s: float) -> None:
        wait_s = self._paused_until_s - now_s
        if wait_s > _MAX_PAUSE_S:
            until = datetime.now().astimezone() + timedelta(seconds=wait_s)
            raise RateLimited(
                f"{self.name}: rate limited (Retry-After) until {until:%Y-%m-%d %H:%M:%S %Z} "
                f"({wait_s:,.0f} s left); run again after that"
            )


def host_limiter(url: str, clock: MonotonicClock, sleep: Sleep) -> HostLimiter:
    """The limiter of a URL's host and port; one for all clients with this clock and sleep."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    name = f"{(parts.hostname or '').rstrip('.')}:{port}"
    with _limiters_lock:
        return _limiters.setdefault((name, clock, sleep), HostLimiter(name, clock, sleep))


def drain_calls() -> Counter[str]:
    """The calls of this process to each host (name and port) since the last drain."""
    with _limiters_lock:
        calls = Counter(_calls)
        _calls.clear()
        return calls


def _count_call(host: str) -> None:
    with _limiters_lock:
        _calls[host] += 1
