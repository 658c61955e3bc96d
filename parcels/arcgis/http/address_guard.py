"""SSRF guard: a URL of the registry, or a redirect, must not reach into a private network.

Cloud metadata addresses are always refused. Loopback and private ranges need `allow_private`.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from urllib.parse import urlsplit

from parcels.errors import AddressRefused

# How to allow a private address; commands replace it by their own option.
ALLOW_PRIVATE_HINT = "set allow_private: true in the registry entry"
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_UNIQUE_LOCAL = IPv6Network("fc00::/7")
# Metadata services, which hand out credentials, outside of the link-local ranges.
_CLOUD_METADATA = (
    IPv6Address("fd00:ec2::254"),  # AWS
    IPv4Address("100.100.100.200"),  # Alibaba
    IPv4Address("168.63.129.16"),  # Azure
)
# NAT64 gateways of IPv6-only networks embed IPv4 addresses here (RFC 6052).
_NAT64 = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class ResolvedAddress:
    """An address of a host name, with what a socket needs to connect to it."""

    family: int
    kind: int
    protocol: int
    socket_address: tuple[str | int | bytes, ...]

    @property
    def address(self) -> str:
        """The address as text, with its IPv6 scope if it has one."""
        return str(self.socket_address[0])


def check_url(url: str) -> None:
    """Accept only plain http and https URLs.

    Raises:
        AddressRefused: another scheme, no host, or a user name or password in the URL.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise AddressRefused(f"{url}: is not a valid URL: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise AddressRefused(f"{url}: is not a valid URL; use http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise AddressRefused(
            f"{parts.scheme}://{parts.hostname}{parts.path}: contains a user name or password; "
            "remove it from the URL, and set 'token' in the registry entry"
        )


def resolve_host(host: str, port: int | None, *, allow_private: bool) -> list[ResolvedAddress]:
    """Resolve a host name and check all its addresses.

    Connect to one of the returned addresses: a second DNS lookup may return others (DNS
    rebinding).

    Args:
        host: a name, or an address in any form that the resolver accepts (also 2130706433).
        allow_private: whether to accept loopback and private ranges.

    Raises:
        OSError: the DNS lookup failed.
        AddressRefused: an address is not allowed, or `host` is not a valid name.
    """
    try:
        resolved = _resolve(host, port)
    except UnicodeError as error:
        raise AddressRefused(f"{host!r} is not a valid host name; correct 'url'") from error
    for candidate in resolved:
        address = _effective_address(candidate.address)
        if _is_public(address) and address not in _CLOUD_METADATA:
            continue
        if address in _CLOUD_METADATA or not _is_private_network(address):
            raise AddressRefused(
                f"{host} is at {candidate.address}, which cannot be a county server; correct 'url'"
            )
        if not allow_private:
            is_literal = host.strip("[]") == candidate.address
            what = candidate.address if is_literal else f"{host} is at {candidate.address}, which"
            raise AddressRefused(
                f"{what} is not a public address; {ALLOW_PRIVATE_HINT} if intended"
            )
    return resolved


def _resolve(host: str, port: int | None) -> list[ResolvedAddress]:
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    return [ResolvedAddress(family, kind, protocol, at) for family, kind, protocol, _, at in found]


def _effective_address(text: str) -> IPv4Address | IPv6Address:
    """The address that a connection reaches: IPv6 addresses can embed an IPv4 address."""
    address = ipaddress.ip_address(text)
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_multicast


def _is_private_network(address: IPv4Address | IPv6Address) -> bool:
    """Loopback or a private range. Link-local is neither: clouds serve metadata there."""
    if isinstance(address, IPv6Address):
        return address.is_loopback or address in _UNIQUE_LOCAL
    never = address.is_link_local or address.is_multicast or address.is_reserved
    return not (never or address in ipaddress.IPv4Network("0.0.0.0/8"))
