"""Room between two stages: who wants more than there is waits until something is given back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from pipeline.batch.engines.backpressure import WeightedSemaphore


def test_who_wants_too_much_waits_until_it_is_given_back() -> None:
    room = WeightedSemaphore(10)
    assert room.acquire(7)
    assert room.can_acquire(3)
    assert not room.can_acquire(4)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(room.acquire, 4)
        assert not waiting.done()
        room.release(7)
        assert waiting.result(10)


def test_more_than_all_of_it_is_had_alone() -> None:
    room = WeightedSemaphore(10)
    assert room.acquire(25)
    assert not room.can_acquire(1)
    room.release(25)
    assert room.can_acquire(11)


def test_nobody_waits_for_a_room_that_is_closed() -> None:
    room = WeightedSemaphore(1)
    assert room.acquire(1)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(room.acquire, 1)
        room.close()
        assert not waiting.result(10)
