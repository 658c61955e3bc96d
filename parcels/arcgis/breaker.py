"""A circuit breaker: a service that has failed again and again is not asked for a while."""

from __future__ import annotations

import time
from collections.abc import Callable

from parcels.errors import QueryRefused, SourceError, SourceMisconfigured, SourceUnavailable

_FAILURES = 3
_PAUSE_S = 60.0


class Breaker:
    """Opens after three failures in a row, each with its retries; after a minute one may try."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._closed_again_at = 0.0
        self._last: SourceError | None = None

    def check(self) -> None:
        """Pass, or refuse without a call.

        Raises:
            SourceUnavailable, SourceMisconfigured: the circuit is open; of the last failure's kind.
        """
        if self._failures < _FAILURES or self._clock() >= self._closed_again_at:
            return
        message = f"not asked, after {self._failures} failures in a row; the last: {self._last}"
        if isinstance(self._last, SourceMisconfigured):
            raise SourceMisconfigured(message)
        raise SourceUnavailable(message)

    def succeeded(self) -> None:
        """The service answered."""
        self._failures = 0

    def failed(self, error: SourceError) -> None:
        """The service gave no usable answer, for all the retries."""
        if isinstance(error, QueryRefused):
            # It did answer: one property's silly id must not shut out the good ones after it.
            self.succeeded()
            return
        self._failures += 1
        self._last = error
        self._closed_again_at = self._clock() + _PAUSE_S
