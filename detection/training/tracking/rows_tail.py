"""The rows of a run's files that are new since the last look, while a training writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class RowsTail:
    """Reads each row of a file of JSON lines once; all again after a resume has replaced it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset, self._inode = 0, -1

    def rewind(self) -> None:
        """Read all again: not all of the last rows could be used."""
        self._offset = 0

    def new_rows(self) -> list[dict[str, Any]]:
        """The complete rows since the last call."""
        try:
            with self._path.open("rb") as file:
                status = self._path.stat()
                if status.st_ino != self._inode or status.st_size < self._offset:
                    self._offset, self._inode = 0, status.st_ino
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return []
        complete = content[: content.rfind(b"\n") + 1]
        self._offset += len(complete)
        rows = []
        for line in complete.splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:  # a power cut left it
                continue
        return rows
