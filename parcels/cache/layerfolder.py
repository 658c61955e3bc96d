"""What is kept of one layer, in a folder.

    layer.json          which layer that is, and the state in which it was last seen
    answers/            see `answers`
    copy.parquet, …     see `copying`

Nothing in it is ever changed in place: each file appears by one rename.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from parcels.cache.answers import AnswersInFolder
from parcels.cache.copying import begin_copying, copy_stamp, read_copy
from parcels.cache.protocol import CopyInProgress, stamp_text
from parcels.cache.tables import write_whole
from parcels.cache.whole import WholeCopy
from parcels.source import Found, Stamp

log = logging.getLogger(__name__)


class LayerFolder:
    """See `KeptLayer`."""

    def __init__(self, folder: Path, origin: str) -> None:
        self._folder = folder
        self._origin = origin
        self._answers: dict[Stamp, AnswersInFolder] = {}

    def last_stamp(self) -> Stamp | None:
        """See `KeptLayer`."""
        try:
            about = json.loads((self._folder / "layer.json").read_text(encoding="utf-8"))
            return Stamp(**about["stamp"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, OSError) as error:
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
        for folder in (self._folder / "answers").glob("stamp_*"):
            AnswersInFolder(folder).forget_before(instant)

    def copy_stamp(self) -> Stamp | None:
        """See `KeptLayer`."""
        return copy_stamp(self._folder)

    def copy(self) -> WholeCopy | None:
        """See `KeptLayer`."""
        return read_copy(self._folder)

    def copying(self, stamp: Stamp, origin: str) -> AbstractContextManager[CopyInProgress]:
        """See `KeptLayer`."""
        return begin_copying(self._folder, origin, stamp)

    def _of(self, stamp: Stamp) -> AnswersInFolder:
        if stamp not in self._answers:
            self._answers[stamp] = AnswersInFolder(self._folder / "answers" / stamp_text(stamp))
        return self._answers[stamp]


def _write(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")
