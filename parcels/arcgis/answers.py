"""What an answer of an ArcGIS server says, whatever its status and content type say."""

from __future__ import annotations

import json
from typing import Any

from parcels.errors import QueryRefused, SourceMisconfigured, SourceUnavailable

_BUSY = (429, 500, 502, 503, 504)
_NEEDS_TOKEN = (401, 403, 498, 499)
_GONE = (404, 410)


class TryAgain(SourceUnavailable):
    """A failure that may pass within seconds.

    `retry_after_s` is what the server asked for; 0 where it asked for nothing.
    """

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


def read_answer(url: str, status: int, body: bytes, retry_after_s: float = 0.0) -> dict[str, Any]:
    """The JSON object of an answer that is no error.

    Raises:
        TryAgain: overloaded, cut, or a page of HTML in place of the answer.
        SourceMisconfigured: not found, a token wanted, refused by a firewall, or a bad request.
    """
    text = body.decode("utf-8", errors="replace").strip()
    if text.startswith("<"):
        _judge_page(url, status, text, retry_after_s)
    content = _parse(text)
    if isinstance(content, dict):
        _judge_error_body(url, content, retry_after_s)
    if status >= 400:
        _judge(url, status, "", retry_after_s)
    if isinstance(content, dict):
        return content
    if content is None:
        raise TryAgain(f"{url}: the answer is empty or cut off; try again later")
    raise SourceMisconfigured(f"{url}: the answer is no JSON object; is this an ArcGIS service?")


def _parse(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _judge_page(url: str, status: int, page: str, retry_after_s: float) -> None:
    if "request rejected" in page.lower():
        raise SourceMisconfigured(
            f"{url}: a firewall refuses the call; ask the county for access, or name another "
            "layer in the registry entry"
        )
    if status in (*_NEEDS_TOKEN, *_GONE):
        _judge(url, status, "", retry_after_s)
    raise TryAgain(
        f"{url}: HTTP {status} with a web page in place of data; try again later", retry_after_s
    )


def _judge_error_body(url: str, content: dict[str, Any], retry_after_s: float) -> None:
    if content.get("status") == "error":
        details = content.get("messages") or []
        code = content.get("code")
    elif "error" in content:
        error = content["error"] if isinstance(content["error"], dict) else {}
        details = [error.get("message") or content["error"], *(error.get("details") or [])]
        code = error.get("code")
    else:
        return
    said = "; ".join(dict.fromkeys(str(detail) for detail in details if detail))
    _judge(url, code if isinstance(code, int) else 500, said, retry_after_s)


def _judge(url: str, code: int, said: str, retry_after_s: float) -> None:
    quoted = f" ({said})" if said else ""
    if code in _BUSY or code >= 500:
        raise TryAgain(
            f"{url}: error {code}{quoted}: the server is overloaded or down; try again later",
            retry_after_s,
        )
    if code in _NEEDS_TOKEN:
        raise SourceMisconfigured(
            f"{url}: error {code}{quoted}: the service wants a token; name a public layer in the "
            "registry entry"
        )
    if code in _GONE:
        raise SourceMisconfigured(
            f"{url}: error {code}{quoted}: there is no such service or layer; correct 'url' and "
            "'layer' in the registry entry"
        )
    raise QueryRefused(
        f"{url}: error {code}{quoted}: the server refuses the query; check 'layer', 'fields' and "
        "'where' in the registry entry"
    )
