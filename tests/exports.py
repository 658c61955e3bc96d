"""Synthetic rows for export tests, and a check against the GeoParquet specification."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import shapely
from pyproj import CRS

from pipeline.export.columns import Column, Table
from pipeline.store.reads.row_cursors import ColumnArrays

SIDES = ("xmin", "ymin", "xmax", "ymax")
TABLE = Table(
    "places",
    "synthetic squares",
    (
        Column("name", "text", "", "What it is called."),
        Column("number", "integer", "", "Which it is."),
        Column("area_m2", "number", "m²", "How large it is."),
        Column("synthetic", "flag", "", "That it is."),
        Column("geometry", "polygons", "EPSG:4326", "Where it is."),
    ),
)


def squares(count: int, first: int = 0) -> ColumnArrays:
    """Squares in a row from west to east, each a thousandth of a degree wide."""
    west = -90 + np.arange(first, first + count) / 1000
    shapes = [shapely.MultiPolygon([shape]) for shape in shapely.box(west, 35, west + 5e-4, 35.01)]
    return places([f"s{i}" for i in range(first, first + count)], shapes)


def places(
    names: Sequence[str | None], shapes: Sequence[shapely.MultiPolygon | None]
) -> ColumnArrays:
    """Rows of TABLE with these names and geometries."""
    return {
        "name": list(names),
        "number": list(range(len(names))),
        "area_m2": [1.5] * len(names),
        "synthetic": [True] * len(names),
        "geometry": [None if shape is None else shapely.to_wkb(shape) for shape in shapes],
    }


def check_geoparquet(path: Path) -> dict[str, Any]:
    """Assert that a file follows GeoParquet 1.1; returns the metadata of the geometry column.

    https://geoparquet.org/releases/v1.1.0/
    """
    file = pq.ParquetFile(path)
    geo = json.loads(file.metadata.metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    assert geo["primary_column"] == "geometry"
    assert list(geo["columns"]) == ["geometry"]
    metadata: dict[str, Any] = geo["columns"]["geometry"]
    assert metadata["encoding"] == "WKB"
    assert metadata["geometry_types"] == ["MultiPolygon"]
    crs = CRS.from_json_dict(metadata["crs"])
    assert metadata["crs"]["$schema"].endswith("projjson.schema.json")
    assert crs.to_epsg() == 4326
    assert metadata["covering"] == {"bbox": {side: ["bbox", side] for side in SIDES}}
    assert metadata.keys() <= {"encoding", "geometry_types", "crs", "covering", "bbox"}

    table = file.read()
    assert str(table.schema.field("geometry").type) == "binary"
    shapes = shapely.from_wkb(table["geometry"].to_numpy(zero_copy_only=False))
    types = {shapely.GeometryType(i).name for i in np.unique(shapely.get_type_id(shapes)) if i >= 0}
    assert types <= {"MULTIPOLYGON"}
    assert not shapely.has_z(shapes).any()
    boxes = table["bbox"].to_pylist()
    for box, bounds in zip(boxes, shapely.bounds(shapes), strict=True):
        if box is None:
            assert np.isnan(bounds).all()
        else:
            assert [box[side] for side in SIDES] == bounds.tolist()
    if "bbox" in metadata:
        assert metadata["bbox"] == shapely.total_bounds(shapes).tolist()
    else:
        assert all(box is None for box in boxes)
    assert max((group["rows"] for group in row_groups(path)), default=0) <= 65_536
    return metadata


def row_groups(path: Path) -> list[dict[str, Any]]:
    """The rows of each row group, and the bounding box in its statistics."""
    footer = pq.ParquetFile(path).metadata
    columns = [footer.schema.column(i).path for i in range(footer.num_columns)]
    places = {side: columns.index(f"bbox.{side}") for side in SIDES}
    groups = []
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        box = {}
        for side, place in places.items():
            statistics = group.column(place).statistics
            if statistics is not None and statistics.has_min_max:
                box[side] = statistics.min if side.endswith("min") else statistics.max
        groups.append({"rows": group.num_rows, **box})
    return groups


def intersecting(path: Path, west: float, south: float, east: float, north: float) -> list[int]:
    """The row groups that a reader has to open for a window."""
    return [
        number
        for number, group in enumerate(row_groups(path))
        if group["xmin"] <= east
        and group["xmax"] >= west
        and group["ymin"] <= north
        and group["ymax"] >= south
    ]
