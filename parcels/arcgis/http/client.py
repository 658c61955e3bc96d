"""The ArcGIS client: calls that return a good answer, after jittered retries, or raise."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from parcels.arcgis.http.exchange import Exchange, HttpRequest, Upload
from parcels.arcgis.http.rate_limit import MonotonicClock, Sleep
from parcels.arcgis.http.responses import TransientError, UnknownNameError, read_answer
from parcels.arcgis.http.token import SignIn, read_sign_in, sign_in_of
from parcels.errors import AuthenticationRequired, SourceError, SourceMisconfigured
from parcels.registry.county import County

# Where 3 of 10 calls fail, 10 tries lose one question in 170,000.
_TRIES = 10
# After a call that used them all up: a server that is down is known for that after 16 tries, and
# the silence of one is waited for once.
_TRIES_WHILE_DOWN = 3
# A name that is not found is a slip of the resolver, or nobody is online.
_TRIES_OF_A_NAME = 3
_wait_s = wait_random_exponential(multiplier=0.5, max=5)

T = TypeVar("T")
_Reader = Callable[[str, int, bytes], T]


@dataclass(frozen=True, slots=True)
class _Limits:
    """How long a server may be silent, and after how long no call is tried again."""

    read_s: float
    trying_s: float


class ArcGISClient:
    """Calls that return the answer, a JSON object or an image, or raise a typed error.

    Several threads may use it. All clients of a process share the limits of a host, and what it
    asked for with Retry-After.

    Args:
        sleep, clock: how to wait, and how to know how long. Hosts are shared by the clients that
            have the same ones.
        read_s: how long a server may be silent.
        trying_s: no call is tried again after so long.
        allow_private: whether servers may be on loopback or in private ranges.
        headers: sent with every call, but never to a host that a server refers to.
        legacy_tls: hosts that only do TLS renegotiation of before 2010.
        token: how to sign in.
        calls_in_flight, calls_per_second: at most, to each host. Of several clients' limits the
            smallest hold.
    """

    def __init__(
        self,
        *,
        sleep: Sleep = time.sleep,
        clock: MonotonicClock = time.monotonic,
        read_s: float = 30.0,
        trying_s: float = 180.0,
        allow_private: bool = False,
        headers: Mapping[str, str] | None = None,
        legacy_tls: Collection[str] = (),
        token: SignIn | None = None,
        calls_in_flight: int = 2,
        calls_per_second: float = 4.0,
    ) -> None:
        self._sleep, self._clock = sleep, clock
        self._limits = _Limits(read_s, trying_s)
        self._headers = dict(headers or {})
        self._sign_in = token
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
    def of(
        cls,
        county: County,
        *,
        sleep: Sleep = time.sleep,
        clock: MonotonicClock = time.monotonic,
        read_s: float = 30.0,
        trying_s: float = 180.0,
    ) -> ArcGISClient:
        """The client for a county's parcel servers, as its registry entry wants it."""
        return cls(
            sleep=sleep,
            clock=clock,
            read_s=read_s,
            trying_s=trying_s,
            allow_private=county.allow_private,
            headers=county.headers,
            legacy_tls=county.legacy_tls,
            token=sign_in_of(county.token, county.url, allow_plain=county.allow_private),
            calls_in_flight=county.calls_in_flight,
            calls_per_second=county.calls_per_second,
        )

    @property
    def calls(self) -> int:
        """Requests that were sent so far, redirects and those that failed among them."""
        return self._exchange.calls

    def get_json(
        self,
        url: str,
        params: Mapping[str, str],
        *,
        read_s: float = math.inf,
        trying_s: float = math.inf,
    ) -> dict[str, Any]:
        """Ask with GET, or with POST where the query is long; up to ten tries.

        `read_s` and `trying_s` are for this call, where they are shorter than the client's.

        Raises:
            SourceUnavailable: no usable answer for now.
            RateLimited: the server wants to be left alone.
            SourceMisconfigured: the server will not answer; see `parcels.errors` for the classes.
        """
        limits = _Limits(min(read_s, self._limits.read_s), min(trying_s, self._limits.trying_s))
        return self._call(HttpRequest(url, {**params, "f": "json"}), read_answer, limits)

    def get_image(self, url: str, params: Mapping[str, str], decode: Callable[[bytes], T]) -> T:
        """Ask for an image, as `get_json` does, and hand its bytes to `decode`.

        `decode` raises `TransientError` for bytes that are no whole image.

        Raises:
            SourceUnavailable, RateLimited, SourceMisconfigured: as `get_json`.
        """
        read = _bytes_reader(decode, "the answer is no image; is this an ImageServer?")
        return self._call(HttpRequest(url, {**params, "f": "image"}), read, self._limits)

    def post_file(
        self,
        url: str,
        form: Mapping[str, str],
        name: str,
        content: bytes,
        decode: Callable[[bytes], T],
        *,
        read_s: float,
    ) -> T:
        """Post a form with a CSV file in the field `name`, and hand the answer's bytes to `decode`.

        `decode` raises `TransientError` for an incomplete body. `read_s` is how long the
        server may be silent over this one.

        Raises:
            SourceUnavailable, RateLimited, SourceMisconfigured: as `get_json`.
        """
        read = _bytes_reader(decode, "the answer is not what was asked for; correct the address")
        question = HttpRequest(url, form, upload=Upload(name, content))
        return self._call(question, read, replace(self._limits, read_s=read_s))

    def _call(self, question: HttpRequest, read: _Reader[T], limits: _Limits) -> T:
        """The answer; with a token where one is meant for the server, renewed once."""
        question = replace(question, headers=self._headers)
        sign_in = self._sign_in
        if sign_in is None or not sign_in.is_for(question.url):
            return self._retrying(question, read, limits)
        token = sign_in.token(question.url, self._post_secrets)
        try:
            return self._retrying(_signed(question, token), read, limits)
        except AuthenticationRequired:
            token = sign_in.renewed(question.url, token, self._post_secrets)
            return self._retrying(_signed(question, token), read, limits)

    def _post_secrets(
        self, url: str, form: Mapping[str, str], secrets: Mapping[str, str]
    ) -> dict[str, Any]:
        question = HttpRequest(url, form, headers=self._headers, secrets=secrets)
        return self._retrying(question, read_sign_in, self._limits)

    def _retrying(self, question: HttpRequest, read: _Reader[T], limits: _Limits) -> T:
        host = self._exchange.host(question.url)
        tries, trying_s = _TRIES, limits.trying_s
        if host.gave_up:
            tries, trying_s = _TRIES_WHILE_DOWN, min(limits.read_s, trying_s)
        began_s = self._clock()

        def is_enough(state: RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome is not None else None
            most = min(tries, _TRIES_OF_A_NAME) if isinstance(error, UnknownNameError) else tries
            return state.attempt_number >= most or self._clock() - began_s >= trying_s

        retrying = Retrying(
            stop=is_enough,
            wait=_wait_s,
            retry=retry_if_exception_type(TransientError),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            answer: T = retrying(self._once, question, read, limits.read_s)
        except SourceError as error:
            host.gave_up = isinstance(error, TransientError)
            raise
        host.gave_up = False
        return answer

    def _once(self, question: HttpRequest, read: _Reader[T], read_s: float) -> T:
        answer = self._exchange.ask(question, read_s)
        try:
            return read(question.url, answer.status, answer.body)
        except SourceError as error:
            # A server may quote what it was sent, and messages quote the server.
            error.args = (_without(question.secrets.values(), str(error)),)
            raise


def _without(secrets: Iterable[str], text: str) -> str:
    for secret in secrets:
        text = text.replace(secret, "[secret]")
    return text


def _signed(question: HttpRequest, token: str) -> HttpRequest:
    return replace(question, secrets={"token": token})


def _bytes_reader(decode: Callable[[bytes], T], otherwise: str) -> _Reader[T]:
    """Reads answers that are no JSON: what is JSON or a page all the same is an error."""

    def read(url: str, status: int, body: bytes) -> T:
        if status >= 400 or not body or body.lstrip()[:1] in (b"{", b"<"):
            read_answer(url, status, body)
            raise SourceMisconfigured(f"{url}: {otherwise}")
        return decode(body)

    return read
