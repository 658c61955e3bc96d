"""The CRS that a file or a server defines: untrusted, so it may not make PROJ open other files.

PROJ opens what a definition names as its grids, at any path.
"""

from __future__ import annotations

import json
import re

from pyproj import CRS
from pyproj.exceptions import CRSError

from parcels.crs import horizontal

_MAX_CHARACTERS = 200_000
_MAX_DEPTH = 64
_PROJ_TEXT = re.compile(r"^[^\[{]*\w\s*=")
# Where WKT names files: a parameter, or a PROJ text in a remark or the name of a method.
_FILES = re.compile(
    r'(?:PARAMETERFILE\s*[\[(]\s*"[^"]*"|"\w*grids")\s*,\s*"([^"]*)"'
    r'|\b(?:\w*grids|file|init)\s*=\s*([^\s"+]*)',
    re.IGNORECASE,
)


def crs_of_data(definition: object) -> CRS:
    """The horizontal CRS of a code, WKT or PROJJSON; also of a CRS that was checked before.

    Raises:
        CRSError: PROJ does not know it, or it names files outside of PROJ's own folder.
    """
    if isinstance(definition, CRS):
        return horizontal(definition)
    if isinstance(definition, dict):
        try:
            definition = json.dumps(definition)
        except (RecursionError, TypeError, ValueError):
            raise CRSError("it is nested too deeply") from None
    if not isinstance(definition, str):
        raise CRSError(f"it is a {type(definition).__name__}, not a code, WKT or PROJJSON")
    if len(definition) > _MAX_CHARACTERS or _depth(definition) > _MAX_DEPTH:
        raise CRSError("it is too long, or nested too deeply")
    if "\0" in definition:
        raise CRSError("it is damaged")
    if _PROJ_TEXT.search(definition):
        raise CRSError("a PROJ text can name files to open")
    if names_paths(definition):
        raise CRSError("it names files to open")
    crs = CRS.from_user_input(definition)
    if names_paths(crs.to_wkt()):
        raise CRSError("it names files to open")
    return horizontal(crs)


def names_paths(text: str) -> bool:
    """Whether WKT or a PROJ text in it names grids by a path, or another file."""
    # Much faster than the expression, in files of other bytes.
    lower = text.lower()
    if not any(word in lower for word in ("grids", "parameterfile", "file=", "file =", "init")):
        return False
    found = (match[1] or match[2] or "" for match in _FILES.finditer(text))
    return any(_is_path(name) for names in found for name in names.split(","))


def _depth(text: str) -> int:
    depth = deepest = 0
    for char in re.findall(r"[\[\](){}]", text):
        depth += 1 if char in "[({" else -1
        deepest = max(deepest, depth)
    return deepest


def _is_path(name: str) -> bool:
    """Whether a grid's name is more than the name of one of PROJ's own files."""
    return bool(re.search(r"[/\\:~]|\.\.", name))
