"""Which addresses a server may have, with and without `allow_private`."""

from __future__ import annotations

import re
import socket

import pytest

from parcels.arcgis.http import address_guard
from parcels.arcgis.http.address_guard import ResolvedAddress, check_url, resolve_host
from parcels.errors import AddressRefused

HOST = "gis.example.gov"
PRIVATE = [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd00::1",
    "::ffff:10.0.0.1", "::ffff:127.0.0.1",
    "2002:7f00:1::",  # 6to4 of 127.0.0.1
    "2002:a01:203::1",  # 6to4 of 10.1.2.3
    "64:ff9b::7f00:1",  # NAT64 of 127.0.0.1
    "64:ff9b::c0a8:101",  # NAT64 of 192.168.1.1
]  # fmt: skip
NEVER = [
    "169.254.169.254", "0.0.0.0", "0.1.2.3", "240.0.0.1", "255.255.255.255", "224.0.0.1", "::",
    "fe80::1%eth0", "fec0::1", "ff02::1", "::7f00:1", "::ffff:0:7f00:1", "64:ff9b:1::7f00:1",
    "100::1", "::ffff:169.254.169.254",
    "2002:a9fe:a9fe::",  # 6to4 of 169.254.169.254
    "64:ff9b::a9fe:a9fe",  # NAT64 of the same
    "2001:0:4136:e378:8000:63bf:80ff:fffe",  # Teredo of 127.0.0.1
    "fd00:ec2::254", "100.100.100.200", "168.63.129.16",  # cloud metadata
    "::ffff:168.63.129.16",
]  # fmt: skip


def at(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    places = [
        ResolvedAddress(socket.AF_INET, socket.SOCK_STREAM, 0, (text, 443)) for text in addresses
    ]
    monkeypatch.setattr(address_guard, "_resolve", lambda *_: places)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_need_allow_private(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    at(monkeypatch, "8.8.8.8", address)
    with pytest.raises(AddressRefused, match="not a public address; set allow_private: true"):
        resolve_host(HOST, 443, allow_private=False)
    assert len(resolve_host(HOST, 443, allow_private=True)) == 2


@pytest.mark.parametrize("address", NEVER)
@pytest.mark.parametrize("allow_private", [False, True])
def test_metadata_and_reserved_addresses_are_always_refused(
    monkeypatch: pytest.MonkeyPatch, address: str, allow_private: bool
) -> None:
    at(monkeypatch, address, "8.8.8.8")
    with pytest.raises(AddressRefused, match="which cannot be a county server"):
        resolve_host(HOST, 443, allow_private=allow_private)


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "64:ff9b::808:808"])
def test_public_addresses_pass(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    at(monkeypatch, address)
    [place] = resolve_host(HOST, 443, allow_private=False)
    assert place.address == address


@pytest.mark.parametrize(
    ("host", "is_at"),
    [
        ("127.0.0.1", "127.0.0.1 is not a public address; "),
        ("localhost", "localhost is at 127.0.0.1, which is not a public address; "),
        ("[::1]", "::1 is not a public address; "),
    ],
)
def test_private_hosts_are_named_in_the_message(
    monkeypatch: pytest.MonkeyPatch, host: str, is_at: str
) -> None:
    if host == "localhost":
        at(monkeypatch, "127.0.0.1")
    with pytest.raises(AddressRefused, match=f"^{re.escape(is_at)}"):
        resolve_host(host, 8080, allow_private=False)


@pytest.mark.parametrize("host", ["2130706433", "0177.0.0.1", "0x7f.1", "127.1"])
def test_odd_forms_of_addresses_are_resolved(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    # The network block of the tests knows dotted forms only, so this calls the C library.
    address = socket.inet_ntoa(socket.inet_aton(host))
    assert address == "127.0.0.1"
    at(monkeypatch, address)
    with pytest.raises(AddressRefused, match=r"is at 127\.0\.0\.1"):
        resolve_host(host, 80, allow_private=False)


def test_dns_errors_are_passed_to_the_caller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def silent(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(address_guard.socket, "getaddrinfo", silent)
    with pytest.raises(socket.gaierror):
        resolve_host(HOST, 443, allow_private=False)


def test_an_invalid_host_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_name(*_: object, **__: object) -> None:
        raise UnicodeError("label too long")

    monkeypatch.setattr(address_guard.socket, "getaddrinfo", no_name)
    with pytest.raises(AddressRefused, match="is not a valid host name; correct 'url'"):
        resolve_host("x" * 70, 443, allow_private=False)


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "/vsicurl/http://x/y", "ftp://x/y", "gopher://x:70/", "//x/y", "http://",
     "https:///x", "http://[::1", "http://x:99999/", "", "data:text/plain,x"],
)  # fmt: skip
def test_only_http_and_https_urls_are_accepted(url: str) -> None:
    with pytest.raises(AddressRefused, match="is not a valid URL"):
        check_url(url)


def test_passwords_in_urls_are_refused_and_not_repeated() -> None:
    with pytest.raises(AddressRefused, match="contains a user name or password") as caught:
        check_url("https://ada:hunter2@gis.example.gov/x")
    assert "hunter2" not in str(caught.value)
    check_url("https://gis.example.gov:6443/arcgis")
