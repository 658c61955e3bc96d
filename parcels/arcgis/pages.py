"""Rows by object id, page by page; each page is checked for completeness."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

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
    rows = _whole_rows(first.rows)
    known = np.array([row.object_id for row in rows if row.object_id is not None], np.int64)
    missing = np.setdiff1d(ids, known)
    for start in range(0, len(missing), layer.page_size):
        rows += fetch_rows_by_object_id(layer, missing[start : start + layer.page_size])
    return tuple(rows)


def _whole_rows(rows: Sequence[ParcelRow]) -> list[ParcelRow]:
    """The rows of a truncated page whose object ids are complete.

    A joined layer repeats an object id, and the page may end between two of its rows: then none is
    certain, else all but the last.
    """
    ids = [row.object_id for row in rows if row.object_id is not None]
    uncertain = set(ids) if len(set(ids)) < len(ids) else set(ids[-1:])
    return [row for row in rows if row.object_id not in uncertain]


def fetch_rows_by_object_id(
    layer: LayerQuery, ids: ObjectIds, *, consecutive: bool = False, ids_are_unique: bool = False
) -> list[ParcelRow]:
    """The rows with these ascending object ids, except those deleted since.

    A page that fails is split in halves, down to the row that makes the server fail; that row is
    fetched without its geometry.

    Args:
        consecutive: the layer has no other ids between these.
        ids_are_unique: no object id has several rows, as in a joined layer.

    Raises:
        SourceUnavailable: also `IncompleteResponse`, if the server withholds an existing row.
        SourceMisconfigured.
    """
    try:
        params_of = _by_range if consecutive else _by_list
        return _fetch_complete(layer, ids, params_of, ids_are_unique=ids_are_unique)
    except _CutPage:
        if len(ids) == 1:
            return _fetch_by_offset(layer, ids)
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
        for row in fetch_rows_by_object_id(
            layer, half, consecutive=consecutive, ids_are_unique=ids_are_unique
        )
    ]


class _CutPage(Exception):
    """A page has every object id, but perhaps not every row of each."""


def _fetch_complete(
    layer: LayerQuery, ids: ObjectIds, params_of: _IdsParams, *, ids_are_unique: bool
) -> list[ParcelRow]:
    rows = _fetch_page(layer, ids, params_of, ids_are_unique=ids_are_unique)
    missing = np.setdiff1d(ids, np.fromiter(rows, np.int64))
    while len(missing):
        more = _fetch_page(layer, missing, _by_list, ids_are_unique=ids_are_unique)
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
    return [row for object_id in sorted(rows) for row in rows[object_id]]


def _fetch_page(
    layer: LayerQuery, ids: ObjectIds, params_of: _IdsParams, *, ids_are_unique: bool
) -> dict[int, list[ParcelRow]]:
    """The rows by object id; the server may send fewer, and others, which are dropped.

    Raises:
        _CutPage: it was cut where that may have cost a row of a repeated object id.
    """
    requested = set(ids.tolist())
    page = layer.rows(params_of(layer.object_id, ids))
    rows: dict[int, list[ParcelRow]] = defaultdict(list)
    for row in page.rows:
        if row.object_id is not None and row.object_id in requested:
            rows[row.object_id].append(row)
    repeats = any(len(same) > 1 for same in rows.values())
    if page.truncated and (repeats or (not ids_are_unique and len(rows) == len(ids))):
        raise _CutPage
    return rows


def _fetch_by_offset(layer: LayerQuery, ids: ObjectIds) -> list[ParcelRow]:
    """All rows of one object id that fill more than a page.

    Raises:
        SourceUnavailable: also `IncompleteResponse`, if the server does not send the next page.
        SourceMisconfigured.
    """
    order = layer.columns.fields.parcel_id or layer.object_id
    rows: list[ParcelRow] = []
    while True:
        params = {"orderByFields": order, "resultOffset": str(len(rows))}
        page = layer.rows({**_by_list(layer.object_id, ids), **params})
        new = [row for row in page.rows if row not in rows]
        rows += new
        if not page.truncated or len(rows) > _MAX_ROWS:
            return rows
        if not new:
            if page.says_truncated:
                raise IncompleteResponse(
                    f"{layer.origin}: the server cuts the rows of {layer.object_id} {ids[0]} and "
                    "sends no further page; use another layer in the registry entry"
                )
            return rows


def _by_range(column: str, ids: ObjectIds) -> dict[str, str]:
    return {"where": f"{column} >= {ids[0]} AND {column} <= {ids[-1]}"}


def _by_list(_: str, ids: ObjectIds) -> dict[str, str]:
    return {"objectIds": ",".join(map(str, ids.tolist()))}
