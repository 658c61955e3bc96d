"""GeoJSON (RFC 7946), streamed, one feature per line."""

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
    """Write a table; geometries are WKB in EPSG:4326 or None."""
    names = [column.name for column in table.cells]
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    # A foreign member (RFC 7946, section 6.1): readers that do not know it ignore it.
    caveats = {"caveats": table.caveats} if table.caveats else {}
    head = encode({"type": "FeatureCollection", "name": table.name, **caveats})
    file.write(head.encode()[:-1] + b', "features": [')
    separator = b"\n"
    for columns in chunks:
        rows = zip(*(columns[name] for name in names), strict=True)
        for row, geometry in zip(rows, _geojson_geometries(columns["geometry"]), strict=True):
            properties = encode(dict(zip(names, row, strict=True)))
            feature = f'{{"type": "Feature", "properties": {properties}, "geometry": {geometry}}}'
            file.write(separator + feature.encode())
            separator = b",\n"
    file.write(b"\n]}\n")


def _geojson_geometries(wkb: list[bytes | None]) -> Iterator[str]:
    """Geometries as GeoJSON, outer rings counterclockwise as RFC 7946 requires."""
    geometries = shapely.transform(shapely.from_wkb(wkb), _rounded)
    for text in shapely.to_geojson(shapely.orient_polygons(geometries)):
        yield "null" if text is None else text


def _rounded(xy: NDArray[Any]) -> NDArray[Any]:
    return np.round(xy, DECIMALS)
