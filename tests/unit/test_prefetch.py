"""Iterators that work ahead: order, bounds, errors, and an end that nobody waits for in vain."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from pipeline.batch.engines.prefetch import PrefetchIterator, StageGroup, StageStopped, in_groups


def test_items_come_in_order_and_no_more_are_taken_than_may_wait() -> None:
    taken: list[int] = []
    three = threading.Event()

    def items() -> Iterator[int]:
        for number in range(10):
            taken.append(number)
            if number == 3:
                three.set()
            yield number

    ahead = PrefetchIterator(items(), 2, "test")
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

    ahead = PrefetchIterator(items(), 5, "test")
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="spilt"):
        next(ahead)


def test_closing_ends_all_that_is_before() -> None:
    ended: list[str] = []

    def items(name: str, before: Iterator[int]) -> Iterator[int]:
        try:
            yield from before
        finally:
            if isinstance(before, PrefetchIterator):
                before.close()
            ended.append(name)

    first = PrefetchIterator(items("first", iter(range(1000))), 1, "first")
    second = PrefetchIterator(items("second", first), 1, "second")
    assert next(second) == 0
    second.close()
    assert sorted(ended) == ["first", "second"]


def test_what_waited_long_enough_is_not_kept_for_more() -> None:
    more = threading.Event()

    def items() -> Iterator[int]:
        yield from (3, 3, 1)
        assert more.wait(10)
        yield 1

    groups = in_groups(PrefetchIterator(items(), 9, "test"), 6, 0.05, int)
    assert next(groups) == [3, 3]
    assert next(groups) == [1]
    more.set()
    assert list(groups) == [[1]]


def test_an_error_loses_nothing_that_was_gathered() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("spilt")

    groups = in_groups(PrefetchIterator(items(), 9, "test"), 6, 10.0, int)
    assert next(groups) == [1]
    with pytest.raises(ValueError, match="spilt"):
        next(groups)


def test_who_waits_is_woken_where_all_are_stopped() -> None:
    never = threading.Event()
    ended: list[str] = []

    def slow() -> Iterator[int]:
        never.wait(20)
        yield 1

    def passed_on(before: Iterator[int]) -> Iterator[int]:
        try:
            yield from before
        except StageStopped:
            ended.append("stopped")
            raise

    with StageGroup() as stages:
        first = stages.prefetch(slow(), 1, "first")
        second = stages.prefetch(passed_on(first), 1, "second")
        third = stages.prefetch(in_groups(second, 5, 1.0, int), 1, "third")
        assert third.next_within(0.05) is None
    # Only the first one still waits for its server.
    names = {thread.name for thread in threading.enumerate()}
    assert {"second", "third"}.isdisjoint(names)
    assert ended == ["stopped"]
    never.set()
    with pytest.raises(StageStopped):
        next(third)


def test_what_was_gathered_is_dropped_where_nobody_wants_it() -> None:
    never = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        never.wait(20)

    with StageGroup() as stages:
        held = stages.prefetch(items(), 9, "held")
        groups = in_groups(held, 5, 60.0, int)
        threading.Timer(0.05, held.stop).start()
        with pytest.raises(StageStopped):
            next(groups)
        never.set()


def test_a_thread_that_would_end_the_process_is_an_error() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise SystemExit(0)

    ahead = PrefetchIterator(items(), 5, "model")
    assert next(ahead) == 1
    with pytest.raises(RuntimeError, match=r"model: SystemExit\(0\)"):
        next(ahead)


def test_an_error_while_a_stage_is_closed_is_told() -> None:
    class Odd:
        def __iter__(self) -> Odd:
            return self

        def __next__(self) -> int:
            raise StopIteration

        def close(self) -> None:
            raise OSError("stuck")

    with pytest.raises(OSError, match="stuck"):
        next(PrefetchIterator(Odd(), 1, "odd"))
