"""Signing in to a service that wants a token."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from parcels.arcgis.http.responses import read_answer
from parcels.errors import AuthenticationRequired, QueryRefused, SourceMisconfigured
from parcels.registry.county import TokenEntry

# Servers may give less than is asked for; then they say 498, and a new one is made.
_MINUTES = "60"

# Posts a form (its public and its secret fields) to a URL.
TokenRequest = Callable[[str, Mapping[str, str], Mapping[str, str]], dict[str, Any]]


class SignIn:
    """The token for one county's servers: of the environment, or made by `generateToken`.

    It goes to the named hosts alone, over https or to where private addresses are allowed, and
    never into an address, a message or a log.
    """

    def __init__(
        self, token: TokenEntry, hosts: Collection[str], *, allow_plain: bool = False
    ) -> None:
        """`allow_plain`: whether http will do, as in a private network."""
        self._entry = token
        self._hosts = frozenset(host.lower() for host in hosts)
        self._allow_plain = allow_plain
        self._lock = Lock()
        self._current: str | None = None

    @property
    def referer(self) -> str | None:
        """The Referer that a made token is bound to; every call has to carry it."""
        if self._entry.url is None:
            return None
        parts = urlsplit(self._entry.url)
        return f"{parts.scheme}://{parts.netloc}"

    def is_for(self, url: str) -> bool:
        """Whether calls to this URL carry the token."""
        return urlsplit(url).hostname in self._hosts

    def token(self, url: str, ask: TokenRequest) -> str:
        """The token for a call to `url`; made with `ask` where there is none.

        Raises:
            AuthenticationRequired: no token to be had, or one that would go in the clear.
            SourceUnavailable: the server that makes tokens does not answer now.
        """
        self._check_secrecy(url)
        with self._lock:
            if self._current is None:
                self._current = self._get(ask)
            return self._current

    def renewed(self, url: str, refused: str, ask: TokenRequest) -> str:
        """A token in place of one that `url` refused.

        Raises:
            AuthenticationRequired: as `token`; also where the environment has no other one.
            SourceUnavailable: the server that makes tokens does not answer now.
        """
        with self._lock:
            if self._current == refused:
                self._current = self._get(ask)
            if self._current is None or self._current == refused:
                raise AuthenticationRequired(
                    f"{url}: refuses the token that {self._where}; put a new one there, or name "
                    "a public layer in the registry entry"
                )
            return self._current

    @property
    def _where(self) -> str:
        if self._entry.env is not None:
            return f"the environment variable {self._entry.env} holds"
        return f"{self._entry.url} made"

    def _get(self, ask: TokenRequest) -> str:
        if self._entry.env is not None:
            return _from_environment(self._entry.env)
        return self._make(ask)

    def _make(self, ask: TokenRequest) -> str:
        entry = self._entry
        if entry.url is None or entry.username_env is None or entry.password_env is None:
            raise ValueError("a token is in the environment, or made by a URL")
        self._check_secrecy(entry.url)
        form = {
            "client": "referer",
            "referer": self.referer or "",
            "expiration": _MINUTES,
            "f": "json",
        }
        secrets = {
            "username": _from_environment(entry.username_env),
            "password": _from_environment(entry.password_env),
        }
        made = ask(entry.url, form, secrets).get("token")
        if isinstance(made, str) and made:
            return made
        raise AuthenticationRequired(
            f"{entry.url}: answers without a token; correct token: {{url: …}} in the registry entry"
        )

    def _check_secrecy(self, url: str) -> None:
        if urlsplit(url).scheme != "https" and not self._allow_plain:
            raise AuthenticationRequired(
                f"{url}: would be sent a secret over http, for all to read; write https:// in the "
                "registry entry"
            )


def read_sign_in(url: str, status: int, body: bytes) -> dict[str, Any]:
    """What a server that makes tokens says; its pages and refusals mean that it makes none.

    Raises:
        AuthenticationRequired: it refuses the name and password, or is no such server.
        TryAgain: overloaded, or cut.
    """
    if status == 200 and body.lstrip().startswith(b"<"):
        raise AuthenticationRequired(
            f"{url}: answers with a web page in place of a token; correct token: {{url: …}} in "
            "the registry entry, which ends with /generateToken"
        )
    try:
        return read_answer(url, status, body)
    except QueryRefused as error:
        said = str(error).removeprefix(f"{url}: ").split(": the server refuses", 1)[0]
        raise AuthenticationRequired(
            f"{url}: {said}: check the name and the password in the environment variables that "
            "'token' names"
        ) from None


def _from_environment(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise AuthenticationRequired(
            f"the environment variable {name} is not set; the registry entry's 'token' names it"
        )
    return value


def sign_in_of(token: TokenEntry | None, url: str | None, *, allow_plain: bool) -> SignIn | None:
    """The sign-in for the host of `url`; None where the entry has no token.

    Raises:
        SourceMisconfigured: a token, and no server that it could be for.
    """
    if token is None:
        return None
    host = urlsplit(url or "").hostname
    if host is None:
        raise SourceMisconfigured("'token' goes with 'url'; remove it from the registry entry")
    return SignIn(token, [host], allow_plain=allow_plain)
