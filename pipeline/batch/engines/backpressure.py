"""How much may be in hand between two stages, however many queues and threads lie between them."""

from __future__ import annotations

from threading import Condition


class WeightedSemaphore:
    """Room for so many; who wants more waits until something is given back.

    Args:
        most: who wants more than this at once gets it when nobody else has any.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._closed = False
        self._changed = Condition()

    def has(self, count: int) -> bool:
        """Whether nobody has to wait for so many."""
        return not self._taken or self._taken + count <= self._most

    def take(self, count: int) -> bool:
        """Wait until there is room for so many, and take it; False where it was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self.has(count))
            self._taken += count
            return not self._closed

    def give(self, count: int) -> None:
        """So many are in hand no more."""
        with self._changed:
            self._taken -= count
            self._changed.notify_all()

    def close(self) -> None:
        """Nobody waits any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
