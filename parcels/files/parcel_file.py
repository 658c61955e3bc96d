"""ParcelFile: an open parcel file: its layer, its columns, its CRS and its rows."""

from __future__ import annotations

import csv
import logging
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from parcels.column_mapping import resolve_columns
from parcels.crs import WGS84, horizontal, to_wgs84
from parcels.crs_definition import crs_of_data
from parcels.errors import GeometryError, SourceMisconfigured
from parcels.files.csv_table import CsvTable
from parcels.files.dataset import find_datasets
from parcels.files.esri_json_table import EsriJsonTable
from parcels.files.file_columns import FileColumns
from parcels.files.gdal_table import GdalTable
from parcels.files.geojson_table import GeoJsonTable
from parcels.files.layer_choice import FileLayer, choose_layer
from parcels.files.missing_polygons import MissingPolygons
from parcels.files.off_earth import OffEarth
from parcels.files.parquet_table import ParquetTable
from parcels.files.ring_arrays import rebuilt_even_odd
from parcels.files.row_index import RowIndex
from parcels.files.table_reader import RawRows, TableReader
from parcels.files.text_values import Texts
from parcels.id_column import usable_ids
from parcels.parcel_source import lot_geometries
from parcels.plausibility import check_plausibility, suggest_crs
from parcels.registry.county import County
from parcels.untrusted import printable, sanitize_text

log = logging.getLogger(__name__)

