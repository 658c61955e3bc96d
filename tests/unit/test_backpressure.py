"""The weighted semaphore: acquire waits until there is capacity."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from pipeline.batch.engines.backpressure import WeightedSemaphore


def test_acquire_waits_for_release() -> None:
    semaphore = WeightedSemaphore(10)
    assert semaphore.acquire(7)
    assert semaphore.can_acquire(3)
    assert not semaphore.can_acquire(4)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(semaphore.acquire, 4)
        assert not waiting.done()
        semaphore.release(7)
        assert waiting.result(10)


def test_more_than_the_capacity_is_acquired_alone() -> None:
    semaphore = WeightedSemaphore(10)
    assert semaphore.acquire(25)
    assert not semaphore.can_acquire(1)
    semaphore.release(25)
    assert semaphore.can_acquire(11)


def test_close_wakes_those_that_wait() -> None:
    semaphore = WeightedSemaphore(1)
    assert semaphore.acquire(1)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(semaphore.acquire, 1)
        semaphore.close()
        assert not waiting.result(10)
