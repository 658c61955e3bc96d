"""GdalTable: a layer of any vector format that GDAL reads, through Arrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyogrio
from numpy.typing import NDArray
from pyproj import CRS

from parcels.esri.curves import chord_tolerance
from parcels.files.column_notes import read_column_notes
from parcels.files.curved_wkb import geometries_from_wkb
from parcels.files.dataset import Dataset
from parcels.files.dbf_numbers import DbfNumbers
from parcels.files.gdal_source import GdalSource
from parcels.files.sqlite_texts import texts_in_number_columns
from parcels.files.table_reader import RawRows
from parcels.files.text_encoding import (
    TextDecoder,
    cpg_encoding,
    cpg_language_driver,
    dbf_legacy_encoding,
)
from parcels.files.text_values import column_texts

_SHAPEFILE = ".shp"


class GdalTable:
    """See `TableReader`.

    Args:
        source: what GDAL opens: see `gdal_source`.
        layer: its name in the dataset.
        where: an SQL filter.
        encoding: of the registry entry.
    """

    def __init__(
        self,
        dataset: Dataset,
        source: GdalSource,
        layer: str,
        where: str | None,
        encoding: str | None,
    ) -> None:
        self._dataset, self._source, self._layer, self._where = dataset, source, layer, where
        self._is_shapefile = dataset.suffix == _SHAPEFILE
        if self._is_shapefile:
            self.decoder = TextDecoder(*_shapefile_encoding(dataset, encoding))
        else:
            self.decoder = TextDecoder.of_utf8_format(encoding)
        with source.opened() as data, self._exact_gml():
            info = pyogrio.read_info(data, layer=layer, **self._recoded(by_values=False))
            self.notes = read_column_notes(dataset.suffix, data, layer)
        self.columns = [str(name) for name in info["fields"]]
        self._types = dict(zip(self.columns, map(str, info["dtypes"]), strict=True))
        self.crs: object | None = info["crs"]

    def _recoded(self, *, by_values: bool) -> dict[str, str]:
        """The option for GDAL to recode a shapefile, from the declared or detected encoding.

        Args:
            by_values: detect it by all values; else by the column names.
        """
        if not self._is_shapefile:
            return {}
        detected = "UTF-8" if self._is_utf8(by_values=by_values) else self.decoder.legacy
        return {"ENCODING": self.decoder.declared or detected}

    def _is_utf8(self, *, by_values: bool) -> bool:
        table = self._dataset.sidecar(".dbf")
        if table is None:
            return True
        with self._dataset.open(table) as file:
            header = file.read(32)
            fields = file.read(max(0, int.from_bytes(header[8:10], "little") - 32))
            names = b"".join(fields[at : at + 11] for at in range(0, len(fields), 32))
            text = names + (file.read() if by_values else b"")
        try:
            text.decode("utf-8")
        except UnicodeDecodeError:
            return False
        return True

    def _recoding(self, columns: Sequence[str]) -> tuple[dict[str, str], TextDecoder]:
        """The options for GDAL, and the decoder of what it then returns.

        A shapefile is read without recoding, so that the decoder gets the bytes. But an SQL filter
        or a column with other letters than ASCII needs GDAL's recoding.
        """
        if not self._is_shapefile:
            return {}, self.decoder
        if all(map(str.isascii, (*columns, self._where or ""))):
            return {"ENCODING": ""}, self.decoder
        return self._recoded(by_values=True), TextDecoder("utf-8")

    def count(self) -> int:
        """See `TableReader`."""
        with self._source.opened() as data:
            info = pyogrio.read_info(data, layer=self._layer, force_feature_count=True)
        return int(info["features"])

    def batches(
        self, columns: Sequence[str], batch_size: int, after: int, crs: CRS
    ) -> Iterator[RawRows]:
        """See `TableReader`."""
        tolerance = chord_tolerance(crs)
        with ExitStack() as opened:
            table = self._dbf_values(opened)
            floats = self._float_columns(columns, table)
            in_sqlite = self._texts_in_sqlite(columns)
            options, decoder = self._recoding(columns)
            with self._source.opened() as data, self._exact_gml():
                info, batches = opened.enter_context(
                    pyogrio.open_arrow(
                        data,
                        layer=self._layer,
                        columns=[*columns, *self._filtered_columns(columns)],
                        where=self._where,
                        skip_features=after,
                        batch_size=batch_size,
                        use_pyarrow=True,
                        return_fids=table is not None or bool(in_sqlite),
                        **options,
                    )
                )
            geometry = info["geometry_name"] or "wkb_geometry"
            while (batch := _next(self._source, batches)) is not None:
                # GDAL's feature id comes first, and a column may have its name.
                at = {name: i for i, name in enumerate(batch.schema.names)}
                values = {
                    name: column_texts(batch.column(at[name]), decoder)
                    for name in columns
                    if name not in floats
                }
                if table is not None or in_sqlite:
                    rows = batch.column(batch.schema.names.index(_fid_column(info))).to_pylist()
                if table is not None:
                    values = {
                        name: table.with_leading_blanks(self.columns.index(name), rows, texts)
                        for name, texts in values.items()
                    }
                    numbers = table.texts([self.columns.index(name) for name in floats], rows)
                    values |= dict(zip(floats, numbers, strict=True))
                for name, texts in in_sqlite.items():
                    as_read = zip(rows, values[name], strict=True)
                    values[name] = [texts.get(row, value) for row, value in as_read]
                lots = geometries_from_wkb(batch.column(geometry).to_pylist(), tolerance)
                yield RawRows(lots, values, has_unordered_rings=self._is_shapefile)

    @contextmanager
    def _exact_gml(self) -> Iterator[None]:
        """Have GDAL read GML as texts, where it would guess numbers, and cut those of 20 digits.

        Not with an SQL filter, which may compare numbers.
        """
        if self._dataset.suffix != ".gml" or self._where is not None:
            yield
            return
        pyogrio.set_gdal_config_options({"GML_FIELDTYPES": "ALWAYS_STRING"})
        try:
            yield
        finally:
            pyogrio.set_gdal_config_options({"GML_FIELDTYPES": None})

    def _texts_in_sqlite(self, columns: Sequence[str]) -> dict[str, dict[int, str]]:
        folder = self._source.folder
        if self._dataset.is_zip and folder is None:
            return {}
        numbers = [name for name in columns if self._types[name].startswith(("int", "float"))]
        path = folder.path if folder else self._dataset.path / self._dataset.member
        return texts_in_number_columns(path, self._layer, numbers)

    def _filtered_columns(self, columns: Sequence[str]) -> list[str]:
        """The other columns that the SQL filter names: GDAL takes what is not read as null."""
        where = (self._where or "").lower()
        return [name for name in self.columns if name.lower() in where and name not in columns]

    def _dbf_values(self, opened: ExitStack) -> DbfNumbers | None:
        """The .dbf of a shapefile; None if its columns are not those that GDAL reads."""
        table = self._dataset.sidecar(".dbf") if self._is_shapefile else None
        if table is None:
            return None
        values = DbfNumbers(self._dataset.open(table))
        opened.callback(values.close)
        return values if len(values) == len(self.columns) else None

    def _float_columns(self, columns: Sequence[str], table: DbfNumbers | None) -> list[str]:
        """The columns of the .dbf whose numbers GDAL reads as floats."""
        if table is None:
            return []
        return [
            name
            for name in columns
            if self._types[name].startswith("float") and table.is_number(self.columns.index(name))
        ]


def matching_rows(source: GdalSource, layer: str | None, where: str) -> NDArray[np.bool_]:
    """Which of a layer's rows (n,) an SQL filter keeps, in file order.

    Args:
        layer: its name; None for the first one.
    """
    every, kept = _fids(source, layer, None), _fids(source, layer, where)
    return np.isin(every, kept)


def _fids(source: GdalSource, layer: str | None, where: str | None) -> NDArray[np.int64]:
    # With all columns: GDAL takes those that are not read as null in the filter.
    options: dict[str, Any] = {"read_geometry": False, "return_fids": True, "use_pyarrow": True}
    fids: list[int] = []
    with (
        source.opened() as data,
        pyogrio.open_arrow(data, layer=layer, where=where, **options) as (info, batches),
    ):
        for batch in batches:
            fids += batch.column(_fid_column(info)).to_pylist()
    return np.asarray(fids, dtype=np.int64)


def _next(source: GdalSource, batches: Any) -> pa.RecordBatch | None:  # noqa: ANN401
    with source.opened():
        return next(iter(batches), None)


def _fid_column(info: dict[str, Any]) -> str:
    return str(info["fid_column"] or "OGC_FID")


def _shapefile_encoding(dataset: Dataset, encoding: str | None) -> tuple[str | None, str]:
    """The declared encoding, if any, and that of a value that is not UTF-8."""
    table, declared = dataset.sidecar(".dbf"), dataset.sidecar(".cpg")
    legacy = dbf_legacy_encoding(0)
    if table is not None:
        with dataset.open(table) as file:
            header = file.read(32)
            legacy = dbf_legacy_encoding(header[29] if len(header) == 32 else 0)
    if encoding is None and declared is not None:
        with dataset.open(declared) as file:
            cpg = file.read(200)
        encoding, driver = cpg_encoding(cpg), cpg_language_driver(cpg)
        if driver is not None:
            legacy = dbf_legacy_encoding(driver)
    return encoding, legacy
