"""Several calls under way at once, their answers in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Question = TypeVar("_Question")
_Answer = TypeVar("_Answer")


def in_order(
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