# Rows in which a guessed column must have a value.
_SAMPLE_ROWS = 1_000
# Texts that GDAL's and GEOS' wrappers print as bytes: b'…'.
_BYTES = re.compile(r"\bb(['\"])(.*?)\1")
# Rows of one read if all are read.
_ROWS_AT_ONCE = 65_536
# Lots of each read, and reads, of which the plausibility is checked.
_SAMPLE_LOTS, _MAX_SAMPLES = 500, 20
_NONE = np.empty(0, dtype=object)


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
        with self._reading():
            self._layer = choose_layer(find_datasets(self.path), county.layer, county.encoding)
            self._table = self._open_table(self._layer)
        self.columns = self._table.columns
        self._start_counting()
        mapped = resolve_columns(
            county.fields, self.columns, str(self.path), self._table.notes.aliases
        )
        self._columns = FileColumns(mapped, self.columns, str(self.path), self._id_sample)
        self.fields = self._columns.fields

    def count(self) -> int:
        """The number of rows of the layer, before the `where` filter."""
        with self._reading():
            return self._table.count()

    def rows(self) -> RowIndex:
        """All rows.

        Raises:
            SourceMisconfigured: it cannot be read.
            GeometryError: it has no CRS.
        """
        return RowIndex.joined(list(self.batches(_ROWS_AT_ONCE)), self.fields)

    def batches(self, batch_size: int, after: int = 0) -> Iterator[RowIndex]:
        """The rows after the first `after`, in batches.

        Raises:
            SourceMisconfigured, GeometryError: as `rows`.
        """
        first = after + 1
        self._start_counting()
        with self._reading():
            crs = self.crs
            for rows in self._table.batches(self._columns.requested, batch_size, after, crs):
                yield self._indexed(rows, first)
                first += len(rows)
        if not after and first > 1:
            self._check_parcel_ids()
        self._report_left_out()

    @cached_property
    def crs(self) -> CRS:
        """The horizontal CRS of the coordinates: that of the entry, else that of the file.

        Raises:
            GeometryError: neither has one.
        """
        own, given = self._own_crs(), self._county.crs
        if given is not None:
            crs = horizontal(CRS.from_user_input(given))
            if own is not None and not crs.equals(own, ignore_axis_order=True):
                log.warning("%s: 'crs: %s' replaces the file's CRS, %s", self.path, given, own.name)
            what = f"'crs: {given}'"
        elif own is not None:
            crs, what = own, f"the file's CRS ({own.name})"
        else:
            raise self._crs_error("the file has no CRS")
        if crs.source_crs is None and crs.geodetic_crs is None:
            raise self._crs_error(f"{what} is a local one, with no place on Earth")
        return crs

    def _crs_error(self, why: str) -> GeometryError:
        return GeometryError(
            f"{self.path}: {why}; set 'crs:' of county {self._county.key!r} in the registry, for "
            "example crs: EPSG:4326"
        )

    def unreadable(self, why: object) -> SourceMisconfigured:
        """The error for a file that cannot be used as parcels."""
        reason = " ".join(printable(str(why)).split())
        return SourceMisconfigured(f"{self.path}: cannot be read as parcels: {reason}")

    def no_polygons(self) -> SourceMisconfigured:
        """The error if no row has a polygon; every property would get a fallback buffer."""
        if self._off_earth_warning is not None:
            return SourceMisconfigured(self._off_earth_warning)
        return self.unreadable("it has no polygons; check 'path' and 'where' in the registry entry")

    def warnings(self, lots: NDArray[np.object_] | None = None) -> tuple[str, ...]:
        """What is not plausible about these lots (n,); by default, about those read so far.

        Raises:
            GeometryError: it has no CRS.
        """
        sample = np.concatenate([_NONE, *self._sample]) if lots is None else lots
        found = check_plausibility(self._county, sample, self.crs)
        return (*filter(None, [self._off_earth_warning]), *found)

    @property
    def _off_earth_warning(self) -> str | None:
        """The warning about lots read so far that are not on Earth; None if there are none."""
        if not self._off_earth.rows:
            return None
        example = self._off_earth.example
        why = self._off_earth.explanation(
            self.crs,
            is_of_entry=self._county.crs is not None,
            fitting=None if example is None else suggest_crs(self._county, *example),
        )
        return f"{self.path}: {why}"

    def _start_counting(self) -> None:
        """Forget what an earlier reading counted."""
        self._off_earth, self._missing = OffEarth(), MissingPolygons()
        self._sample: list[NDArray[np.object_]] = []
        self._table.decoder.undecodable = self._table.decoder.rounded = 0

    def _indexed(self, rows: RawRows, first: int) -> RowIndex:
        degrees = to_wgs84(rows.geometries, self.crs)
        self._off_earth.add(rows.geometries, degrees)
        rebuild = rebuilt_even_odd if rows.has_unordered_rings else None
        lots, repaired = lot_geometries(degrees, rebuild)
        self._sample.append(lots[:: max(1, len(lots) // _SAMPLE_LOTS)])
        if len(self._sample) > _MAX_SAMPLES:
            self._sample = self._sample[::2]
        values = self._columns.merge(rows.values)
        parcel_type = self.fields.parcel_type or ""
        if codes := self._table.notes.coded_values.get(parcel_type):
            values[parcel_type] = [codes.get(code or "", code) for code in values[parcel_type]]
        self._missing.add(lots, values.get(self.fields.parcel_id or ""), first)
        return RowIndex(lots, self.fields, values, first, repaired)

    def _id_sample(self, names: Sequence[str]) -> dict[str, Texts]:
        """The columns' values in the first rows that have an id in any of them; else empty."""
        sample: dict[str, Texts] = {}
        with self._reading():
            for rows in self._table.batches(names, _SAMPLE_ROWS, 0, WGS84):
                if any(usable_ids(values) for values in rows.values.values()):
                    sample = rows.values
                    break
        # These rows are read and counted again.
        self._table.decoder.undecodable = self._table.decoder.rounded = 0
        return sample

    def _check_parcel_ids(self) -> None:
        """
        Raises:
            SourceMisconfigured: the mapped column has no id in any row: no lot would be found.
        """
        if self._county.fields.parcel_id is not None and not self._columns.id_was_seen:
            raise SourceMisconfigured(
                f"{self.path}: the column {self.fields.parcel_id!r} has no parcel id: it is empty, "
                "a rounded number or a placeholder in every row; correct 'parcel_id' under "
                f"'fields' in the registry entry. The columns are {', '.join(self.columns)}"
            )

    def _own_crs(self) -> CRS | None:
        declared = self._table.crs
        if declared is None:
            return None
        try:
            return crs_of_data(declared)
        except CRSError:
            shown = sanitize_text(declared, 200)
            log.warning("%s: the CRS of the file is not known: %s", self.path, shown)
            return None

    def _open_table(self, layer: FileLayer) -> TableReader:
        county = self._county
        dataset, where, encoding = layer.dataset, county.where, county.encoding
        if layer.kind == "parquet":
            if where is not None:
                raise SourceMisconfigured(
                    f"{self.path}: 'where' does not work with GeoParquet; filter the file, or "
                    "save it as a GeoPackage"
                )
            return ParquetTable(dataset, encoding)
        if layer.kind == "csv":
            return CsvTable(dataset, where, encoding)
        if layer.kind == "geojson":
            return GeoJsonTable(dataset, where, encoding)
        if layer.kind == "esri":
            return EsriJsonTable(dataset, where, encoding)
        if layer.source is None:
            raise TypeError(f"a layer of kind {layer.kind} has no reader")
        return GdalTable(dataset, layer.source, layer.name, where, encoding)

    def _report_left_out(self) -> None:
        missing = self._missing.warning(self._off_earth.rows)
        if missing is not None:
            log.warning("%s: %s", self.path, missing)
        decoder = self._table.decoder
        if decoder.rounded:
            log.warning(
                "%s: %d numbers have more than 15 digits (7 in single precision) but are stored as "
                "floats, so they are not exact and were left out; save that column as text or "
                "integers",
                self.path, decoder.rounded,
            )  # fmt: skip
        if decoder.undecodable:
            log.warning(
                "%s: %d values are not valid %s; they were read as Windows-1252, or left out. Set "
                "'encoding:' of county %r in the registry, for example encoding: cp1252",
                self.path, decoder.undecodable, decoder.declared or "text", self._county.key,
            )  # fmt: skip

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (SystemError, OverflowError, RecursionError, UnicodeDecodeError) as error:
            # Sizes and texts in a damaged file that GDAL and Arrow believe.
            raise self.unreadable(f"it is damaged ({error}); download it again") from error
        except (
            RuntimeError,  # includes the errors of GDAL
            shapely.GEOSException,
            ValueError,  # includes most errors of Arrow
            csv.Error,
            zipfile.BadZipFile,
            zlib.error,
            OSError,
            NotImplementedError,
            MemoryError,
        ) as error:
            raise self.unreadable(_BYTES.sub(r"\2", str(error))) from error
        except (TypeError, LookupError, AttributeError) as error:
            # For example GeoParquet metadata that are JSON but do not follow the specification.
            raise self.unreadable(
                f"its content does not follow its format ({error!r}); save it as a GeoPackage"
            ) from error


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
