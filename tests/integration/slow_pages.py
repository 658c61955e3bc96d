"""Pages on a slow processor: what a test does not wait for then comes late enough to be noticed.

With `LOTLINE_CPU_SLOWDOWN=6` in the environment of pytest, each page runs six times slower.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

VARIABLE = "LOTLINE_CPU_SLOWDOWN"


def slow_pages_down(patch: pytest.MonkeyPatch) -> None:
    """Throttle every page that is opened from now on, if the environment asks for it."""
    rate = float(os.environ.get(VARIABLE, "1"))
    if rate <= 1:
        return
    from playwright.sync_api import Browser, BrowserContext

    def slowed(open_page: Callable[..., Any]) -> Callable[..., Any]:
        def open_slowed(opener: Any, *args: Any, **options: Any) -> Any:
            page = open_page(opener, *args, **options)
            session = page.context.new_cdp_session(page)
            session.send("Emulation.setCPUThrottlingRate", {"rate": rate})
            return page

        return open_slowed

    for kind in (Browser, BrowserContext):
        patch.setattr(kind, "new_page", slowed(kind.new_page))
