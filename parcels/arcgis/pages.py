"""Rows by object id, page by page; each page is checked for completeness."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from parcels.arcgis.object_ids import existing_object_ids, fetch_object_ids
from parcels.arcgis.query import FeatureRows, LayerQuery, ObjectIds
from parcels.errors import IncompleteResponse, QueryRefused, SourceError
from parcels.parcel_source import ParcelRow

# More rows than this at a point or for an id: the server ignores the condition.
_MAX_ROWS = 20_000

_IdsParams = Callable[[str, ObjectIds], dict[str, str]]


def fetch_rows(
    layer: LayerQuery, query: Mapping[str, str], first: FeatureRows
) -> tuple[ParcelRow, ...]:
    """All rows of a query, given its `first` page.

    Raises:
        SourceUnavailable: also `IncompleteResponse`.
        SourceMisconfigured: also `QueryRefused`, for far too many rows.
    """
    if not first.truncated:
        return first.rows
    ids = fetch_object_ids(layer, query, _MAX_ROWS)
    if len(ids) > _MAX_ROWS:
        # A batch of points among apartment towers is split and retried; one key is an error.
        raise QueryRefused(
            f"{layer.origin}: {len(ids)} rows or more match a query for a few: the server ignores "
            "its conditions; use another layer in the registry entry"
        )
    known = np.array([row.object_id for row in first.rows if row.object_id is not None], np.int64)
    missing = np.setdiff1d(ids, known)
    rows = list(first.rows)
    for start in range(0, len(missing), layer.page_size):
        rows += fetch_rows_by_object_id(layer, missing[start : start + layer.page_size])
    return tuple(rows)


def fetch_rows_by_object_id(
    layer: LayerQuery, ids: ObjectIds, *, consecutive: bool = False
) -> list[ParcelRow]:
    """The rows with these ascending object ids, except those deleted since.

    A page that fails is split in halves, down to the row that makes the server fail; that row is
    fetched without its geometry. `consecutive`: the layer has no other ids between these.

    Raises:
        SourceUnavailable: also `IncompleteResponse`, if the server withholds an existing row.
        SourceMisconfigured.
    """
    try:
        return _fetch_complete(layer, ids, _by_range if consecutive else _by_list)
    except IncompleteResponse:
        raise
    except SourceError as error:
        if not layer.may_succeed_in_parts(error):
            raise
        if len(ids) == 1:
            without_geometry = layer.rows(_by_list(layer.object_id, ids), geometry=False).rows
            if not without_geometry:
                raise
            return list(without_geometry)
    middle = len(ids) // 2
    halves = (ids[:middle], ids[middle:])
    return [
        row
        for half in halves
        for row in fetch_rows_by_object_id(layer, half, consecutive=consecutive)
    ]


def _fetch_complete(layer: LayerQuery, ids: ObjectIds, params_of: _IdsParams) -> list[ParcelRow]:
    rows = _fetch_page(layer, ids, params_of)
    missing = np.setdiff1d(ids, np.fromiter(rows, np.int64))
    while len(missing):
        more = _fetch_page(layer, missing, _by_list)
        rows |= more
        missing = np.setdiff1d(missing, np.fromiter(more, np.int64))
        if not more:
            break
    if len(missing):
        withheld = existing_object_ids(layer, missing)
        if len(withheld):
            raise IncompleteResponse(
                f"{layer.origin}: the server lists {len(withheld)} of {len(ids)} rows but does not "
                f"send them ({layer.object_id} {withheld[0]}, …); try again later"
            )
    return [rows[object_id] for object_id in sorted(rows)]


def _fetch_page(layer: LayerQuery, ids: ObjectIds, params_of: _IdsParams) -> dict[int, ParcelRow]:
    """The rows by object id; the server may send fewer, and others, which are dropped."""
    requested = set(ids.tolist())
    rows = layer.rows(params_of(layer.object_id, ids)).rows
    return {oid: row for row in rows if (oid := row.object_id) is not None and oid in requested}


def _by_range(column: str, ids: ObjectIds) -> dict[str, str]:
    return {"where": f"{column} >= {ids[0]} AND {column} <= {ids[-1]}"}


def _by_list(_: str, ids: ObjectIds) -> dict[str, str]:
    return {"objectIds": ",".join(map(str, ids.tolist()))}
