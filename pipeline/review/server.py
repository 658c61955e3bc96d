"""Serves the panel until it is told to stop."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Callable, Collection
from pathlib import Path

import uvicorn

from pipeline.errors import SettingsError
from pipeline.review.app import create_app
from pipeline.review.mask_service import MaskService
from pipeline.review.panel_context import PanelContext
from pipeline.store.database import Database
from pipeline.store.models.promoted_segmenter import MODEL_CACHE
from pipeline.store.reviews.tokens import needs_token


def serve_panel(
    database: Database,
    *,
    registry: Path | None,
    home: Path,
    local_user: str,
    host: str,
    port: int,
    allow_hosts: Collection[str] = (),
    trusted_proxies: Collection[str] = (),
    sam3_weights: str | None = None,
    ready: Callable[[str, bool], None] = lambda _address, _needs_token: None,
) -> None:
    """Serve the panel of a database; return after Ctrl-C or SIGTERM, with no request cut off.

    Args:
        local_user: who reviews without a token.
        port: 0 for any free one.
        allow_hosts: other names of this server.
        trusted_proxies: addresses of proxies whose word is taken for the sender's address and for
            https (`X-Forwarded-For`, `X-Forwarded-Proto`).
        sam3_weights: of the segmenter sam3, for click to mask.
        ready: gets the address, and whether a token is needed, once it listens.

    Raises:
        SettingsError: the address cannot be used, or it is not loopback and there is no token.
    """
    with database.engine.connect() as conn:
        has_tokens = needs_token(conn)
    reachable = [name for name in (host, *allow_hosts) if not is_loopback(name)]
    if not has_tokens and reachable:
        raise SettingsError(
            f"{reachable[0]} would let everybody in who can reach this machine under that name: "
            "first make a token for each reviewer with `lotline review token add NAME`"
        )
    secret = secrets.token_bytes(32)
    masks = MaskService(sam3_weights, database.engine, home / MODEL_CACHE)
    context = PanelContext(
        database.engine, registry, home, local_user, secret, masks, bool(reachable)
    )
    app = create_app(context, {host, *allow_hosts})
    listening = _listen(host, port)
    with listening:
        shown = f"[{host}]" if ":" in host else host
        ready(f"http://{shown}:{listening.getsockname()[1]}/", has_tokens)
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False,
            proxy_headers=bool(trusted_proxies), forwarded_allow_ips=list(trusted_proxies),
            timeout_graceful_shutdown=10,
        )  # fmt: skip
        uvicorn.Server(config).run(sockets=[listening])


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address or name."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sets TCP_NODELAY: else a response waits 40 ms for an ACK.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise SettingsError(
            f"cannot listen on {host} port {port}: {error.strerror or error}; choose another with "
            "--port"
        ) from error
    return listening
