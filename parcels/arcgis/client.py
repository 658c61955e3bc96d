"""One HTTP call to an ArcGIS service: time-outs, a cap on size, and jittered retries."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any, TypeVar
from urllib.parse import urlencode

import requests
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from parcels.arcgis.answers import TryAgain, read_answer
from parcels.arcgis.network import PublicOnly
from parcels.errors import QueryRefused, SourceMisconfigured, SourceUnavailable

_TRIES = 4
_CONNECT_S = 10.0
_LONGEST_ANSWER_S = 120.0
_LONGEST_RETRY_AFTER_S = 60.0
_MAX_BYTES = 64 * 1024 * 1024
# Servers and firewalls refuse longer addresses with 404 or 414.
_LONGEST_QUERY = 1_500

T = TypeVar("T")


class ArcGISClient:
    """Calls that return the answer, a JSON object or an image, or raise a typed error.

    `sleep` waits between the tries, and `read_s` is how long a server may be silent. A server
    on a private address is asked only with `allow_private`.
    """

    def __init__(
        self,
        *,
        sleep: Callable[[float], None] = time.sleep,
        read_s: float = 30.0,
        allow_private: bool = False,
    ) -> None:
        self._sleep = sleep
        self._timeout_s = (_CONNECT_S, read_s)
        self._session = requests.Session()
        if not allow_private:
            self._session.mount("http://", PublicOnly())
            self._session.mount("https://", PublicOnly())
        self._session.headers["User-Agent"] = (
            f"lotline/{version('lotline')} (lot boundaries; python-requests)"
        )

    def get_json(self, url: str, params: Mapping[str, str]) -> dict[str, Any]:
        """Ask with GET, or with POST where the query is long; up to four tries.

        Raises:
            SourceUnavailable: no usable answer for now.
            SourceMisconfigured: the server understood and will not answer.
        """
        return self._retrying(url, {**params, "f": "json"}, read_answer)

    def get_image(self, url: str, params: Mapping[str, str], decode: Callable[[bytes], T]) -> T:
        """Ask for an image, as `get_json` does, and hand its bytes to `decode`.

        `decode` raises `TryAgain` for bytes that are no whole image.

        Raises:
            SourceUnavailable: no usable answer for now.
            SourceMisconfigured: the server understood and will not answer.
        """

        def read(url: str, status: int, body: bytes, retry_after_s: float) -> T:
            if status >= 400 or not body or body.lstrip()[:1] in (b"{", b"<"):
                read_answer(url, status, body, retry_after_s)
                raise SourceMisconfigured(f"{url}: the answer is no image; is this an ImageServer?")
            return decode(body)

        return self._retrying(url, {**params, "f": "image"}, read)

    def _retrying(
        self, url: str, params: Mapping[str, str], read: Callable[[str, int, bytes, float], T]
    ) -> T:
        retrying = Retrying(
            stop=stop_after_attempt(_TRIES),
            wait=_wait_s,
            retry=retry_if_exception_type(TryAgain),
            sleep=self._sleep,
            reraise=True,
        )
        answer: T = retrying(self._once, url, params, read)
        return answer

    def _once(
        self, url: str, params: Mapping[str, str], read: Callable[[str, int, bytes, float], T]
    ) -> T:
        long = len(urlencode(params)) > _LONGEST_QUERY
        try:
            with self._session.request(
                "POST" if long else "GET",
                url,
                params=None if long else params,
                data=params if long else None,
                timeout=self._timeout_s,
                stream=True,
            ) as response:
                body = _read(url, response)
        except requests.exceptions.SSLError as error:
            raise SourceMisconfigured(f"{url}: no secure connection: {error}") from error
        except (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
            requests.exceptions.ContentDecodingError,
        ) as error:
            raise TryAgain(f"{url}: does not answer: {_cause(error)}; try again later") from error
        except requests.RequestException as error:
            raise SourceMisconfigured(f"{url}: cannot be asked: {error}") from error
        retry_after_s = _retry_after_s(response.headers.get("Retry-After"))
        try:
            return read(url, response.status_code, body, retry_after_s)
        except TryAgain as error:
            if retry_after_s > _LONGEST_RETRY_AFTER_S:
                raise SourceUnavailable(f"{error} (in {retry_after_s:.0f} s, it says)") from error
            raise


def _read(url: str, response: requests.Response) -> bytes:
    """The body, as long as it is neither too long nor too slow (a server may drip)."""
    deadline = time.monotonic() + _LONGEST_ANSWER_S
    body = bytearray()
    for part in response.iter_content(64 * 1024):
        body += part
        if len(body) > _MAX_BYTES:
            raise QueryRefused(
                f"{url}: the answer is longer than {_MAX_BYTES // 2**20} MiB; is this a parcel "
                "layer?"
            )
        if time.monotonic() > deadline:
            raise TryAgain(f"{url}: the answer takes too long; try again later")
    return bytes(body)


def _cause(error: requests.RequestException) -> str:
    """The reason in short: urllib3 nests it three deep, each with the whole address."""
    reason: object = error.args[0] if error.args else error
    reason = getattr(reason, "reason", reason)
    text = str(reason)
    return text.split(": ", 1)[-1] if text.startswith(("<", "HTTP")) else text


def _retry_after_s(header: str | None) -> float:
    """Seconds of a Retry-After header, which holds seconds or a date; 0 for none."""
    if header is None:
        return 0.0
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


_jittered_s = wait_random_exponential(multiplier=0.5, max=8)


def _wait_s(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked_s = error.retry_after_s if isinstance(error, TryAgain) else 0.0
    return asked_s + _jittered_s(state)
