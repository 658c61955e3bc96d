"""What is kept of one layer, in a folder.

    layer.json          which layer that is, and the state in which it was last seen
    answers/            see `answers`
    copy.parquet, …     see `copying`

Nothing in it is ever changed in place: each file appears by one rename.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from parcels.cache.folder_answers import AnswersInFolder
from parcels.cache.folder_snapshot import begin_copying, copy_stamp, read_copy
from parcels.cache.geoparquet_rows import write_whole
from parcels.cache.interface import CopyInProgress, stamp_text
from parcels.cache.layer_snapshot import WholeCopy
from parcels.errors import CacheError
from parcels.parcel_source import Found, Stamp

log = logging.getLogger(__name__)


class LayerFolder:
    """See `KeptLayer`."""

    def __init__(self, folder: Path, origin: str) -> None:
        self._folder = folder
        self._origin = origin
        self._has_complained = False
        self._answers: dict[Stamp, AnswersInFolder] = {}

    def last_stamp(self) -> Stamp | None:
        """See `KeptLayer`."""
        try:
            about = json.loads((self._folder / "layer.json").read_text(encoding="utf-8"))
            stamp = Stamp(**about["stamp"])
            stamp_text(stamp)
            return stamp
        except FileNotFoundError:
            return None
        except (
            ValueError, KeyError, TypeError, RecursionError, CacheError, OSError,
        ) as error:  # fmt: skip
            log.warning("%s cannot be read, and is made anew: %s", self._folder, error)
            return None

    def saw(self, stamp: Stamp) -> None:
        """See `KeptLayer`."""
        about = json.dumps({"origin": self._origin, "stamp": asdict(stamp)}, indent=2)
        try:
            write_whole(self._folder / "layer.json", lambda path: _write(path, about))
        except OSError as error:
            log.warning("parcels cannot be kept in %s: %s", self._folder, error.strerror)

    def answers(self, questions: Sequence[str], stamp: Stamp) -> dict[str, Found]:
        """See `KeptLayer`."""
        return self._of(stamp).get(questions)

    def keep(self, answered: Mapping[str, Found], stamp: Stamp) -> None:
        """See `KeptLayer`."""
        self._of(stamp).add(answered)

    def forget_before(self, instant: datetime) -> None:
        """See `KeptLayer`."""
        self._use()
        try:
            for folder in (self._folder / "answers").glob("stamp_*"):
                AnswersInFolder(folder).forget_before(instant)
            for other in self._folder.parent.glob("[0-9a-f]" * 32):
                if other != self._folder and other.stat().st_mtime < instant.timestamp():
                    shutil.rmtree(other, ignore_errors=True)
        except OSError as error:
            if not self._has_complained:
                log.warning("old parcels stay in %s: %s", self._folder, error.strerror)
            self._has_complained = True

    def copy_stamp(self) -> Stamp | None:
        """See `KeptLayer`."""
        return copy_stamp(self._folder)

    def copy(self) -> WholeCopy | None:
        """See `KeptLayer`."""
        return read_copy(self._folder)

    def copying(self, stamp: Stamp, origin: str) -> AbstractContextManager[CopyInProgress]:
        """See `KeptLayer`."""
        self._use()
        return begin_copying(self._folder, origin, stamp)

    def _of(self, stamp: Stamp) -> AnswersInFolder:
        answers = self._answers.get(stamp)
        if answers is None:
            answers = AnswersInFolder(self._folder / "answers" / stamp_text(stamp))
            self._answers = {stamp: answers}  # those of an earlier state are not asked for again
        return answers

    def _use(self) -> None:
        """Say that the folder is in use, by its time of change."""
        with suppress(OSError):  # it is not there yet, or belongs to another user
            os.utime(self._folder)


def _write(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")
