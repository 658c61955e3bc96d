"""Parcels of a file: any vector that GDAL reads, or GeoParquet, with an R-tree."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import geopandas as gpd
import numpy as np
import pyogrio
import pyogrio.errors
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from shapely import Point

from parcels.addresses.streetaddress import StreetAddress
from parcels.county import County
from parcels.crs import horizontal, to_wgs84
from parcels.errors import GeometryError, ParcelsError, SourceMisconfigured
from parcels.fieldnames import as_written, choose_parcel_id, no_addresses, no_parcel_id
from parcels.files.rows import Rows
from parcels.files.selfcontained import check_self_contained
from parcels.measure import on_earth
from parcels.source import Extent, Found, Hit, lot_geometry

_PARQUET = (".parquet", ".geoparquet")


class FileSource:
    """The parcels of a county's file, read once, on the first question.

    Attributes (after the first question, by `check`):
        repaired: how many invalid geometries were mended.
        dropped: how many rows have no geometry that could be mended; they are found by id only.
    """

    def __init__(self, county: County) -> None:
        if county.path is None:
            raise SourceMisconfigured(f"county {county.key!r} has no 'path'")
        self.path = county.path
        self._county = county
        self.repaired = 0
        self.dropped = 0
        self._columns: list[str] = []
        self._fields = county.fields

    def check(self) -> None:
        """Read the file.

        Raises:
            SourceMisconfigured: there is no such file, it cannot be read, or a column is missing.
            GeometryError: it says no CRS.
        """
        _ = self._rows

    def extent(self) -> Extent | None:
        """(west, south, east, north) in degrees of all parcels."""
        bounds = shapely.total_bounds(self._rows.geometries)
        west, south, east, north = (float(value) for value in bounds)
        return west, south, east, north

    def with_ids(self, parcel_ids: Sequence[str]) -> list[Found | ParcelsError]:
        """The rows with exactly these ids.

        Raises:
            SourceMisconfigured: also where no column of ids is known.
        """
        rows = self._rows
        if self._fields.parcel_id is None:
            raise no_parcel_id(self._columns, str(self.path))
        return [self._found(rows.with_id(parcel_id)) for parcel_id in parcel_ids]

    def at_points(self, points: Sequence[Point]) -> list[Found | ParcelsError]:
        """The rows that contain or touch these EPSG:4326 points."""
        return [self._found(rows) for rows in self._rows.at_points(points)]

    def near_points(self, points: Sequence[Point], distance_m: float) -> list[Found | ParcelsError]:
        """The rows within `distance_m` metres of these EPSG:4326 points."""
        return [self._found(self._rows.near_point(point, distance_m)) for point in points]

    def with_addresses(self, addresses: Sequence[StreetAddress]) -> list[Found | ParcelsError]:
        """The rows that may have these addresses.

        Raises:
            SourceMisconfigured: also where no columns of addresses are mapped.
        """
        rows = self._rows
        if not self._county.fields.has_addresses:
            raise no_addresses(self._columns, str(self.path))
        return [self._found(rows.with_address(address)) for address in addresses]

    def every_hit(self) -> Iterator[Hit]:
        """Every row of the file, one at a time."""
        return self._rows.every_hit()

    def _found(self, rows: Iterable[int]) -> Found:
        return Found(tuple(self._rows.hit(row) for row in sorted(rows)), str(self.path))

    @cached_property
    def _rows(self) -> Rows:
        if not self.path.exists():
            raise SourceMisconfigured(
                f"{self.path}: there is no such file; correct 'path' of county "
                f"{self._county.key!r} in the registry"
            )
        parquet = self.path.suffix.lower() in _PARQUET
        frame = self._read_parquet() if parquet else self._read_vector()
        wgs84 = to_wgs84(np.asarray(frame.geometry, dtype=object), self._crs(frame.crs))
        geometries = self._valid(wgs84)
        if self.dropped == len(geometries):
            # Else every property would get a buffer, as though the county had no lots.
            raise self._unreadable("it has no polygons; check 'path', and 'where' if there is one")
        table = frame.drop(columns=frame.geometry.name)
        values = {str(name): table[name].tolist() for name in table.columns}
        return Rows(geometries, self._fields, values)

    def _crs(self, of_file: object) -> CRS:
        if of_file is not None:
            return horizontal(CRS.from_user_input(of_file))
        if self._county.crs is not None:
            return horizontal(CRS.from_user_input(self._county.crs))
        raise GeometryError(
            f"{self.path}: the file says no CRS; set 'crs:' of county {self._county.key!r} in "
            "the registry, for example crs: EPSG:4326"
        )

    def _read_vector(self) -> gpd.GeoDataFrame:
        check_self_contained(self.path)
        try:
            layer = self._polygon_layer()
            names = list(pyogrio.read_info(self.path, layer=layer)["fields"])
            columns = self._choose_columns(names)
            frame = pyogrio.read_dataframe(
                self.path, layer=layer, columns=columns, where=self._county.where
            )
        except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, ValueError) as error:
            raise self._unreadable(error) from error
        if not isinstance(frame, gpd.GeoDataFrame):
            raise self._unreadable("it has no geometry")
        return frame

    def _choose_columns(self, names: list[str]) -> list[str]:
        """The mapped columns as the file writes them, that of the parcel ids first."""
        where, mapped = str(self.path), self._county.fields
        self._columns = names
        parcel_id = choose_parcel_id(mapped.parcel_id, names, where)
        self._fields = as_written(mapped.model_copy(update={"parcel_id": parcel_id}), names, where)
        return list(self._fields.columns)

    def _polygon_layer(self) -> str:
        layers = pyogrio.list_layers(self.path)
        names = [str(name) for name, kind in layers if _may_hold_polygons(kind)]
        if len(names) == 1:
            return names[0]
        raise self._unreadable(
            f"it has {len(names)} layers of polygons ({', '.join(names) or 'none'}); "
            "one is needed: save the parcels as a file of their own"
        )

    def _read_parquet(self) -> gpd.GeoDataFrame:
        if self._county.where is not None:
            raise SourceMisconfigured(
                f"{self.path}: 'where' cannot be used with GeoParquet; filter the file, or save "
                "it as a GeoPackage"
            )
        try:
            # Not among the dependencies of `parcels`: only GeoParquet needs it.
            from pyarrow import ArrowException, parquet
        except ImportError:
            raise self._unreadable("GeoParquet needs pyarrow: pip install pyarrow") from None
        try:
            schema = parquet.read_schema(self.path)
            names = [name for name in schema.names if name != "geometry"]
            columns = [_primary_geometry(schema.metadata or {}), *self._choose_columns(names)]
            return gpd.read_parquet(self.path, columns=columns)
        except (ArrowException, shapely.GEOSException, ValueError, OSError) as error:
            raise self._unreadable(error) from error
        except (TypeError, KeyError, AttributeError) as error:
            # Metadata that are JSON, but not GeoParquet's, end geopandas in one of these.
            raise self._unreadable(f"its GeoParquet metadata are broken ({error!r})") from error

    def _unreadable(self, why: object) -> SourceMisconfigured:
        return SourceMisconfigured(f"{self.path}: cannot be read as parcels: {why}")

    def _valid(self, geometries: NDArray[np.object_]) -> NDArray[np.object_]:
        polygons = on_earth(geometries) & np.isin(shapely.get_type_id(geometries), (3, 6))
        good = polygons & shapely.is_valid(geometries)
        mended = geometries.copy()
        for i in np.flatnonzero(~good):
            mended[i] = lot_geometry(geometries[i])
        self.dropped = int(shapely.is_missing(mended).sum())
        self.repaired = int((~good).sum()) - self.dropped
        return mended


def _may_hold_polygons(kind: str | None) -> bool:
    return kind is not None and ("Polygon" in kind or kind in ("Unknown", "GeometryCollection"))


def _primary_geometry(metadata: dict[bytes, bytes]) -> str:
    if b"geo" not in metadata:
        raise ValueError("it has no GeoParquet metadata")
    return str(json.loads(metadata[b"geo"])["primary_column"])
