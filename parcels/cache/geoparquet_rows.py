"""Rows of a parcel layer as GeoParquet files, written atomically."""

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
# GeoParquet without a CRS is longitude and latitude in degrees (OGC:CRS84).
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
        pa.field("parcel_type", pa.string()),
        pa.field("lacks_id", pa.bool_()),
        pa.field("geometry", pa.binary()),
    ]
)
_METADATA_KEY = b"lotline"


class UnreadableRows(Exception):
    """A file that is not one of our tables, or is damaged."""


def table_from_rows(rows: Sequence[ParcelRow]) -> pa.Table:
    """The rows as a table with `COLUMNS`."""
    sites = [row.site for row in rows]
    columns: dict[str, Sequence[object]] = {
        "parcel_id": [row.parcel_id for row in rows],
        "object_id": [row.object_id for row in rows],
        "has_site": [site is not None for site in sites],
        "parcel_type": [row.parcel_type for row in rows],
        "lacks_id": [row.lacks_id for row in rows],
        "geometry": list(shapely.to_wkb([row.geometry for row in rows])) if rows else [],
    }
    for name in _SITE:
        columns[name] = [None if site is None else getattr(site, name) for site in sites]
    return pa.table(columns, schema=COLUMNS)


def rows_from_table(table: pa.Table) -> list[ParcelRow]:
    """The rows of a table with `COLUMNS`."""
    sites = table.select(["has_site", *_SITE]).to_pylist()
    geometries = shapely.from_wkb(table["geometry"].to_pylist())
    rows = zip(
        table["parcel_id"].to_pylist(),
        geometries,
        table["object_id"].to_pylist(),
        sites,
        table["parcel_type"].to_pylist(),
        table["lacks_id"].to_pylist(),
        strict=True,
    )
    return [
        ParcelRow(
            parcel_id,
            geometry,
            object_id,
            SiteAddress(**site) if site.pop("has_site") else None,
            parcel_type,
            lacks_id,
        )
        for parcel_id, geometry, object_id, site, parcel_type, lacks_id in rows
    ]


def check_geometry(table: pa.Table) -> None:
    """Check that every geometry can be decoded.

    Raises:
        UnreadableRows.
    """
    try:
        shapely.from_wkb(table["geometry"].to_numpy())
    except (shapely.GEOSException, TypeError) as error:
        raise UnreadableRows(f"a geometry is damaged: {error}") from error


def take_rows(table: pa.Table, rows: Sequence[int]) -> pa.Table:
    """These rows in this order; works for an empty list too."""
    return table.take(pa.array(rows, pa.int64()))


def sites_from_table(table: pa.Table) -> list[SiteAddress | None]:
    """The site addresses of the rows."""
    rows = table.select(["has_site", *_SITE]).to_pylist()
    return [SiteAddress(**row) if row.pop("has_site") else None for row in rows]


def geoparquet_schema(schema: pa.Schema, metadata: Mapping[str, Any]) -> pa.Schema:
    """The schema of a GeoParquet file with our metadata."""
    return schema.with_metadata(
        {b"geo": _GEO.encode(), _METADATA_KEY: json.dumps(dict(metadata)).encode()}
    )


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` make a temporary file, sync it to the disk and rename it to `path`.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_table(path: Path, table: pa.Table, metadata: Mapping[str, Any]) -> None:
    """Write a table with a geometry as GeoParquet, atomically.

    Raises:
        OSError: see `write_atomically`.
    """
    geoparquet = table.replace_schema_metadata(geoparquet_schema(table.schema, metadata).metadata)

    def write(temporary: Path) -> None:
        parquet.write_table(geoparquet, temporary, compression="zstd", write_page_checksum=True)

    write_atomically(path, write)


def read_table(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    """A table and its metadata.

    Raises:
        FileNotFoundError: it does not exist (any more).
        UnreadableRows: it is damaged, or not one of our tables.
        OSError: no permission, or a disk error.
    """
    try:
        # Opened here, as pyarrow raises the same error for a damaged file and a missing permission.
        with path.open("rb") as file:
            opened = parquet.ParquetFile(file, page_checksum_verification=True)
            return opened.read(), _metadata(opened.schema_arrow)
    except OSError as error:
        if error.errno is not None:
            raise
        raise UnreadableRows(str(error)) from error
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise UnreadableRows(str(error)) from error


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata of a file; its rows are not read.

    Raises:
        FileNotFoundError, UnreadableRows, OSError: as `read_table`.
    """
    try:
        with path.open("rb") as file:
            return _metadata(parquet.read_schema(file))
    except OSError as error:
        if error.errno is not None:
            raise
        raise UnreadableRows(str(error)) from error
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise UnreadableRows(str(error)) from error


def _metadata(schema: pa.Schema) -> dict[str, Any]:
    metadata: dict[str, Any] = json.loads((schema.metadata or {})[_METADATA_KEY])
    return metadata
