"""Evaluates an SQL filter on a JSON file: GDAL does, on a copy with the attributes alone.

In the file itself, GDAL would follow what a CRS refers to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parcels.files import gdal_format
from parcels.files.dataset import Dataset
from parcels.files.gdal_source import GdalSource
from parcels.files.gdal_table import matching_rows
from parcels.files.json_stream import json_features
from parcels.files.private_folder import PrivateFolder

# What an answer of an ArcGIS server says about its columns.
_OF_ANSWERS = ("displayFieldName", "fieldAliases", "geometryType", "fields", "objectIdFieldName")


def matching_features(
    dataset: Dataset, where: str, other: Mapping[str, Any], *, is_esri: bool
) -> NDArray[np.bool_]:
    """Which of a file's features (n,) an SQL filter keeps, in file order.

    Args:
        other: the members beside the features.

    Raises:
        RuntimeError, ValueError: GDAL cannot evaluate it.
    """
    folder = PrivateFolder(f"{dataset.stem}.json")
    head: dict[str, Any] = {"type": "FeatureCollection"}
    if is_esri:
        head = {name: other[name] for name in _OF_ANSWERS if name in other}
    reduced = _esri_feature if is_esri else _geojson_feature
    with dataset.open() as source, folder.path.open("w", encoding="ascii") as copy:
        copy.write(json.dumps(head)[:-1] + (", " if head else "") + '"features": [')
        separator = ""
        for is_feature, members in json_features(source):
            if is_feature:
                copy.write(separator + json.dumps(reduced(members)))
                separator = ",\n"
        copy.write("]}")
    drivers = gdal_format.ESRI_JSON if is_esri else gdal_format.GEOJSON
    gdal = GdalSource(str(folder.path), drivers, folder, str(dataset.path))
    return matching_rows(gdal, None, where)


def _geojson_feature(members: Mapping[str, Any]) -> dict[str, Any]:
    geometry = members.get("geometry")
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    # Of the geometry, a filter can ask for the type.
    parts = "geometries" if kind == "GeometryCollection" else "coordinates"
    empty: dict[str, Any] = {"type": kind, parts: []}
    own = {name: members[name] for name in ("id", "properties") if name in members}
    return {"type": "Feature", **own, "geometry": empty if kind else None}


def _esri_feature(members: Mapping[str, Any]) -> dict[str, Any]:
    return {"attributes": members.get("attributes")}
