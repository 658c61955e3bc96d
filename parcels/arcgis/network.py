"""Which addresses a server may have: a registry entry must not reach into a private network."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy

from parcels.arcgis.answers import TryAgain
from parcels.errors import SourceMisconfigured


class PublicOnly(HTTPAdapter):
    """Sends a request only to a host whose addresses are all public.

    `requests` hands every hop of a redirect to the adapter, so each of them is checked. The name
    is looked up again to connect: this guards against a mistaken or borrowed entry, and not
    against a name server that lies.
    """

    def send(self, request: requests.PreparedRequest, *args: Any, **more: Any) -> requests.Response:  # noqa: ANN401
        """`HTTPAdapter.send`, after the check.

        Raises:
            SourceUnavailable: the host's name cannot be looked up now.
            SourceMisconfigured: it has a private address.
        """
        url = request.url or ""
        proxied = select_proxy(url, more.get("proxies")) is not None
        check_public(url, proxied=proxied)
        return super().send(request, *args, **more)


def check_public(url: str, *, proxied: bool = False) -> None:
    """Refuse a host on a loopback, private, link-local or reserved address.

    Behind a proxy, which looks names up itself, a name that is not known here passes.

    Raises:
        SourceUnavailable: the name cannot be looked up now.
        SourceMisconfigured: one of its addresses is not public.
    """
    host = urlsplit(url).hostname or ""
    try:
        places = _addresses(host)
    except UnicodeError as error:
        raise SourceMisconfigured(f"{url}: {host!r} is no host name; correct 'url'") from error
    except OSError as error:
        if proxied:
            return
        raise TryAgain(f"{url}: does not answer: {error.strerror}; try again later") from error
    for place in places:
        if not _is_public(place):
            raise SourceMisconfigured(
                f"{url}: {host} is at {place}, which is no public address; set "
                "allow_private: true in the registry entry if that is meant"
            )


def _addresses(host: str) -> list[str]:
    return [str(at[0]) for *_, at in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


def _is_public(text: str) -> bool:
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_global and not address.is_multicast
