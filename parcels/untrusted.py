"""What servers and files of others say, read so that no answer of theirs does harm."""

from __future__ import annotations

from typing import Any

_LONGEST = 300


def sanitize_text(said: object, most: int = _LONGEST) -> str:
    """Their words on one line for people to read, cut after `most` characters.

    Whatever else a terminal would obey (escape sequences, line ends, the other way of writing)
    becomes a blank.
    """
    try:
        text = said if isinstance(said, str) else str(said)
    except RecursionError:  # lists in lists
        return type(said).__name__
    shown = "".join(sign if sign.isprintable() else " " for sign in text[:most])
    return shown if len(text) <= most else f"{shown}…"


def mapping(said: object) -> dict[str, Any]:
    """A JSON object; an empty one for anything else."""
    return said if isinstance(said, dict) else {}


def mappings(said: object) -> list[dict[str, Any]]:
    """The JSON objects of a list; none for anything else."""
    return [item for item in said if isinstance(item, dict)] if isinstance(said, list) else []
