"""ParquetTable: GeoParquet of any writer, in one file or several, and Parquet with WKB."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet
from pyproj import CRS
from pyproj.exceptions import CRSError

from parcels.crs_definition import crs_of_data
from parcels.esri.curves import chord_tolerance
from parcels.files.curved_wkb import geometries_from_wkb
from parcels.files.dataset import Dataset
from parcels.files.geoarrow import NATIVE_ENCODINGS, geometries_from_geoarrow
from parcels.files.table_reader import NO_NOTES, RawRows
from parcels.files.text_encoding import TextDecoder
from parcels.files.text_values import column_texts
from parcels.files.wkt_values import geometries_from_texts
from parcels.untrusted import sanitize_text

# The default of GeoParquet and of Parquet's own geometry type: longitude and latitude.
_LON_LAT = "OGC:CRS84"
# Names of a WKB or WKT column in a file without metadata.
_GEOMETRY_NAMES = (
    "geometry", "geom", "wkb_geometry", "shape", "the_geom", "wkb", "wkt", "geography",
    "geometry_wkb", "geom_wkb", "geometry_wkt", "geom_wkt",
)  # fmt: skip
_SURFACES = {"Polygon", "MultiPolygon"}
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
            first = _part_layout(file)
        self._first = first
        self.crs: object | None = first.crs
        self.columns = first.columns

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
        skip = after
        for part in self._parts:
            with self._file(part) as file:
                rows = file.metadata.num_rows
                if skip >= rows:
                    skip -= rows
                    continue
                layout = _part_layout(file)
                names = self._names_in(layout, columns, part or self._dataset.name)
                wanted = list(dict.fromkeys([layout.geometry, *names.values()]))
                for batch in file.iter_batches(batch_size, columns=wanted):
                    remaining = batch.slice(skip)
                    skip = max(0, skip - batch.num_rows)
                    if remaining.num_rows:
                        values = {
                            name: column_texts(remaining.column(own), self.decoder)
                            for name, own in names.items()
                        }
                        lots = _geometries(remaining, layout, tolerance)
                        yield RawRows(lots, values)

    def _names_in(self, layout: _PartLayout, columns: Sequence[str], part: str) -> dict[str, str]:
        """The columns, and their names in a part: a part may spell them differently.

        Raises:
            ValueError: a column is missing, or the part is in another CRS.
        """
        if not _is_same_crs(layout.crs, self._first.crs):
            raise ValueError(
                f"{part} is in another CRS ({_crs_name(layout.crs)}) than the first file "
                f"({_crs_name(self._first.crs)}); convert all of them to one CRS"
            )
        lower = {name.lower(): name for name in layout.columns}
        exact = set(layout.columns)
        names = {name: name if name in exact else lower.get(name.lower()) for name in columns}
        found = {name: own for name, own in names.items() if own is not None}
        for name in columns:
            if name not in found:
                raise ValueError(
                    f"{part} has no column {name!r}, as the first file has; its columns are "
                    f"{', '.join(layout.columns)}"
                )
        return found

    @property
    def _parts(self) -> tuple[str | None, ...]:
        return self._dataset.parts or (None,)

    def _file(self, part: str | None) -> parquet.ParquetFile:
        if not self._dataset.is_zip:
            return parquet.ParquetFile(self._dataset.path / (part or self._dataset.member))
        with self._dataset.open(part) as file:
            return parquet.ParquetFile(pa.BufferReader(_limited(file)))


@dataclass(frozen=True, slots=True)
class _PartLayout:
    """How one file of the dataset holds its rows.

    Attributes:
        geometry: the column of geometries.
        encoding: of the geometries.
        columns: the others.
    """

    geometry: str
    encoding: str
    crs: object | None
    columns: list[str]


def _part_layout(file: parquet.ParquetFile) -> _PartLayout:
    schema = file.schema_arrow
    geo = _geo_metadata(schema.metadata or {})
    if geo is not None:
        geometry = _polygon_column(geo)
        column = dict(geo["columns"][geometry])
        _ = schema.field(geometry)  # a KeyError means invalid metadata
        encoding = str(column["encoding"]).lower()
        crs: object | None = column.get("crs", _LON_LAT)
        geometries = set(geo["columns"])
    else:
        geometry, encoding, crs = _without_metadata(schema, _logical_types(file))
        geometries = {geometry}
    if encoding not in ("wkb", "wkt", *NATIVE_ENCODINGS):
        raise ValueError(f"unknown geometry encoding {encoding!r}")
    return _PartLayout(
        geometry, encoding, crs, [name for name in schema.names if name not in geometries]
    )


def _polygon_column(geo: dict[str, Any]) -> str:
    """The primary column, or the only one with polygons if the primary one has none."""
    primary = str(geo["primary_column"])
    kinds = {
        str(name): [str(kind).split()[0] for kind in column.get("geometry_types") or ()]
        for name, column in geo["columns"].items()
    }
    with_polygons = [name for name, found in kinds.items() if _SURFACES & set(found)]
    has_other = kinds[primary] and not {*_SURFACES, "GeometryCollection"} & set(kinds[primary])
    return with_polygons[0] if has_other and len(with_polygons) == 1 else primary


def _is_same_crs(one: object | None, other: object | None) -> bool:
    if one == other:
        return True
    if one is None or other is None:
        return False
    try:
        first, second = crs_of_data(one), crs_of_data(other)
    except CRSError:
        return False
    return bool(first.equals(second, ignore_axis_order=True))


def _crs_name(crs: object | None) -> str:
    name = crs.get("name") if isinstance(crs, dict) else crs
    return sanitize_text(name or "none")[:100]


def _geometries(
    batch: pa.RecordBatch, layout: _PartLayout, tolerance: float
) -> NDArray[np.object_]:
    column = batch.column(layout.geometry)
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if layout.encoding == "wkb":
        return geometries_from_wkb(column.to_pylist(), tolerance)
    if layout.encoding == "wkt":
        return geometries_from_texts(column.to_pylist(), tolerance)
    return geometries_from_geoarrow(column, layout.encoding)


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
