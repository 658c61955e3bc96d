"""One question to a host and its answer, whatever the answer says: redirects, size, time."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from threading import Lock
from urllib.parse import urlencode, urljoin, urlsplit

import requests
from urllib3.exceptions import NameResolutionError

from parcels.arcgis.http.address_guard import check_web_address
from parcels.arcgis.http.connections import GuardedAdapter
from parcels.arcgis.http.rate_limit import HostLimiter, MonotonicClock, Sleep, host_of
from parcels.arcgis.http.responses import TransientError, UnknownNameError
from parcels.errors import AddressRefused, QueryRefused, SourceError, SourceMisconfigured
from parcels.untrusted import sanitize_text

_CONNECT_S = 10.0
_MAX_BYTES = 64 * 1024 * 1024
_MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_LONGEST_RETRY_AFTER_S = 1e7
# How urllib3 begins a message: with the connection, or its pool.
_CONNECTION = re.compile(r"^\w+\(host=[^)]*\): ")
# Servers and firewalls refuse longer addresses with 404 or 414.
_LONGEST_QUERY = 1_500


@dataclass(frozen=True, slots=True)
class Upload:
    """A CSV file of a form: the field's name, and the bytes."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What is asked of a service.

    Attributes:
        headers, secrets: for this host alone; secrets are form fields, never in an address.
    """

    url: str
    params: Mapping[str, str]
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    upload: Upload | None = None

    @property
    def is_posted(self) -> bool:
        """Whether it goes in a body: secrets and files must, and long queries."""
        long = len(urlencode(self.params)) > _LONGEST_QUERY
        return long or bool(self.secrets) or self.upload is not None


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What came back, whatever it says."""

    status: int
    body: bytes


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """The credentials that every request has: none."""
    return request


class _Session(requests.Session):
    """`requests` without redirects: it would prepare the next hop, and read a page to its end.

    Nor with the passwords of `~/.netrc`, which are for other programs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.auth = _as_it_is

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None, whatever the response says."""


class Exchange:
    """Asks once, in the host's turn. Several threads may use it.

    Args:
        allow_private: whether servers may be on loopback or in private ranges.
        legacy_tls: hosts that only do TLS renegotiation of before 2010.
        calls_in_flight, calls_per_second: at most, to each host.

    Attributes:
        calls: requests that were sent so far, redirects and those that failed among them.
    """

    def __init__(
        self,
        *,
        sleep: Sleep,
        clock: MonotonicClock,
        allow_private: bool,
        legacy_tls: Collection[str],
        calls_in_flight: int,
        calls_per_second: float,
    ) -> None:
        self.calls = 0
        self._counting = Lock()
        self._clock, self._sleep = clock, sleep
        self._limits = (calls_in_flight, calls_per_second)
        self._session = _Session()
        adapter = GuardedAdapter(allow_private=allow_private, legacy_tls=legacy_tls)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        self._session.headers["User-Agent"] = (
            f"lotline/{version('lotline')} (lot boundaries; python-requests)"
        )

    def host(self, url: str) -> HostLimiter:
        """The host of a URL, which keeps our limits from now on.

        Raises:
            AddressRefused: no web address.
        """
        check_web_address(url)
        host = host_of(url, self._clock, self._sleep)
        host.limit(*self._limits)
        return host

    def ask(self, question: HttpRequest, read_s: float) -> HttpResponse:
        """Ask, and follow redirects; `read_s` is how long a server may be silent.

        Raises:
            TryAgain: nothing came, or not all of it.
            RateLimited: the host asked to be left alone for longer than a call may wait.
            AddressRefused: no web address, or not a public one; here or after a redirect.
            QueryRefused: the answer is too long.
            SourceMisconfigured: no secure connection, or redirects without an end.
        """
        url, at_home = question.url, True
        for _ in range(_MOST_REDIRECTS + 1):
            answer = self._hop(question, url, read_s, at_home=at_home)
            if isinstance(answer, HttpResponse):
                return answer
            at_home = at_home and _same_server(url, answer)
            url = answer
        raise SourceMisconfigured(
            f"{question.url}: redirects without an end, at last to {_bare(url)}; correct 'url' in "
            "the registry entry"
        )

    def _hop(
        self, question: HttpRequest, url: str, read_s: float, *, at_home: bool
    ) -> HttpResponse | str:
        """The answer, or the URL that it refers to. Nothing private leaves home."""
        is_redirected = url != question.url
        params = {**question.params, **(question.secrets if at_home else {})}
        try:
            host = self.host(url)
            with host.turn():
                with self._counting:
                    self.calls += 1
                with self._session.request(
                    "POST" if question.is_posted else "GET",
                    url,
                    # An address that a server refers to has the query in it.
                    params=None if question.is_posted or is_redirected else params,
                    data=params if question.is_posted else None,
                    files=_as_file(question.upload),
                    headers=dict(question.headers) if at_home else None,
                    timeout=(_CONNECT_S, read_s),
                    stream=True,
                    allow_redirects=False,
                ) as response:
                    # While it is still our turn: the next call must not slip in between.
                    host.hold(_retry_after_s(response.headers.get("Retry-After")))
                    location = response.headers.get("Location")
                    if response.status_code in _REDIRECTS and location:
                        return _target(url, location)
                    return HttpResponse(response.status_code, _read(question.url, response))
        except AddressRefused as error:
            if str(error).startswith(question.url):
                raise
            raise AddressRefused(f"{question.url}: {sanitize_text(error)}") from error
        except requests.RequestException as error:
            raise as_source_error(question.url, error) from error


