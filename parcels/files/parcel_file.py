"""ParcelFile: an open parcel file: its layer, its columns, its CRS and its rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pyogrio
import pyogrio.errors
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from parcels.column_mapping import choose_parcel_id, choose_parcel_type, resolve_columns
from parcels.crs import horizontal, to_wgs84
from parcels.errors import GeometryError, SourceMisconfigured
from parcels.files.row_index import RowIndex
from parcels.files.self_contained import refuse_external_references
from parcels.parcel_source import lot_geometries
from parcels.registry.county import County

if TYPE_CHECKING:
    import pyarrow as pa

# Rows and the CRS of their geometry, in a form that geopandas reads.
_Table = tuple["pa.Table", object]

_PARQUET = (".parquet", ".geoparquet")
# The GeoParquet default: a geometry column without a CRS is longitude and latitude.
_LON_LAT = "OGC:CRS84"


class ParcelFile:
    """The parcel layer in the file at a county's `path`; opening it reads no rows.

    Attributes:
        columns: of the file, without the geometry.
        fields: the mapped columns as spelled in the file, with a guessed parcel id column.

    Raises:
        SourceMisconfigured: no such file, it cannot be read, or a column is missing.
    """

    def __init__(self, county: County) -> None:
        self.path = parcel_file_path(county)
        self._county = county
        self._is_parquet = self.path.suffix.lower() in _PARQUET
        self._layer = ""
        self._geo: dict[str, Any] = {}
        is_parquet = self._is_parquet
        self.columns = self._columns_of_parquet() if is_parquet else self._columns_of_vector()
        where, mapped = str(self.path), county.fields
        parcel_id = choose_parcel_id(mapped.parcel_id, self.columns, where)
        parcel_type = choose_parcel_type(mapped.parcel_type, self.columns)
        guessed = {"parcel_id": parcel_id, "parcel_type": parcel_type}
        self.fields = resolve_columns(mapped.model_copy(update=guessed), self.columns, where)

    def count(self) -> int:
        """The number of rows of the layer, before the `where` filter."""
        with self._reading():
            if self._is_parquet:
                from pyarrow import parquet

                return int(parquet.read_metadata(self.path).num_rows)
            info = pyogrio.read_info(self.path, layer=self._layer, force_feature_count=True)
            return int(info["features"])

    def rows(self) -> RowIndex:
        """All rows.

        Raises:
            SourceMisconfigured: it cannot be read.
            GeometryError: it has no CRS.
        """
        with self._reading():
            if self._is_parquet:
                frame = gpd.read_parquet(self.path, columns=self._parquet_columns())
            else:
                frame = pyogrio.read_dataframe(
                    self.path,
                    layer=self._layer,
                    columns=self._mapped_columns,
                    where=self._county.where,
                )
        if not isinstance(frame, gpd.GeoDataFrame):
            raise self.unreadable("it has no geometry")
        table = frame.drop(columns=frame.geometry.name)
        values = {str(name): table[name].tolist() for name in table.columns}
        return self._rows(np.asarray(frame.geometry, dtype=object), frame.crs, values, 1)

    def batches(self, batch_size: int, after: int = 0) -> Iterator[RowIndex]:
        """The rows after the first `after`, in batches. Needs pyarrow.

        Raises:
            SourceMisconfigured, GeometryError: as `rows`.
        """
        first = after + 1
        tables = self._tables_of_parquet if self._is_parquet else self._tables_of_vector
        for table, crs in self._read(tables(batch_size, after)):
            with self._reading():
                geometries = _geometries(table)
                values = {name: table[name].to_pylist() for name in self._mapped_columns}
            yield self._rows(geometries, crs, values, first)
            first += table.num_rows

    def unreadable(self, why: object) -> SourceMisconfigured:
        """The error for a file that cannot be used as parcels."""
        return SourceMisconfigured(f"{self.path}: cannot be read as parcels: {why}")

    def no_polygons(self) -> SourceMisconfigured:
        """The error if no row has a polygon; every property would get a fallback buffer."""
        return self.unreadable("it has no polygons; check 'path' and 'where' in the registry entry")

    @property
    def _mapped_columns(self) -> list[str]:
        return list(self.fields.columns)

    def _rows(
        self, geometries: NDArray[np.object_], crs: object, values: dict[str, list[Any]], first: int
    ) -> RowIndex:
        lots, repaired = lot_geometries(to_wgs84(geometries, self._crs(crs)))
        return RowIndex(lots, self.fields, values, first, repaired)

    def _crs(self, file_crs: object) -> CRS:
        if file_crs is not None:
            return horizontal(CRS.from_user_input(file_crs))
        if self._county.crs is not None:
            return horizontal(CRS.from_user_input(self._county.crs))
        raise GeometryError(
            f"{self.path}: the file has no CRS; set 'crs:' of county {self._county.key!r} in "
            "the registry, for example crs: EPSG:4326"
        )

    def _columns_of_vector(self) -> list[str]:
        refuse_external_references(self.path)
        with self._reading():
            layers = pyogrio.list_layers(self.path)
            names = [str(name) for name, kind in layers if _may_hold_polygons(kind)]
            if len(names) != 1:
                raise self.unreadable(
                    f"it has {len(names)} polygon layers ({', '.join(names) or 'none'}), but needs "
                    "exactly one; save the parcels as a separate file"
                )
            self._layer = names[0]
            return [str(name) for name in pyogrio.read_info(self.path, layer=self._layer)["fields"]]

    def _columns_of_parquet(self) -> list[str]:
        if self._county.where is not None:
            raise SourceMisconfigured(
                f"{self.path}: 'where' does not work with GeoParquet; filter the file, or save it "
                "as a GeoPackage"
            )
        try:
            # An optional dependency: only GeoParquet needs it.
            from pyarrow import parquet
        except ImportError:
            raise self.unreadable("GeoParquet needs pyarrow; run: pip install pyarrow") from None
        with self._reading():
            schema = parquet.read_schema(self.path)
            self._geo = _geoparquet(schema.metadata or {})
            return [name for name in schema.names if name != "geometry"]

    def _parquet_columns(self) -> list[str]:
        return [str(self._geo["primary_column"]), *self._mapped_columns]

    def _read(self, tables: Iterator[_Table]) -> Iterator[_Table]:
        with self._reading():
            yield from tables

    def _tables_of_vector(self, batch_size: int, after: int) -> Iterator[_Table]:
        import pyarrow as pa

        with pyogrio.open_arrow(
            self.path,
            layer=self._layer,
            columns=self._mapped_columns,
            where=self._county.where,
            skip_features=after,
            batch_size=batch_size,
            use_pyarrow=True,
        ) as (info, batches):
            name = info["geometry_name"] or "wkb_geometry"
            for batch in batches:
                yield _with_encoding(pa.Table.from_batches([batch]), name, "wkb"), info["crs"]

    def _tables_of_parquet(self, batch_size: int, after: int) -> Iterator[_Table]:
        import pyarrow as pa
        from pyarrow import parquet

        name = str(self._geo["primary_column"])
        column = self._geo["columns"][name]
        skip = after
        with parquet.ParquetFile(self.path) as file:
            for batch in file.iter_batches(batch_size, columns=self._parquet_columns()):
                remaining = batch.slice(skip)
                skip = max(0, skip - batch.num_rows)
                if remaining.num_rows:
                    table = pa.Table.from_batches([remaining])
                    yield (
                        _with_encoding(table, name, column["encoding"]),
                        column.get("crs", _LON_LAT),
                    )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (
            pyogrio.errors.DataSourceError,
            pyogrio.errors.DataLayerError,
            shapely.GEOSException,
            ValueError,  # includes most errors of Arrow
            OSError,
            NotImplementedError,
        ) as error:
            raise self.unreadable(error) from error
        except (TypeError, KeyError, AttributeError) as error:
            # geopandas raises one of these for metadata that are JSON but not valid GeoParquet.
            raise self.unreadable(f"its GeoParquet metadata are not valid ({error!r})") from error


def parcel_file_path(county: County) -> Path:
    """The path of a county's file.

    Raises:
        SourceMisconfigured: it has no path, or the file does not exist.
    """
    if county.path is None:
        raise SourceMisconfigured(f"county {county.key!r} has no 'path'")
    if not county.path.exists():
        raise SourceMisconfigured(
            f"{county.path}: no such file; correct 'path' of county {county.key!r} in the registry"
        )
    return county.path


def _with_encoding(table: pa.Table, geometry: str, encoding: str) -> pa.Table:
    """The table with its geometry column marked with its encoding for geopandas."""
    index = table.schema.get_field_index(geometry)
    extension = {"ARROW:extension:name": f"geoarrow.{encoding.lower()}"}
    field = table.schema.field(index).with_metadata(extension)
    return table.set_column(index, field, table.column(index))


def _geometries(table: pa.Table) -> NDArray[np.object_]:
    return np.asarray(gpd.GeoDataFrame.from_arrow(table).geometry, dtype=object)


def _may_hold_polygons(kind: str | None) -> bool:
    return kind is not None and ("Polygon" in kind or kind in ("Unknown", "GeometryCollection"))


def _geoparquet(metadata: dict[bytes, bytes]) -> dict[str, Any]:
    if b"geo" not in metadata:
        raise ValueError("it has no GeoParquet metadata")
    geo: dict[str, Any] = json.loads(metadata[b"geo"])
    _ = geo["primary_column"], geo["columns"]  # a KeyError means invalid metadata
    return geo
