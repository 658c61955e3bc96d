"""The ArcGIS client over HTTP: requests, limits, retry, proxies, redirects, tokens."""

from __future__ import annotations

import errno
import gzip
import pickle
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from faketime import FakeTime
from servers.scripted import Call, Reply, ScriptedServer, scripted

from parcels import County
from parcels.arcgis.http import address_guard, connections, exchange
from parcels.arcgis.http.client import ArcGISClient
from parcels.arcgis.http.responses import TooManyRequestsError, TransientError
from parcels.errors import (
    AddressRefused,
    AuthenticationRequired,
    QueryRefused,
    RateLimited,
    SourceMisconfigured,
    SourceUnavailable,
)

Serve = Callable[..., ScriptedServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers that send one reply, or a function's reply to each call."""
    with ExitStack() as stack:

        def start(reply: Reply | Callable[[Call], Reply]) -> ScriptedServer:
            script = reply if callable(reply) else lambda _: reply
            return stack.enter_context(scripted(script))

        yield start


@pytest.fixture
def fake() -> FakeTime:
    return FakeTime()


def client(fake: FakeTime, **more: Any) -> ArcGISClient:
    return ArcGISClient(sleep=fake.sleep, clock=fake.clock, allow_private=True, **more)


class TestRequests:
    def test_short_queries_use_get_and_long_ones_post(self, serve: Serve, fake: FakeTime) -> None:
        server = serve(Reply(b'{"count": 1}'))
        arcgis_client = client(fake)
        assert arcgis_client.get_json(server.url, {"where": "A = 'b c'"}) == {"count": 1}
        arcgis_client.get_json(server.url, {"where": "x" * 1_600})
        [got, posted] = server.calls
        assert (got.method, got.query) == ("GET", {"where": "A = 'b c'", "f": "json"})
        assert (posted.method, posted.form["f"]) == ("POST", "json")
        assert posted.query == {}
        assert got.headers["User-Agent"].startswith("lotline/")

    def test_headers_of_the_registry_entry_are_sent(self, serve: Serve, fake: FakeTime) -> None:
        server = serve(Reply())
        county = County(
            key="here", url=server.url, layer=0, allow_private=True,
            headers={"Referer": "https://maps.example.gov/"},
        )  # fmt: skip
        ArcGISClient.for_county(county, sleep=fake.sleep, clock=fake.clock).get_json(server.url, {})
        assert server.calls[0].headers["Referer"] == "https://maps.example.gov/"

    def test_netrc_passwords_are_not_sent(
        self, serve: Serve, fake: FakeTime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("default login me password secret\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        server = serve(Reply())
        client(fake).get_json(server.url, {})
        assert "Authorization" not in server.calls[0].headers

    def test_a_file_is_posted_and_its_response_decoded(self, serve: Serve, fake: FakeTime) -> None:
        replies = iter([Reply(status=503), Reply(b'"1","Match"')])
        server = serve(lambda _: next(replies))
        found = client(fake).post_file(
            server.url,
            {"benchmark": "4"},
            "addressFile",
            b"1,12 OAK ST",
            bytes.decode,
            read_timeout_s=9,
        )
        assert found == '"1","Match"'
        body = server.calls[1].body
        assert body == server.calls[0].body.replace(*_boundaries(server.calls))
        assert b'name="benchmark"\r\n\r\n4\r\n' in body
        assert b'name="addressFile"; filename="addressFile.csv"' in body
        assert b"\r\n\r\n1,12 OAK ST\r\n" in body

    def test_an_html_response_to_a_posted_file_is_transient(
        self, serve: Serve, fake: FakeTime
    ) -> None:
        server = serve(Reply(b"<html>Down for maintenance</html>"))
        with pytest.raises(TransientError, match="an HTML page instead of data"):
            client(fake).post_file(server.url, {}, "f", b"", bytes.decode, read_timeout_s=9)

    def test_json_instead_of_an_image_is_misconfigured(self, serve: Serve, fake: FakeTime) -> None:
        server = serve(Reply(b'{"href": "http://x/y.tif"}'))
        with pytest.raises(SourceMisconfigured, match="not an image; is this an ImageServer"):
            client(fake).get_image(server.url, {}, bytes.decode)


def _boundaries(calls: list[Call]) -> tuple[bytes, bytes]:
    first, second = (call.body.split(b"\r\n", 1)[0] for call in calls)
    return first, second


class TestLimits:
    def test_a_too_large_response_is_an_error(
        self, serve: Serve, fake: FakeTime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(exchange, "_MAX_RESPONSE_BYTES", 1_000)
        server = serve(Reply(b"[" + b"1," * 1_000))
        with pytest.raises(QueryRefused, match="the response is larger than"):
            client(fake).get_json(server.url, {})
        assert len(server.calls) == 1

    def test_the_size_limit_applies_after_decompression(
        self, serve: Serve, fake: FakeTime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(exchange, "_MAX_RESPONSE_BYTES", 1_000_000)
        packed = gzip.compress(b" " * 50_000_000)
        assert len(packed) < 60_000
        server = serve(Reply(packed, headers={"Content-Encoding": "gzip"}))
        with pytest.raises(QueryRefused, match="the response is larger than"):
            client(fake).get_json(server.url, {})

    @pytest.mark.parametrize("head", [b"X-Filler: ", b"Content-Length: 1000000\r\n\r\n"])
    def test_a_slow_response_hits_the_deadline(
        self, serve: Serve, fake: FakeTime, monkeypatch: pytest.MonkeyPatch, head: bytes
    ) -> None:
        monkeypatch.setattr(connections, "_MAX_RESPONSE_S", -4.8)

        def drip() -> Iterator[bytes]:
            yield b"HTTP/1.1 200 OK\r\n" + head
            for _ in range(500):
                time.sleep(0.01)
                yield b" "

        server = serve(lambda _: Reply(raw=drip()))
        # Every byte comes well within the read timeout of five seconds.
        with pytest.raises(SourceUnavailable, match="no response"):
            client(fake, read_timeout_s=5.0).get_json(server.url, {})
        assert len(server.calls) == 10

    def test_two_clients_share_the_limits_of_a_host(self, serve: Serve, fake: FakeTime) -> None:
        server = serve(Reply())
        for _ in range(3):
            client(fake).get_json(server.url, {})
            client(fake, calls_per_second=100).get_json(server.url, {})
        assert fake.now_s == pytest.approx(1.05)

    def test_at_most_two_calls_are_in_flight_for_many_clients(self) -> None:
        def slow(_: Call) -> Reply:
            time.sleep(0.01)
            return Reply()

        with scripted(slow) as server:
            clients = [ArcGISClient(allow_private=True, calls_per_second=100) for _ in range(3)]
            threads = [
                threading.Thread(target=each.get_json, args=(server.url, {}))
                for each in clients
                for _ in range(5)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert (len(server.calls), server.most_in_flight) == (15, 2)


class TestRetry:
    def test_ten_attempts_and_three_while_the_host_is_degraded(
        self, serve: Serve, fake: FakeTime
    ) -> None:
        reply = Reply(status=500)
        server = serve(lambda _: reply)
        arcgis_client = client(fake)
        for tries in (10, 3, 3):
            server.calls.clear()
            with pytest.raises(TransientError, match="error 500"):
                arcgis_client.get_json(server.url, {})
            assert len(server.calls) == tries
        reply = Reply()
        arcgis_client.get_json(server.url, {})
        reply = Reply(status=500)
        server.calls.clear()
        with pytest.raises(TransientError):
            arcgis_client.get_json(server.url, {})
        assert len(server.calls) == 10

    def test_backoff_is_jittered_and_grows_to_five_seconds(self, serve: Serve) -> None:
        longest: list[list[float]] = []
        for _ in range(20):
            fake = FakeTime()
            with pytest.raises(TransientError):
                client(fake, calls_per_second=100).get_json(serve(Reply(status=502)).url, {})
            longest.append(fake.waits_s)
        assert {len(waits) for waits in longest} == {9}
        bounds = [0.5, 1, 2, 4, 5, 5, 5, 5, 5]
        for waits in longest:
            assert all(wait <= bound for wait, bound in zip(waits, bounds, strict=True))
        assert len({waits[4] for waits in longest}) == 20
        assert max(waits[4] for waits in longest) > 2.5

    def test_connection_errors_have_short_messages(
        self, serve: Serve, fake: FakeTime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def error_message(url: str, **more: Any) -> str:
            with pytest.raises(TransientError) as caught:
                client(fake, **more).get_json(url, {})
            return str(caught.value).removeprefix(f"{url}: no response: ")

        def unknown(*_: object) -> list[address_guard.ResolvedAddress]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        silent = serve(lambda _: Reply(raw=iter([b"", time.sleep(0.1) or b""]))).url
        refused = rf"\[Errno {errno.ECONNREFUSED}\] .*refused; try again later"
        assert re.fullmatch(refused, error_message("http://127.0.0.1:9/x"))
        assert (
            error_message(silent, read_timeout_s=0.01)
            == "Read timed out. (read timeout=0.01); try again later"
        )
        monkeypatch.setattr(address_guard, "_resolve", unknown)
        fake.waits_s.clear()
        unresolved = error_message("https://gis.example.gov/x")
        assert unresolved.startswith("Failed to resolve 'gis.example.gov' (")
        assert unresolved.endswith("; try again later (is this machine online?)")
        assert len(fake.waits_s) == 2, "three attempts"

    def test_retries_end_after_the_time_limit(self, serve: Serve, fake: FakeTime) -> None:
        def slow(_: Call) -> Reply:
            fake.now_s += 50
            return Reply(status=504)

        server = serve(slow)
        with pytest.raises(TransientError, match="error 504"):
            client(fake).get_json(server.url, {})
        assert len(server.calls) == 4
        with pytest.raises(TransientError, match="error 504"):
            client(fake).get_json(server.url, {})
        assert len(server.calls) == 4 + 1, "a degraded host gets one read timeout"
        for mine, of_the_call in ((60, 180), (180, 60)):
            fake, calls = FakeTime(), len(server.calls)
            with pytest.raises(TransientError, match="error 504"):
                client(fake, retry_for_s=mine).get_json(server.url, {}, retry_for_s=of_the_call)
            assert len(server.calls) == calls + 2

    @pytest.mark.parametrize("body", [b"", b'{"features": [{"attri'])
    def test_dropped_connections_and_truncated_responses_are_retried(
        self, serve: Serve, fake: FakeTime, body: bytes
    ) -> None:
        replies = iter([Reply(body, status=0), Reply(body), Reply(b'{"count": 1}')])
        server = serve(lambda _: next(replies))
        assert client(fake).get_json(server.url, {}) == {"count": 1}

    def test_retry_after_in_seconds_pauses_the_host(self, serve: Serve) -> None:
        asked_at_s: list[float] = []

        class Together(FakeTime):
            """While one call waits, another client calls the same host."""

            def sleep(self, wait_s: float) -> None:
                if not self.waits_s:
                    self.waits_s.append(0)
                    client(self).get_json(f"{server.address}/another/MapServer", {})
                super().sleep(wait_s)

        def script(_: Call) -> Reply:
            asked_at_s.append(fake.now_s)
            first = len(asked_at_s) == 1
            return Reply(status=503, headers={"Retry-After": "7"}) if first else Reply()

        fake = Together()
        server = serve(script)
        client(fake).get_json(server.url, {})
        assert [call.path for call in server.calls][1] == "/another/MapServer"
        assert asked_at_s == [0.0, pytest.approx(7), pytest.approx(7, abs=0.5)]

    def test_retry_after_applies_to_a_call_that_waits_for_a_slot(self, fake: FakeTime) -> None:
        asked_at_s: list[float] = []
        other = threading.Thread(target=lambda: client(fake, calls_in_flight=1).get_json(url, {}))

        def script(_: Call) -> Reply:
            asked_at_s.append(fake.now_s)
            if len(asked_at_s) > 1:
                return Reply()
            other.start()
            other.join(0.05)  # it waits for the slot of this call
            return Reply(status=503, headers={"Retry-After": "7"})

        with scripted(script) as server:
            url = server.url
            client(fake, calls_in_flight=1).get_json(url, {})
            other.join(10)
        assert asked_at_s == [0.0, pytest.approx(7), pytest.approx(7, abs=0.5)]

    def test_retry_after_may_be_a_date(self, serve: Serve, fake: FakeTime) -> None:
        until = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
        replies = iter([Reply(status=503, headers={"Retry-After": until}), Reply()])
        server = serve(lambda _: next(replies))
        client(fake).get_json(server.url, {})
        assert 20 < fake.now_s <= 40

    @pytest.mark.parametrize("header", ["soon", "-5", "nan", "Mon, 99 Foo 2099", ""])
    def test_an_invalid_retry_after_is_ignored(
        self, serve: Serve, fake: FakeTime, header: str
    ) -> None:
        replies = iter([Reply(status=503, headers={"Retry-After": header}), Reply()])
        server = serve(lambda _: next(replies))
        client(fake).get_json(server.url, {})
        assert fake.now_s <= 0.5

    @pytest.mark.parametrize("wait", ["3600", "1e300", "Fri, 31 Dec 9999 23:59:59 GMT"])
    def test_a_long_retry_after_is_rate_limited_at_once(
        self, serve: Serve, fake: FakeTime, wait: str
    ) -> None:
        server = serve(Reply(status=429, headers={"Retry-After": wait}))
        for path in ("/a/MapServer", "/b/MapServer"):
            with pytest.raises(RateLimited, match=r"rate limited \(Retry-After\) until"):
                client(fake).get_json(server.address + path, {})
        assert len(server.calls) == 1
        assert fake.waits_s == []

    def test_repeated_429_is_rate_limited(self, serve: Serve, fake: FakeTime) -> None:
        server = serve(Reply(b"Too Many Requests", status=429))
        with pytest.raises(RateLimited, match="lower calls_per_second in the registry entry"):
            client(fake).get_json(server.url, {})
        assert len(server.calls) == 10

    def test_errors_can_be_pickled(self) -> None:
        there = pickle.loads(pickle.dumps(TooManyRequestsError("down")))
        assert (type(there), str(there)) == (TooManyRequestsError, "down")


class TestBehindAProxy:
    @pytest.fixture
    def proxy(self, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> ScriptedServer:
        server = serve(Reply(b'{"count": 1}'))
        monkeypatch.setenv("http_proxy", server.address)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        return server

    def test_the_proxy_may_resolve_names_unknown_here(
        self, proxy: ScriptedServer, fake: FakeTime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unknown(*_: object) -> list[address_guard.ResolvedAddress]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(address_guard, "_resolve", unknown)
        arcgis_client = ArcGISClient(sleep=fake.sleep, clock=fake.clock)
        assert arcgis_client.get_json("http://gis.example.gov/x/MapServer", {}) == {"count": 1}
        assert proxy.calls[0].headers["Host"] == "gis.example.gov"

    def test_a_private_host_is_refused_behind_a_proxy(
        self, proxy: ScriptedServer, fake: FakeTime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inside = address_guard.ResolvedAddress(
            socket.AF_INET, socket.SOCK_STREAM, 6, ("10.0.0.5", 80)
        )
        monkeypatch.setattr(address_guard, "_resolve", lambda *_: [inside])
        with pytest.raises(AddressRefused, match=r"is at 10\.0\.0\.5"):
            ArcGISClient(sleep=fake.sleep, clock=fake.clock).get_json("http://gis.example.gov/", {})
        assert proxy.calls == []


def redirect(to: str, status: int = 302) -> Reply:
    return Reply(b"<html>moved</html>", status, {"Location": to})


class TestRedirects:
    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    def test_a_redirected_post_is_posted_again(
        self, serve: Serve, fake: FakeTime, status: int
    ) -> None:
        server = serve(lambda call: redirect("/new", status) if call.path != "/new" else Reply())
        client(fake, headers={"X-Key": "k"}).get_json(server.url, {"where": "x" * 1_600})
        first, second = server.calls
        assert (second.method, second.form) == ("POST", first.form)
        assert second.headers["X-Key"] == "k"

    def test_a_redirected_get_uses_the_target_url(self, serve: Serve, fake: FakeTime) -> None:
        server = serve(
            lambda call: redirect("/new?where=y&f=json") if call.path != "/new" else Reply()
        )
        client(fake).get_json(server.url, {"where": "x"})
        assert server.calls[1].query == {"where": "y", "f": "json"}

    def test_every_request_is_counted(self, serve: Serve, fake: FakeTime) -> None:
        replies = iter([Reply(status=503), redirect("/new"), Reply()])
        server = serve(lambda _: next(replies))
        arcgis_client = client(fake)
        arcgis_client.get_json(server.url, {})
        assert arcgis_client.calls == len(server.calls) == 3

    def test_too_many_redirects_are_misconfigured(self, serve: Serve, fake: FakeTime) -> None:
        server = serve(redirect("/again?token=s3cret"))
        with pytest.raises(SourceMisconfigured, match=r"too many redirects, the last to .*/again;"):
            client(fake).get_json(server.url, {})
        assert len(server.calls) == 6

    @pytest.mark.parametrize(
        "to",
        ["file:///etc/passwd", "ftp://example.gov/x", "https://u:pw@example.gov/", "http://["],
    )
    def test_a_redirect_to_an_invalid_url_is_refused(
        self, serve: Serve, fake: FakeTime, to: str
    ) -> None:
        server = serve(redirect(to))
        with pytest.raises(AddressRefused) as caught:
            client(fake).get_json(server.url, {})
        assert "pw" not in str(caught.value)
        assert len(server.calls) == 1

    def test_the_body_of_a_redirect_is_not_read(self, serve: Serve, fake: FakeTime) -> None:
        sent: list[bytes] = []

        def endless() -> Iterator[bytes]:
            yield b"HTTP/1.1 302 Found\r\nLocation: /new\r\nContent-Length: 900000000\r\n\r\n"
            for _ in range(9_000):
                sent.append(b" " * 100_000)
                yield sent[-1]

        server = serve(
            lambda call: Reply(b'{"count": 1}') if call.path == "/new" else Reply(raw=endless())
        )
        assert client(fake).get_json(server.url, {}) == {"count": 1}
        assert len(sent) < 1_000

    def test_each_host_of_a_redirect_has_its_own_limits(self, serve: Serve, fake: FakeTime) -> None:
        inner = serve(Reply())
        outer = serve(redirect(inner.url))
        for _ in range(5):
            client(fake).get_json(inner.url, {})
        began_s = fake.now_s
        client(fake).get_json(outer.url, {})
        assert (len(outer.calls), len(inner.calls)) == (1, 6)
        assert fake.now_s == began_s

    def test_headers_and_tokens_are_not_sent_to_other_hosts(
        self, serve: Serve, fake: FakeTime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COUNTY_TOKEN", "s3cret")
        inner = serve(Reply())
        outer = serve(redirect(inner.url.replace("127.0.0.1", "localhost")))
        arcgis_client = of(outer.url, {"env": "COUNTY_TOKEN"}, fake, headers={"X-Key": "k"})
        arcgis_client.get_json(outer.url, {"where": "x"})
        assert outer.calls[0].form["token"] == "s3cret"
        assert outer.calls[0].headers["X-Key"] == "k"
        [there] = inner.calls
        assert (there.form, there.query) == ({"where": "x", "f": "json"}, {})
        assert "X-Key" not in there.headers


def of(url: str, token: dict[str, str], fake: FakeTime, **more: Any) -> ArcGISClient:
    county = County.model_validate(
        {"key": "here", "url": url, "layer": 0, "allow_private": True, "token": token, **more}
    )
    return ArcGISClient.for_county(county, sleep=fake.sleep, clock=fake.clock)


class Signed:
    """A server that requires tokens and generates them; `valid` is the accepted one."""

    def __init__(self) -> None:
        self.made = 0
        self.valid = "none yet"
        self.refusal: Reply | None = None

    def __call__(self, call: Call) -> Reply:
        if call.path.endswith("/generateToken"):
            if self.refusal is not None:
                return self.refusal
            self.made += 1
            self.valid = f"token-{self.made}"
            return Reply(f'{{"token": "{self.valid}", "expires": 1, "ssl": true}}'.encode())
        if call.form.get("token") == self.valid:
            return Reply(b'{"count": 1}')
        code = 498 if "token" in call.form else 499
        message = f"Invalid Token {call.form.get('token')}."
        return Reply(f'{{"error": {{"code": {code}, "message": "{message}"}}}}'.encode())


class TestTokens:
    @pytest.fixture
    def signed(self) -> Signed:
        return Signed()

    @pytest.fixture
    def server(
        self, serve: Serve, signed: Signed, monkeypatch: pytest.MonkeyPatch
    ) -> ScriptedServer:
        monkeypatch.setenv("GIS_USER", "ada")
        monkeypatch.setenv("GIS_PASSWORD", "hunter2")
        return serve(signed)

    def arcgis_client(self, server: ScriptedServer, fake: FakeTime) -> ArcGISClient:
        made = {
            "url": f"{server.address}/arcgis/tokens/generateToken",
            "username_env": "GIS_USER",
            "password_env": "GIS_PASSWORD",
        }
        return of(server.url, made, fake)

    def test_a_token_is_generated_once_and_sent_in_the_body(
        self, server: ScriptedServer, fake: FakeTime
    ) -> None:
        arcgis_client = self.arcgis_client(server, fake)
        for _ in range(3):
            assert arcgis_client.get_json(server.url, {"where": "1=1"}) == {"count": 1}
        making, *calls = server.calls
        assert making.form == {
            "username": "ada", "password": "hunter2", "client": "referer",
            "referer": server.address, "expiration": "60", "f": "json",
        }  # fmt: skip
        assert [call.form["token"] for call in calls] == ["token-1"] * 3
        assert {call.headers["Referer"] for call in calls} == {server.address}
        assert all(not call.query for call in server.calls)

    def test_an_expired_token_is_renewed_once(
        self, server: ScriptedServer, signed: Signed, fake: FakeTime
    ) -> None:
        arcgis_client = self.arcgis_client(server, fake)
        arcgis_client.get_json(server.url, {})
        signed.valid = "another"
        assert arcgis_client.get_json(server.url, {}) == {"count": 1}
        assert signed.made == 2

    def test_a_refused_token_is_renewed_only_once(
        self, server: ScriptedServer, signed: Signed, fake: FakeTime
    ) -> None:
        arcgis_client = self.arcgis_client(server, fake)
        arcgis_client.get_json(server.url, {})
        server.calls.clear()
        signed.valid = "another"
        signed.refusal = Reply(b'{"token": "useless"}')
        with pytest.raises(AuthenticationRequired, match="error 498") as caught:
            arcgis_client.get_json(server.url, {})
        assert "useless" not in str(caught.value)
        assert len(server.calls) == 3

    def test_image_requests_have_the_token(self, server: ScriptedServer, fake: FakeTime) -> None:
        with pytest.raises(SourceMisconfigured, match="not an image"):
            self.arcgis_client(server, fake).get_image(server.url, {}, bytes.decode)
        assert server.calls[-1].form["token"] == "token-1"

    @pytest.mark.parametrize(
        ("refusal", "message"),
        [
            (b'{"error": {"code": 400, "message": "Unable to generate token.", "details": '
             b'["Invalid username or password.", "hunter2"]}}',
             r"Invalid username or password.*check the user name and password in the environment"),
            (b"<!DOCTYPE html><title>ArcGIS REST Services Directory: Generate Token</title>",
             "an HTML page instead of a token"),
            (b'{"ssl": true}', "the response has no token"),
        ],
    )  # fmt: skip
    def test_a_token_server_without_a_token_is_an_authentication_error(
        self, server: ScriptedServer, signed: Signed, fake: FakeTime, refusal: bytes, message: str
    ) -> None:
        signed.refusal = Reply(refusal)
        with pytest.raises(AuthenticationRequired, match=message) as caught:
            self.arcgis_client(server, fake).get_json(server.url, {})
        error: BaseException | None = caught.value
        while error is not None:
            assert "hunter2" not in f"{error} {error!r}"
            error = error.__cause__
        assert len(server.calls) == 1

    def test_a_token_server_that_is_down_is_an_outage(
        self, server: ScriptedServer, signed: Signed, fake: FakeTime
    ) -> None:
        signed.refusal = Reply(status=503)
        with pytest.raises(SourceUnavailable):
            self.arcgis_client(server, fake).get_json(server.url, {})

    def test_a_token_from_the_environment(
        self,
        server: ScriptedServer,
        signed: Signed,
        fake: FakeTime,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        signed.valid = "t0ken"
        monkeypatch.setenv("COUNTY_TOKEN", "t0ken")
        arcgis_client = of(server.url, {"env": "COUNTY_TOKEN"}, fake)
        assert arcgis_client.get_json(server.url, {}) == {"count": 1}
        signed.valid = "another"
        with pytest.raises(
            AuthenticationRequired, match="the token from the environment variable COUNTY_TOKEN"
        ) as caught:
            arcgis_client.get_json(server.url, {})
        assert "t0ken" not in f"{caught.value} {caught.value.__context__}"
        assert len(server.calls) == 2

    def test_a_missing_environment_variable_is_named(
        self, server: ScriptedServer, fake: FakeTime
    ) -> None:
        with pytest.raises(AuthenticationRequired, match="variable NOT_THERE is not set"):
            of(server.url, {"env": "NOT_THERE"}, fake).get_json(server.url, {})
        assert server.calls == []

    def test_no_token_is_sent_unencrypted_over_the_internet(
        self, fake: FakeTime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COUNTY_TOKEN", "t0ken")
        url = "http://gis.example.gov/arcgis/rest/services/P/MapServer"
        arcgis_client = of(url, {"env": "COUNTY_TOKEN"}, fake, allow_private=False)
        with pytest.raises(AuthenticationRequired, match="over unencrypted http"):
            arcgis_client.get_json(url, {})

    def test_alternates_on_another_host_get_no_token(
        self,
        server: ScriptedServer,
        fake: FakeTime,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("COUNTY_TOKEN", "t0ken")
        arcgis_client = of(server.url, {"env": "COUNTY_TOKEN"}, fake)
        with pytest.raises(AuthenticationRequired, match="error 499"):
            arcgis_client.get_json(server.url.replace("127.0.0.1", "localhost"), {})
        assert "token" not in server.calls[0].form
