"""The rows with known object ids, page by page, each page checked against what must come."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from parcels.arcgis.object_ids import existing_object_ids, fetch_object_ids
from parcels.arcgis.query import FeatureRows, LayerQuery, ObjectIds
from parcels.errors import IncompleteAnswer, QueryRefused, SourceError
from parcels.parcel_source import ParcelRow

# More rows than this at a point, or for an id, is a server that ignores the question.
_MOST_ROWS = 20_000

_Question = Callable[[str, ObjectIds], dict[str, str]]


def fetch_rows(
    layer: LayerQuery, question: Mapping[str, str], first: FeatureRows
) -> tuple[ParcelRow, ...]:
    """All rows that answer a question, of which `first` are the first page.

    Raises:
        SourceUnavailable: also `IncompleteAnswer`.
        SourceMisconfigured: also `QueryRefused`, where it sends rows without end.
    """
    if not first.cut:
        return first.hits
    ids = fetch_object_ids(layer, question, _MOST_ROWS)
    if len(ids) > _MOST_ROWS:
        # Of many points among towers of flats, fewer are asked at once; of one, it is an error.
        raise QueryRefused(
            f"{layer.origin}: has {len(ids)} rows or more for a question about a few: the server "
            "ignores it; name another layer in the registry entry"
        )
    known = np.array([hit.object_id for hit in first.hits if hit.object_id is not None], np.int64)
    rest = np.setdiff1d(ids, known)
    hits = list(first.hits)
    for start in range(0, len(rest), layer.page_size):
        hits += fetch_rows_by_object_id(layer, rest[start : start + layer.page_size])
    return tuple(hits)


def fetch_rows_by_object_id(
    layer: LayerQuery, ids: ObjectIds, *, consecutive: bool = False
) -> list[ParcelRow]:
    """The rows with these ascending object ids; those that were deleted meanwhile are missing.

    A page that cannot be had is halved, down to the row that the server chokes on; that one
    comes without its geometry. Ids are `consecutive` where the layer has none between them.

    Raises:
        SourceUnavailable: also `IncompleteAnswer`, where a row is there and does not come.
        SourceMisconfigured.
    """
    try:
        return _complete(layer, ids, _by_range if consecutive else _by_list)
    except IncompleteAnswer:
        raise
    except SourceError as error:
        if not layer.is_up_despite(error):
            raise
        if len(ids) == 1:
            bare = layer.rows(_by_list(layer.object_id, ids), geometry=False).hits
            if not bare:
                raise
            return list(bare)
    middle = len(ids) // 2
    halves = (ids[:middle], ids[middle:])
    return [
        hit
        for half in halves
        for hit in fetch_rows_by_object_id(layer, half, consecutive=consecutive)
    ]


def _complete(layer: LayerQuery, ids: ObjectIds, question: _Question) -> list[ParcelRow]:
    hits = _wanted(layer, ids, question)
    missing = np.setdiff1d(ids, np.fromiter(hits, np.int64))
    while len(missing):
        more = _wanted(layer, missing, _by_list)
        hits |= more
        missing = np.setdiff1d(missing, np.fromiter(more, np.int64))
        if not more:
            break
    if len(missing):
        withheld = existing_object_ids(layer, missing)
        if len(withheld):
            raise IncompleteAnswer(
                f"{layer.origin}: {len(withheld)} of {len(ids)} rows do not come, though the "
                f"server says that they are there ({layer.object_id} {withheld[0]}, …); try again "
                "later"
            )
    return [hits[object_id] for object_id in sorted(hits)]


def _wanted(layer: LayerQuery, ids: ObjectIds, question: _Question) -> dict[int, ParcelRow]:
    wanted = set(ids.tolist())
    hits = layer.rows(question(layer.object_id, ids)).hits
    return {oid: hit for hit in hits if (oid := hit.object_id) is not None and oid in wanted}


def _by_range(column: str, ids: ObjectIds) -> dict[str, str]:
    return {"where": f"{column} >= {ids[0]} AND {column} <= {ids[-1]}"}


def _by_list(_: str, ids: ObjectIds) -> dict[str, str]:
    return {"objectIds": ",".join(map(str, ids.tolist()))}
