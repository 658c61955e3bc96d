"""The one answer to a full memory: halve what a step holds, until it fits.

A segmenter halves its chips in a batch, then the prompts of a pass; the trainer halves the batch of
a step, then its prompts. Each halving is said once, and lasts.
"""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

# CUDA has its own exception, NumPy a MemoryError; other devices and libraries only have a message.
_MESSAGES = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, or this process, has no memory left."""
    if isinstance(error, MemoryError):
        return True
    if any(each.__name__ == "OutOfMemoryError" for each in type(error).__mro__):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(message in text for message in _MESSAGES)


class MemoryLadder:
    """Named sizes, halved in their order: the first one down to 1, then the next.

    Attributes:
        asked: the sizes that were asked for.
        device: its name, for messages.
        reason: the message of the last error; "" as long as all has fitted.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        device: str,
        on_halved: Callable[[str], None] = log.warning,
    ) -> None:
        """Start with sizes of at least 1.

        Args:
            on_halved: called with what no longer fits, and what is used instead.
        """
        self.asked = dict(sizes)
        self.device = device
        self.reason = ""
        self._sizes = dict(sizes)
        self._on_halved = on_halved

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes that are used now."""
        return dict(self._sizes)

    def __getitem__(self, name: str) -> int:
        return self._sizes[name]

    def __setitem__(self, name: str, size: int) -> None:
        self._sizes[name] = size

    def attempt(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """The function's result; None where memory ran out."""
        try:
            return function(*args, **kwargs)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            self.reason = " ".join(str(error).split()) or type(error).__name__
        # After the handler: until it ends, the traceback holds what the function had.
        return None

    def halve(self, in_use: Mapping[str, int] | None = None) -> bool:
        """Halve the first size that is above 1, and free what nothing holds; False at the end.

        Args:
            in_use: sizes of the attempt that failed, where they were below the current ones.
        """
        _free_memory()
        for name, size in self._sizes.items():
            tried = min(size, (in_use or {}).get(name, size))
            if tried > 1:
                self._sizes[name] = (tried + 1) // 2
                self._on_halved(
                    f"{name} {tried} does not fit into the memory of {self.device}: "
                    f"{name} {self._sizes[name]} from here on ({self.reason})"
                )
                return True
        return False


def _free_memory() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
