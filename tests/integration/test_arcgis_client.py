"""The client's limits: how long, how big, how often; against a plain server on loopback."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from parcels.arcgis import client as client_module
from parcels.arcgis import network
from parcels.arcgis.answers import TryAgain
from parcels.arcgis.client import ArcGISClient
from parcels.errors import SourceMisconfigured, SourceUnavailable

Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that gives every call one answer, and returns its address."""
    servers: list[ThreadingHTTPServer] = []

    def start(body: bytes = b"{}", status: int = 200, **headers: str) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/x"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_an_answer_that_is_too_long_is_cut_short(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_MAX_BYTES", 1_000)
    with pytest.raises(SourceMisconfigured, match="the answer is longer than"):
        ArcGISClient(allow_private=True).get_json(serve(b"[" + b"1," * 1_000), {})


def test_a_wait_until_a_date_is_kept(serve: Serve) -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    waits_s: list[float] = []
    with pytest.raises(TryAgain, match="error 503"):
        ArcGISClient(sleep=waits_s.append, allow_private=True).get_json(
            serve(status=503, Retry_After=until), {}
        )
    assert len(waits_s) == 3
    assert all(20 < wait_s <= 48 for wait_s in waits_s)


@pytest.mark.parametrize("header", ["soon", "-5", "nan"])
def test_a_wait_that_makes_no_sense_is_none(serve: Serve, header: str) -> None:
    waits_s: list[float] = []
    with pytest.raises(TryAgain):
        ArcGISClient(sleep=waits_s.append, allow_private=True).get_json(
            serve(status=503, Retry_After=header), {}
        )
    assert len(waits_s) == 3
    assert all(0 <= wait_s <= 8 for wait_s in waits_s)


def test_a_long_wait_is_left_to_another_run(serve: Serve) -> None:
    waits_s: list[float] = []
    with pytest.raises(SourceUnavailable, match=r"\(in 3600 s, it says\)"):
        ArcGISClient(sleep=waits_s.append, allow_private=True).get_json(
            serve(status=429, Retry_After="3600"), {}
        )
    assert waits_s == []


def test_a_redirect_without_an_end_is_a_mistake(serve: Serve) -> None:
    with pytest.raises(SourceMisconfigured, match="cannot be asked: Exceeded 30 redirects"):
        ArcGISClient(allow_private=True).get_json(serve(status=302, Location="/x"), {})


def test_a_redirect_to_a_private_address_is_not_followed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = serve(b'{"secret": 1}')
    outer = serve(status=302, Location=inner.replace("127.0.0.1", "localhost"))
    hosts: list[str] = []

    def look_up(host: str) -> list[str]:
        """The first server passes for a public one."""
        hosts.append(host)
        return ["8.8.8.8" if host == "127.0.0.1" else "127.0.0.1"]

    monkeypatch.setattr(network, "_addresses", look_up)
    with pytest.raises(SourceMisconfigured, match=r"localhost is at 127\.0\.0\.1, which is no pub"):
        ArcGISClient().get_json(outer, {})
    assert hosts == ["127.0.0.1", "localhost"]


def test_no_secure_connection_is_a_mistake_and_never_goes_on_without(serve: Serve) -> None:
    plain = serve().replace("http:", "https:")
    with pytest.raises(SourceMisconfigured, match="no secure connection"):
        ArcGISClient(allow_private=True).get_json(plain, {})


def test_a_failure_can_be_sent_to_another_process() -> None:
    there = pickle.loads(pickle.dumps(TryAgain("down", 7.0)))
    assert (str(there), there.retry_after_s) == ("down", 7.0)
