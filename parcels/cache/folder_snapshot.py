"""A snapshot of a layer in a folder: parts during the download, then one GeoParquet file.

copy.parquet                    the newest complete snapshot; any GIS opens it
copying.lock                    locked by the process that makes a new one
copying/STAMP/000001.parquet    the downloaded pages, each with its last object id
"""

from __future__ import annotations

import fcntl
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import shapely
from pyarrow import parquet

from parcels.cache.geoparquet_rows import (
    COLUMNS,
    UnreadableRows,
    geoparquet_schema,
    read_metadata,
    read_table,
    table_from_rows,
    write_atomically,
    write_table,
)
from parcels.cache.interface import version_text
from parcels.cache.memory_snapshot import MemorySnapshot
from parcels.errors import CacheError, SnapshotLocked
from parcels.parcel_source import LayerVersion, Page

log = logging.getLogger(__name__)

_ROW_GROUP = 65_536


def snapshot_version(folder: Path) -> LayerVersion | None:
    """The layer version of the folder's snapshot; None if there is none."""
    try:
        return LayerVersion(**read_metadata(folder / "copy.parquet")["stamp"])
    except FileNotFoundError:
        return None
    except (UnreadableRows, KeyError, TypeError, OSError) as error:
        _warn(folder, error)
        return None


def read_snapshot(folder: Path) -> MemorySnapshot | None:
    """The folder's snapshot; None if there is none that can be read."""
    try:
        table, metadata = read_table(folder / "copy.parquet")
        fetched_at = datetime.fromisoformat(metadata["fetched_at"])
        return MemorySnapshot(table, metadata["origin"], fetched_at)
    except FileNotFoundError:
        return None
    except (
        UnreadableRows,
        KeyError,
        TypeError,
        ValueError,
        shapely.GEOSException,
        OSError,
    ) as error:
        _warn(folder, error)
        return None


def _warn(folder: Path, error: Exception) -> None:
    log.warning(
        "%s cannot be read (%s), so the server is queried; make a new snapshot with `lotline "
        "parcels fetch`, or remove the file",
        folder / "copy.parquet",
        error,
    )


@contextmanager
def begin_snapshot(
    folder: Path, origin: str, layer_version: LayerVersion
) -> Iterator[FolderSnapshotInProgress]:
    """Begin a snapshot of this layer version, or resume an interrupted one.

    Raises:
        SnapshotLocked: another process makes it.
        CacheError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The kernel releases the lock when the process ends, even after kill -9.
        with (folder / "copying.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left_over in folder.glob(".copy.parquet.*.part"):
                left_over.unlink()  # of a process that was killed in `finish`
            for other in (folder / "copying").glob("stamp_*"):
                if other.name != version_text(layer_version):
                    shutil.rmtree(other)
            yield FolderSnapshotInProgress(folder, origin, layer_version)
    except BlockingIOError:
        raise SnapshotLocked(
            f"another process downloads these parcels into {folder}: wait until it has finished"
        ) from None
    except OSError as error:
        raise CacheError(
            f"the parcels cannot be written to {folder} ({error.strerror}): free some space, make "
            "the folder writable, or use another one"
        ) from error


class FolderSnapshotInProgress:
    """See `SnapshotInProgress`."""

    def __init__(self, folder: Path, origin: str, layer_version: LayerVersion) -> None:
        self.after_object_id: int | None = None
        self.rows = 0
        self.without_geometry = 0
        self._target = folder / "copy.parquet"
        self._parts = folder / "copying" / version_text(layer_version)
        self._metadata: dict[str, Any] = {
            "origin": origin,
            "stamp": asdict(layer_version),
            "fetched_at": datetime.now(UTC).isoformat(),
        }
        self._count = 0
        self._resume()

    def add(self, page: Page) -> None:
        """See `SnapshotInProgress`."""
        rows = self.rows + len(page.rows)
        without_geometry = self.without_geometry
        without_geometry += sum(row.geometry is None for row in page.rows)
        metadata = {
            **self._metadata,
            "after_object_id": page.last_object_id,
            "rows": rows,
            "without_geometry": without_geometry,
        }
        write_table(self._part(self._count + 1), table_from_rows(page.rows), metadata)
        self._count += 1
        self.rows, self.without_geometry = rows, without_geometry
        self.after_object_id = page.last_object_id

    def finish(self) -> None:
        """See `SnapshotInProgress`."""
        schema = geoparquet_schema(COLUMNS, {**self._metadata, "rows": self.rows})

        def write(temporary: Path) -> None:
            with parquet.ParquetWriter(
                temporary, schema, compression="zstd", write_page_checksum=True
            ) as writer:
                for table in self._row_groups():
                    writer.write_table(table.replace_schema_metadata(schema.metadata))

        write_atomically(self._target, write)
        self.discard()

    def discard(self) -> None:
        """See `SnapshotInProgress`."""
        shutil.rmtree(self._parts, ignore_errors=True)

    def _part(self, number: int) -> Path:
        return self._parts / f"{number:06d}.parquet"

    def _resume(self) -> None:
        """Use the complete parts; those after a damaged one are downloaded again."""
        while self._part(self._count + 1).exists():
            path = self._part(self._count + 1)
            try:
                table, metadata = read_table(path)
            except UnreadableRows as error:
                log.warning("%s is damaged and is downloaded again: %s", path, error)
                break
            if metadata["origin"] != self._metadata["origin"]:
                break  # an alternate has other object ids
            self._count += 1
            self.after_object_id = metadata["after_object_id"]
            self.rows, self.without_geometry = metadata["rows"], metadata["without_geometry"]
            self._metadata["fetched_at"] = metadata["fetched_at"]
            del table
        for path in self._parts.glob("*.parquet"):
            if int(path.stem) > self._count:
                path.unlink()

    def _row_groups(self) -> Iterator[pa.Table]:
        pending: list[pa.Table] = []
        count = 0
        for number in range(1, self._count + 1):
            table, _ = read_table(self._part(number))
            pending.append(table.replace_schema_metadata(None))
            count += table.num_rows
            if count >= _ROW_GROUP:
                yield pa.concat_tables(pending)
                pending, count = [], 0
        yield pa.concat_tables(pending) if pending else COLUMNS.empty_table()
