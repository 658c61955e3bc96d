"""What an answer of an ArcGIS server says, whatever its status and content type say."""

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
from parcels.untrusted import sanitize_text

_TOO_MANY = 429
_BUSY = (408, 425, 500, 502, 503, 504)
_NEEDS_TOKEN = (401, 403, 498, 499)
_GONE = (404, 410)
# What the refusals of web firewalls have in common with nothing else: F5, Akamai, Cloudflare,
# Incapsula, CloudFront, Sucuri, FortiGate and Palo Alto, Azure, ModSecurity.
_FIREWALLS = (
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
_SIGN_IN_PAGE = re.compile(r"""<input[^>]*type\s*=\s*["']?password""")
# Hosted services say 400 "Invalid URL", old servers 500 "Service … does not exist".
_NO_SUCH_LAYER = re.compile(
    r"^invalid url\b|\b(service|layer|item)\b.*\b(not found|does not exist)", re.IGNORECASE
)


# What a database or a file of ours cannot hold: NUL, and half of a character.
_UNSTORABLE = re.compile(r"\\u(0000|d[89a-f])", re.IGNORECASE)


# Parsers differ in which of two they take: an error must not hide behind a list of no rows.
_ONLY_ONCE = ("error", "features")


class TransientError(SourceUnavailable):
    """A failure that may pass within seconds."""


class UnknownNameError(TransientError):
    """The host's name cannot be looked up, which many tries do not mend."""


class TooManyCallsError(TransientError, RateLimited):
    """The server counts calls, and there were too many of late."""


def read_answer(url: str, status: int, body: bytes) -> dict[str, Any]:
    """The JSON object of an answer that is no error.

    Raises:
        TryAgain: overloaded, cut, or a page of HTML in place of the answer.
        TooManyCalls: as `TransientError`; the server counts calls.
        AuthenticationRequired, FirewallRefused, LayerNotFound, QueryRefused.
        SourceMisconfigured: no ArcGIS service.
    """
    text = body.decode("utf-8-sig", errors="replace").strip()
    content = None if text.startswith("<") else _parse(text)
    if content is None and text:
        _judge_page(url, status, text)
    if isinstance(content, dict):
        _judge_error_body(url, content)
    if status >= 400:
        _judge(url, status, "")
    if isinstance(content, dict):
        return content
    if content is None:
        raise TransientError(f"{url}: the answer is empty, cut off or garbled; try again later")
    raise SourceMisconfigured(f"{url}: the answer is no JSON object; is this an ArcGIS service?")


def _parse(text: str) -> object:
    try:
        suspicious = any(text.count(f'"{name}"') > 1 for name in _ONLY_ONCE)
        content = json.loads(text, object_pairs_hook=_once if suspicious else None)
        return _storable(content) if _UNSTORABLE.search(text) else content
    except (ValueError, RecursionError):
        return None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if any(names.count(name) > 1 for name in _ONLY_ONCE):
        raise ValueError("a name is there twice")
    return dict(pairs)


def _storable(content: object) -> object:
    """The same, without padding by NUL and with a ? for each half of a character."""
    if isinstance(content, str):
        return content.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    if isinstance(content, list):
        return [_storable(item) for item in content]
    if isinstance(content, dict):
        return {_storable(key): _storable(value) for key, value in content.items()}
    return content


def _judge_page(url: str, status: int, page: str) -> None:
    """Raise for a web page, or for a line of text that a firewall wrote; else pass."""
    is_page = page.startswith("<")
    start = page[:20_000].lower()
    if status == _TOO_MANY:
        _judge(url, status, "")
    if any(words in start for words in _FIREWALLS) or (is_page and status in (403, 406)):
        raise FirewallRefused(
            f"{url}: a firewall refuses the call; ask the county for access, or name another "
            "layer in the registry entry"
        )
    if is_page and _SIGN_IN_PAGE.search(start):
        _judge(url, 401, "a page to sign in")
    if status in (*_NEEDS_TOKEN, *_GONE):
        _judge(url, status, "")
    if is_page:
        raise TransientError(
            f"{url}: HTTP {status} with a web page in place of data; try again later"
        )


def _judge_error_body(url: str, content: dict[str, Any]) -> None:
    if content.get("status") == "error":
        details = _listed(content.get("messages"))
        code = content.get("code")
    elif content.get("error") is not None:
        error = content["error"] if isinstance(content["error"], dict) else {}
        details = [error.get("message") or content["error"], *_listed(error.get("details"))]
        code = error.get("code")
    else:
        return
    said = "; ".join(dict.fromkeys(sanitize_text(detail) for detail in details if detail))
    _judge(url, _number(code), sanitize_text(said))


def _listed(details: object) -> list[object]:
    return details if isinstance(details, list) else [details]


def _number(code: object) -> int:
    """The code of an error body; 500 where it says none, or a negative one as geocoders do."""
    text = sanitize_text(code)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 500


def _judge(url: str, code: int, said: str) -> None:
    quoted = f" ({said})" if said else ""
    if code == _TOO_MANY:
        raise TooManyCallsError(
            f"{url}: error {code}{quoted}: the server wants fewer calls; lower calls_per_second "
            "in the registry entry if this happens often"
        )
    if code in _GONE or _NO_SUCH_LAYER.search(said):
        raise LayerNotFound(
            f"{url}: error {code}{quoted}: there is no such service or layer; correct 'url' and "
            "'layer' in the registry entry"
        )
    if code in _BUSY or code >= 500:
        raise TransientError(
            f"{url}: error {code}{quoted}: the server is overloaded or down; try again later"
        )
    if code in _NEEDS_TOKEN:
        raise AuthenticationRequired(
            f"{url}: error {code}{quoted}: the service wants a token; set 'token' in the "
            "registry entry, or name a public layer"
        )
    raise QueryRefused(
        f"{url}: error {code}{quoted}: the server refuses the query; check 'layer', 'fields' and "
        "'where' in the registry entry"
    )
