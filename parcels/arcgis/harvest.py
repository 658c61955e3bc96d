"""Harvest a layer: first all its object ids, then all its rows, page by page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

import numpy as np

from parcels.arcgis.batches import map_concurrently
from parcels.arcgis.layer_info import as_int64
from parcels.arcgis.object_ids import fetch_object_ids
from parcels.arcgis.pages import fetch_rows_by_object_id
from parcels.arcgis.query import LayerQuery, ObjectIds
from parcels.errors import IncompleteResponse, QueryRefused
from parcels.parcel_source import LayerVersion, Page


def layer_version(layer: LayerQuery) -> LayerVersion:
    """The layer's version: its last edit, else row count and highest id; at most three calls.

    Raises:
        SourceUnavailable, SourceMisconfigured.
    """
    info = layer.fetch_info()
    if info.last_edit_ms is not None:
        return LayerVersion(last_edit_ms=info.last_edit_ms)
    return LayerVersion(count=row_count(layer), highest_id=_highest_id(layer))


def harvest(layer: LayerQuery, after_object_id: int | None, in_flight: int) -> Iterator[Page]:
    """Every row of the layer once, resuming after an object id; see `HarvestableLayer.harvest`.

    Rows may be deleted during the harvest; an existing row that does not come is an error.

    Raises:
        SourceUnavailable: also `IncompleteResponse`.
        SourceMisconfigured.
    """
    ids = _all_ids(layer)
    start = 0 if after_object_id is None else int(np.searchsorted(ids, after_object_id, "right"))
    size = layer.page_size
    pages = [ids[first : first + size] for first in range(start, len(ids), size)]
    done, total = start, len(ids)
    results = map_concurrently(
        partial(fetch_rows_by_object_id, layer, consecutive=True), pages, in_flight
    )
    for page, rows in zip(pages, results, strict=True):
        done += len(rows)
        total -= len(page) - len(rows)
        yield Page(tuple(rows), int(page[-1]), done, total)
    if total < len(ids):
        _check_deleted(layer, len(ids) - total, len(ids))


def _check_deleted(layer: LayerQuery, missing: int, before: int) -> None:
    """Accept missing rows as deleted, unless the layer's count still includes them.

    Raises:
        SourceUnavailable: also `IncompleteResponse`.
        SourceMisconfigured.
    """
    count = row_count(layer)
    if count is not None and count >= before:
        raise IncompleteResponse(
            f"{layer.origin}: the server counts {count} rows but withholds {missing} of {before}; "
            "try again later"
        )


def _all_ids(layer: LayerQuery) -> ObjectIds:
    """The object ids of all rows; their number must equal the layer's row count.

    Raises:
        SourceUnavailable: also `IncompleteResponse`, if ids and count differ twice.
        SourceMisconfigured.
    """
    for _ in range(2):  # an edit between the two calls explains one difference, not two
        ids = fetch_object_ids(layer, {})
        count = row_count(layer)
        if count is None or count == len(ids):
            return ids
    raise IncompleteResponse(
        f"{layer.origin}: the server counts {count} rows but lists {len(ids)} object ids; try "
        "again later, or use another layer in the registry entry"
    )


def row_count(layer: LayerQuery) -> int | None:
    """The number of rows; None if the server does not count.

    Raises:
        SourceUnavailable: also `IncompleteResponse`, for a response without a count and rows.
        SourceMisconfigured.
    """
    try:
        response = layer.query({"returnCountOnly": "true"})
    except QueryRefused:
        return None
    count = as_int64(response.get("count"))
    if count is not None:
        return count
    if response.get("features"):
        return None  # the server ignores the parameter
    raise IncompleteResponse(
        f"{layer.origin}: the response has neither a count nor rows; try again later"
    )


def _highest_id(layer: LayerQuery) -> int | None:
    """The highest object id; None if the server has no statistics."""
    column = layer.columns.object_id
    if column is None or not layer.info.has_statistics:
        return None
    maximum = {"statisticType": "max", "onStatisticField": column, "outStatisticFieldName": "TOP"}
    try:
        response = layer.query({"outStatistics": json.dumps([maximum])})
    except QueryRefused:
        return None
    match response.get("features"):
        case [{"attributes": dict() as attributes, **rest}] if "geometry" not in rest:
            # Servers name it TOP, top, or MAX(OBJECTID) AS TOP.
            tops = (as_int64(value) for value in attributes.values())
            return max((top for top in tops if top is not None), default=None)
    return None  # the server ignores the parameter and sends rows
