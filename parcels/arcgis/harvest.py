"""A whole layer, once: every object id that it has, and then every row."""

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
from parcels.errors import IncompleteAnswer, QueryRefused
from parcels.parcel_source import LayerVersion, Page


def layer_version(layer: LayerQuery) -> LayerVersion:
    """What the layer says of its state now, in three calls at most.

    Raises:
        SourceUnavailable, SourceMisconfigured.
    """
    info = layer.info_now()
    if info.last_edit_ms is not None:
        return LayerVersion(last_edit_ms=info.last_edit_ms)
    return LayerVersion(count=row_count(layer), highest_id=_highest_id(layer))


def harvest(layer: LayerQuery, after_object_id: int | None, in_flight: int) -> Iterator[Page]:
    """Every row of the layer once, or those after an object id; see `WholeLayer.harvest`.

    A row that is deleted meanwhile is not missed; one that is there and does not come is.

    Raises:
        SourceUnavailable: also `IncompleteAnswer`.
        SourceMisconfigured.
    """
    ids = _all_ids(layer)
    start = 0 if after_object_id is None else int(np.searchsorted(ids, after_object_id, "right"))
    size = layer.page_size
    pages = [ids[first : first + size] for first in range(start, len(ids), size)]
    done, total = start, len(ids)
    answers = map_concurrently(
        partial(fetch_rows_by_object_id, layer, consecutive=True), pages, in_flight
    )
    for page, hits in zip(pages, answers, strict=True):
        done += len(hits)
        total -= len(page) - len(hits)
        yield Page(tuple(hits), int(page[-1]), done, total)
    if total < len(ids):
        _check_deleted(layer, len(ids) - total, len(ids))


def _check_deleted(layer: LayerQuery, gone: int, before: int) -> None:
    """Believe that rows were deleted meanwhile only where the layer does not count them still.

    Raises:
        SourceUnavailable: also `IncompleteAnswer`.
        SourceMisconfigured.
    """
    count = row_count(layer)
    if count is not None and count >= before:
        raise IncompleteAnswer(
            f"{layer.origin}: {gone} of {before} rows do not come, though it counts {count}; try "
            "again later"
        )


def _all_ids(layer: LayerQuery) -> ObjectIds:
    """The ids of all rows, as many as the layer counts.

    Raises:
        SourceUnavailable: also `IncompleteAnswer`, where it counts otherwise a second time too.
        SourceMisconfigured.
    """
    for _ in range(2):  # rows come and go between two calls, but not always just then
        ids = fetch_object_ids(layer, {})
        count = row_count(layer)
        if count is None or count == len(ids):
            return ids
    raise IncompleteAnswer(
        f"{layer.origin}: counts {count} rows and names the object ids of {len(ids)}; try again "
        "later, or name another layer in the registry entry"
    )


def row_count(layer: LayerQuery) -> int | None:
    """How many rows there are; None where the server does not count.

    Raises:
        SourceUnavailable: also `IncompleteAnswer`, for an answer that says nothing.
        SourceMisconfigured.
    """
    try:
        answer = layer.answer({"returnCountOnly": "true"})
    except QueryRefused:
        return None
    count = as_int64(answer.get("count"))
    if count is not None:
        return count
    if answer.get("features"):
        return None  # the parameter is not known there
    raise IncompleteAnswer(
        f"{layer.origin}: neither counts its rows nor sends any; try again later"
    )


def _highest_id(layer: LayerQuery) -> int | None:
    """The highest object id; None where the server does not reckon it."""
    column = layer.columns.object_id
    if column is None or not layer.info.has_statistics:
        return None
    maximum = {"statisticType": "max", "onStatisticField": column, "outStatisticFieldName": "TOP"}
    try:
        answer = layer.answer({"outStatistics": json.dumps([maximum])})
    except QueryRefused:
        return None
    match answer.get("features"):
        case [{"attributes": dict() as attributes, **rest}] if "geometry" not in rest:
            # Servers call it TOP, top, or MAX(OBJECTID) AS TOP.
            tops = (as_int64(value) for value in attributes.values())
            return max((top for top in tops if top is not None), default=None)
    return None  # rows, as though no statistics were asked for
