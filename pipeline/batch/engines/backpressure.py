"""Backpressure between stages: a weighted semaphore bounds how much is in flight."""

from __future__ import annotations

from threading import Condition


class WeightedSemaphore:
    """A semaphore whose permits are acquired and released by weight.

    Args:
        capacity: total weight. A larger request is granted when nothing else is acquired.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._acquired = 0
        self._closed = False
        self._changed = Condition()

    def can_acquire(self, weight: int) -> bool:
        """Whether `acquire` would return without waiting."""
        return not self._acquired or self._acquired + weight <= self._capacity

    def acquire(self, weight: int) -> bool:
        """Wait for capacity and acquire it; False if the semaphore was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self.can_acquire(weight))
            self._acquired += weight
            return not self._closed

    def release(self, weight: int) -> None:
        """Give capacity back."""
        with self._changed:
            self._acquired -= weight
            self._changed.notify_all()

    def close(self) -> None:
        """Wake all waiters; from now on `acquire` does not wait, and returns False."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
