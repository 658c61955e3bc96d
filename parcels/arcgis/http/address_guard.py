"""Which addresses a server may have: a registry entry must not reach into a private network."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from urllib.parse import urlsplit

from parcels.errors import AddressRefused

# What to do about a private address; a command may have an option for it.
ALLOW_PRIVATE = "set allow_private: true in the registry entry"
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_UNIQUE_LOCAL = IPv6Network("fc00::/7")
# Where clouds keep the secrets of their machines, though these are no link-local addresses.
_OF_CLOUDS = (
    IPv6Address("fd00:ec2::254"),  # Amazon
    IPv4Address("100.100.100.200"),  # Alibaba
    IPv4Address("168.63.129.16"),  # Azure
)
# A gateway of an IPv6-only network puts IPv4 addresses there (RFC 6052).
_NAT64 = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class ResolvedAddress:
    """An address that a name was found at, and all that a socket needs to connect to it."""

    family: int
    kind: int
    protocol: int
    socket_address: tuple[str | int | bytes, ...]

    @property
    def address(self) -> str:
        """The address as text, an IPv6 scope included."""
        return str(self.socket_address[0])


def check_web_address(url: str) -> None:
    """Refuse what is no plain web address.

    Raises:
        AddressRefused: another scheme than http and https, no host, or a name and password.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise AddressRefused(f"{url}: is no web address: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise AddressRefused(f"{url}: is no web address; only http:// and https:// are asked")
    if parts.username is not None or parts.password is not None:
        raise AddressRefused(
            f"{parts.scheme}://{parts.hostname}{parts.path}: carries a name or password; take it "
            "out of the address, and set 'token' in the registry entry"
        )


def resolve_host(host: str, port: int | None, *, allow_private: bool) -> list[ResolvedAddress]:
    """All places of a host, each of which may be connected to.

    Whoever connects must do so to one of them: a name server may say something else when it is
    asked again.

    Args:
        host: a name, or an address in any form that the resolver takes (2130706433 is one).
        allow_private: whether loopback and private ranges will do.

    Raises:
        OSError: the name cannot be looked up now.
        AddressRefused: one of the places is not allowed, or `host` is no name.
    """
    try:
        places = _resolve(host, port)
    except UnicodeError as error:
        raise AddressRefused(f"{host!r} is no host name; correct 'url'") from error
    for place in places:
        address = _plain(place.address)
        if _is_public(address) and address not in _OF_CLOUDS:
            continue
        if address in _OF_CLOUDS or not _is_private_network(address):
            raise AddressRefused(f"{host} is at {place.address}, where no county's server can be")
        if not allow_private:
            is_itself = host.strip("[]") == place.address
            what = place.address if is_itself else f"{host} is at {place.address}, which"
            raise AddressRefused(f"{what} is no public address; {ALLOW_PRIVATE} if that is meant")
    return places


def _resolve(host: str, port: int | None) -> list[ResolvedAddress]:
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    return [ResolvedAddress(family, kind, protocol, at) for family, kind, protocol, _, at in found]


def _plain(text: str) -> IPv4Address | IPv6Address:
    """The address that is really reached: IPv6 may carry an IPv4 address inside."""
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
    """Loopback or a private range; not link-local, where clouds keep their secrets."""
    if isinstance(address, IPv6Address):
        return address.is_loopback or address in _UNIQUE_LOCAL
    never = address.is_link_local or address.is_multicast or address.is_reserved
    return not (never or address in ipaddress.IPv4Network("0.0.0.0/8"))
