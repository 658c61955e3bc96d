"""GeoParquet 1.1, written as the rows come.

A row group ends at `GROUP_ROWS` rows or `GROUP_BYTES`, so that what waits in memory is bounded
whatever the outlines look like. Each row has the box of its geometry beside it (the `covering`
of the specification): readers skip the row groups that lie elsewhere, and rows that come in
spatial order make those many. https://geoparquet.org/releases/v1.1.0/
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from pipeline.export.columns import BOX, Column, Table
from pipeline.store.reads.row_cursors import ColumnArrays

GROUP_ROWS = 32_768
GROUP_BYTES = 32 * 2**20

_SIDES = ("xmin", "ymin", "xmax", "ymax")
_BOX = pa.struct([(side, pa.float64()) for side in _SIDES])
_TYPES = {
    "text": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "flag": pa.bool_(),
    "polygons": pa.binary(),
    "box": _BOX,
}


def write_geoparquet(
    file: BinaryIO, table: Table, chunks: Iterable[ColumnArrays], group_rows: int = GROUP_ROWS
) -> None:
    """Write a table with geometry, WKB in EPSG:4326, None where a row has none."""
    schema = pa.schema([*map(_field, table.columns), _field(BOX)])
    sortable = [column.name for column in table.cells]
    writer = pq.ParquetWriter(
        file,
        schema,
        compression="zstd",
        # Outlines never repeat, and the smallest of their bytes says nothing.
        use_dictionary=sortable,
        write_statistics=[*sortable, *(f"{BOX.name}.{side}" for side in _SIDES)],
    )
    extent = np.full(4, np.nan)
    try:
        for group in _groups((_batch(columns, schema) for columns in chunks), group_rows):
            extent = _grown(extent, group[BOX.name])
            writer.write_table(group, row_group_size=group_rows)
        writer.add_key_value_metadata({"geo": json.dumps(_geo(extent))})
        writer.close()
    finally:
        # Where the file could not be written, the end of it could not be either: the writer is
        # not to try when it is thrown away.
        writer.is_open = False


def _groups(batches: Iterable[pa.RecordBatch], group_rows: int) -> Iterator[pa.Table]:
    """Batches together, until they are a row group."""
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if rows >= group_rows or size >= GROUP_BYTES:
            yield pa.Table.from_batches(waiting)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield pa.Table.from_batches(waiting)


def _batch(columns: ColumnArrays, schema: pa.Schema) -> pa.RecordBatch:
    boxes = shapely.bounds(shapely.from_wkb(columns["geometry"]))
    missing = np.isnan(boxes[:, 0])
    sides = [pa.array(boxes[:, i], mask=missing) for i in range(len(_SIDES))]
    box = pa.StructArray.from_arrays(sides, fields=list(_BOX), mask=pa.array(missing))
    arrays = [
        pa.array(columns[field.name], field.type) for field in schema if field.name != BOX.name
    ]
    return pa.RecordBatch.from_arrays([*arrays, box], schema=schema)


def _field(column: Column) -> pa.Field:
    return pa.field(column.name, _TYPES[column.kind])


def _grown(extent: NDArray[np.float64], boxes: pa.ChunkedArray) -> NDArray[np.float64]:
    """The box round an extent and boxes; NaN where there is nothing yet."""
    lowest = [pc.min(pc.struct_field(boxes, side)).as_py() for side in _SIDES[:2]]
    highest = [pc.max(pc.struct_field(boxes, side)).as_py() for side in _SIDES[2:]]
    found = np.array([*lowest, *highest], dtype=float)
    return np.concatenate([np.fmin(extent[:2], found[:2]), np.fmax(extent[2:], found[2:])])


def _geo(extent: NDArray[np.float64]) -> dict[str, Any]:
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": ["MultiPolygon"],
        "crs": CRS.from_epsg(4326).to_json_dict(),
        "covering": {"bbox": {side: [BOX.name, side] for side in _SIDES}},
    }
    if not np.isnan(extent).any():
        column["bbox"] = extent.tolist()
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
