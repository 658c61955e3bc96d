"""All object ids of a query, whatever the server supports.

Pagination by offset needs a server that paginates, in a stable order. With the object ids neither
is needed: the rows that must come are known, and missing ones can be queried again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from parcels.arcgis.layer_info import as_int64
from parcels.arcgis.query import LayerQuery, ObjectIds
from parcels.arcgis.where import and_where, in_list
from parcels.errors import IncompleteResponse, QueryRefused, SourceMisconfigured
from parcels.parcel_source import Extent

# 360° split in half this often is a cell of 1 m, which never fills a page.
_MAX_SPLITS = 25
# Widens the layer's extent, so that no row touches the outer edge.
_MARGIN_DEGREES = 0.001

ObjectIdQuery = Mapping[str, str]


class _Unsupported(Exception):
    """The server ignores or misreads a query parameter."""


def fetch_object_ids(layer: LayerQuery, query: ObjectIdQuery, max_ids: float = np.inf) -> ObjectIds:
    """The unique object ids (n,) of all rows of a query, ascending.

    Stops early with more than `max_ids` ids. Tries `returnIdsOnly`, which servers do not truncate;
    then keyset pagination, ordered by object id; then a quadtree of the extent, if the query is
    for the complete layer.

    Raises:
        SourceUnavailable: also `IncompleteResponse`.
        SourceMisconfigured.
    """
    is_whole_layer = "geometry" not in query
    refusal: QueryRefused | None = None
    for fetch in (_by_return_ids_only, _by_keyset, *([_by_quadtree] if is_whole_layer else [])):
        try:
            return fetch(layer, query, max_ids)
        except _Unsupported:
            continue
        except QueryRefused as error:
            refusal = error
    if refusal is not None:
        raise refusal
    raise IncompleteResponse(
        f"{layer.origin}: the server truncates its response and supports no known pagination; "
        "use another layer in the registry entry"
    )


def existing_object_ids(layer: LayerQuery, ids: ObjectIds) -> ObjectIds:
    """Those of the object ids that the layer has now.

    Raises:
        SourceUnavailable, SourceMisconfigured.
    """
    condition = in_list(layer.object_id, map(str, ids.tolist()))
    found = fetch_object_ids(layer, {"where": condition})
    return np.intersect1d(ids, found, assume_unique=True)


def row_count(layer: LayerQuery, query: ObjectIdQuery | None = None) -> int | None:
    """The number of rows of a query, or of the layer; None if the server does not count.

    Raises:
        SourceUnavailable: also `IncompleteResponse`, for a response without a count and rows.
        SourceMisconfigured.
    """
    try:
        response = layer.query({**(query or {}), "returnCountOnly": "true"})
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


def _by_return_ids_only(layer: LayerQuery, query: ObjectIdQuery, max_ids: float) -> ObjectIds:
    ids: set[int] = set()
    after: ObjectIdQuery = query
    while True:
        response = layer.query({**after, "returnIdsOnly": "true"})
        if "objectIds" not in response:
            raise _Unsupported  # it sends features: the parameter was ignored
        page = _int_ids(response["objectIds"])
        if not page - ids and response.get("exceededTransferLimit"):
            raise _Unsupported
        ids |= page
        if not response.get("exceededTransferLimit") or len(ids) > max_ids:
            return np.array(sorted(ids), dtype=np.int64)
        after = _after(layer, query, max(ids))


def _int_ids(object_ids: object) -> set[int]:
    if object_ids is None:  # no rows
        return set()
    if isinstance(object_ids, list):
        parsed = {as_int64(object_id) for object_id in object_ids}
        valid = {object_id for object_id in parsed if object_id is not None}
        if valid == parsed:
            return valid
    raise _Unsupported


def _by_keyset(layer: LayerQuery, query: ObjectIdQuery, max_ids: float) -> ObjectIds:
    """Keyset pagination until a page is empty: flags and page lengths are not reliable."""
    ids: list[int] = []
    after: ObjectIdQuery = query
    while True:
        page, truncated = layer.query_ids_page({**after, "orderByFields": layer.object_id})
        if not page:
            if truncated:
                raise _Unsupported
            return np.array(ids, dtype=np.int64)
        # A joined layer repeats an object id.
        if sorted(page) != page or (ids and page[0] <= ids[-1]):
            raise _Unsupported
        ids += dict.fromkeys(page)
        if len(ids) > max_ids:
            return np.array(ids, dtype=np.int64)
        after = _after(layer, query, ids[-1])


def _by_quadtree(layer: LayerQuery, query: ObjectIdQuery, max_ids: float) -> ObjectIds:
    """A quadtree of envelopes: each is split in four while its response is truncated."""
    extent = layer.info.extent
    if extent is None:
        raise SourceMisconfigured(
            f"{layer.origin}: the server sends neither object ids nor an extent, so the layer "
            "cannot be harvested; use another layer in the registry entry"
        )
    west, south, east, north = extent
    margin = _MARGIN_DEGREES
    cells = [((west - margin, south - margin, east + margin, north + margin), 0)]
    ids: set[int] = set()
    while cells and len(ids) <= max_ids:
        cell, splits = cells.pop()
        page, truncated = layer.query_ids_page({**query, **_in_envelope(cell)})
        ids.update(page)
        if truncated and splits == _MAX_SPLITS:
            raise _Unsupported
        if truncated:
            cells += [(quarter, splits + 1) for quarter in _quarters(cell)]
    return np.array(sorted(ids), dtype=np.int64)


def _after(layer: LayerQuery, query: ObjectIdQuery, object_id: int) -> ObjectIdQuery:
    condition = f"{layer.object_id} > {object_id}"
    return {**query, "where": and_where(query.get("where"), condition)}


def _in_envelope(cell: Extent) -> ObjectIdQuery:
    return {
        "geometry": ",".join(map(repr, cell)),
        "geometryType": "esriGeometryEnvelope",
        "spatialRel": "esriSpatialRelIntersects",
        "inSR": "4326",
    }


def _quarters(cell: Extent) -> Iterator[Extent]:
    west, south, east, north = cell
    middle_x, middle_y = (west + east) / 2, (south + north) / 2
    columns: Sequence[tuple[float, float]] = ((west, middle_x), (middle_x, east))
    for left, right in columns:
        yield (left, south, right, middle_y)
        yield (left, middle_y, right, north)
