"""What is kept of one layer, in a folder.

    layer.json          which layer that is, and the state in which it was last seen
    answers/            see `answers`
    copy.parquet, …     see `begin_snapshot`

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

from parcels.cache.folder_answers import FolderAnswers
from parcels.cache.folder_snapshot import begin_snapshot, read_snapshot, snapshot_version
from parcels.cache.geoparquet_rows import write_whole
from parcels.cache.interface import SnapshotInProgress, version_text
from parcels.cache.layer_snapshot import LayerSnapshot
from parcels.errors import CacheError
from parcels.parcel_source import LayerVersion, QueryResult

log = logging.getLogger(__name__)


class LayerFolder:
    """See `KeptLayer`."""

    def __init__(self, folder: Path, origin: str) -> None:
        self._folder = folder
        self._origin = origin
        self._has_complained = False
        self._answers: dict[LayerVersion, FolderAnswers] = {}

    def last_version(self) -> LayerVersion | None:
        """See `KeptLayer`."""
        try:
            about = json.loads((self._folder / "layer.json").read_text(encoding="utf-8"))
            layer_version = LayerVersion(**about["stamp"])
            version_text(layer_version)
            return layer_version
        except FileNotFoundError:
            return None
        except (
            ValueError, KeyError, TypeError, RecursionError, CacheError, OSError,
        ) as error:  # fmt: skip
            log.warning("%s cannot be read, and is made anew: %s", self._folder, error)
            return None

    def record_version(self, layer_version: LayerVersion) -> None:
        """See `KeptLayer`."""
        about = json.dumps({"origin": self._origin, "stamp": asdict(layer_version)}, indent=2)
        try:
            write_whole(self._folder / "layer.json", lambda path: _write(path, about))
        except OSError as error:
            log.warning("parcels cannot be kept in %s: %s", self._folder, error.strerror)

    def read_results(
        self, questions: Sequence[str], layer_version: LayerVersion
    ) -> dict[str, QueryResult]:
        """See `KeptLayer`."""
        return self._of(layer_version).get(questions)

    def store_results(
        self, results: Mapping[str, QueryResult], layer_version: LayerVersion
    ) -> None:
        """See `KeptLayer`."""
        self._of(layer_version).add(results)

    def evict_before(self, instant: datetime) -> None:
        """See `KeptLayer`."""
        self._use()
        try:
            for folder in (self._folder / "answers").glob("stamp_*"):
                FolderAnswers(folder).evict_before(instant)
            for other in self._folder.parent.glob("[0-9a-f]" * 32):
                if other != self._folder and other.stat().st_mtime < instant.timestamp():
                    shutil.rmtree(other, ignore_errors=True)
        except OSError as error:
            if not self._has_complained:
                log.warning("old parcels stay in %s: %s", self._folder, error.strerror)
            self._has_complained = True

    def snapshot_version(self) -> LayerVersion | None:
        """See `KeptLayer`."""
        return snapshot_version(self._folder)

    def snapshot(self) -> LayerSnapshot | None:
        """See `KeptLayer`."""
        return read_snapshot(self._folder)

    def begin_snapshot(
        self, layer_version: LayerVersion, origin: str
    ) -> AbstractContextManager[SnapshotInProgress]:
        """See `KeptLayer`."""
        self._use()
        return begin_snapshot(self._folder, origin, layer_version)

    def _of(self, layer_version: LayerVersion) -> FolderAnswers:
        answers = self._answers.get(layer_version)
        if answers is None:
            answers = FolderAnswers(self._folder / "answers" / version_text(layer_version))
            self._answers = {
                layer_version: answers
            }  # those of an earlier state are not asked for again
        return answers

    def _use(self) -> None:
        """Say that the folder is in use, by its time of change."""
        with suppress(OSError):  # it is not there yet, or belongs to another user
            os.utime(self._folder)


def _write(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")
