"""Prefetching iterators: order, bounds, errors, and stopping."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from pipeline.batch.engines.prefetch import PrefetchIterator, StageGroup, StageStopped, in_groups


def test_items_come_in_order_and_prefetch_is_bounded() -> None:
    taken: list[int] = []
    three = threading.Event()

    def items() -> Iterator[int]:
        for number in range(10):
            taken.append(number)
            if number == 3:
                three.set()
            yield number

    prefetched = PrefetchIterator(items(), 2, "test")
    assert next(prefetched) == 0
    assert three.wait(10)
    # One was returned, two are queued, and the thread holds one.
    assert taken == [0, 1, 2, 3]
    assert list(prefetched) == list(range(1, 10))
    assert list(prefetched) == []


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("disk full")

    prefetched = PrefetchIterator(items(), 5, "test")
    assert next(prefetched) == 1
    with pytest.raises(ValueError, match="disk full"):
        next(prefetched)


def test_closing_ends_all_iterators_before() -> None:
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


def test_a_group_waits_no_longer_than_its_delay() -> None:
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


def test_a_group_before_an_error_is_not_lost() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("disk full")

    groups = in_groups(PrefetchIterator(items(), 9, "test"), 6, 10.0, int)
    assert next(groups) == [1]
    with pytest.raises(ValueError, match="disk full"):
        next(groups)


def test_stopping_a_group_of_stages_wakes_those_that_wait() -> None:
    never = threading.Event()
    ended: list[str] = []

    def slow() -> Iterator[int]:
        never.wait(20)
        yield 1

    def forward(before: Iterator[int]) -> Iterator[int]:
        try:
            yield from before
        except StageStopped:
            ended.append("stopped")
            raise

    with StageGroup() as stages:
        first = stages.prefetch(slow(), 1, "first")
        second = stages.prefetch(forward(first), 1, "second")
        third = stages.prefetch(in_groups(second, 5, 1.0, int), 1, "third")
        assert third.next_within(0.05) is None
    # Only the first thread still waits, for its server.
    names = {thread.name for thread in threading.enumerate()}
    assert {"second", "third"}.isdisjoint(names)
    assert ended == ["stopped"]
    never.set()
    with pytest.raises(StageStopped):
        next(third)


def test_a_stopped_group_is_dropped() -> None:
    never = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        never.wait(20)

    with StageGroup() as stages:
        items_before = stages.prefetch(items(), 9, "items_before")
        groups = in_groups(items_before, 5, 60.0, int)
        threading.Timer(0.05, items_before.stop).start()
        with pytest.raises(StageStopped):
            next(groups)
        never.set()


def test_system_exit_in_a_thread_is_an_error() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise SystemExit(0)

    prefetched = PrefetchIterator(items(), 5, "model")
    assert next(prefetched) == 1
    with pytest.raises(RuntimeError, match=r"model: SystemExit\(0\)"):
        next(prefetched)


def test_an_error_in_close_is_raised() -> None:
    class Odd:
        def __iter__(self) -> Odd:
            return self

        def __next__(self) -> int:
            raise StopIteration

        def close(self) -> None:
            raise OSError("stuck")

    with pytest.raises(OSError, match="stuck"):
        next(PrefetchIterator(Odd(), 1, "odd"))
