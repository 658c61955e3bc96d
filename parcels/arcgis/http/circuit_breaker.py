"""A circuit breaker: a service that has failed again and again is not asked for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

from parcels.errors import QueryRefused, SourceError, SourceUnavailable

_FAILURES = 3
_PAUSE_S = 60.0


class CircuitBreaker:
    """Opens after three failures in a row, each with its retries; each minute one may try.

    It may be used by several threads at once.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._failures = 0
        self._is_open = False
        self._next_try_at = 0.0
        self._last: SourceError = SourceUnavailable("nothing yet")

    def check(self) -> None:
        """Pass, or refuse without a call.

        Raises:
            SourceUnavailable, SourceMisconfigured: the circuit is open; of the last failure's
                class, with its message.
        """
        with self._lock:
            if not self._is_open:
                return
            if self._clock() >= self._next_try_at:
                # This one may try; the others wait for what it learns, or for their minute.
                self._next_try_at = self._clock() + _PAUSE_S
                return
            count = "a failure" if self._failures == 1 else f"{self._failures} failures in a row"
            raise type(self._last)(f"not asked, after {count}; the last: {self._last}")

    def succeeded(self) -> None:
        """The service answered."""
        with self._lock:
            self._failures = 0
            self._is_open = False

    def failed(self, error: SourceError) -> None:
        """The service gave no usable answer, for all the retries."""
        if isinstance(error, QueryRefused):
            # It did answer: one property's silly id must not shut out the good ones after it.
            self.succeeded()
            return
        with self._lock:
            self._failures += 1
            self._is_open = self._is_open or self._failures >= _FAILURES
            self._last = error
            self._next_try_at = self._clock() + _PAUSE_S

    def open(self) -> None:
        """Open after the failures that there were, if there was one: it is known to be down."""
        with self._lock:
            self._is_open = self._failures > 0
            self._next_try_at = self._clock() + _PAUSE_S
