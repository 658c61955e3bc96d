"""GeoArrow arrays (nested lists of coordinates) -> shapely polygons."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

NATIVE_ENCODINGS = ("polygon", "multipolygon", "point", "linestring", "multipoint",
                    "multilinestring")  # fmt: skip
_KINDS = {
    "polygon": (shapely.GeometryType.POLYGON, 2),
    "multipolygon": (shapely.GeometryType.MULTIPOLYGON, 3),
}


def geometries_from_geoarrow(column: pa.Array, encoding: str) -> NDArray[np.object_]:
    """The polygons (n,) of a native encoding, coordinates separated or interleaved.

    None for nulls, and for points and lines.
    """
    found = np.full(len(column), None, dtype=object)
    if encoding not in _KINDS or not len(column):
        return found
    kind, levels = _KINDS[encoding]
    is_null = np.asarray(column.is_null())
    offsets: list[NDArray[np.int64]] = []
    for _ in range(levels):
        lengths = np.asarray(pc.fill_null(pc.list_value_length(column), 0), dtype=np.int64)
        offsets.append(np.concatenate([[0], np.cumsum(lengths)]))
        column = column.flatten()
    made = shapely.from_ragged_array(kind, _coordinates(column), tuple(reversed(offsets)))
    found[~is_null] = made[~is_null]
    return found


def _coordinates(column: pa.Array) -> NDArray[np.float64]:
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_struct(column.type):
        axes = [column.field(name) for name in ("x", "y")]
        return np.column_stack([np.asarray(axis, dtype=np.float64) for axis in axes])
    size = column.type.list_size
    return np.asarray(column.flatten(), dtype=np.float64).reshape(-1, size)[:, :2].copy()
