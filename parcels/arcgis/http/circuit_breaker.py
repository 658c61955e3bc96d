"""A circuit breaker: after repeated failures a service gets no calls for a while.

closed     calls pass
open       calls fail at once, with the last error
half-open  every minute one trial call passes: success closes the circuit, failure keeps it open
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

from parcels.errors import QueryRefused, SourceError, SourceUnavailable

_FAILURE_THRESHOLD = 3
_OPEN_S = 60.0


class CircuitBreaker:
    """Opens after three failures in a row, each of which includes its retries. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._failures = 0
        self._is_open = False
        self._half_open_at_s = 0.0
        self._last_error: SourceError = SourceUnavailable("no call yet")

    def before_call(self) -> None:
        """Return if a call may be made.

        Raises:
            SourceUnavailable, SourceMisconfigured: the circuit is open; class and message of the
                last error.
        """
        with self._lock:
            if not self._is_open:
                return
            if self._clock() >= self._half_open_at_s:
                # Half-open: this call is the trial; other callers wait for its outcome, and at
                # most a minute, as the trial may never report one.
                self._half_open_at_s = self._clock() + _OPEN_S
                return
            count = "1 failure" if self._failures == 1 else f"{self._failures} failures in a row"
            raise type(self._last_error)(
                f"circuit open after {count}; last error: {self._last_error}"
            )

    def record_success(self) -> None:
        """Close the circuit."""
        with self._lock:
            self._failures = 0
            self._is_open = False

    def record_failure(self, error: SourceError) -> None:
        """Count a call that failed after its retries; open the circuit at the threshold."""
        if isinstance(error, QueryRefused):
            # The service works: one bad query must not block the good ones after it.
            self.record_success()
            return
        with self._lock:
            self._failures += 1
            self._is_open = self._is_open or self._failures >= _FAILURE_THRESHOLD
            self._last_error = error
            self._half_open_at_s = self._clock() + _OPEN_S

    def force_open(self) -> None:
        """Open below the threshold, if the last call failed: the service is known to be down."""
        with self._lock:
            self._is_open = self._failures > 0
            self._half_open_at_s = self._clock() + _OPEN_S
