"""Refuses requests for other hosts and too large bodies; adds the headers of every response.

The Host header is checked because of DNS rebinding: a page elsewhere may point its own name at this
machine, and would then be "the same origin".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.review.problems import problem

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")
# A name or an IPv4 address, or an IPv6 address in brackets, and a port: no user name, no path.
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:/?#@\\]+))(?::\d*)?")
# An outline of 100,000 vertices with 17 digits each takes 4 MB.
MAX_BODY_BYTES = 8 * 1024 * 1024

# Scripts, styles and pictures from this server alone; `data:` and `blob:` for pictures that the
# page draws itself.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class _BodyTooLargeError(Exception):
    pass


class RequestGuard:
    """Middleware around the application.

    Args:
        hosts: the names under which the panel may be asked for, in lower case, without port.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app, self._hosts = app, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        body = _LimitedBody(receive)

        async def send_unless_too_large(message: Message) -> None:
            # The application takes the cut body for a broken one, and says so: the reason is ours.
            if not body.is_too_large:
                await send_with_headers(message)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        headers = Headers(scope=scope)
        if _host_name(headers.get("host", "")) not in self._hosts:
            refusal = problem(
                HTTPStatus.MISDIRECTED_REQUEST,
                "this server is not known under that name: use the address that `lotline review` "
                "printed, or name the host with --allow-host",
            )
            await refusal(scope, receive, send_with_headers)
            return
        too_large = problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the body has more than {MAX_BODY_BYTES // 2**20} MiB: send fewer vertices",
        )
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length[:20]) > MAX_BODY_BYTES:
            await too_large(scope, receive, send_with_headers)
            return
        with suppress(_BodyTooLargeError):
            await self._app(scope, body.receive, send_unless_too_large)
        if body.is_too_large:
            await too_large(scope, receive, send_with_headers)


def _host_name(host: str) -> str:
    """The name in a Host header, in lower case, without port and brackets; empty if it has none."""
    found = _HOST.fullmatch(host.lower())
    return "" if found is None else found[1] or found[2]


class _LimitedBody:
    """Counts the bytes of a body, which may come without its length."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._received = 0

    @property
    def is_too_large(self) -> bool:
        return self._received > MAX_BODY_BYTES

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            if self.is_too_large:
                raise _BodyTooLargeError
        return message
