"""The paths that a glob matches; `**` follows no symbolic link, so that a loop of links ends."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator
from pathlib import Path

_MAGIC = re.compile(r"[*?[]")
_ANY_DEPTH = "**"


def matching_paths(pattern: str) -> list[str]:
    """The sorted paths that match, folders included, each once; like `glob` with `recursive`.

    Names that start with a dot match only where the pattern's part does. What cannot be listed
    has no matches.
    """
    path = Path(pattern)
    # Several ** in a row mean the same as one.
    pairs = zip(path.parts, (*path.parts[1:], ""), strict=True)
    parts = [part for part, following in pairs if not part == following == _ANY_DEPTH]
    base = parts.pop(0) if path.is_absolute() else ""
    if parts and parts[-1] == _ANY_DEPTH:
        parts.append("*")
    found = sorted(set(_matches(base, parts)))
    return [each for each in found if Path(each).is_dir()] if pattern.endswith("/") else found


def _matches(base: str, parts: list[str]) -> Iterator[str]:
    if not parts:
        yield base
        return
    first, rest = parts[0], parts[1:]
    if first == _ANY_DEPTH:
        yield from _matches(base, rest)
        for entry in _entries(base):
            if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                yield from _matches(_joined(base, entry.name), parts)
    elif _MAGIC.search(first):
        for entry in _entries(base):
            is_hidden = entry.name.startswith(".") and not first.startswith(".")
            if not is_hidden and fnmatch.fnmatchcase(entry.name, first):
                yield from _matches(_joined(base, entry.name), rest)
    elif os.path.lexists(_joined(base, first)):
        yield from _matches(_joined(base, first), rest)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder or ".") as found:
            return list(found)
    except OSError:
        return []


def _joined(base: str, name: str) -> str:
    return str(Path(base, name))
