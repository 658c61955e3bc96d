"""Many questions in few calls; a batch that cannot be answered is halved.

One bad question so costs only itself: what it was asked with is asked again without it.
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

_Question = TypeVar("_Question")
_Answer = TypeVar("_Answer")
BatchResult = QueryResult | ParcelsError


def query_in_batches(
    layer: LayerQuery,
    ask: Callable[[Sequence[_Question]], Sequence[BatchResult]],
    questions: Sequence[_Question],
    *,
    size: int,
    in_flight: int,
) -> list[BatchResult]:
    """An answer or an error for each question, `size` of them in a call."""
    batches = [questions[start : start + size] for start in range(0, len(questions), size)]
    answers = map_concurrently(partial(_halved, layer, ask), batches, in_flight)
    return [answer for batch in answers for answer in batch]


def requery_empty(
    ask: Callable[[Sequence[_Question]], list[BatchResult]],
    questions: Sequence[_Question],
    is_worth_it: Callable[[], bool] = lambda: True,
) -> list[BatchResult]:
    """The answers; questions without a row are asked again, as long as that finds some.

    A server that drops rows without a word must not make lots disappear.
    """
    answers = ask(questions)
    empty = _empty(answers)
    while empty and len(questions) > 1 and is_worth_it():
        for i, answer in zip(empty, ask([questions[i] for i in empty]), strict=True):
            answers[i] = answer
        before, empty = empty, _empty(answers)
        if len(empty) == len(before):
            break
    return answers


def _empty(answers: Sequence[BatchResult]) -> list[int]:
    return [
        i for i, answer in enumerate(answers) if isinstance(answer, QueryResult) and not answer.hits
    ]


def _halved(
    layer: LayerQuery,
    ask: Callable[[Sequence[_Question]], Sequence[BatchResult]],
    questions: Sequence[_Question],
) -> list[BatchResult]:
    try:
        return list(ask(questions))
    except SourceError as error:
        if len(questions) == 1 or not layer.is_up_despite(error):
            return [error] * len(questions)
    except ParcelsError as error:
        return [error] * len(questions)
    middle = len(questions) // 2
    return [
        *_halved(layer, ask, questions[:middle]),
        *_halved(layer, ask, questions[middle:]),
    ]


def map_concurrently(
    ask: Callable[[_Question], _Answer], questions: Iterable[_Question], in_flight: int
) -> Iterator[_Answer]:
    """The answers to the questions, of which `in_flight` are asked at once.

    Only one more than that are kept, so that none waits for whoever takes the answers. The first
    error ends it, as does closing the iterator.
    """
    waiting: deque[Future[_Answer]] = deque()
    with ThreadPoolExecutor(in_flight, thread_name_prefix="arcgis") as pool:
        try:
            for question in questions:
                waiting.append(pool.submit(ask, question))
                if len(waiting) > in_flight:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
