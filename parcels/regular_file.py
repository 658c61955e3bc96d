"""What a path is, before it is opened: to read a pipe or a device may never end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_KINDS = (
    (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
)  # fmt: skip


def other_than_file(path: Path) -> str | None:
    """What there is instead of a file, such as "a pipe"; None for a file or a folder.

    Raises:
        OSError: it does not exist, or cannot be looked at; also for a path with a NUL byte.
    """
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "a path has no NUL byte")
    mode = os.stat(path).st_mode  # noqa: PTH116 - the same for str
    return next((kind for is_kind, kind in _KINDS if is_kind(mode)), None)
