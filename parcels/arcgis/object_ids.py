"""All object ids that answer a question, however little the server can do.

Pages by offset need a server that pages, and pages in the same order each time. Ids need
neither: who knows them knows what must come, and can ask again for what did not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from parcels.arcgis.layer_info import as_int64
from parcels.arcgis.query import LayerQuery, ObjectIds
from parcels.arcgis.where import and_where, in_list
from parcels.errors import IncompleteAnswer, QueryRefused, SourceMisconfigured
from parcels.parcel_source import Extent

# 360° halved so often is 10 m: no cell of that size fills a page.
_MOST_SPLITS = 25
# A cell's edge goes through rows of both sides, and through none of the layer's beyond it.
_MARGIN_DEGREES = 0.001

ObjectIdQuery = Mapping[str, str]


class _CannotDo(Exception):
    """The server understands something else by the query."""


def fetch_object_ids(layer: LayerQuery, question: ObjectIdQuery, most: float = np.inf) -> ObjectIds:
    """The object ids (n,) of all rows that answer a question, ascending, each once.

    Where there are more than `most` it stops, with some that are more.

    `returnIdsOnly` is not capped. A server that ignores it is asked row by row in the order of
    the ids; one that knows no order either, place by place.

    Raises:
        SourceUnavailable: also `IncompleteAnswer`.
        SourceMisconfigured.
    """
    whole_layer = "geometry" not in question
    refusal: QueryRefused | None = None
    for way in (_by_ids_only, _by_order, *([_by_place] if whole_layer else [])):
        try:
            return way(layer, question, most)
        except _CannotDo:
            continue
        except QueryRefused as error:
            refusal = error
    if refusal is not None:
        raise refusal
    raise IncompleteAnswer(
        f"{layer.origin}: the server cuts its answer, and sends the rest in no way that is known; "
        "name another layer in the registry entry"
    )


def existing_object_ids(layer: LayerQuery, wanted: ObjectIds) -> ObjectIds:
    """Which of these object ids the layer has now.

    Raises:
        SourceUnavailable, SourceMisconfigured.
    """
    condition = in_list(layer.object_id, map(str, wanted.tolist()))
    there = fetch_object_ids(layer, {"where": condition})
    return np.intersect1d(wanted, there, assume_unique=True)


def _by_ids_only(layer: LayerQuery, question: ObjectIdQuery, most: float) -> ObjectIds:
    ids: set[int] = set()
    after: ObjectIdQuery = question
    while True:
        answer = layer.answer({**after, "returnIdsOnly": "true"})
        if "objectIds" not in answer:
            raise _CannotDo  # features, as though the parameter were not there
        page = _numbers(answer["objectIds"])
        if not page - ids and answer.get("exceededTransferLimit"):
            raise _CannotDo
        ids |= page
        if not answer.get("exceededTransferLimit") or len(ids) > most:
            return np.array(sorted(ids), dtype=np.int64)
        after = _after(layer, question, max(ids))


def _numbers(object_ids: object) -> set[int]:
    if object_ids is None:  # there are none
        return set()
    if isinstance(object_ids, list):
        numbers = {as_int64(object_id) for object_id in object_ids}
        known = {number for number in numbers if number is not None}
        if known == numbers:
            return known
    raise _CannotDo


def _by_order(layer: LayerQuery, question: ObjectIdQuery, most: float) -> ObjectIds:
    """Page after page of ids, until one is empty: no flag and no page length is believed."""
    ids: list[int] = []
    after: ObjectIdQuery = question
    while True:
        page, cut = layer.some_ids({**after, "orderByFields": layer.object_id})
        if not page:
            if cut:
                raise _CannotDo
            return np.array(ids, dtype=np.int64)
        if sorted(set(page)) != page or (ids and page[0] <= ids[-1]):
            raise _CannotDo
        ids += page
        if len(ids) > most:
            return np.array(ids, dtype=np.int64)
        after = _after(layer, question, ids[-1])


def _by_place(layer: LayerQuery, question: ObjectIdQuery, most: float) -> ObjectIds:
    """Envelopes, each split in four while its answer is cut."""
    extent = layer.info.extent
    if extent is None:
        raise SourceMisconfigured(
            f"{layer.origin}: says neither its object ids nor its extent, and so cannot be read "
            "as a whole; name another layer in the registry entry"
        )
    west, south, east, north = extent
    margin = _MARGIN_DEGREES
    cells = [((west - margin, south - margin, east + margin, north + margin), 0)]
    ids: set[int] = set()
    while cells and len(ids) <= most:
        cell, splits = cells.pop()
        page, cut = layer.some_ids({**question, **_in_envelope(cell)})
        ids.update(page)
        if cut and splits == _MOST_SPLITS:
            raise _CannotDo
        if cut:
            cells += [(quarter, splits + 1) for quarter in _quarters(cell)]
    return np.array(sorted(ids), dtype=np.int64)


def _after(layer: LayerQuery, question: ObjectIdQuery, object_id: int) -> ObjectIdQuery:
    condition = f"{layer.object_id} > {object_id}"
    return {**question, "where": and_where(question.get("where"), condition)}


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
