"""Many queries in few concurrent calls; a batch that fails is split in halves.

So a bad query fails alone, and the others of its batch succeed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from parcels.arcgis.query import LayerQuery
from parcels.errors import ParcelsError, SourceError
from parcels.parcel_source import QueryResult

_Key = TypeVar("_Key")  # what a query is for: a parcel id, a point, an address
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
BatchResult = QueryResult | ParcelsError


def query_in_batches(
    layer: LayerQuery,
    query: Callable[[Sequence[_Key]], Sequence[BatchResult]],
    keys: Sequence[_Key],
    *,
    size: int,
    in_flight: int,
) -> list[BatchResult]:
    """A result or an error for each key, with `size` keys in a call."""
    batches = [keys[start : start + size] for start in range(0, len(keys), size)]
    results = map_concurrently(partial(_split_on_error, layer, query), batches, in_flight)
    return [result for batch in results for result in batch]


def requery_empty(
    query: Callable[[Sequence[_Key]], list[BatchResult]],
    keys: Sequence[_Key],
    is_useful: Callable[[], bool] = lambda: True,
) -> list[BatchResult]:
    """The results; keys without a row are queried again as long as that finds more.

    Some servers silently drop rows of a large response, and no lot may get lost.
    """
    results = query(keys)
    empty = _empty(results)
    while empty and len(keys) > 1 and is_useful():
        for i, result in zip(empty, query([keys[i] for i in empty]), strict=True):
            results[i] = result
        before, empty = empty, _empty(results)
        if len(empty) == len(before):
            break
    return results


def _empty(results: Sequence[BatchResult]) -> list[int]:
    return [i for i, each in enumerate(results) if isinstance(each, QueryResult) and not each.rows]


def _split_on_error(
    layer: LayerQuery,
    query: Callable[[Sequence[_Key]], Sequence[BatchResult]],
    keys: Sequence[_Key],
) -> list[BatchResult]:
    try:
        return list(query(keys))
    except SourceError as error:
        if len(keys) == 1 or not layer.may_succeed_in_parts(error):
            return [error] * len(keys)
    except ParcelsError as error:
        return [error] * len(keys)
    middle = len(keys) // 2
    return [
        *_split_on_error(layer, query, keys[:middle]),
        *_split_on_error(layer, query, keys[middle:]),
    ]


def map_concurrently(
    call: Callable[[_Item], _Result], items: Iterable[_Item], in_flight: int
) -> Iterator[_Result]:
    """The results of `call` in the order of the items, with `in_flight` calls at a time.

    At most one result more than that is buffered (backpressure). The first error, or closing the
    iterator, cancels the calls that have not started.
    """
    futures: deque[Future[_Result]] = deque()
    with ThreadPoolExecutor(in_flight, thread_name_prefix="arcgis") as pool:
        try:
            for item in items:
                futures.append(pool.submit(call, item))
                if len(futures) > in_flight:
                    yield futures.popleft().result()
            while futures:
                yield futures.popleft().result()
        finally:
            for future in futures:
                future.cancel()
