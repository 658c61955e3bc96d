"""GET of bytes from any server (tiles, parts of files), by the rules of `ArcGISClient`.

The same address guard, rate limits for each host, retries, redirects and size limit; without
ArcGIS' parameters and error bodies.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from parcels.arcgis.http.exchange import Exchange, HttpRequest, HttpResponse
from parcels.arcgis.http.rate_limit import MonotonicClock, Sleep
from parcels.arcgis.http.responses import TooManyRequestsError, TransientError
from parcels.arcgis.http.retry import RetryLimits, call_with_retry
from parcels.errors import SourceError

T = TypeVar("T")
_TRANSIENT = (408, 425)


class ByteClient:
    """Returns what a parser makes of a response, after retries if needed, or raises. Thread-safe.

    Args:
        secrets: values that may be in a URL; messages have "[secret]" instead.
        allow_private: whether servers may be on loopback or in private ranges.
        calls_in_flight, calls_per_second: limits for each host. Of several clients' limits the
            strictest apply.
    """

    def __init__(
        self,
        *,
        secrets: tuple[str, ...] = (),
        allow_private: bool = False,
        calls_in_flight: int = 4,
        calls_per_second: float = 16.0,
        read_timeout_s: float = 30.0,
        retry_for_s: float = 180.0,
        sleep: Sleep = time.sleep,
        clock: MonotonicClock = time.monotonic,
    ) -> None:
        self._secrets = tuple(secret for secret in secrets if secret)
        self._limits = RetryLimits(read_timeout_s, retry_for_s)
        self._sleep, self._clock = sleep, clock
        self._exchange = Exchange(
            sleep=sleep,
            clock=clock,
            allow_private=allow_private,
            legacy_tls=(),
            calls_in_flight=calls_in_flight,
            calls_per_second=calls_per_second,
        )

    @property
    def calls(self) -> int:
        """Requests sent so far, redirects and failed ones included."""
        return self._exchange.calls

    def get(
        self,
        url: str,
        parse: Callable[[HttpResponse], T],
        *,
        headers: Mapping[str, str] | None = None,
        byte_range: tuple[int, int] | None = None,
    ) -> T:
        """Request a URL, with its query; return what `parse` makes of the response.

        `parse` raises `TransientError` for what may pass, and another `SourceError` for what does
        not. Overload (408, 425, 429, 5xx) is retried without asking it.

        Args:
            headers: for this server only, not for one that it redirects to.
            byte_range: (first, last) byte to request; the response is a part (206).

        Raises:
            SourceUnavailable: no usable response for now.
            RateLimited: its Retry-After is longer than a call may wait.
            RangesIgnored: it answers with the whole file.
            AddressRefused, SourceMisconfigured: the address is wrong; or as `parse` raises.
        """
        request = HttpRequest(url, {}, headers=dict(headers or {}), byte_range=byte_range)

        def send() -> T:
            response = self._exchange.send(request, self._limits.read_timeout_s)
            _raise_if_overloaded(self.redact(url), response.status)
            return parse(response)

        try:
            return call_with_retry(
                send,
                self._exchange.limiter(url),
                self._limits,
                clock=self._clock,
                sleep=self._sleep,
            )
        except SourceError as error:
            error.args = (self.redact(str(error)),)
            raise

    def redact(self, text: str) -> str:
        """The text without the client's secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        return text


def _raise_if_overloaded(url: str, status: int) -> None:
    if status == 429:
        raise TooManyRequestsError(f"{url}: error 429: too many requests; try again later")
    if status in _TRANSIENT or status >= 500:
        raise TransientError(
            f"{url}: error {status}: the server is overloaded or down; try again later"
        )
