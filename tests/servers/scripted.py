"""A server on loopback with scripted replies, which records its calls."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Call:
    """A request; `query` and `form` hold the last value of each name."""

    method: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """A reply; status 0 drops the connection.

    `raw` yields the bytes of the complete reply, status line included; each part is sent at once.
    """

    body: bytes = b"{}"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: Iterator[bytes] | None = None


@dataclass
class ScriptedServer:
    """A running server; `calls` has its requests."""

    address: str
    calls: list[Call] = field(default_factory=list)
    most_in_flight: int = 0
    in_flight: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"{self.address}/arcgis/rest/services/P/MapServer"


@contextmanager
def scripted(
    reply: Callable[[Call], Reply], tls: ssl.SSLContext | None = None
) -> Iterator[ScriptedServer]:
    """Serve until the block ends; with `tls` over https, for the name localhost."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections stay open, as real servers keep them
        disable_nagle_algorithm = True

        def answer(self) -> None:
            call = self.call()
            with running.lock:
                running.in_flight += 1
                running.most_in_flight = max(running.most_in_flight, running.in_flight)
            try:
                answer = reply(call)
            finally:
                # Before the reply is sent: its receiver may call again at once.
                with running.lock:
                    running.in_flight -= 1
            with suppress(ConnectionError, ssl.SSLError):  # the client gave up
                self.send(answer)

        def call(self) -> Call:
            split = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            is_form = "urlencoded" in self.headers.get("Content-Type", "")
            call = Call(
                self.command,
                split.path,
                {name: values[-1] for name, values in parse_qs(split.query).items()},
                {k: v[-1] for k, v in parse_qs(body.decode()).items()} if is_form else {},
                dict(self.headers.items()),
                body,
            )
            with running.lock:
                running.calls.append(call)
            return call

        def send(self, answer: Reply) -> None:
            self.close_connection = answer.status == 0 or answer.raw is not None
            for part in answer.raw or ():
                self.wfile.write(part)
            if self.close_connection:
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = answer  # noqa: N815 - names of the base class

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass  # an intended handshake failure

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            # The handshake runs in the handler thread, so that a bad one does not block others.
            server.socket = tls.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        host = "https://localhost" if tls is not None else "http://127.0.0.1"
        running = ScriptedServer(f"{host}:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield running
        finally:
            server.shutdown()
            thread.join()
