"""TLS on loopback with a test CA: certificates are always verified, also with legacy_tls."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from faketime import FakeTime
from servers.scripted import Reply, ScriptedServer, scripted

from parcels.arcgis.http.client import ArcGISClient
from parcels.arcgis.http.connections import GuardedAdapter
from parcels.arcgis.http.exchange import to_source_error
from parcels.arcgis.http.responses import TransientError
from parcels.errors import SourceMisconfigured

_LEGACY_SERVER_CONNECT = 0x4


def openssl(folder: Path, *args: str) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, and makes the test's certificates")
    subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem signs localhost.pem and other.pem (for another name); each with its .key."""
    folder = tmp_path_factory.mktemp("certificates")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE")
    openssl(
        folder, "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test CA",
        "-addext", "keyUsage=critical,keyCertSign",
    )  # fmt: skip
    for name, host in (("localhost", "localhost"), ("other", "gis.example.gov")):
        openssl(
            folder, "req", "-x509", *key, *signed, "-subj", f"/CN={host}",
            "-keyout", f"{name}.key", "-out", f"{name}.pem",
            "-addext", f"subjectAltName=DNS:{host}",
        )  # fmt: skip
    return folder


def serving(certificates: Path, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
    return context


@pytest.fixture
def server(certificates: Path) -> Iterator[ScriptedServer]:
    with scripted(lambda _: Reply(b'{"count": 1}'), serving(certificates, "localhost")) as running:
        yield running


@pytest.fixture
def trusted(certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine trusts the test CA."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates / "ca.pem"))


def client(*legacy_tls: str) -> ArcGISClient:
    time = FakeTime()
    return ArcGISClient(
        sleep=time.sleep, clock=time.clock, allow_private=True, legacy_tls=legacy_tls
    )


@pytest.mark.parametrize("legacy_tls", [(), ("localhost",), ("LocalHost", "gis.example.gov")])
@pytest.mark.usefixtures("trusted")
def test_a_valid_certificate_is_accepted(
    server: ScriptedServer, legacy_tls: tuple[str, ...]
) -> None:
    assert client(*legacy_tls).get_json(server.url, {}) == {"count": 1}


@pytest.mark.parametrize("legacy_tls", [(), ("localhost",)])
def test_an_untrusted_certificate_is_refused(
    server: ScriptedServer, legacy_tls: tuple[str, ...]
) -> None:
    with pytest.raises(SourceMisconfigured, match=r"TLS failed: .*CERTIFICATE_VERIFY_FAI"):
        client(*legacy_tls).get_json(server.url, {})
    assert server.calls == []


@pytest.mark.parametrize("legacy_tls", [(), ("localhost",)])
@pytest.mark.usefixtures("trusted")
def test_a_certificate_of_another_host_is_refused(
    certificates: Path, legacy_tls: tuple[str, ...]
) -> None:
    with scripted(lambda _: Reply(), serving(certificates, "other")) as server:
        with pytest.raises(SourceMisconfigured, match="Hostname mismatch"):
            client(*legacy_tls).get_json(server.url, {})
        assert server.calls == []


def test_only_legacy_tls_hosts_allow_legacy_renegotiation() -> None:
    adapter = GuardedAdapter(allow_private=True, legacy_tls=("old.example.gov",))
    request = requests.Request("GET", "https://OLD.example.gov:8443/x").prepare()
    _, tls = adapter.build_connection_pool_key_attributes(request, True)
    context = tls["ssl_context"]
    assert context.options & _LEGACY_SERVER_CONNECT
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    for other in ("https://example.gov/x", "https://old.example.gov.example.org/x"):
        request = requests.Request("GET", other).prepare()
        _, tls = adapter.build_connection_pool_key_attributes(request, True)
        assert "ssl_context" not in tls


@pytest.mark.usefixtures("trusted")
def test_the_connection_uses_the_legacy_tls_context(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[int] = []
    wrap = ssl.SSLContext.wrap_socket

    def wrapped(context: ssl.SSLContext, *args: object, **more: object) -> object:
        if not more.get("server_side"):
            used.append(context.options & _LEGACY_SERVER_CONNECT)
        return wrap(context, *args, **more)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", wrapped)
    client("localhost").get_json(server.url, {})
    client("gis.example.gov").get_json(server.url, {})
    assert used == [_LEGACY_SERVER_CONNECT, 0]


def test_plain_http_behind_https_is_misconfigured() -> None:
    with scripted(lambda _: Reply()) as server:
        with pytest.raises(SourceMisconfigured, match="TLS failed"):
            client().get_json(server.url.replace("http:", "https:"), {})
        assert server.calls == []


def test_a_connection_dropped_in_the_handshake_is_retried() -> None:
    dropped = 0
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drop() -> None:
            nonlocal dropped
            for _ in range(10):
                connection, _ = listening.accept()
                connection.recv(10_000)
                connection.close()
                dropped += 1

        thread = threading.Thread(target=drop, daemon=True)
        thread.start()
        with pytest.raises(TransientError, match=r"no response: .*EOF"):
            client().get_json(f"https://localhost:{listening.getsockname()[1]}/x", {})
        thread.join(10)
    assert dropped == 10


def test_the_legacy_tls_error_names_the_host() -> None:
    error = requests.exceptions.SSLError(
        "HTTPSConnectionPool(host='old.example.gov', port=443): Max retries exceeded (Caused by "
        "SSLError(SSLError(1, '[SSL: UNSAFE_LEGACY_RENEGOTIATION_DISABLED] unsafe legacy "
        "renegotiation disabled (_ssl.c:1006)')))"
    )
    found = to_source_error("https://old.example.gov/x", error)
    assert isinstance(found, SourceMisconfigured)
    assert "set legacy_tls: [old.example.gov] in the registry entry" in str(found)
