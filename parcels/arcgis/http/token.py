"""Tokens for secured ArcGIS services: from the environment, or from `generateToken`."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from parcels.arcgis.http.responses import parse_response
from parcels.errors import AuthenticationRequired, QueryRefused, SourceMisconfigured
from parcels.registry.county import TokenEntry

# Servers may grant less. An expired token is refused with 498, and then renewed.
_EXPIRATION_MINUTES = "60"

# Posts a form to a URL: (url, public fields, secret fields) -> JSON.
TokenRequest = Callable[[str, Mapping[str, str], Mapping[str, str]], dict[str, Any]]


class TokenProvider:
    """The token of one county's servers. Thread-safe.

    It is sent only to `hosts`, only over https (or http with `allow_plain`), and never appears in
    a URL, a message or a log.
    """

    def __init__(
        self, token: TokenEntry, hosts: Collection[str], *, allow_plain: bool = False
    ) -> None:
        """`allow_plain`: whether to send secrets over http, as in a private network."""
        self._entry = token
        self._hosts = frozenset(host.lower() for host in hosts)
        self._allow_plain = allow_plain
        self._lock = Lock()
        self._current: str | None = None

    @property
    def referer(self) -> str | None:
        """The Referer that a generated token is bound to; every call must send it."""
        if self._entry.url is None:
            return None
        parts = urlsplit(self._entry.url)
        return f"{parts.scheme}://{parts.netloc}"

    def applies_to(self, url: str) -> bool:
        """Whether calls to this URL need the token."""
        return urlsplit(url).hostname in self._hosts

    def token(self, url: str, post: TokenRequest) -> str:
        """The token for a call to `url`; obtained through `post` if there is none yet.

        Raises:
            AuthenticationRequired: no token available, or it would be sent over http.
            SourceUnavailable: the token server is down.
        """
        self._check_encrypted(url)
        with self._lock:
            if self._current is None:
                self._current = self._obtain(post)
            return self._current

    def renew(self, url: str, refused: str, post: TokenRequest) -> str:
        """A new token after `url` refused one.

        Raises:
            AuthenticationRequired: as `token`; also if the environment has no other token.
            SourceUnavailable: the token server is down.
        """
        with self._lock:
            if self._current == refused:
                self._current = self._obtain(post)
            if self._current is None or self._current == refused:
                raise AuthenticationRequired(
                    f"{url}: refuses the token from {self._origin}; replace it, or use a public "
                    "layer in the registry entry"
                )
            return self._current

    @property
    def _origin(self) -> str:
        if self._entry.env is not None:
            return f"the environment variable {self._entry.env}"
        return str(self._entry.url)

    def _obtain(self, post: TokenRequest) -> str:
        if self._entry.env is not None:
            return _from_environment(self._entry.env)
        return self._generate(post)

    def _generate(self, post: TokenRequest) -> str:
        entry = self._entry
        if entry.url is None or entry.username_env is None or entry.password_env is None:
            raise ValueError("a token needs 'env', or 'url' with 'username_env' and 'password_env'")
        self._check_encrypted(entry.url)
        form = {
            "client": "referer",
            "referer": self.referer or "",
            "expiration": _EXPIRATION_MINUTES,
            "f": "json",
        }
        secrets = {
            "username": _from_environment(entry.username_env),
            "password": _from_environment(entry.password_env),
        }
        generated = post(entry.url, form, secrets).get("token")
        if isinstance(generated, str) and generated:
            return generated
        raise AuthenticationRequired(
            f"{entry.url}: the response has no token; correct token: {{url: …}} in the registry "
            "entry"
        )

    def _check_encrypted(self, url: str) -> None:
        if urlsplit(url).scheme != "https" and not self._allow_plain:
            raise AuthenticationRequired(
                f"{url}: refusing to send a secret over unencrypted http; use https:// in the "
                "registry entry"
            )


def parse_token_response(url: str, status: int, body: bytes) -> dict[str, Any]:
    """The JSON of a `generateToken` response.

    Raises:
        AuthenticationRequired: wrong user name or password, or not a token server.
        TransientError: overloaded, or a truncated body.
    """
    if status == 200 and body.lstrip().startswith(b"<"):
        raise AuthenticationRequired(
            f"{url}: an HTML page instead of a token; correct token: {{url: …}} in the registry "
            "entry, it must end with /generateToken"
        )
    try:
        return parse_response(url, status, body)
    except QueryRefused as error:
        reason = str(error).removeprefix(f"{url}: ").split(": the server rejects", 1)[0]
        raise AuthenticationRequired(
            f"{url}: {reason}: check the user name and password in the environment variables that "
            "'token' names"
        ) from None


def _from_environment(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise AuthenticationRequired(
            f"the environment variable {name} is not set; the registry entry's 'token' names it"
        )
    return value


def token_provider_for(
    token: TokenEntry | None, url: str | None, *, allow_plain: bool
) -> TokenProvider | None:
    """The tokens for the host of `url`; None if the registry entry has no 'token'.

    Raises:
        SourceMisconfigured: a token without a server.
    """
    if token is None:
        return None
    host = urlsplit(url or "").hostname
    if host is None:
        raise SourceMisconfigured(
            "'token' needs 'url'; set 'url' or remove 'token' in the registry entry"
        )
    return TokenProvider(token, [host], allow_plain=allow_plain)
