"""Capture dates of imagery: ISO 8601 dates, years and intervals, as text."""

from __future__ import annotations

from collections.abc import Iterable


def date_span(dates: Iterable[str | None]) -> str | None:
    """The date of several files: one date, or an ISO 8601 interval "first/last"."""
    known = sorted({date for date in dates if date})
    if not known:
        return None
    return known[0] if len(known) == 1 else f"{known[0]}/{known[-1]}"
