"""One request and its raw response: redirects, size limit, read timeout. No retry here."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from threading import Lock
from urllib.parse import urlencode, urljoin, urlsplit

import requests
from urllib3.exceptions import NameResolutionError

from parcels.arcgis.http.address_guard import check_url
from parcels.arcgis.http.connections import GuardedAdapter
from parcels.arcgis.http.rate_limit import HostLimiter, MonotonicClock, Sleep, host_limiter
from parcels.arcgis.http.responses import DnsLookupError, TransientError
from parcels.arcgis.http.retry import parse_retry_after_s
from parcels.errors import AddressRefused, QueryRefused, SourceError, SourceMisconfigured
from parcels.untrusted import sanitize_text

_CONNECT_TIMEOUT_S = 10.0
_MAX_RESPONSE_BYTES = 64 * 1024 * 1024
_MAX_REDIRECTS = 5
_REDIRECT_CODES = (301, 302, 303, 307, 308)
# urllib3's messages start with the connection or its pool.
_CONNECTION_PREFIX = re.compile(r"^\w+\(host=[^)]*\): ")
# Servers and firewalls refuse longer URLs with 404 or 414.
_MAX_GET_QUERY_CHARS = 1_500


@dataclass(frozen=True, slots=True)
class Upload:
    """A CSV file in a form: the field's name and the content."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request to a service.

    Attributes:
        headers, secrets: for this host only; secrets are form fields and never in a URL.
        byte_range: (first, last) byte of the content to request, also after a redirect.
    """

    url: str
    params: Mapping[str, str]
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    upload: Upload | None = None
    byte_range: tuple[int, int] | None = None

    @property
    def is_post(self) -> bool:
        """Whether to POST: needed for secrets, files and long queries."""
        is_long = len(urlencode(self.params)) > _MAX_GET_QUERY_CHARS
        return is_long or bool(self.secrets) or self.upload is not None


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response, errors included."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class RangesIgnored(SourceMisconfigured):
    """The server answers a request for a part of a file with all of it, which is not read."""


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """An auth hook that adds nothing, so that `requests` does not read `~/.netrc`."""
    return request


class _Session(requests.Session):
    """A session without redirects and without the passwords of `~/.netrc`.

    `requests` would read the body of a redirect to its end, however long it is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.auth = _no_auth

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: `Exchange` follows redirects."""


class Exchange:
    """Sends requests within the limits of their host. Thread-safe.

    Args:
        allow_private: whether servers may be on loopback or in private ranges.
        legacy_tls: hosts that need legacy TLS renegotiation (servers without RFC 5746).
        calls_in_flight, calls_per_second: limits for each host.

    Attributes:
        calls: requests sent so far, redirects and failed ones included.
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
        self._calls_lock = Lock()
        self._clock, self._sleep = clock, sleep
        self._limits = (calls_in_flight, calls_per_second)
        self._session = _Session()
        adapter = GuardedAdapter(allow_private=allow_private, legacy_tls=legacy_tls)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        self._session.headers["User-Agent"] = (
            f"lotline/{version('lotline')} (lot boundaries; python-requests)"
        )

    def limiter(self, url: str) -> HostLimiter:
        """The limiter of a URL's host, with this client's limits applied.

        Raises:
            AddressRefused: not a valid URL.
        """
        check_url(url)
        limiter = host_limiter(url, self._clock, self._sleep)
        limiter.restrict(*self._limits)
        return limiter

    def send(self, request: HttpRequest, read_timeout_s: float) -> HttpResponse:
        """Send a request once and follow its redirects.

        Args:
            read_timeout_s: how long the server may send nothing.

        Raises:
            TransientError: no response, or an incomplete one.
            RateLimited: the host's Retry-After is longer than a call may wait.
            AddressRefused: not a valid URL, or not a public address; also after a redirect.
            QueryRefused: the response is too large.
            SourceMisconfigured: TLS failed, or too many redirects.
            RangesIgnored: the server does not serve parts of files.
        """
        url, same_server = request.url, True
        for _ in range(_MAX_REDIRECTS + 1):
            response = self._hop(request, url, read_timeout_s, same_server=same_server)
            if isinstance(response, HttpResponse):
                return response
            same_server = same_server and _is_same_server(url, response)
            url = response
        raise SourceMisconfigured(
            f"{request.url}: too many redirects, the last to {_without_query(url)}; correct 'url' "
            "in the registry entry"
        )

    def _hop(
        self, request: HttpRequest, url: str, read_timeout_s: float, *, same_server: bool
    ) -> HttpResponse | str:
        """The response, or the redirect URL. Headers and secrets go to the same server only."""
        is_redirected = url != request.url
        params = {**request.params, **(request.secrets if same_server else {})}
        try:
            limiter = self.limiter(url)
            with limiter.acquire():
                with self._calls_lock:
                    self.calls += 1
                with self._session.request(
                    "POST" if request.is_post else "GET",
                    url,
                    # The target URL of a redirect already has the query.
                    params=None if request.is_post or is_redirected else params,
                    data=params if request.is_post else None,
                    files=_as_file(request.upload),
                    headers=_headers(request, same_server=same_server),
                    timeout=(_CONNECT_TIMEOUT_S, read_timeout_s),
                    stream=True,
                    allow_redirects=False,
                ) as response:
                    # Before the slot is released, so that no other call starts in between.
                    limiter.pause(parse_retry_after_s(response.headers.get("Retry-After")))
                    location = response.headers.get("Location")
                    if response.status_code in _REDIRECT_CODES and location:
                        return _redirect_target(url, location)
                    if request.byte_range is not None and response.status_code == 200:
                        raise RangesIgnored(f"{request.url}: the server sends only whole files")
                    body = _read_body(request.url, response)
                    return HttpResponse(response.status_code, body, response.headers)
        except AddressRefused as error:
            if str(error).startswith(request.url):
                raise
            raise AddressRefused(f"{request.url}: {sanitize_text(error)}") from error
        except requests.RequestException as error:
            raise to_source_error(request.url, error) from error


