"""The cached data of one layer, in a folder.

    layer.json          the layer and its last recorded version
    answers/            cached query results, see `folder_results`
    copy.parquet, …     the snapshot, see `folder_snapshot`

Files are never changed in place: each one appears atomically, by a rename.
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

from parcels.cache.folder_results import FolderResults
from parcels.cache.folder_snapshot import begin_snapshot, read_snapshot, snapshot_version
from parcels.cache.geoparquet_rows import write_atomically
from parcels.cache.interface import SnapshotInProgress, version_text
from parcels.cache.layer_snapshot import LayerSnapshot
from parcels.errors import CacheError
from parcels.parcel_source import LayerVersion, QueryResult

log = logging.getLogger(__name__)


class LayerFolder:
    """See `CachedLayer`."""

    def __init__(self, folder: Path, origin: str) -> None:
        self._folder = folder
        self._origin = origin
        self._has_warned = False
        self._results: dict[LayerVersion, FolderResults] = {}

    def last_version(self) -> LayerVersion | None:
        """See `CachedLayer`."""
        try:
            metadata = json.loads((self._folder / "layer.json").read_text(encoding="utf-8"))
            layer_version = LayerVersion(**metadata["stamp"])
            version_text(layer_version)
            return layer_version
        except FileNotFoundError:
            return None
        except (
            ValueError, KeyError, TypeError, RecursionError, CacheError, OSError,
        ) as error:  # fmt: skip
            log.warning("%s cannot be read and is created again: %s", self._folder, error)
            return None

    def record_version(self, layer_version: LayerVersion) -> None:
        """See `CachedLayer`."""
        metadata = json.dumps({"origin": self._origin, "stamp": asdict(layer_version)}, indent=2)
        try:
            write_atomically(self._folder / "layer.json", lambda path: _write(path, metadata))
        except OSError as error:
            log.warning("parcels cannot be cached in %s: %s", self._folder, error.strerror)

    def read_results(
        self, queries: Sequence[str], layer_version: LayerVersion
    ) -> dict[str, QueryResult]:
        """See `CachedLayer`."""
        return self._results_of(layer_version).get(queries)

    def store_results(
        self, results: Mapping[str, QueryResult], layer_version: LayerVersion
    ) -> None:
        """See `CachedLayer`."""
        self._results_of(layer_version).add(results)

    def evict_before(self, instant: datetime) -> None:
        """See `CachedLayer`."""
        self._mark_used()
        try:
            for folder in (self._folder / "answers").glob("stamp_*"):
                FolderResults(folder).evict_before(instant)
            for other in self._folder.parent.glob("[0-9a-f]" * 32):
                if other != self._folder and other.stat().st_mtime < instant.timestamp():
                    shutil.rmtree(other, ignore_errors=True)
        except OSError as error:
            if not self._has_warned:
                log.warning("old parcels stay in the cache %s: %s", self._folder, error.strerror)
            self._has_warned = True

    def snapshot_version(self) -> LayerVersion | None:
        """See `CachedLayer`."""
        return snapshot_version(self._folder)

    def snapshot(self) -> LayerSnapshot | None:
        """See `CachedLayer`."""
        return read_snapshot(self._folder)

    def begin_snapshot(
        self, layer_version: LayerVersion, origin: str
    ) -> AbstractContextManager[SnapshotInProgress]:
        """See `CachedLayer`."""
        self._mark_used()
        return begin_snapshot(self._folder, origin, layer_version)

    def _results_of(self, layer_version: LayerVersion) -> FolderResults:
        results = self._results.get(layer_version)
        if results is None:
            results = FolderResults(self._folder / "answers" / version_text(layer_version))
            self._results = {layer_version: results}  # earlier versions are not needed again
        return results

    def _mark_used(self) -> None:
        """Mark the folder as used, by its modification time."""
        with suppress(OSError):  # it does not exist yet, or belongs to another user
            os.utime(self._folder)


def _write(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")
