"""A copy of a layer in a folder: parts while it is made, one GeoParquet file when it is whole.

copy.parquet               the newest whole copy; any GIS opens it
copying.lock               held by the process that makes another
copying/STAMP/000001.parquet    the pages so far, and how far they go
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
    read_about,
    read_table,
    schema_with,
    table_of,
    write_table,
    write_whole,
)
from parcels.cache.interface import version_text
from parcels.cache.memory_snapshot import MemorySnapshot
from parcels.errors import CacheError, SnapshotLocked
from parcels.parcel_source import LayerVersion, Page

log = logging.getLogger(__name__)

_ROW_GROUP = 65_536


def snapshot_version(folder: Path) -> LayerVersion | None:
    """The state of the layer that the folder's copy is of; None where there is no copy."""
    try:
        return LayerVersion(**read_about(folder / "copy.parquet")["stamp"])
    except FileNotFoundError:
        return None
    except (UnreadableRows, KeyError, TypeError, OSError) as error:
        _warn(folder, error)
        return None


def read_snapshot(folder: Path) -> MemorySnapshot | None:
    """The folder's copy, if it has one that can be read."""
    try:
        table, about = read_table(folder / "copy.parquet")
        fetched_at = datetime.fromisoformat(about["fetched_at"])
        return MemorySnapshot(table, about["origin"], fetched_at)
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
        "%s cannot be read (%s): the server is asked; remove the file, or make a new copy with "
        "`lotline parcels fetch`",
        folder / "copy.parquet",
        error,
    )


@contextmanager
def begin_snapshot(
    folder: Path, origin: str, layer_version: LayerVersion
) -> Iterator[FolderSnapshotInProgress]:
    """Begin a copy of a layer in this state, or go on with one that was stopped.

    Raises:
        SnapshotLocked: another process makes one.
        CacheError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The kernel gives the lock back when the process dies, however it dies.
        with (folder / "copying.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left_over in folder.glob(".copy.parquet.*.part"):
                left_over.unlink()  # of a process that was killed while it finished
            for other in (folder / "copying").glob("stamp_*"):
                if other.name != version_text(layer_version):
                    shutil.rmtree(other)
            yield FolderSnapshotInProgress(folder, origin, layer_version)
    except BlockingIOError:
        raise SnapshotLocked(
            f"another process copies the same parcels into {folder}: wait until it is done"
        ) from None
    except OSError as error:
        raise CacheError(
            f"the parcels cannot be copied into {folder} ({error.strerror}): make room there, "
            "make the folder writable, or name another one"
        ) from error


class FolderSnapshotInProgress:
    """See `CopyInProgress`."""

    def __init__(self, folder: Path, origin: str, layer_version: LayerVersion) -> None:
        self.after_object_id: int | None = None
        self.rows = 0
        self.without_geometry = 0
        self._goal = folder / "copy.parquet"
        self._parts = folder / "copying" / version_text(layer_version)
        self._about: dict[str, Any] = {
            "origin": origin,
            "stamp": asdict(layer_version),
            "fetched_at": datetime.now(UTC).isoformat(),
        }
        self._count = 0
        self._go_on()

    def add(self, page: Page) -> None:
        """See `CopyInProgress`."""
        rows = self.rows + len(page.rows)
        without = self.without_geometry + sum(hit.geometry is None for hit in page.rows)
        so_far = {
            **self._about,
            "after_object_id": page.last_object_id,
            "rows": rows,
            "without_geometry": without,
        }
        write_table(self._part(self._count + 1), table_of(page.rows), so_far)
        self._count += 1
        self.rows, self.without_geometry = rows, without
        self.after_object_id = page.last_object_id

    def finish(self) -> None:
        """See `CopyInProgress`."""
        schema = schema_with(COLUMNS, {**self._about, "rows": self.rows})

        def write(making: Path) -> None:
            with parquet.ParquetWriter(
                making, schema, compression="zstd", write_page_checksum=True
            ) as writer:
                for table in self._row_groups():
                    writer.write_table(table.replace_schema_metadata(schema.metadata))

        write_whole(self._goal, write)
        self.discard()

    def discard(self) -> None:
        """See `CopyInProgress`."""
        shutil.rmtree(self._parts, ignore_errors=True)

    def _part(self, number: int) -> Path:
        return self._parts / f"{number:06d}.parquet"

    def _go_on(self) -> None:
        """Take the parts that are whole; what comes after a damaged one is fetched anew."""
        while self._part(self._count + 1).exists():
            path = self._part(self._count + 1)
            try:
                table, about = read_table(path)
            except UnreadableRows as error:
                log.warning("%s is damaged, and is fetched anew: %s", path, error)
                break
            if about["origin"] != self._about["origin"]:
                break  # of an alternate, whose object ids are others
            self._count += 1
            self.after_object_id = about["after_object_id"]
            self.rows, self.without_geometry = about["rows"], about["without_geometry"]
            self._about["fetched_at"] = about["fetched_at"]
            del table
        for path in self._parts.glob("*.parquet"):
            if int(path.stem) > self._count:
                path.unlink()

    def _row_groups(self) -> Iterator[pa.Table]:
        waiting: list[pa.Table] = []
        count = 0
        for number in range(1, self._count + 1):
            table, _ = read_table(self._part(number))
            waiting.append(table.replace_schema_metadata(None))
            count += table.num_rows
            if count >= _ROW_GROUP:
                yield pa.concat_tables(waiting)
                waiting, count = [], 0
        yield pa.concat_tables(waiting) if waiting else COLUMNS.empty_table()