def _headers(request: HttpRequest, *, same_server: bool) -> dict[str, str] | None:
    headers = dict(request.headers) if same_server else {}
    if request.byte_range is not None:
        first, last = request.byte_range
        # Compressed, a part of a file would be a part of the compressed file.
        headers |= {"Range": f"bytes={first}-{last}", "Accept-Encoding": "identity"}
    return headers or None


def _as_file(upload: Upload | None) -> dict[str, tuple[str, bytes, str]] | None:
    # Servers recognise a file's format by its extension.
    return {upload.name: (f"{upload.name}.csv", upload.content, "text/csv")} if upload else None


def _is_same_server(url: str, target: str) -> bool:
    """Whether headers and tokens may follow a redirect: same server, or http to https of it."""
    old, new = urlsplit(url), urlsplit(target)
    if old.hostname != new.hostname:
        return False
    upgraded = (old.scheme, old.port or 80, new.scheme, new.port or 443)
    return (old.scheme, old.port) == (new.scheme, new.port) or upgraded == (
        "http", 80, "https", 443,
    )  # fmt: skip


def _redirect_target(url: str, location: str) -> str:
    try:
        target = urljoin(url, location)
        _ = urlsplit(target).port
    except ValueError as error:
        raise AddressRefused(
            f"redirects to {_without_query(location)!r}, which is not a valid URL"
        ) from error
    return target


def _without_query(url: str) -> str:
    return sanitize_text(url.split("?", 1)[0])


def _read_body(url: str, response: requests.Response) -> bytes:
    """The decompressed body, up to the size limit."""
    body = bytearray()
    for part in response.iter_content(64 * 1024):
        body += part
        if len(body) > _MAX_RESPONSE_BYTES:
            raise QueryRefused(
                f"{url}: the response is larger than {_MAX_RESPONSE_BYTES // 2**20} MiB; is this a "
                "parcel layer?"
            )
    return bytes(body)


def to_source_error(url: str, error: requests.RequestException) -> SourceError:
    """A failed request as a typed error: transient (retried), or a registry entry to fix."""
    cause = _cause(error)
    if isinstance(error, requests.exceptions.SSLError):
        if "UNSAFE_LEGACY_RENEGOTIATION" in cause:
            return SourceMisconfigured(
                f"{url}: the server needs legacy TLS renegotiation; set legacy_tls: "
                f"[{urlsplit(url).hostname}] in the registry entry"
            )
        if "EOF" not in cause:
            return SourceMisconfigured(f"{url}: TLS failed: {cause}")
        # The connection was dropped during the handshake: transient.
    elif not isinstance(
        error,
        requests.ConnectionError
        | requests.Timeout
        | requests.exceptions.ChunkedEncodingError
        | requests.exceptions.ContentDecodingError,
    ):
        return SourceMisconfigured(f"{url}: the request failed: {cause}")
    if isinstance(_reason(error), NameResolutionError):
        return DnsLookupError(
            f"{url}: no response: {cause}; try again later (is this machine online?)"
        )
    return TransientError(f"{url}: no response: {cause}; try again later")


def _reason(error: requests.RequestException) -> object:
    """urllib3's error, which `requests` wraps twice."""
    reason: object = error.args[0] if error.args else error
    return getattr(reason, "reason", reason)


def _cause(error: requests.RequestException) -> str:
    """The cause in short: urllib3 repeats the URL at each level."""
    reason = _reason(error)
    return sanitize_text(_CONNECTION_PREFIX.sub("", str(reason)))
