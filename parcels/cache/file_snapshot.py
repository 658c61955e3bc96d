"""A snapshot of a large local parcel file in the cache, so that it is not held in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
from shapely import Point

from parcels.addresses.street_address import StreetAddress
from parcels.cache.cached_source import MAX_AGE
from parcels.cache.interface import CachedLayer, LayerKey, ParcelCache, SnapshotInProgress
from parcels.cache.layer_snapshot import LayerSnapshot
from parcels.column_mapping import no_address_columns_error, no_parcel_id_error
from parcels.errors import (
    CacheError,
    GeometryError,
    ParcelsError,
    SnapshotLocked,
    SourceMisconfigured,
)
from parcels.files.parcel_file import ParcelFile, parcel_file_path
from parcels.parcel_source import Extent, LayerVersion, Page, ParcelRow, QueryResult
from parcels.plausibility import log_warnings
from parcels.registry.county import County

# A smaller file is read in a second and takes about 30 MiB.
SNAPSHOT_MIN_ROWS = 20_000
# A file with fewer bytes than this per row is known to be small without opening it.
_MIN_BYTES_PER_ROW = 20
# Rows of one read and one transaction; an interrupted one is read again.
_ROWS_PER_BATCH = 5_000
_POLL_S = 0.5
_SAMPLE_ROWS = 2_000
# Formats that consist of several files.
_SIDECARS = {
    ".shp": (".dbf", ".shx", ".prj", ".cpg"),
    ".gpkg": (".gpkg-wal",),
    ".tab": (".dat", ".map", ".id"),
    ".mif": (".mid",),
}

CopyProgress = Callable[[int, int], None]


class SnapshotFile:
    """A ParcelSource over the snapshot of a file; it returns the same rows as `FileSource`."""

    def __init__(
        self, county: County, snapshot: LayerSnapshot, file: ParcelFile | None = None
    ) -> None:
        self._county = county
        self._snapshot = snapshot
        self._opened = file

    def check(self) -> None:
        """See `ParcelSource`: the rows were checked when the snapshot was made.

        Raises:
            SourceMisconfigured: the file does not exist any more.
        """
        parcel_file_path(self._county)

    def extent(self) -> Extent | None:
        """(west, south, east, north) in degrees of all parcels."""
        return self._snapshot.extent()

    def with_ids(self, parcel_ids: Sequence[str]) -> list[QueryResult | ParcelsError]:
        """The rows with exactly these ids.

        Raises:
            SourceMisconfigured: no parcel id column is known.
        """
        results = self._snapshot.with_ids(parcel_ids)
        if not any(result.rows for result in results) and self._file.fields.parcel_id is None:
            raise no_parcel_id_error(self._file.columns, str(self._county.path))
        return list(results)

    def at_points(self, points: Sequence[Point]) -> list[QueryResult | ParcelsError]:
        """The rows that contain or touch these EPSG:4326 points."""
        return list(self._snapshot.at_points(points))

    def near_points(
        self, points: Sequence[Point], distance_m: float
    ) -> list[QueryResult | ParcelsError]:
        """The rows within `distance_m` metres of these EPSG:4326 points."""
        return list(self._snapshot.near_points(points, distance_m))

    def with_addresses(
        self, addresses: Sequence[StreetAddress]
    ) -> list[QueryResult | ParcelsError]:
        """The rows that may have these addresses.

        Raises:
            SourceMisconfigured: no address columns are mapped.
        """
        if not self._county.fields.has_addresses:
            raise no_address_columns_error(self._file.columns, str(self._county.path))
        return list(self._snapshot.with_addresses(addresses))

    def all_rows(self) -> Iterator[ParcelRow]:
        """Every row of the file, one at a time."""
        return self._snapshot.all_rows()

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What is not plausible about the lots, by a sample; empty without the file."""
        rows = self._snapshot.all_rows()
        lots = [row.geometry for row in islice(rows, _SAMPLE_ROWS)]
        if isinstance(rows, Generator):
            rows.close()  # with its cursor in the database
        try:
            return self._file.warnings(np.array(lots, dtype=object))
        except (SourceMisconfigured, GeometryError):
            return ()

    @cached_property
    def _file(self) -> ParcelFile:
        return self._opened or ParcelFile(self._county)


