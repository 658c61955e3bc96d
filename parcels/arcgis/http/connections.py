"""Connections for `requests`: to checked addresses only, with a deadline for each response.

Also TLS for old servers: `legacy_tls` allows their renegotiation.
"""

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

# Deadline of a response, on top of the read timeout: a server may send a byte now and then.
_MAX_RESPONSE_S = 90.0
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
    """Connects only to addresses that passed the SSRF guard (`address_guard`).

    Each connection resolves its host name once, checks all addresses, and connects to one of
    them, so DNS rebinding has no effect. The certificate is verified for the name. A proxy
    resolves names itself: there the check uses this machine's DNS.

    Args:
        allow_private: whether to accept loopback and private ranges.
        legacy_tls: hosts that need legacy TLS renegotiation (servers without RFC 5746).
    """

    def __init__(self, *, allow_private: bool, legacy_tls: Collection[str] = ()) -> None:
        self._allow_private = allow_private
        self._legacy_contexts = {host.lower(): legacy_tls_context() for host in legacy_tls}
        super().__init__()

    def init_poolmanager(self, *args: Any, **more: Any) -> None:  # noqa: ANN401
        """`HTTPAdapter.init_poolmanager`, with guarded connections."""
        super().init_poolmanager(*args, **more)
        http_connection = partial(_GuardedHTTPConnection, allow_private=self._allow_private)
        https_connection = partial(_GuardedHTTPSConnection, allow_private=self._allow_private)
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
        """`HTTPAdapter`'s, with the legacy TLS context for hosts in `legacy_tls`."""
        host, tls = super().build_connection_pool_key_attributes(request, *args, **more)
        context = self._legacy_contexts.get(urlsplit(request.url or "").hostname or "")
        return host, {**tls, "ssl_context": context} if context is not None else tls

    def send(self, request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:  # noqa: ANN401
        """`HTTPAdapter.send`; through a proxy, it checks the host here.

        Raises:
            AddressRefused: the host has an address that is not allowed.
        """
        url = request.url or ""
        if select_proxy(url, more.get("proxies")) is not None:
            with suppress(OSError):  # the proxy may resolve a name that this machine cannot
                resolve_host(urlsplit(url).hostname or "", None, allow_private=self._allow_private)
        return super().send(request, *args, **more)


class _GuardedHTTPConnection(HTTPConnection):
    def __init__(self, *args: Any, allow_private: bool, **more: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **more)
        self._allow_private = allow_private
        self.response_class = _DeadlineResponse

    def _new_conn(self) -> socket.socket:
        """A socket to the first checked address that accepts; raises urllib3's errors."""
        try:
            resolved = resolve_host(self._dns_host, self.port, allow_private=self._allow_private)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        failure: OSError = OSError("the host name has no address")
        for candidate in resolved:
            sock = socket.socket(candidate.family, candidate.kind, candidate.protocol)
            try:
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                sock.settimeout(self.timeout)
                sock.connect(candidate.socket_address)
            except OSError as error:
                sock.close()
                failure = error
            else:
                return sock
        if isinstance(failure, TimeoutError):
            raise ConnectTimeoutError(self, f"no connection within {self.timeout} s") from failure
        raise NewConnectionError(self, str(failure)) from failure


class _GuardedHTTPSConnection(_GuardedHTTPConnection, HTTPSConnection):
    pass


class _DeadlineResponse(http.client.HTTPResponse):
    """A response with a deadline: a read timeout for each byte alone does not end a slow one."""

    def __init__(self, sock: socket.socket, *args: Any, **more: Any) -> None:  # noqa: ANN401
        super().__init__(sock, *args, **more)
        self.fp.close()
        read_timeout_s = sock.gettimeout() or 0.0
        deadline_s = time.monotonic() + read_timeout_s + _MAX_RESPONSE_S
        self.fp = io.BufferedReader(_DeadlineReader(sock, deadline_s))


class _DeadlineReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline_s: float) -> None:
        self._file = sock.makefile("rb", buffering=0)
        self._deadline_s = deadline_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - the base's buffer
        if time.monotonic() > self._deadline_s:
            raise TimeoutError("the response takes too long")
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


def _pool(
    kind: type[HTTPConnectionPool], connection: Callable[..., HTTPConnection]
) -> Callable[..., HTTPConnectionPool]:
    """A factory of `kind` pools that create connections with `connection`."""

    def make(*args: Any, **more: Any) -> HTTPConnectionPool:  # noqa: ANN401
        pool = kind(*args, **more)
        pool.ConnectionCls = connection  # type: ignore[assignment]  # urllib3 only calls it
        return pool

    return make