def _as_file(upload: Upload | None) -> dict[str, tuple[str, bytes, str]] | None:
    # Servers tell the kind of a file by the ending of its name.
    return {upload.name: (f"{upload.name}.csv", upload.content, "text/csv")} if upload else None


def _same_server(here: str, there: str) -> bool:
    """Whether headers and tokens for `here` may go `there`: to the same, or from http to https."""
    old, new = urlsplit(here), urlsplit(there)
    if old.hostname != new.hostname:
        return False
    upgraded = (old.scheme, old.port or 80, new.scheme, new.port or 443)
    return (old.scheme, old.port) == (new.scheme, new.port) or upgraded == (
        "http", 80, "https", 443,
    )  # fmt: skip


def _target(url: str, location: str) -> str:
    try:
        target = urljoin(url, location)
        _ = urlsplit(target).port
    except ValueError as error:
        raise AddressRefused(f"refers to {_bare(location)!r}: is no web address") from error
    return target


def _bare(url: str) -> str:
    return sanitize_text(url.split("?", 1)[0])


def _read(url: str, response: requests.Response) -> bytes:
    """The body, decompressed, as long as it is not too long."""
    body = bytearray()
    for part in response.iter_content(64 * 1024):
        body += part
        if len(body) > _MAX_BYTES:
            raise QueryRefused(
                f"{url}: the answer is longer than {_MAX_BYTES // 2**20} MiB; is this a parcel "
                "layer?"
            )
    return bytes(body)


def as_source_error(url: str, error: requests.RequestException) -> SourceError:
    """What a failure to ask means: try again, or mend the entry."""
    cause = _cause(error)
    if isinstance(error, requests.exceptions.SSLError):
        if "UNSAFE_LEGACY_RENEGOTIATION" in cause:
            return SourceMisconfigured(
                f"{url}: only does TLS renegotiation of before 2010; set legacy_tls: "
                f"[{urlsplit(url).hostname}] in the registry entry"
            )
        if "EOF" not in cause:
            return SourceMisconfigured(f"{url}: no secure connection: {cause}")
        # A connection that was dropped in the middle of the handshake.
    elif not isinstance(
        error,
        requests.ConnectionError
        | requests.Timeout
        | requests.exceptions.ChunkedEncodingError
        | requests.exceptions.ContentDecodingError,
    ):
        return SourceMisconfigured(f"{url}: cannot be asked: {cause}")
    if isinstance(_reason(error), NameResolutionError):
        return UnknownNameError(
            f"{url}: does not answer: {cause}; try again later (is this machine online?)"
        )
    return TransientError(f"{url}: does not answer: {cause}; try again later")


def _reason(error: requests.RequestException) -> object:
    """What urllib3 says, which nests it three deep."""
    reason: object = error.args[0] if error.args else error
    return getattr(reason, "reason", reason)


def _cause(error: requests.RequestException) -> str:
    """The reason in short: urllib3 writes the whole address at each level."""
    reason = _reason(error)
    return sanitize_text(_CONNECTION.sub("", str(reason)))


def _retry_after_s(header: str | None) -> float:
    """Seconds of a Retry-After header, which holds seconds or a date; 0 for none."""
    if header is None:
        return 0.0
    try:
        return min(max(0.0, float(header)), _LONGEST_RETRY_AFTER_S)
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(header)
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        wait_s = (until - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(0.0, wait_s), _LONGEST_RETRY_AFTER_S)
