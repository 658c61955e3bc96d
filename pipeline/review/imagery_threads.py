"""Threads that read imagery: so few that others are left for what people decide.

An imagery server that does not answer holds each of its readers for a minute, and a page asks for
dozens of tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Request

# Of the 40 threads of the server. Tiles that are there take a few milliseconds each.
_MOST = 12
_Result = TypeVar("_Result")


async def in_imagery_thread(request: Request, read: Callable[[], _Result]) -> _Result:
    """Run a function that reads imagery in a thread; wait without one while all are in use."""
    state = request.app.state
    if not hasattr(state, "imagery_threads"):
        state.imagery_threads = CapacityLimiter(_MOST)
    return await to_thread.run_sync(read, limiter=state.imagery_threads)
