"""Refuses links out of the folder that an entry names, and files that are none.

Who makes a download can put a link into it, to any file of this machine; or a pipe, on which a
reader waits for ever. What the entry names itself may be a link.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from parcels.errors import AddressRefused

# What readers open beside a file, by the same name.
_PARTS = re.compile(
    r"\.(shp|shx|dbf|prj|cpg|cst|qpj|qix|sbn|sbx|ain|aih|atx|ixs|mxs|fbn|fbx|idm|ind|dat|map|id|tab"
    r"|mid|mif|csvt|gfs|xsd|(.+\.)?xml)$|-(wal|shm|journal)$",
    re.IGNORECASE,
)


def refuse_foreign_parts(path: Path, root: Path | None = None) -> None:
    """Refuse a file of which a part is a link to elsewhere, or no file.

    Args:
        path: of the file, or of a file geodatabase.
        root: the folder that the entry names; None where it names the file itself.

    Raises:
        AddressRefused: with the part.
    """
    if root is not None:
        _check(path, [], root)
    if path.is_dir():
        for folder, _, names in os.walk(path):
            for name in names:
                _check(Path(folder, name), [], path)
        return
    homes = [path.parent.resolve(), path.resolve().parent]
    stem = path.stem.casefold()
    with os.scandir(path.parent) as entries:
        beside = [entry.name for entry in entries if entry.name.casefold().startswith(stem)]
    for name in beside:
        if name != path.name and _PARTS.fullmatch(name[len(path.stem) :].removeprefix(path.suffix)):
            _check(path.parent / name, homes, root)


def _check(part: Path, homes: Iterable[Path], root: Path | None) -> None:
    """Refuse a link that leads neither into one of the homes, nor anywhere below the root."""
    mode = part.lstat().st_mode
    if stat.S_ISLNK(mode):
        target = part.resolve()
        is_below = root is not None and target.is_relative_to(root.resolve())
        if not is_below and (root is not None or target.parent not in homes):
            raise AddressRefused(
                f"{part}: is a link to a file outside of its folder; copy that file here, or set "
                "'path' to the parcels where they are"
            )
        if not target.exists():
            return  # as if it were missing
        mode = target.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise AddressRefused(f"{part}: is a pipe or a device, not a file; remove it")
