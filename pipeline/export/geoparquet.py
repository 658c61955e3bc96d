"""GeoParquet 1.1, streamed. The key `lotline` of the metadata has the caveats of a table.

A row group ends at `GROUP_ROWS` rows or `GROUP_BYTES`, so that buffered rows are bounded whatever
the outlines look like. Each row has the bounding box of its geometry (the `covering` of the
specification): readers skip row groups outside a window, and more of them when rows are in spatial
order. https://geoparquet.org/releases/v1.1.0/
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
    """Write a table; geometries are WKB in EPSG:4326 or None."""
    schema = pa.schema([*map(_field, table.columns), _field(BOX)])
    sortable = [column.name for column in table.cells]
    writer = pq.ParquetWriter(
        file,
        schema,
        compression="zstd",
        # Geometries never repeat, and byte statistics of WKB are useless.
        use_dictionary=sortable,
        write_statistics=[*sortable, *(f"{BOX.name}.{side}" for side in _SIDES)],
    )
    extent = np.full(4, np.nan)
    try:
        for group in _groups((_batch(columns, schema) for columns in chunks), group_rows):
            extent = _extend(extent, group[BOX.name])
            writer.write_table(group, row_group_size=group_rows)
        metadata = {"geo": json.dumps(_geo_metadata(extent))}
        if table.caveats:
            metadata["lotline"] = json.dumps({"caveats": table.caveats}, ensure_ascii=False)
        writer.add_key_value_metadata(metadata)
        writer.close()
    finally:
        # After a failed write the footer cannot be written either: stop the writer from trying
        # when it is garbage collected.
        writer.is_open = False


def _groups(batches: Iterable[pa.RecordBatch], group_rows: int) -> Iterator[pa.Table]:
    """Concatenate batches into row groups."""
    pending: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        pending.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if rows >= group_rows or size >= GROUP_BYTES:
            yield pa.Table.from_batches(pending)
            pending, rows, size = [], 0, 0
    if pending:
        yield pa.Table.from_batches(pending)


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


def _extend(extent: NDArray[np.float64], boxes: pa.ChunkedArray) -> NDArray[np.float64]:
    """The bounding box of an extent and of boxes; NaN where there is nothing yet."""
    lowest = [pc.min(pc.struct_field(boxes, side)).as_py() for side in _SIDES[:2]]
    highest = [pc.max(pc.struct_field(boxes, side)).as_py() for side in _SIDES[2:]]
    total = np.array([*lowest, *highest], dtype=float)
    return np.concatenate([np.fmin(extent[:2], total[:2]), np.fmax(extent[2:], total[2:])])


def _geo_metadata(extent: NDArray[np.float64]) -> dict[str, Any]:
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": ["MultiPolygon"],
        "crs": CRS.from_epsg(4326).to_json_dict(),
        "covering": {"bbox": {side: [BOX.name, side] for side in _SIDES}},
    }
    if not np.isnan(extent).any():
        column["bbox"] = extent.tolist()
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
