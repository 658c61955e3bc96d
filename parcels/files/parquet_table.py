"""ParquetTable: GeoParquet of any writer, in one file or several, and Parquet with WKB."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet
from pyproj import CRS

from parcels.esri.curves import chord_tolerance
from parcels.files.curved_wkb import geometries_from_wkb
from parcels.files.dataset import Dataset
from parcels.files.geoarrow import NATIVE_ENCODINGS, geometries_from_geoarrow
from parcels.files.table_reader import NO_NOTES, RawRows
from parcels.files.text_encoding import TextDecoder
from parcels.files.text_values import column_texts
from parcels.files.wkt_values import geometries_from_texts

# The default of GeoParquet and of Parquet's own geometry type: longitude and latitude.
_LON_LAT = "OGC:CRS84"
# Names of a WKB or WKT column in a file without metadata.
_GEOMETRY_NAMES = (
    "geometry", "geom", "wkb_geometry", "shape", "the_geom", "wkb", "wkt", "geography",
    "geometry_wkb", "geom_wkb", "geometry_wkt", "geom_wkt",
)  # fmt: skip
_MAX_ZIPPED_BYTES = 4 * 2**30


class ParquetTable:
    """See `TableReader`.

    Args:
        encoding: of the registry entry.
    """

    def __init__(self, dataset: Dataset, encoding: str | None) -> None:
        self._dataset, self.notes = dataset, NO_NOTES
        self.decoder = TextDecoder.of_utf8_format(encoding)
        with self._file(self._parts[0]) as file:
            schema, logical_types = file.schema_arrow, _logical_types(file)
        geo = _geo_metadata(schema.metadata or {})
        if geo is not None:
            self._geometry = str(geo["primary_column"])
            column = dict(geo["columns"][self._geometry])
            _ = schema.field(self._geometry)  # a KeyError means invalid metadata
            self._encoding = str(column["encoding"]).lower()
            self.crs: object | None = column.get("crs", _LON_LAT)
            geometries = set(geo["columns"])
        else:
            self._geometry, self._encoding, self.crs = _without_metadata(schema, logical_types)
            geometries = {self._geometry}
        if self._encoding not in ("wkb", "wkt", *NATIVE_ENCODINGS):
            raise ValueError(f"unknown geometry encoding {self._encoding!r}")
        self.columns = [name for name in schema.names if name not in geometries]

    def count(self) -> int:
        """See `TableReader`."""
        total = 0
        for part in self._parts:
            with self._file(part) as file:
                total += file.metadata.num_rows
        return total

    def batches(
        self, columns: Sequence[str], batch_size: int, after: int, crs: CRS
    ) -> Iterator[RawRows]:
        """See `TableReader`."""
        tolerance = chord_tolerance(crs)
        wanted = list(dict.fromkeys([self._geometry, *columns]))
        skip = after
        for part in self._parts:
            with self._file(part) as file:
                rows = file.metadata.num_rows
                if skip >= rows:
                    skip -= rows
                    continue
                for batch in file.iter_batches(batch_size, columns=wanted):
                    remaining = batch.slice(skip)
                    skip = max(0, skip - batch.num_rows)
                    if remaining.num_rows:
                        values = {
                            name: column_texts(remaining.column(name), self.decoder)
                            for name in columns
                        }
                        yield RawRows(self._geometries(remaining, tolerance), values)

    def _geometries(self, batch: pa.RecordBatch, tolerance: float) -> NDArray[np.object_]:
        column = batch.column(self._geometry)
        if isinstance(column, pa.ExtensionArray):
            column = column.storage
        if self._encoding == "wkb":
            return geometries_from_wkb(column.to_pylist(), tolerance)
        if self._encoding == "wkt":
            return geometries_from_texts(column.to_pylist(), tolerance)
        return geometries_from_geoarrow(column, self._encoding)

    @property
    def _parts(self) -> tuple[str | None, ...]:
        return self._dataset.parts or (None,)

    def _file(self, part: str | None) -> parquet.ParquetFile:
        if not self._dataset.is_zip:
            return parquet.ParquetFile(self._dataset.path / (part or self._dataset.member))
        with self._dataset.open(part) as file:
            return parquet.ParquetFile(pa.BufferReader(_limited(file)))


def _limited(file: IO[bytes]) -> bytes:
    content = file.read(_MAX_ZIPPED_BYTES + 1)
    if len(content) > _MAX_ZIPPED_BYTES:
        raise ValueError("it is too large to read from a zip; unpack it")
    return content


def _geo_metadata(metadata: dict[bytes, bytes]) -> dict[str, Any] | None:
    if b"geo" not in metadata:
        return None
    geo: dict[str, Any] = json.loads(metadata[b"geo"])
    _ = geo["primary_column"], geo["columns"]  # a KeyError means invalid metadata
    return geo


def _logical_types(file: parquet.ParquetFile) -> dict[str, dict[str, Any]]:
    """Parquet's own GEOMETRY and GEOGRAPHY columns."""
    found = {}
    for i in range(len(file.schema)):
        column = file.schema.column(i)
        kind = json.loads(column.logical_type.to_json())
        if str(kind.get("Type", "")).lower() in ("geometry", "geography"):
            found[column.path.split(".")[0]] = kind
    return found


def _without_metadata(
    schema: pa.Schema, logical_types: dict[str, dict[str, Any]]
) -> tuple[str, str, object | None]:
    """The geometry column, its encoding and its CRS."""
    for field in schema:
        metadata = field.metadata or {}
        extension = metadata.get(b"ARROW:extension:name", b"").decode()
        if isinstance(field.type, pa.BaseExtensionType):
            extension = field.type.extension_name
        if extension.startswith(("geoarrow.", "ogc.")):
            encoding = extension.split(".", 1)[1]
            return field.name, encoding, _extension_crs(field)
    for name, kind in logical_types.items():
        return name, "wkb", kind.get("crs") or _LON_LAT
    names = {name.lower(): name for name in reversed(schema.names)}
    for wanted in _GEOMETRY_NAMES:
        if wanted in names:
            values = str(schema.field(names[wanted]).type)
            if "binary" in values or "string" in values:
                return names[wanted], "wkb" if "binary" in values else "wkt", None
    raise ValueError("it has no GeoParquet metadata, and no column of WKB or WKT")


def _extension_crs(field: pa.Field) -> object | None:
    raw = (field.metadata or {}).get(b"ARROW:extension:metadata", b"")
    if isinstance(field.type, pa.BaseExtensionType):
        raw = field.type.__arrow_ext_serialize__()
    details = json.loads(raw or b"{}")
    crs = details.get("crs") if isinstance(details, dict) else None
    return crs if isinstance(crs, dict | str) and crs else None
