"""CsvTable: a CSV with a column of WKT or hexadecimal WKB."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence

import numpy as np
from pyproj import CRS

from parcels.esri.curves import chord_tolerance
from parcels.files import gdal_format
from parcels.files.dataset import Dataset
from parcels.files.gdal_source import file_alone
from parcels.files.gdal_table import matching_rows
from parcels.files.spreadsheet_changes import SpreadsheetChanges
from parcels.files.table_reader import NO_NOTES, RawRows
from parcels.files.text_encoding import TextDecoder
from parcels.files.wkt_values import geometries_from_texts, looks_like_polygon, srid_of

_DELIMITERS = ",;\t|"
# Names of the geometry column, the most common first; then any column with WKT.
_NAMES = ("wkt", "geom", "geometry", "the_geom", "shape", "wkb_geometry", "geom_wkt", "wkb",
          "geometry_wkt", "multipolygon", "polygon", "geo_shape", "geometrywkt")  # fmt: skip
# The first line of a file of Excel may declare the delimiter.
_SEPARATOR = re.compile(r"\"?sep=(.)\"?\s*$", re.IGNORECASE)
_FORMULA = re.compile(r'\s*="(.*)"\s*', re.DOTALL)
_SAMPLE_ROWS = 1_000
_MAX_FIELD_CHARACTERS = 256 << 20


def csv_has_polygons(dataset: Dataset) -> bool:
    """Whether a CSV has a column of polygons."""
    try:
        CsvTable(dataset, None, None)
    except (ValueError, csv.Error):
        return False
    return True


class CsvTable:
    """See `TableReader`.

    Args:
        where: an SQL filter, which GDAL evaluates.
        encoding: of the registry entry.
    """

    def __init__(self, dataset: Dataset, where: str | None, encoding: str | None) -> None:
        self._dataset, self._where = dataset, where
        self.decoder = TextDecoder(encoding)
        rows = self._records()
        self._names = [_unquoted(name).strip() for name in next(rows, [])]
        sample = list(itertools.islice(rows, _SAMPLE_ROWS))
        self._at = self._geometry_column(sample)
        self.columns = [name for i, name in enumerate(self._names) if i != self._at]
        first = next(
            (row[self._at] for row in sample if len(row) > self._at and row[self._at].strip()), ""
        )
        self.notes = NO_NOTES
        self.crs: object | None = srid_of(first)

    def count(self) -> int:
        """See `TableReader`."""
        return sum(1 for _ in self._records()) - 1

    def batches(
        self, columns: Sequence[str], batch_size: int, after: int, crs: CRS
    ) -> Iterator[RawRows]:
        """See `TableReader`."""
        tolerance = chord_tolerance(crs)
        rows = itertools.islice(
            self._matching(itertools.islice(self._records(), 1, None)), after, None
        )
        changes = SpreadsheetChanges(self._dataset.path)
        while batch := list(itertools.islice(rows, batch_size)):
            texts = [row[self._at] if len(row) > self._at else None for row in batch]
            geometries = geometries_from_texts([text or None for text in texts], tolerance)
            values = {name: self._values(batch, name) for name in columns}
            changes.add(values, texts, geometries)
            yield RawRows(geometries, values)
        changes.log()

    def _values(self, batch: list[list[str]], name: str) -> list[str | None]:
        at, *others = [i for i, each in enumerate(self._names) if each == name]
        if any(self._differ(row, at, other) for other in others for row in batch):
            raise ValueError(
                f"it has {len(others) + 1} different columns named {name!r}; rename one of them"
            )
        return [self.decoder.repair(_unquoted(row[at])) if len(row) > at else None for row in batch]

    @staticmethod
    def _differ(row: list[str], at: int, other: int) -> bool:
        return row[at : at + 1] != row[other : other + 1]

    def _records(self) -> Iterator[list[str]]:
        with self._dataset.open() as raw:
            start = raw.read(4)
            bom = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}.get(start[:2], "utf-8-sig")
        with self._dataset.open() as raw:
            text = io.TextIOWrapper(raw, bom, "surrogateescape", newline="")
            header = text.readline()
            declared = _SEPARATOR.match(header)
            if declared:
                header = text.readline()
            delimiter = declared[1] if declared else max(_DELIMITERS, key=header.count)
            lines = itertools.chain([header], text)
            no_nul = (line.replace("\0", "") for line in lines)
            reader = csv.reader(no_nul, delimiter=delimiter)
            while (row := _next_record(reader)) is not None:
                if row:
                    yield row

    def _geometry_column(self, sample: list[list[str]]) -> int:
        with_polygons = [
            i
            for i in range(len(self._names))
            if any(looks_like_polygon(row[i]) for row in sample if len(row) > i)
        ]
        ranks = {name: rank for rank, name in enumerate(_NAMES)}
        if not with_polygons:
            names = ", ".join(self._names[:10]) or "none"
            raise ValueError(
                "it has 0 polygon layers: a CSV needs a column of WKT polygons, and its columns "
                f"are {names}"
            )
        return min(with_polygons, key=lambda i: ranks.get(self._names[i].lower(), len(_NAMES)))

    def _matching(self, rows: Iterator[list[str]]) -> Iterator[list[str]]:
        if self._where is None:
            return rows
        # GDAL knows a CSV by its suffix.
        source = file_alone(self._dataset, gdal_format.CSV)
        keep = matching_rows(source, self._dataset.stem, self._where)
        if len(keep) != self.count():
            raise ValueError("'where' cannot be evaluated for this file; save it as a GeoPackage")
        return itertools.compress(rows, np.asarray(keep).tolist())


def _unquoted(cell: str) -> str:
    """The text in ="…", with which spreadsheets are told to keep a text."""
    match = _FORMULA.fullmatch(cell)
    return match[1].replace('""', '"') if match else cell


def _next_record(reader: Iterator[list[str]]) -> list[str] | None:
    """The next row, with long polygons; the limit is the process's, so it is restored."""
    limit = csv.field_size_limit(_MAX_FIELD_CHARACTERS)
    try:
        return next(reader, None)
    finally:
        csv.field_size_limit(limit)
