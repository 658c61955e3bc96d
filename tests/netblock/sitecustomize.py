"""Refuses every connection beyond this machine, in the tests and in the commands they start.

Python imports `sitecustomize` by itself when this folder is on PYTHONPATH.
"""

from __future__ import annotations

import ipaddress
import sys


class NetworkBlockedError(RuntimeError):
    """Not an OSError, so that no retry takes it for a server that is down."""


def _is_local(host: object) -> bool:
    if host in (None, "", "localhost"):
        return True
    text = host.decode() if isinstance(host, bytes) else str(host)
    try:
        return ipaddress.ip_address(text.split("%")[0]).is_loopback
    except ValueError:
        return False


def _refuse(event: str, args: tuple[object, ...]) -> None:
    if event == "socket.connect":
        address = args[1]
        host = address[0] if isinstance(address, tuple) else None  # else a Unix socket
    elif event == "socket.getaddrinfo":
        host = args[0]
    else:
        return
    if not _is_local(host):
        raise NetworkBlockedError(f"a test tried to reach {host!r}: only loopback is allowed")


def install() -> None:
    sys.addaudithook(_refuse)


if __name__ == "sitecustomize":
    install()
