"""Pages on a slow machine: they have a minute for what a test waits for, and can be made slow.

With `LOTLINE_CPU_SLOWDOWN=6` in the environment of pytest, each page runs six times slower: what a
test does not wait for then comes late enough to be noticed. `servers/slow_answers.py` delays
answers.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

VARIABLE = "LOTLINE_CPU_SLOWDOWN"
WAIT_MS = 60_000


def prepare_pages(patch: pytest.MonkeyPatch) -> None:
    """Give every page that is opened from now on its time, and throttle it if that is asked for."""
    rate = float(os.environ.get(VARIABLE, "1"))
    from playwright.sync_api import Browser, BrowserContext

    def prepared(open_page: Callable[..., Any]) -> Callable[..., Any]:
        def open_prepared(opener: Any, *args: Any, **options: Any) -> Any:
            page = open_page(opener, *args, **options)
            page.set_default_timeout(WAIT_MS)
            if rate > 1:
                session = page.context.new_cdp_session(page)
                session.send("Emulation.setCPUThrottlingRate", {"rate": rate})
            return page

        return open_prepared

    for kind in (Browser, BrowserContext):
        patch.setattr(kind, "new_page", prepared(kind.new_page))
