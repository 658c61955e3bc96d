"""GeoJSON (RFC 7946), a feature a line, written as the rows come."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np
import shapely
from numpy.typing import NDArray

from pipeline.export.columns import Table
from pipeline.store.reads.row_cursors import ColumnArrays

# A tenth of a millimetre.
DECIMALS = 9


def write_geojson(file: BinaryIO, table: Table, chunks: Iterable[ColumnArrays]) -> None:
    """Write a table with geometry, WKB in EPSG:4326, None where a row has none."""
    names = [column.name for column in table.cells]
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    head = encode({"type": "FeatureCollection", "name": table.name})
    file.write(head.encode()[:-1] + b', "features": [')
    between = b"\n"
    for columns in chunks:
        rows = zip(*(columns[name] for name in names), strict=True)
        for row, shape in zip(rows, _shapes(columns["geometry"]), strict=True):
            properties = encode(dict(zip(names, row, strict=True)))
            feature = f'{{"type": "Feature", "properties": {properties}, "geometry": {shape}}}'
            file.write(between + feature.encode())
            between = b",\n"
    file.write(b"\n]}\n")


def _shapes(wkb: list[bytes | None]) -> Iterator[str]:
    """Geometries as GeoJSON, outer rings counterclockwise as the RFC wants them."""
    geometries = shapely.transform(shapely.from_wkb(wkb), _rounded)
    for text in shapely.to_geojson(shapely.orient_polygons(geometries)):
        yield "null" if text is None else text


def _rounded(xy: NDArray[Any]) -> NDArray[Any]:
    return np.round(xy, DECIMALS)