def snapshot_file(
    county: County,
    cache: ParcelCache,
    progress: CopyProgress = lambda _rows, _total: None,
    min_rows: int = SNAPSHOT_MIN_ROWS,
) -> SnapshotFile | None:
    """The snapshot of a county's file; None for a file with fewer than `min_rows` rows.

    A new snapshot is made if the file, or its registry entry, has changed. After an interruption
    the next call resumes. While another process makes the snapshot, this one waits.

    If the file does not exist on this machine (a cluster node), the stored snapshot is used.

    Args:
        progress: gets the rows so far and the total, before the first batch and after each.

    Raises:
        SourceMisconfigured, GeometryError: as `FileSource.check`.
        CacheError: the file was changed during the copy, or the snapshot cannot be stored.
    """
    if county.path is not None and not county.path.exists():
        snapshot = cache.layer(LayerKey.of_file(county)).snapshot()
        return None if snapshot is None else SnapshotFile(county, snapshot)
    path = parcel_file_path(county)
    if sum(file.stat().st_size for file in _files(path)) < min_rows * _MIN_BYTES_PER_ROW:
        return None
    cached = cache.layer(LayerKey.of_file(county))
    file = None
    if cached.snapshot_version() != file_version(path):
        file = ParcelFile(county)
        count = file.count()
        if count < min_rows:
            return None
        _make_snapshot(file, cached, lambda done: progress(done, count))
        cached.evict_before(datetime.now(UTC) - MAX_AGE)
    snapshot = cached.snapshot()
    if snapshot is None:
        raise CacheError(f"the snapshot of {path} was deleted: run the command again")
    source = SnapshotFile(county, snapshot, file)
    if file is not None:
        log_warnings(source.warnings)
    return source


def file_version(path: Path) -> LayerVersion:
    """The version of a file or a folder: its modification time, and its size in bytes as count."""
    stats = [file.stat() for file in _files(path)]
    newest_ms = max((each.st_mtime_ns // 1_000_000 for each in stats), default=0)
    return LayerVersion(newest_ms, sum(each.st_size for each in stats))


def _make_snapshot(file: ParcelFile, cached: CachedLayer, progress: Callable[[int], None]) -> None:
    while True:
        layer_version = file_version(file.path)
        try:
            with cached.begin_snapshot(layer_version, str(file.path)) as snapshot:
                if cached.snapshot_version() == layer_version:
                    snapshot.discard()  # another process has completed it
                else:
                    _add_rows(file, snapshot, progress)
                    if file_version(file.path) != layer_version:
                        snapshot.discard()
                        raise CacheError(
                            f"{file.path}: the file changed during the copy: run the command again"
                        )
                    snapshot.finish()
            return
        except SnapshotLocked:
            time.sleep(_POLL_S)


def _add_rows(
    file: ParcelFile, snapshot: SnapshotInProgress, progress: Callable[[int], None]
) -> None:
    progress(snapshot.rows)
    for rows in file.batches(_ROWS_PER_BATCH, after=snapshot.rows):
        done = snapshot.rows + len(rows.geometries)
        snapshot.add(Page(tuple(rows.all_rows()), done, done, done))
        progress(snapshot.rows)
    if snapshot.without_geometry == snapshot.rows:
        snapshot.discard()
        raise file.no_polygons()


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return [file for file in path.rglob("*") if file.is_file()]
    endings = _SIDECARS.get(path.suffix.lower(), ())
    sidecars = [path.with_suffix(each) for ending in endings for each in (ending, ending.upper())]
    return [path, *(file for file in sidecars if file.exists())]
