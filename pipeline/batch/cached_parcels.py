"""The parcel source of a county, behind the database's cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parcels import County
from parcels.arcgis import ArcGISSource
from parcels.cache import CachedSource, LayerKey
from pipeline.batch.request import NoProgress, Progress
from pipeline.store.database import Database
from pipeline.store.parcel_cache.database_cache import DatabaseCache

if TYPE_CHECKING:
    from parcels.cache.file_snapshot import SnapshotFile

# Copying this many rows takes some ten seconds.
_MESSAGE_EVERY_ROWS = 100_000
_NO_PROGRESS = NoProgress()


def cached_parcels(
    county: County, database: Database, progress: Progress = _NO_PROGRESS
) -> CachedSource | SnapshotFile | None:
    """The county's server behind the cache, or its file's snapshot: see `large_file_snapshot`."""
    if county.source != "arcgis":
        return large_file_snapshot(county, database, progress)
    return CachedSource(ArcGISSource(county), DatabaseCache(database.engine), LayerKey.of(county))


def large_file_snapshot(
    county: County, database: Database, progress: Progress = _NO_PROGRESS
) -> SnapshotFile | None:
    """The database's snapshot of a county's file; None if the file is small, to read into memory.

    Raises:
        SourceMisconfigured, GeometryError: the file cannot be read; correct the registry entry.
        CacheError: the file changed while it was copied.
    """
    # A lazy import: pyarrow and GDAL take a moment to load, and only a file needs them.
    from parcels.cache.file_snapshot import snapshot_file

    return snapshot_file(county, DatabaseCache(database.engine), _CopyProgress(county, progress))


class _CopyProgress:
    """Shows how many rows of a file have been copied."""

    def __init__(self, county: County, progress: Progress) -> None:
        self._name = "" if county.path is None else county.path.name
        self._progress = progress
        self._last_rows = -1

    def __call__(self, rows: int, total: int) -> None:
        if self._last_rows < 0:
            self._progress.message(f"copying {self._name} into the database: {total:,} lots")
        elif rows < self._last_rows + _MESSAGE_EVERY_ROWS:
            return
        else:
            self._progress.message(f"{self._name}: {rows:,} of {total:,} lots")
        self._last_rows = rows
