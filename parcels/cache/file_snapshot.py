"""A county's file of many lots, answered from a copy of it: nobody holds all of them in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from shapely import Point

from parcels.addresses.street_address import StreetAddress
from parcels.cache.cached_source import MAX_AGE
from parcels.cache.interface import CachedLayer, LayerKey, ParcelCache, SnapshotInProgress
from parcels.cache.layer_snapshot import LayerSnapshot
from parcels.column_mapping import no_address_columns_error, no_parcel_id_error
from parcels.errors import CacheError, ParcelsError, SnapshotLocked
from parcels.files.parcel_file import ParcelFile, path_of
from parcels.parcel_source import Extent, LayerVersion, Page, ParcelRow, QueryResult
from parcels.registry.county import County

# Fewer lots are read in a second, and held in some 30 MiB.
MANY_ROWS = 20_000
# A file need not be opened to know that it has few.
_FEWEST_BYTES_A_ROW = 20
# What is read at once, written in one transaction, and read again after a kill.
_ROWS_AT_ONCE = 5_000
_LOOK_AGAIN_S = 0.5
# A shapefile is several files.
_BESIDE = {".shp": (".dbf", ".shx", ".prj", ".cpg"), ".gpkg": (".gpkg-wal",)}

CopyProgress = Callable[[int, int], None]


class SnapshotFile:
    """See `ParcelSource`: it answers as `FileSource` does."""

    def __init__(self, county: County, copy: LayerSnapshot) -> None:
        self._county = county
        self._copy = copy

    def check(self) -> None:
        """See `ParcelSource`: the copy was checked when it was made.

        Raises:
            SourceMisconfigured: the file is gone.
        """
        path_of(self._county)

    def extent(self) -> Extent | None:
        """(west, south, east, north) in degrees of all parcels."""
        return self._copy.extent()

    def with_ids(self, parcel_ids: Sequence[str]) -> list[QueryResult | ParcelsError]:
        """The rows with exactly these ids.

        Raises:
            SourceMisconfigured: no column of ids is known.
        """
        found = self._copy.with_ids(parcel_ids)
        if not any(each.rows for each in found) and self._file.fields.parcel_id is None:
            raise no_parcel_id_error(self._file.columns, str(self._county.path))
        return list(found)

    def at_points(self, points: Sequence[Point]) -> list[QueryResult | ParcelsError]:
        """The rows that contain or touch these EPSG:4326 points."""
        return list(self._copy.at_points(points))

    def near_points(
        self, points: Sequence[Point], distance_m: float
    ) -> list[QueryResult | ParcelsError]:
        """The rows within `distance_m` metres of these EPSG:4326 points."""
        return list(self._copy.near_points(points, distance_m))

    def with_addresses(
        self, addresses: Sequence[StreetAddress]
    ) -> list[QueryResult | ParcelsError]:
        """The rows that may have these addresses.

        Raises:
            SourceMisconfigured: no columns of addresses are mapped.
        """
        if not self._county.fields.has_addresses:
            raise no_address_columns_error(self._file.columns, str(self._county.path))
        return list(self._copy.with_addresses(addresses))

    def all_rows(self) -> Iterator[ParcelRow]:
        """Every row of the file, one at a time."""
        return self._copy.all_rows()

    @cached_property
    def _file(self) -> ParcelFile:
        return ParcelFile(self._county)


def snapshot_file(
    county: County,
    cache: ParcelCache,
    told: CopyProgress = lambda _rows, _total: None,
    fewest: int = MANY_ROWS,
) -> SnapshotFile | None:
    """A county's file, answered from the copy that is kept; None for one of fewer rows.

    A file that is as it was, and an entry that says the same of it, need no new copy; otherwise
    one is made. Killed meanwhile, the next call goes on where it was. While another process makes
    it, this one waits.

    Where the file itself is not to be seen, on a machine of a cluster, its copy serves.

    Args:
        told: the rows so far and how many there are, before the first and after each page.

    Raises:
        SourceMisconfigured, GeometryError: as `FileSource.check`.
        CacheError: the file was changed meanwhile, or the copy cannot be kept.
    """
    if county.path is not None and not county.path.exists():
        copy = cache.layer(LayerKey.of_file(county)).snapshot()
        return None if copy is None else SnapshotFile(county, copy)
    path = path_of(county)
    if sum(file.stat().st_size for file in _files(path)) < fewest * _FEWEST_BYTES_A_ROW:
        return None
    kept = cache.layer(LayerKey.of_file(county))
    if kept.snapshot_version() != file_version(path):
        file = ParcelFile(county)
        count = file.count()
        if count < fewest:
            return None
        _keep(file, kept, lambda done: told(done, count))
        kept.evict_before(datetime.now(UTC) - MAX_AGE)
    copy = kept.snapshot()
    if copy is None:
        raise CacheError(f"the copy of {path} is gone: run the same again")
    return SnapshotFile(county, copy)


def file_version(path: Path) -> LayerVersion:
    """The state of a file, or of a folder that is one: its last change, and its size as a count."""
    about = [file.stat() for file in _files(path)]
    newest_ms = max((each.st_mtime_ns // 1_000_000 for each in about), default=0)
    return LayerVersion(newest_ms, sum(each.st_size for each in about))


def _keep(file: ParcelFile, kept: CachedLayer, told: Callable[[int], None]) -> None:
    while True:
        layer_version = file_version(file.path)
        try:
            with kept.begin_snapshot(layer_version, str(file.path)) as copy:
                if kept.snapshot_version() == layer_version:
                    copy.discard()  # another process was at it, and is done
                else:
                    _add_rows(file, copy, told)
                    if file_version(file.path) != layer_version:
                        copy.discard()
                        raise CacheError(
                            f"{file.path}: it was changed while it was copied: run the same again"
                        )
                    copy.finish()
            return
        except SnapshotLocked:
            time.sleep(_LOOK_AGAIN_S)


def _add_rows(file: ParcelFile, copy: SnapshotInProgress, told: Callable[[int], None]) -> None:
    told(copy.rows)
    for rows in file.parts(_ROWS_AT_ONCE, after=copy.rows):
        done = copy.rows + len(rows.geometries)
        copy.add(Page(tuple(rows.all_rows()), done, done, done))
        told(copy.rows)
    if copy.without_geometry == copy.rows:
        copy.discard()
        raise file.no_polygons()


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return [file for file in path.rglob("*") if file.is_file()]
    beside = [path.with_suffix(ending) for ending in _BESIDE.get(path.suffix.lower(), ())]
    return [path, *(file for file in beside if file.exists())]
