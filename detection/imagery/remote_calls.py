"""Calls to an imagery server: circuit breaker, and the errors of `parcels` as imagery errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from detection.errors import ImageryError, ImageryUnavailable
from parcels.arcgis.http.circuit_breaker import CircuitBreaker
from parcels.errors import SourceError, SourceMisconfigured, SourceUnavailable

_T = TypeVar("_T")


class RemoteCalls:
    """Makes the calls of one source.

    Attributes:
        has_served: whether the server has served an image. Then the entry is correct, and a
            wrong response fails only its own lots.
    """

    def __init__(self, breaker: CircuitBreaker | None = None) -> None:
        self._breaker = breaker or CircuitBreaker()
        self.has_served = False

    def make(self, call: Callable[[], _T]) -> _T:
        """The call's result.

        Raises:
            ImageryUnavailable: the server is temporarily unavailable, or fails at this position.
            ImageryError: the entry is wrong.
        """
        try:
            self._breaker.before_call()
            return self._through_breaker(call)
        except SourceUnavailable as error:
            raise ImageryUnavailable(f"imagery: {error}") from error
        except SourceMisconfigured as error:
            if self.has_served:
                raise ImageryUnavailable(f"imagery: {error}") from error
            raise ImageryError(
                f"imagery: {error}. Correct the county's `imagery: {{url: …}}`"
            ) from error
        except ImageryError as error:
            if self.has_served:  # one wrong image among good ones
                raise ImageryUnavailable(f"imagery: {error}") from error
            raise

    def _through_breaker(self, call: Callable[[], _T]) -> _T:
        try:
            response = call()
        except SourceError as error:
            self._breaker.record_failure(error)
            raise
        self._breaker.record_success()
        return response
