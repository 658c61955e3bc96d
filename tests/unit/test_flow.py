"""Iterators that work ahead: order, bounds, errors, and an end that nobody waits for in vain."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from pipeline.batch.engines.flow import Ahead, gathered


def test_items_come_in_order_and_no_more_are_taken_than_may_wait() -> None:
    taken: list[int] = []
    three = threading.Event()

    def items() -> Iterator[int]:
        for number in range(10):
            taken.append(number)
            if number == 3:
                three.set()
            yield number

    ahead = Ahead(items(), 2, "test")
    assert next(ahead) == 0
    assert three.wait(10)
    # One was asked for, two wait, and one is in the thread's hand.
    assert taken == [0, 1, 2, 3]
    assert list(ahead) == list(range(1, 10))
    assert list(ahead) == []


def test_an_error_comes_after_what_was_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("spilt")

    ahead = Ahead(items(), 5, "test")
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="spilt"):
        next(ahead)


def test_closing_ends_all_that_is_before() -> None:
    ended: list[str] = []

    def items(name: str, before: Iterator[int]) -> Iterator[int]:
        try:
            yield from before
        finally:
            if isinstance(before, Ahead):
                before.close()
            ended.append(name)

    first = Ahead(items("first", iter(range(1000))), 1, "first")
    second = Ahead(items("second", first), 1, "second")
    assert next(second) == 0
    second.close()
    assert sorted(ended) == ["first", "second"]


def test_what_waited_long_enough_is_not_kept_for_more() -> None:
    more = threading.Event()

    def items() -> Iterator[int]:
        yield from (3, 3, 1)
        assert more.wait(10)
        yield 1

    groups = gathered(Ahead(items(), 9, "test"), 6, 0.05, int)
    assert next(groups) == [3, 3]
    assert next(groups) == [1]
    more.set()
    assert list(groups) == [[1]]


def test_an_error_loses_nothing_that_was_gathered() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("spilt")

    groups = gathered(Ahead(items(), 9, "test"), 6, 10.0, int)
    assert next(groups) == [1]
    with pytest.raises(ValueError, match="spilt"):
        next(groups)
