"""Sanitizes untrusted data from servers and files."""

from __future__ import annotations

from typing import Any

_MAX_LENGTH = 300


def sanitize_text(value: object, max_length: int = _MAX_LENGTH) -> str:
    """Untrusted text on one line for display, cut after `max_length` characters.

    Control characters (terminal escape sequences, line breaks, bidirectional overrides) become
    spaces.
    """
    try:
        text = value if isinstance(value, str) else str(value)
    except RecursionError:  # deeply nested lists
        return type(value).__name__
    cut = printable(text[:max_length])
    return cut if len(text) <= max_length else f"{cut}…"


def printable(text: str, keep: str = "") -> str:
    """Text whose control characters, but for those in `keep`, are spaces."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else " " for char in text)


def storable_text(text: str) -> str:
    """Text that databases and files can store: no NUL, and ? for each lone surrogate."""
    if text.isascii():
        return text.replace("\0", "") if "\0" in text else text
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def mapping(value: object) -> dict[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def mappings(value: object) -> list[dict[str, Any]]:
    """The JSON objects in a list; empty for anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
