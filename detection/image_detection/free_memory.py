"""Gives memory that was freed back to the system, between the blocks of a large image."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress


def return_freed_memory() -> None:
    """Let glibc return what it holds; elsewhere nothing.

    Polygons that are kept lie between the large arrays of their block, so glibc would hold the
    arrays' pages for every block.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL("libc.so.6").malloc_trim(0)
