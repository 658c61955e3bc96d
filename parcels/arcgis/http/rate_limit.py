"""Politeness: how often and how many at once a host is asked, by all clients of the process."""

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

# A batch waits so long for a host that asks for it; beyond, another run has to.
_LONGEST_HOLD_S = 60.0
# Calls bunch on their way to a server, which must not count one too many in its second.
_MARGIN = 1.05

_hosts: dict[tuple[str, MonotonicClock, Sleep], HostLimiter] = {}
_hosts_lock = Lock()
_calls: Counter[str] = Counter()


class HostLimiter:
    """A server: at most so many calls in flight, and so many begun in any second.

    The limits are the smallest that any client of the process has asked for. Calls that are
    within them start at once, four in a row for example; nothing is saved up, so that the fifth
    waits until a second has passed since the first. A server that says `Retry-After` holds every
    call to it.
    """

    def __init__(self, name: str, clock: MonotonicClock, sleep: Sleep) -> None:
        self.name = name
        self.gave_up = False
        """The last call found no answer in all its tries: the next ones try less often."""
        self._clock, self._sleep = clock, sleep
        self._free = Condition()
        self._in_flight = 0
        self._most_in_flight: int | None = None
        self._per_second = float("inf")
        self._starts_s: deque[float] = deque()
        self._held_until_s = float("-inf")

    def limit(self, in_flight: int, per_second: float) -> None:
        """Keep to these limits from now on, unless stricter ones hold already."""
        with self._free:
            self._most_in_flight = min(in_flight, self._most_in_flight or in_flight)
            self._per_second = min(per_second, self._per_second)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the turn of one call; the block is the call.

        Raises:
            RateLimited: the host asked to be left alone for longer than a call may wait.
        """
        with self._free:
            self._free.wait_for(self._has_room)
            self._in_flight += 1
        try:
            self._wait_to_start()
            yield
        finally:
            with self._free:
                self._in_flight -= 1
                self._free.notify()

    def hold(self, wait_s: float) -> None:
        """Ask nothing of the host for so long.

        Raises:
            RateLimited: that is longer than a call may wait.
        """
        with self._free:
            now_s = self._clock()
            self._held_until_s = max(self._held_until_s, now_s + wait_s)
            self._refuse_a_long_hold(now_s)

    def _has_room(self) -> bool:
        return self._most_in_flight is None or self._in_flight < self._most_in_flight

    def _wait_to_start(self) -> None:
        now_s = self._clock()
        while True:
            with self._free:
                self._refuse_a_long_hold(now_s)
                start_s = max(self._held_until_s, self._next_start_s())
                if start_s <= now_s:
                    self._starts_s.append(now_s)
                    _count_call(self.name)
                    return
            self._sleep(start_s - now_s)
            now_s = max(self._clock(), start_s)

    def _next_start_s(self) -> float:
        """When one more call is within the limit; a limit below 1 makes the window longer."""
        most = max(1, int(min(self._per_second, 1_000)))
        while len(self._starts_s) > most:
            self._starts_s.popleft()
        if len(self._starts_s) < most:
            return float("-inf")
        return self._starts_s[0] + most / self._per_second * _MARGIN

    def _refuse_a_long_hold(self, now_s: float) -> None:
        wait_s = self._held_until_s - now_s
        if wait_s > _LONGEST_HOLD_S:
            until = datetime.now().astimezone() + timedelta(seconds=wait_s)
            raise RateLimited(
                f"{self.name}: asks to be left alone until {until:%Y-%m-%d %H:%M:%S %Z} "
                f"(another {wait_s:,.0f} s); run again after that"
            )


def host_of(url: str, clock: MonotonicClock, sleep: Sleep) -> HostLimiter:
    """The host of a URL, name and port: one for all that go by the same clock and sleep."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    name = f"{(parts.hostname or '').rstrip('.')}:{port}"
    with _hosts_lock:
        return _hosts.setdefault((name, clock, sleep), HostLimiter(name, clock, sleep))


def drain_calls() -> Counter[str]:
    """The calls to each host (name and port) since this was last asked, in the whole process."""
    with _hosts_lock:
        calls = Counter(_calls)
        _calls.clear()
        return calls


def _count_call(host: str) -> None:
    with _hosts_lock:
        _calls[host] += 1
