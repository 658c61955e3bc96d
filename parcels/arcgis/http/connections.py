"""Connections that go where they may, for as long as they may: under `requests`."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.ssl_ import create_urllib3_context

from parcels.arcgis.http.address_guard import resolve_host

# Beyond the silence that is allowed before an answer: a server may drip.
_LONGEST_ANSWER_S = 90.0
# OpenSSL's SSL_OP_LEGACY_SERVER_CONNECT; Python names it from 3.12 on.
_LEGACY_SERVER_CONNECT = 0x4


def legacy_tls_context() -> ssl.SSLContext:
    """An SSL context that allows legacy TLS renegotiation (servers without RFC 5746).

    OpenSSL 3 refuses such servers. Certificate and host name are still verified.
    """
    context = create_urllib3_context()
    context.options |= _LEGACY_SERVER_CONNECT
    return context


class GuardedAdapter(HTTPAdapter):
    """Connects to an address that was checked, and to no other.

    A name is looked up once for a connection; all its addresses are checked, and the socket goes
    to one of them, so a name server that answers otherwise a moment later changes nothing. The
    certificate is still the name's. A proxy looks names up itself: there, what this machine
    knows of the name is checked.

    Args:
        allow_private: whether loopback and private ranges will do.
        legacy_tls: hosts that only do TLS renegotiation of before 2010.
    """

    def __init__(self, *, allow_private: bool, legacy_tls: Collection[str] = ()) -> None:
        self._allow_private = allow_private
        self._legacy = {host.lower(): legacy_tls_context() for host in legacy_tls}
        super().__init__()

    def init_poolmanager(self, *args: Any, **more: Any) -> None:  # noqa: ANN401
        """`HTTPAdapter.init_poolmanager`, with connections of our own."""
        super().init_poolmanager(*args, **more)
        http_connection = partial(_Guarded, allow_private=self._allow_private)
        https_connection = partial(_GuardedTLS, allow_private=self._allow_private)
        self.poolmanager.pool_classes_by_scheme = {
            "http": _pool(HTTPConnectionPool, http_connection),
            "https": _pool(HTTPSConnectionPool, https_connection),
        }

    def build_connection_pool_key_attributes(
        self,
        request: requests.PreparedRequest,
        *args: Any,  # noqa: ANN401
        **more: Any,  # noqa: ANN401
    ) -> tuple[Any, Any]:
        """`HTTPAdapter`'s, with the older handshake for the hosts that are named."""
        host, tls = super().build_connection_pool_key_attributes(request, *args, **more)
        context = self._legacy.get(urlsplit(request.url or "").hostname or "")
        return host, {**tls, "ssl_context": context} if context is not None else tls

    def send(self, request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:  # noqa: ANN401
        """`HTTPAdapter.send`; behind a proxy after a check of its own.

        Raises:
            AddressRefused: the host has an address that is not allowed.
        """
        url = request.url or ""
        if select_proxy(url, more.get("proxies")) is not None:
            with suppress(OSError):  # the proxy may know a name that this machine does not
                resolve_host(urlsplit(url).hostname or "", None, allow_private=self._allow_private)
        return super().send(request, *args, **more)


class _Guarded(HTTPConnection):
    def __init__(self, *args: Any, allow_private: bool, **more: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **more)
        self._allow_private = allow_private
        self.response_class = _TimedResponse

    def _new_conn(self) -> socket.socket:
        """A socket at the first checked address that takes it; urllib3's errors."""
        try:
            places = resolve_host(self._dns_host, self.port, allow_private=self._allow_private)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        failure: OSError = OSError("the name has no address")
        for place in places:
            opened = socket.socket(place.family, place.kind, place.protocol)
            try:
                for option in self.socket_options or ():
                    opened.setsockopt(*option)
                opened.settimeout(self.timeout)
                opened.connect(place.socket_address)
            except OSError as error:
                opened.close()
                failure = error
            else:
                return opened
        if isinstance(failure, TimeoutError):
            raise ConnectTimeoutError(self, f"no connection within {self.timeout} s") from failure
        raise NewConnectionError(self, str(failure)) from failure


class _GuardedTLS(_Guarded, HTTPSConnection):
    pass


class _TimedResponse(http.client.HTTPResponse):
    """An answer that must come to its end: each byte in time is not enough."""

    def __init__(self, sock: socket.socket, *args: Any, **more: Any) -> None:  # noqa: ANN401
        super().__init__(sock, *args, **more)
        self.fp.close()
        silence_s = sock.gettimeout() or 0.0
        deadline_s = time.monotonic() + silence_s + _LONGEST_ANSWER_S
        self.fp = io.BufferedReader(_TimedReader(sock, deadline_s))


class _TimedReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline_s: float) -> None:
        self._file = sock.makefile("rb", buffering=0)
        self._deadline_s = deadline_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - the base's buffer
        if time.monotonic() > self._deadline_s:
            raise TimeoutError("the answer takes too long")
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


def _pool(
    kind: type[HTTPConnectionPool], connection: Callable[..., HTTPConnection]
) -> Callable[..., HTTPConnectionPool]:
    """A pool of `kind` whose connections are made by `connection`."""

    def make(*args: Any, **more: Any) -> HTTPConnectionPool:  # noqa: ANN401
        pool = kind(*args, **more)
        pool.ConnectionCls = connection  # type: ignore[assignment]  # it is only ever called
        return pool

    return make
