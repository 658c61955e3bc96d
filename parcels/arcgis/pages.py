"""Rows by object id, page by page; each page is checked for completeness."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from parcels.arcgis.object_ids import existing_object_ids, fetch_object_ids, row_count
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
    # A joined layer repeats an object id, so that those in a cut page may have more rows.
    ids_are_unique = are_unique(ids, row_count(layer, query))
    rows = [row for row in first.rows if ids_are_unique or row.object_id is None]
    known = np.array([row.object_id for row in rows if row.object_id is not None], np.int64)
    missing = np.setdiff1d(ids, known)
    for start in range(0, len(missing), layer.page_size):
        page = missing[start : start + layer.page_size]
        rows += fetch_rows_by_object_id(layer, page, ids_are_unique=ids_are_unique).rows
    return tuple(rows)


@dataclass(frozen=True, slots=True)
class FetchedRows:
    """Rows by object id.

    Attributes:
        rows: each once, ascending by object id.
        received: their number as the server sent them: a joined layer may repeat equal rows.
    """

    rows: list[ParcelRow]
    received: int


def are_unique(ids: ObjectIds, row_count: int | None) -> bool | None:
    """Whether no object id has several rows, as in a joined layer; None if nobody counts."""
    return None if row_count is None else row_count <= len(ids)


def fetch_rows_by_object_id(
    layer: LayerQuery,
    ids: ObjectIds,
    *,
    consecutive: bool = False,
    ids_are_unique: bool | None = None,
) -> FetchedRows:
    """The rows with these ascending object ids, except those deleted since.

    A page that fails is split in halves, down to the row that makes the server fail; that row is
    fetched without its geometry.

    Args:
        consecutive: the layer has no other ids between these.
        ids_are_unique: see `are_unique`.

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
            return FetchedRows(list(without_geometry), len(without_geometry))
    middle = len(ids) // 2
    halves = (ids[:middle], ids[middle:])
    one, two = (
        fetch_rows_by_object_id(layer, half, consecutive=consecutive, ids_are_unique=ids_are_unique)
        for half in halves
    )
    return FetchedRows(one.rows + two.rows, one.received + two.received)


class _CutPage(Exception):
    """A page has every object id, but perhaps not every row of each."""


def _fetch_complete(
    layer: LayerQuery, ids: ObjectIds, params_of: _IdsParams, *, ids_are_unique: bool | None
) -> FetchedRows:
    rows, received = _fetch_page(layer, ids, params_of, ids_are_unique=ids_are_unique)
    missing = np.setdiff1d(ids, np.fromiter(rows, np.int64))
    while len(missing):
        more, also = _fetch_page(layer, missing, _by_list, ids_are_unique=ids_are_unique)
        rows |= more
        received += also
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
    return FetchedRows([row for oid in sorted(rows) for row in rows[oid]], received)


def _fetch_page(
    layer: LayerQuery, ids: ObjectIds, params_of: _IdsParams, *, ids_are_unique: bool | None
) -> tuple[dict[int, list[ParcelRow]], int]:
    """The rows by object id, and how many came; others than the requested ones are dropped.

    Raises:
        _CutPage: it was cut where that may have cost a row of a repeated object id.
    """
    requested = set(ids.tolist())
    page = layer.rows(params_of(layer.object_id, ids))
    rows: dict[int, list[ParcelRow]] = defaultdict(list)
    for row in page.rows:
        if row.object_id is not None and row.object_id in requested:
            rows[row.object_id].append(row)
    others = {row.object_id for row in page.rows} - requested
    received = page.received - sum(row.object_id in others for row in page.rows)
    is_uncertain = ids_are_unique is False or (ids_are_unique is None and len(rows) == len(ids))
    if page.truncated and (received > len(rows) or is_uncertain):
        raise _CutPage
    return rows, received


def _fetch_by_offset(layer: LayerQuery, ids: ObjectIds) -> FetchedRows:
    """All rows of one object id that fill more than a page.

    Raises:
        SourceUnavailable: also `IncompleteResponse`, if the server does not send the next page.
        SourceMisconfigured.
    """
    order = layer.columns.fields.parcel_id or layer.object_id
    rows: list[ParcelRow] = []
    received = 0
    while True:
        params = {"orderByFields": order, "resultOffset": str(received)}
        page = layer.rows({**_by_list(layer.object_id, ids), **params})
        new = [row for row in page.rows if row not in rows]
        if page.rows and not new and page.truncated:
            raise IncompleteResponse(
                f"{layer.origin}: the server cuts the rows of {layer.object_id} {ids[0]} and sends "
                "no further page; use another layer in the registry entry"
            )
        rows += new
        received += page.received
        if not page.truncated or not page.rows or len(rows) > _MAX_ROWS:
            return FetchedRows(rows, received)


def _by_range(column: str, ids: ObjectIds) -> dict[str, str]:
    return {"where": f"{column} >= {ids[0]} AND {column} <= {ids[-1]}"}


def _by_list(_: str, ids: ObjectIds) -> dict[str, str]:
    return {"objectIds": ",".join(map(str, ids.tolist()))}
