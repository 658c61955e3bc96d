"""Pages on a slow machine: they have a minute for what a test waits for, and can be made slow.

With `LOTLINE_CPU_SLOWDOWN=6` in the environment of pytest, each page runs six times slower: what a
test does not wait for then comes late enough to be noticed. `servers/slow_answers.py` delays
answers. With `LOTLINE_LATE_LOOK_MS=1500`, a test looks so late at what it waits for that anything
that the page shows only for a moment is gone: neither a test nor a person can rely on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

SLOWDOWN, LATE_LOOK = "LOTLINE_CPU_SLOWDOWN", "LOTLINE_LATE_LOOK_MS"
WAIT_MS = 60_000


def prepare_pages(patch: pytest.MonkeyPatch) -> None:
    """Give every page its time; throttle it, or look late at it, if asked for."""
    rate = float(os.environ.get(SLOWDOWN, "1"))
    late_ms = float(os.environ.get(LATE_LOOK, "0"))
    from playwright.sync_api import Browser, BrowserContext, Page

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

    if late_ms:
        for name in ("wait_for_function", "wait_for_selector"):
            patch.setattr(Page, name, _looking_late(getattr(Page, name), late_ms))


def _looking_late(wait: Callable[..., Any], late_ms: float) -> Callable[..., Any]:
    def wait_late(page: Any, *args: Any, **options: Any) -> Any:
        page.wait_for_timeout(late_ms)
        return wait(page, *args, **options)

    return wait_late
