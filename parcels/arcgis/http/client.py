"""The ArcGIS client: each call returns a good response, after retries if needed, or raises."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from parcels.arcgis.http.exchange import Exchange, HttpRequest, Upload
from parcels.arcgis.http.rate_limit import MonotonicClock, Sleep
from parcels.arcgis.http.responses import parse_response
from parcels.arcgis.http.retry import RetryLimits, call_with_retry
from parcels.arcgis.http.token import TokenProvider, parse_token_response, token_provider_for
from parcels.errors import AuthenticationRequired, SourceError, SourceMisconfigured
from parcels.registry.county import County

T = TypeVar("T")
_Parser = Callable[[str, int, bytes], T]  # url, status, body


class ArcGISClient:
    """Calls ArcGIS services: returns JSON or a decoded file, or raises a typed error.

    Thread-safe. All clients of a process share the rate limits and Retry-After of a host.

    Args:
        sleep, clock: for waits and deadlines. Clients with the same pair share the hosts' limits.
        read_timeout_s: how long a server may send nothing.
        retry_for_s: no retry starts later than this after the call began.
        allow_private: whether servers may be on loopback or in private ranges.
        headers: sent with every call, but never to a host that a server redirects to.
        legacy_tls: hosts that need legacy TLS renegotiation (servers without RFC 5746).
        token: the tokens for a secured service.
        calls_in_flight, calls_per_second: limits for each host. Of several clients' limits the
            strictest apply.
    """

    def __init__(
        self,
        *,
        sleep: Sleep = time.sleep,
        clock: MonotonicClock = time.monotonic,
        read_timeout_s: float = 30.0,
        retry_for_s: float = 180.0,
        allow_private: bool = False,
        headers: Mapping[str, str] | None = None,
        legacy_tls: Collection[str] = (),
        token: TokenProvider | None = None,
        calls_in_flight: int = 2,
        calls_per_second: float = 4.0,
    ) -> None:
        self._sleep, self._clock = sleep, clock
        self._limits = RetryLimits(read_timeout_s, retry_for_s)
        self._headers = dict(headers or {})
        self._tokens = token
        if token is not None and token.referer is not None:
            self._headers.setdefault("Referer", token.referer)
        self._exchange = Exchange(
            sleep=sleep,
            clock=clock,
            allow_private=allow_private,
            legacy_tls=legacy_tls,
            calls_in_flight=calls_in_flight,
            calls_per_second=calls_per_second,
        )

    @classmethod
    def for_county(
        cls,
        county: County,
        *,
        sleep: Sleep = time.sleep,
        clock: MonotonicClock = time.monotonic,
        read_timeout_s: float = 30.0,
        retry_for_s: float = 180.0,
    ) -> ArcGISClient:
        """The client for a county's parcel servers, configured by its registry entry."""
        return cls(
            sleep=sleep,
            clock=clock,
            read_timeout_s=read_timeout_s,
            retry_for_s=retry_for_s,
            allow_private=county.allow_private,
            headers=county.headers,
            legacy_tls=county.legacy_tls,
            token=token_provider_for(county.token, county.url, allow_plain=county.allow_private),
            calls_in_flight=county.calls_in_flight,
            calls_per_second=county.calls_per_second,
        )

    @property
    def calls(self) -> int:
        """Requests sent so far, redirects and failed ones included."""
        return self._exchange.calls

    def get_json(
        self,
        url: str,
        params: Mapping[str, str],
        *,
        read_timeout_s: float = math.inf,
        retry_for_s: float = math.inf,
    ) -> dict[str, Any]:
        """Query with GET, or with POST if the query is long.

        `read_timeout_s` and `retry_for_s` apply to this call, if shorter than the client's.

        Raises:
            SourceUnavailable: no usable response for now.
            RateLimited: its Retry-After is longer than a call may wait.
            SourceMisconfigured: the registry entry needs a fix; subclasses in `parcels.errors`.
        """
        limits = RetryLimits(
            min(read_timeout_s, self._limits.read_timeout_s),
            min(retry_for_s, self._limits.retry_for_s),
        )
        return self._call(HttpRequest(url, {**params, "f": "json"}), parse_response, limits)

    def get_image(self, url: str, params: Mapping[str, str], decode: Callable[[bytes], T]) -> T:
        """Request an image like `get_json`, and return what `decode` makes of its bytes.

        `decode` raises `TransientError` for bytes that are not a complete image.

        Raises:
            SourceUnavailable, RateLimited, SourceMisconfigured: as `get_json`.
        """
        parse = _bytes_parser(decode, "the response is not an image; is this an ImageServer?")
        return self._call(HttpRequest(url, {**params, "f": "image"}), parse, self._limits)

    def post_file(
        self,
        url: str,
        form: Mapping[str, str],
        name: str,
        content: bytes,
        decode: Callable[[bytes], T],
        *,
        read_timeout_s: float,
    ) -> T:
        """Post a form with a CSV file in the field `name`; return what `decode` makes of it.

        `decode` raises `TransientError` for an incomplete body. `read_timeout_s` applies to this
        call, also if longer than the client's.

        Raises:
            SourceUnavailable, RateLimited, SourceMisconfigured: as `get_json`.
        """
        parse = _bytes_parser(decode, "the response has an unexpected format; correct the URL")
        request = HttpRequest(url, form, upload=Upload(name, content))
        return self._call(request, parse, replace(self._limits, read_timeout_s=read_timeout_s))

    def _call(self, request: HttpRequest, parse: _Parser[T], limits: RetryLimits) -> T:
        """Send a request, with a token if the server needs one; renew a refused token once."""
        request = replace(request, headers=self._headers)
        tokens = self._tokens
        if tokens is None or not tokens.applies_to(request.url):
            return self._send_with_retry(request, parse, limits)
        token = tokens.token(request.url, self._post_secrets)
        try:
            return self._send_with_retry(_with_token(request, token), parse, limits)
        except AuthenticationRequired:
            token = tokens.renew(request.url, token, self._post_secrets)
            return self._send_with_retry(_with_token(request, token), parse, limits)

    def _post_secrets(
        self, url: str, form: Mapping[str, str], secrets: Mapping[str, str]
    ) -> dict[str, Any]:
        request = HttpRequest(url, form, headers=self._headers, secrets=secrets)
        return self._send_with_retry(request, parse_token_response, self._limits)

    def _send_with_retry(self, request: HttpRequest, parse: _Parser[T], limits: RetryLimits) -> T:
        return call_with_retry(
            lambda: self._send_once(request, parse, limits.read_timeout_s),
            self._exchange.limiter(request.url),
            limits,
            clock=self._clock,
            sleep=self._sleep,
        )

    def _send_once(self, request: HttpRequest, parse: _Parser[T], read_timeout_s: float) -> T:
        response = self._exchange.send(request, read_timeout_s)
        try:
            return parse(request.url, response.status, response.body)
        except SourceError as error:
            # Messages quote the server, and a server may quote the request.
            error.args = (_redact(request.secrets.values(), str(error)),)
            raise


def _redact(secrets: Iterable[str], text: str) -> str:
    for secret in secrets:
        text = text.replace(secret, "[secret]")
    return text


def _with_token(request: HttpRequest, token: str) -> HttpRequest:
    return replace(request, secrets={"token": token})


def _bytes_parser(decode: Callable[[bytes], T], unexpected: str) -> _Parser[T]:
    """A parser of binary responses; JSON or an HTML page in their place is an error."""

    def parse(url: str, status: int, body: bytes) -> T:
        if status >= 400 or not body or body.lstrip()[:1] in (b"{", b"<"):
            parse_response(url, status, body)
            raise SourceMisconfigured(f"{url}: {unexpected}")
        return decode(body)

    return parse
