"""Which addresses a server may have without `allow_private`."""

from __future__ import annotations

import socket

import pytest

from parcels.arcgis import network
from parcels.arcgis.network import check_public
from parcels.errors import SourceMisconfigured, SourceUnavailable

URL = "https://gis.example.gov/arcgis/rest/services/P/MapServer"


def at(monkeypatch: pytest.MonkeyPatch, *places: str) -> None:
    monkeypatch.setattr(network, "_addresses", lambda _: list(places))


@pytest.mark.parametrize(
    "place",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
     "0.0.0.0", "240.0.0.1", "224.0.0.1", "::1", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1"],
)  # fmt: skip
def test_what_is_not_public_is_refused(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    at(monkeypatch, "8.8.8.8", place)
    with pytest.raises(SourceMisconfigured, match="no public address; set allow_private: true"):
        check_public(URL)


def test_public_addresses_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, "8.8.8.8", "2001:4860:4860::8888")
    check_public(URL)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "2130706433"])
def test_hosts_are_looked_up(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if host.isdigit():  # an address as one number, which the resolver takes for 127.0.0.1
        at(monkeypatch, "127.0.0.1")
    with pytest.raises(SourceMisconfigured, match="no public address"):
        check_public(f"http://{host}:8080/x/MapServer")


def test_no_answer_of_the_name_server_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(network.socket, "getaddrinfo", silent)
    with pytest.raises(SourceUnavailable, match="Temporary failure"):
        check_public(URL)
    check_public(URL, proxied=True)  # the proxy looks it up
