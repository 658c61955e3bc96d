"""Harvest a layer: first all its object ids, then all its rows, page by page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

import numpy as np

from parcels.arcgis.batches import map_concurrently
from parcels.arcgis.layer_info import as_int64
from parcels.arcgis.object_ids import fetch_object_ids, row_count
from parcels.arcgis.pages import FetchedRows, fetch_rows_by_object_id
from parcels.arcgis.query import LayerQuery, ObjectIds
from parcels.errors import ColumnsMissing, IncompleteResponse, QueryRefused
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
    ids, count = _all_ids(layer)
    start = 0 if after_object_id is None else int(np.searchsorted(ids, after_object_id, "right"))
    if start and count not in (None, len(ids)):
        raise _count_differs(layer, count, len(ids))
    size = layer.page_size
    pages = [ids[first : first + size] for first in range(start, len(ids), size)]
    missing = repeated = received = 0
    results = map_concurrently(
        partial(
            fetch_rows_by_object_id,
            layer,
            consecutive=True,
            ids_are_unique=None if count is None else count == len(ids),
        ),
        pages,
        in_flight,
    )
    done = start
    for page, fetched in zip(pages, _explained(results, layer, count, len(ids)), strict=True):
        found = len({row.object_id for row in fetched.rows})
        missing += len(page) - found
        repeated += len(fetched.rows) - found
        received += fetched.received
        done += len(fetched.rows)
        yield Page(tuple(fetched.rows), int(page[-1]), done, len(ids) - missing + repeated)
    if missing:
        _check_deleted(layer, missing, len(ids) + repeated)
    elif count is not None and count > max(len(ids), start + received):
        raise _count_differs(layer, count, start + received)


def _explained(
    pages: Iterator[FetchedRows], layer: LayerQuery, count: int | None, listed: int
) -> Iterator[FetchedRows]:
    """The pages; if one is incomplete, and the count differed too, that is the better error."""
    try:
        yield from pages
    except IncompleteResponse as error:
        if count in (None, listed) or isinstance(error, ColumnsMissing):
            raise
        raise _count_differs(layer, count, listed) from error


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


def _all_ids(layer: LayerQuery) -> tuple[ObjectIds, int | None]:
    """The object ids of all rows, and the number of rows if the server counts them.

    A joined layer has more rows than object ids; whether it is one shows when its rows come.

    Raises:
        SourceUnavailable: also `IncompleteResponse`, if there are twice more ids than rows, or no
            ids of existing rows.
        SourceMisconfigured.
    """
    ids, count = np.empty(0, np.int64), 0
    for _ in range(2):  # an edit between the two calls explains one difference, not two
        ids = fetch_object_ids(layer, {})
        counted = row_count(layer)
        if counted is None or counted == len(ids):
            return ids, counted
        count = counted
    if count < len(ids) or not len(ids):
        raise _count_differs(layer, count, len(ids))
    return ids, count


def _count_differs(layer: LayerQuery, count: int | None, found: int) -> IncompleteResponse:
    return IncompleteResponse(
        f"{layer.origin}: the server counts {count} rows but lists {found} object ids; try "
        "again later, or use another layer in the registry entry"
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
