"""Rows of a parcel layer as GeoParquet: one file, whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import shapely
from pyarrow import parquet

from parcels.addresses.site import SiteAddress
from parcels.parcel_source import ParcelRow

_SITE = ("line", "house_number", "street", "unit", "city", "postcode")
# Without a CRS, GeoParquet is longitude and latitude in degrees (OGC:CRS84).
_GEO = json.dumps(
    {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {"geometry": {"encoding": "WKB", "geometry_types": ["MultiPolygon"]}},
    }
)
COLUMNS = pa.schema(
    [
        pa.field("parcel_id", pa.string()),
        pa.field("object_id", pa.int64()),
        pa.field("has_site", pa.bool_()),
        *(pa.field(name, pa.string()) for name in _SITE),
        pa.field("geometry", pa.binary()),
    ]
)
_OURS = b"lotline"


class UnreadableRows(Exception):
    """A file that is no table of ours, or that was damaged."""


def table_of(hits: Sequence[ParcelRow]) -> pa.Table:
    """The rows as a table with `COLUMNS`."""
    sites = [hit.site for hit in hits]
    columns: dict[str, Sequence[object]] = {
        "parcel_id": [hit.parcel_id for hit in hits],
        "object_id": [hit.object_id for hit in hits],
        "has_site": [site is not None for site in sites],
        "geometry": list(shapely.to_wkb([hit.geometry for hit in hits])) if hits else [],
    }
    for name in _SITE:
        columns[name] = [None if site is None else getattr(site, name) for site in sites]
    return pa.table(columns, schema=COLUMNS)


def rows_of(table: pa.Table) -> list[ParcelRow]:
    """The rows of a table with `COLUMNS`, as they were."""
    sites = table.select(["has_site", *_SITE]).to_pylist()
    geometries = shapely.from_wkb(table["geometry"].to_pylist())
    rows = zip(
        table["parcel_id"].to_pylist(),
        geometries,
        table["object_id"].to_pylist(),
        sites,
        strict=True,
    )
    return [
        ParcelRow(
            parcel_id,
            geometry,
            object_id,
            SiteAddress(**site) if site.pop("has_site") else None,
        )
        for parcel_id, geometry, object_id, site in rows
    ]


def check_geometry(table: pa.Table) -> None:
    """Raise where a geometry cannot be read back.

    Raises:
        Unreadable.
    """
    try:
        shapely.from_wkb(table["geometry"].to_numpy())
    except (shapely.GEOSException, TypeError) as error:
        raise UnreadableRows(f"a geometry is damaged: {error}") from error


def take(table: pa.Table, rows: Sequence[int]) -> pa.Table:
    """Some rows, in their order; there may be none."""
    return table.take(pa.array(rows, pa.int64()))


def sites_of(table: pa.Table) -> list[SiteAddress | None]:
    """The addresses of the rows."""
    rows = table.select(["has_site", *_SITE]).to_pylist()
    return [SiteAddress(**row) if row.pop("has_site") else None for row in rows]


def schema_with(schema: pa.Schema, about: Mapping[str, Any]) -> pa.Schema:
    """The schema of a GeoParquet file that says this about itself."""
    return schema.with_metadata({b"geo": _GEO.encode(), _OURS: json.dumps(dict(about)).encode()})


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` make a file beside `path`, then put it there, on the disk and by one rename.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    making = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        write(making)
        with making.open("rb") as file:
            os.fsync(file.fileno())
        making.replace(path)
    finally:
        making.unlink(missing_ok=True)


def write_table(path: Path, table: pa.Table, about: Mapping[str, Any]) -> None:
    """Write a table with a geometry as GeoParquet, whole or not at all.

    Raises:
        OSError: see `write_whole`.
    """
    described = table.replace_schema_metadata(schema_with(table.schema, about).metadata)

    def write(making: Path) -> None:
        parquet.write_table(described, making, compression="zstd", write_page_checksum=True)

    write_whole(path, write)


def read_table(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    """A table and what it says about itself.

    Raises:
        FileNotFoundError: it is not there (any more).
        Unreadable: it is damaged, or no table of ours.
        OSError: it may not be read.
    """
    try:
        # pyarrow's own way to open a file does not tell a damaged one from one it may not read.
        with path.open("rb") as file:
            opened = parquet.ParquetFile(file, page_checksum_verification=True)
            about = _about(opened.schema_arrow)
            return opened.read(), about
    except OSError as error:
        if error.errno is not None:
            raise
        raise UnreadableRows(str(error)) from error
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise UnreadableRows(str(error)) from error


def read_about(path: Path) -> dict[str, Any]:
    """What a file says about itself; its rows are not read.

    Raises:
        FileNotFoundError, Unreadable, OSError: as `read_table`.
    """
    try:
        with path.open("rb") as file:
            return _about(parquet.read_schema(file))
    except OSError as error:
        if error.errno is not None:
            raise
        raise UnreadableRows(str(error)) from error
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise UnreadableRows(str(error)) from error


def _about(schema: pa.Schema) -> dict[str, Any]:
    about: dict[str, Any] = json.loads((schema.metadata or {})[_OURS])
    return about
