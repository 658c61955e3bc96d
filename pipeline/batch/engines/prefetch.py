"""Iterators that work ahead in threads of their own, with bounded queues between them.

An error travels to whoever takes the next item; closing an iterator closes those before it. Where
one may wait for what never comes, `StageGroup` stops all of them from outside.
"""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")

# How often a thread that cannot go on looks whether it is still wanted.
_LOOK_S = 0.1
# How long whoever closes a thread waits for it: it may wait for a server, or a slow segmenter.
_PATIENCE_S = 1.0


class StageStopped(Exception):
    """Nobody wants the items any more."""


class _End:
    """No more comes; or no more, for this reason."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class PrefetchIterator(Generic[_T], Iterator[_T]):
    """Takes items in a thread, and holds at most so many until they are asked for.

    The thread is started by the first `next`, and keeps the context variables of then.
    """

    def __init__(self, items: Iterable[_T], most: int, name: str) -> None:
        self._items = items
        self._held: queue.Queue[_T | _End] = queue.Queue(most)
        self._closed = threading.Event()
        self._ended = False
        self._thread: threading.Thread | None = None
        self._name = name

    def __iter__(self) -> PrefetchIterator[_T]:
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
            Stopped: it was stopped meanwhile.
            RuntimeError: an error in the thread that only ends a process.
            Exception: any other error in the thread.
        """
        if self._ended:
            raise StopIteration
        if self._closed.is_set():
            raise StageStopped
        self._start()
        try:
            item = self._held.get(timeout=wait_s)
        except queue.Empty:
            return None
        if self._closed.is_set():
            raise StageStopped
        if not isinstance(item, _End):
            return item
        self._ended = True
        if item.error is None:
            raise StopIteration
        if not isinstance(item.error, Exception):
            # A model that wants to end the process does not end a run as if all were well.
            raise RuntimeError(f"{self._name}: {item.error!r}") from item.error
        raise item.error

    def stop(self) -> None:
        """Hold no more, and let nobody wait for more, in whichever thread."""
        self._closed.set()
        with suppress(queue.Full):  # then nobody waits
            self._held.put_nowait(_End())

    def join(self, wait_s: float) -> None:
        """Wait so long for the thread, which ends with what it has in hand."""
        if self._thread is not None:
            self._thread.join(max(wait_s, 0.0))

    def close(self) -> None:
        """Take no more. What is before it ends with what it has in hand, waited for or not."""
        self.stop()
        self.join(_PATIENCE_S)

    def _start(self) -> None:
        if self._thread is None:
            context = contextvars.copy_context()
            self._thread = threading.Thread(
                target=context.run, args=(self._fill,), name=self._name, daemon=True
            )
            self._thread.start()

    def _fill(self) -> None:
        end = _End()
        try:
            items = iter(self._items)
            try:
                for item in items:
                    if not self._hold(item):
                        break
            finally:
                with suppress(AttributeError):  # only generators and our own kind can be closed
                    items.close()  # type: ignore[attr-defined]
        except BaseException as error:
            end = _End(error)
        self._hold(end)

    def _hold(self, item: _T | _End) -> bool:
        """Whether it is held; not where nobody wants it any more."""
        while not self._closed.is_set():
            with suppress(queue.Full):
                self._held.put(item, timeout=_LOOK_S)
                return True
        return False


class StageGroup:
    """Stages that end together, whichever of them waits for another."""

    def __init__(self) -> None:
        self._all: list[PrefetchIterator[Any]] = []

    def ahead(self, items: Iterable[_T], most: int, name: str) -> PrefetchIterator[_T]:
        """One more; see `PrefetchIterator`."""
        stage = PrefetchIterator(items, most, name)
        self._all.append(stage)
        return stage

    def __enter__(self) -> StageGroup:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for stage in self._all:
            stage.stop()
        until_s = time.monotonic() + _PATIENCE_S
        for stage in self._all:
            stage.join(until_s - time.monotonic())


def in_groups(
    items: PrefetchIterator[_T], most: int, within_s: float, size: Callable[[_T], int]
) -> Iterator[list[_T]]:
    """Items together: until their sizes reach `most`, or the first of them has waited so long.

    Where an error ends the items, those before it come first; none do where they were stopped.
    """
    while True:
        group: list[_T] = []
        end: Exception | None = None
        try:
            group.append(next(items))
            until_s = time.monotonic() + within_s
            while sum(map(size, group)) < most:
                item = items.within(max(until_s - time.monotonic(), 0.0))
                if item is None:
                    break
                group.append(item)
        except StageStopped:
            raise
        except Exception as error:
            end = error
        if group:
            yield group
        if isinstance(end, StopIteration):
            return
        if end is not None:
            raise end
