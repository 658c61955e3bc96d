"""Iterators that work ahead in threads of their own, with bounded queues between them.

An error travels to whoever takes the next item; closing an iterator closes those before it.
"""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

_T = TypeVar("_T")

# How often a thread that cannot go on looks whether it is still wanted.
_LOOK_S = 0.1
# How long whoever closes a thread waits for it: it may wait for a server, or a slow segmenter.
_PATIENCE_S = 1.0


class _End:
    """No more comes; or no more, for this reason."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class Ahead(Generic[_T], Iterator[_T]):
    """Takes items in a thread, and holds at most so many until they are asked for.

    The thread is started by the first `next`, and keeps the context variables of then.
    """

    def __init__(self, items: Iterable[_T], most: int, name: str) -> None:
        self._items = items
        self._held: queue.Queue[_T | _End] = queue.Queue(most)
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._name = name

    @property
    def waiting(self) -> bool:
        """Whether the next item is there already; the end is none."""
        with self._held.mutex:
            return bool(self._held.queue) and not isinstance(self._held.queue[0], _End)

    def __iter__(self) -> Ahead[_T]:
        return self

    def __next__(self) -> _T:
        item = self.within(None)
        if item is None:
            raise RuntimeError("an item of None")  # pragma: no cover
        return item

    def within(self, wait_s: float | None) -> _T | None:
        """The next item; None where none comes in time.

        Raises:
            StopIteration: there is none.
        """
        if self._closed.is_set():
            raise StopIteration
        self._start()
        try:
            item = self._held.get(timeout=wait_s)
        except queue.Empty:
            return None
        if not isinstance(item, _End):
            return item
        self._closed.set()
        if item.error is not None:
            raise item.error
        raise StopIteration

    def close(self) -> None:
        """Take no more. What is before it ends with what it has in hand, waited for or not."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(_PATIENCE_S)

    def _start(self) -> None:
        if self._thread is None:
            context = contextvars.copy_context()
            self._thread = threading.Thread(
                target=context.run, args=(self._fill,), name=self._name, daemon=True
            )
            self._thread.start()

    def _fill(self) -> None:
        end = _End()
        items = iter(self._items)
        try:
            for item in items:
                if not self._hold(item):
                    break
        except BaseException as error:
            end = _End(error)
        finally:
            with suppress(AttributeError):  # only generators and our own kind can be closed
                items.close()  # type: ignore[attr-defined]
        self._hold(end)

    def _hold(self, item: _T | _End) -> bool:
        """Whether it is held; not where nobody wants it any more."""
        while not self._closed.is_set():
            with suppress(queue.Full):
                self._held.put(item, timeout=_LOOK_S)
                return True
        return False


def gathered(
    items: Ahead[_T], most: int, within_s: float, size: Callable[[_T], int]
) -> Iterator[list[_T]]:
    """Items together: until their sizes reach `most`, or the first of them has waited so long.

    Where an error ends the items, those before it come first.
    """
    while True:
        group: list[_T] = []
        end: BaseException | None = None
        try:
            group.append(next(items))
            until_s = time.monotonic() + within_s
            while sum(map(size, group)) < most:
                item = items.within(max(until_s - time.monotonic(), 0.0))
                if item is None:
                    break
                group.append(item)
        except BaseException as error:
            end = error
        if group:
            yield group
        if isinstance(end, StopIteration):
            return
        if end is not None:
            raise end
