"""Prefetching iterators: each runs a stage in its own thread, with a bounded queue (backpressure).

An error is raised where the next item is taken. Closing an iterator closes those before it;
`StageGroup` stops all of them, even where one waits for an item that never comes.
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

# How often a thread that waits for space in its queue checks whether it was stopped.
_POLL_S = 0.1
# How long closing waits for a thread, which may be waiting for a server or a slow segmenter.
_JOIN_TIMEOUT_S = 1.0


class StageStopped(Exception):
    """The stage was stopped; its items are not needed any more."""


class _End:
    """The end of the items, or the error that ended them."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class PrefetchIterator(Generic[_T], Iterator[_T]):
    """Iterates in a thread, at most `max_size` items ahead.

    The first `next` starts the thread, with the caller's context variables.
    """

    def __init__(self, items: Iterable[_T], max_size: int, name: str) -> None:
        self._items = items
        self._queue: queue.Queue[_T | _End] = queue.Queue(max_size)
        self._stopped = threading.Event()
        self._ended = False
        self._thread: threading.Thread | None = None
        self._name = name

    def __iter__(self) -> PrefetchIterator[_T]:
        return self

    def __next__(self) -> _T:
        item = self.next_within(None)
        if item is None:
            raise RuntimeError("an item of None")  # pragma: no cover
        return item

    def next_within(self, timeout_s: float | None) -> _T | None:
        """The next item; None if there is none before the timeout.

        Raises:
            StopIteration: there are no more items.
            StageStopped: the stage was stopped.
            RuntimeError: the thread raised a BaseException, such as SystemExit.
            Exception: any other error of the thread.
        """
        if self._ended:
            raise StopIteration
        if self._stopped.is_set():
            raise StageStopped
        self._start()
        try:
            item = self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if self._stopped.is_set():
            raise StageStopped
        if not isinstance(item, _End):
            return item
        self._ended = True
        if item.error is None:
            raise StopIteration
        if not isinstance(item.error, Exception):
            # A model that exits the process must not end a run as if it had succeeded.
            raise RuntimeError(f"{self._name}: {item.error!r}") from item.error
        raise item.error

    def stop(self) -> None:
        """Take no more items, and wake whoever waits for one."""
        self._stopped.set()
        with suppress(queue.Full):  # then nobody waits
            self._queue.put_nowait(_End())

    def join(self, timeout_s: float) -> None:
        """Wait for the thread to finish its current item."""
        if self._thread is not None:
            self._thread.join(max(timeout_s, 0.0))

    def close(self) -> None:
        """Stop, and wait for the thread for a moment."""
        self.stop()
        self.join(_JOIN_TIMEOUT_S)

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
                    if not self._put(item):
                        break
            finally:
                with suppress(AttributeError):  # only generators and this class have `close`
                    items.close()  # type: ignore[attr-defined]
        except BaseException as error:
            end = _End(error)
        self._put(end)

    def _put(self, item: _T | _End) -> bool:
        """Wait for space in the queue; False if the stage was stopped."""
        while not self._stopped.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=_POLL_S)
                return True
        return False


class StageGroup:
    """Prefetching stages that stop together, even if one waits for another."""

    def __init__(self) -> None:
        self._stages: list[PrefetchIterator[Any]] = []

    def prefetch(self, items: Iterable[_T], max_size: int, name: str) -> PrefetchIterator[_T]:
        """Add a stage; see `PrefetchIterator`."""
        stage = PrefetchIterator(items, max_size, name)
        self._stages.append(stage)
        return stage

    def __enter__(self) -> StageGroup:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for stage in self._stages:
            stage.stop()
        deadline_s = time.monotonic() + _JOIN_TIMEOUT_S
        for stage in self._stages:
            stage.join(deadline_s - time.monotonic())


def in_groups(
    items: PrefetchIterator[_T], max_size: int, max_delay_s: float, size: Callable[[_T], int]
) -> Iterator[list[_T]]:
    """Group items until their sizes reach `max_size`, or the first has waited `max_delay_s`.

    If an error ends the items, the last group comes before it; a stop drops the group.
    """
    while True:
        group: list[_T] = []
        end: Exception | None = None
        try:
            group.append(next(items))
            deadline_s = time.monotonic() + max_delay_s
            while sum(map(size, group)) < max_size:
                item = items.next_within(max(deadline_s - time.monotonic(), 0.0))
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
