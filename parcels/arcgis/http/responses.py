"""An ArcGIS response -> JSON, or a typed error.

The body decides: servers send errors with status 200, and HTML or JSON with any content type.
"""

from __future__ import annotations

import json
import re
from typing import Any

from parcels.errors import (
    AuthenticationRequired,
    FirewallRefused,
    LayerNotFound,
    QueryRefused,
    RateLimited,
    SourceMisconfigured,
    SourceUnavailable,
)
from parcels.untrusted import sanitize_text, storable_text

_TOO_MANY_REQUESTS = 429
# Transient, like any code from 500 on: `retry` retries them.
_TRANSIENT = (408, 425, 500, 502, 503, 504)
_TOKEN_REQUIRED = (401, 403, 498, 499)
_NOT_FOUND = (404, 410)
# Phrases that only the block pages of web firewalls contain: F5, Akamai, Cloudflare, Incapsula,
# CloudFront, Sucuri, FortiGate and Palo Alto, Azure, ModSecurity.
_FIREWALL_PHRASES = (
    "request rejected",
    "the requested url was rejected",
    "errors.edgesuite.net",
    "<title>access denied</title>",
    "attention required! | cloudflare",
    "<title>just a moment...</title>",
    "challenge-platform",
    "sorry, you have been blocked",
    "error code: 1020",
    "_incapsula_resource",
    "incapsula incident",
    "the request could not be satisfied",
    "sucuri website firewall",
    "web page blocked",
    "the request is blocked",
    "mod_security",
)
_LOGIN_PAGE = re.compile(r"""<input[^>]*type\s*=\s*["']?password""")
# Hosted services send 400 "Invalid URL", old servers 500 "Service … does not exist".
_NOT_FOUND_MESSAGE = re.compile(
    r"^invalid url\b|\b(service|layer|item)\b.*\b(not found|does not exist)", re.IGNORECASE
)
# What databases and files cannot store: NUL and lone surrogates.
_UNSTORABLE = re.compile(r"\\u(0000|d[89a-f])", re.IGNORECASE)
# Of duplicate keys a parser keeps one: an error could hide behind an empty list of rows.
_UNIQUE_KEYS = ("error", "features")


class TransientError(SourceUnavailable):
    """A failure that may pass within seconds: `retry` retries it, with backoff."""


class DnsLookupError(TransientError):
    """The DNS lookup of the host failed; retried less than other errors."""


class TooManyRequestsError(TransientError, RateLimited):
    """HTTP 429: too many requests for the server's limit."""


def parse_response(url: str, status: int, body: bytes) -> dict[str, Any]:
    """The JSON object of a response that is not an error.

    Raises:
        TransientError: overloaded (HTTP 503 and the like), a truncated body, or an HTML page.
        TooManyRequestsError: HTTP 429.
        AuthenticationRequired, FirewallRefused, LayerNotFound, QueryRefused.
        SourceMisconfigured: not an ArcGIS service.
    """
    text = body.decode("utf-8-sig", errors="replace").strip()
    content = None if text.startswith("<") else _parse(text)
    if content is None and text:
        _raise_for_page(url, status, text)
    if isinstance(content, dict):
        _raise_for_error_body(url, content)
    if status >= 400:
        _raise_for_code(url, status, "")
    if isinstance(content, dict):
        return content
    if content is None:
        raise TransientError(f"{url}: the response is empty, truncated or garbled; try again later")
    raise SourceMisconfigured(
        f"{url}: the response is not a JSON object; is this an ArcGIS service?"
    )


def _parse(text: str) -> object:
    try:
        may_repeat = any(text.count(f'"{name}"') > 1 for name in _UNIQUE_KEYS)
        content = json.loads(text, object_pairs_hook=_reject_duplicates if may_repeat else None)
        return _storable(content) if _UNSTORABLE.search(text) else content
    except (ValueError, RecursionError):
        return None


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if any(names.count(name) > 1 for name in _UNIQUE_KEYS):
        raise ValueError("duplicate key")
    return dict(pairs)


def _storable(content: object) -> object:
    """The same without NUL padding, and with a ? for each lone surrogate."""
    if isinstance(content, str):
        return storable_text(content)
    if isinstance(content, list):
        return [_storable(item) for item in content]
    if isinstance(content, dict):
        return {_storable(key): _storable(value) for key, value in content.items()}
    return content


def _raise_for_page(url: str, status: int, page: str) -> None:
    """Raise for an HTML page, or for a firewall's line of text."""
    is_page = page.startswith("<")
    start = page[:20_000].lower()
    if status == _TOO_MANY_REQUESTS:
        _raise_for_code(url, status, "")
    if any(phrase in start for phrase in _FIREWALL_PHRASES) or (is_page and status in (403, 406)):
        raise FirewallRefused(
            f"{url}: a firewall blocks the call; request access from the county, or use another "
            "layer in the registry entry"
        )
    if is_page and _LOGIN_PAGE.search(start):
        _raise_for_code(url, 401, "a login page")
    if status in (*_TOKEN_REQUIRED, *_NOT_FOUND):
        _raise_for_code(url, status, "")
    if is_page:
        raise TransientError(
            f"{url}: HTTP {status} with an HTML page instead of data; try again later"
        )


def _raise_for_error_body(url: str, content: dict[str, Any]) -> None:
    if content.get("status") == "error":
        details = _as_list(content.get("messages"))
        code = content.get("code")
    elif content.get("error") is not None:
        error = content["error"] if isinstance(content["error"], dict) else {}
        details = [error.get("message") or content["error"], *_as_list(error.get("details"))]
        code = error.get("code")
    else:
        return
    message = "; ".join(dict.fromkeys(sanitize_text(detail) for detail in details if detail))
    _raise_for_code(url, _error_code(code), sanitize_text(message))


def _as_list(details: object) -> list[object]:
    return details if isinstance(details, list) else [details]


def _error_code(code: object) -> int:
    """The code of an error body; 500 if there is none, or a negative one (geocoders)."""
    text = sanitize_text(code)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 500


def _raise_for_code(url: str, code: int, message: str) -> None:
    quoted = f" ({message})" if message else ""
    if code == _TOO_MANY_REQUESTS:
        raise TooManyRequestsError(
            f"{url}: error {code}{quoted}: too many requests; lower calls_per_second in the "
            "registry entry if this happens often"
        )
    if code in _NOT_FOUND or _NOT_FOUND_MESSAGE.search(message):
        raise LayerNotFound(
            f"{url}: error {code}{quoted}: no such service or layer; correct 'url' and 'layer' in "
            "the registry entry"
        )
    if code in _TRANSIENT or code >= 500:
        raise TransientError(
            f"{url}: error {code}{quoted}: the server is overloaded or down; try again later"
        )
    if code in _TOKEN_REQUIRED:
        raise AuthenticationRequired(
            f"{url}: error {code}{quoted}: the service requires a token; set 'token' in the "
            "registry entry, or use a public layer"
        )
    raise QueryRefused(
        f"{url}: error {code}{quoted}: the server rejects the query; check 'layer', 'fields' and "
        "'where' in the registry entry"
    )
