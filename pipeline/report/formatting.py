"""Numbers, names and notes of a run as text, the same in the terminal and on the page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pipeline.plurals import count_of

SOURCES = {"lot": "lot", "buffer_30m": "30 m buffer"}

_END_NOTES = {
    "running": "Still running: these numbers are a snapshot.",
    "interrupted": "Interrupted. Written results are kept; {again} resumes.",
    "failed": "Stopped by an error. Written results are kept; {again} resumes.",
    "killed": "Killed. Written results are kept and counted here; {again} resumes. Times and "
    "requests are as of the last heartbeat.",
}


def run_end_note(state: str, settings: Mapping[str, Any]) -> str:
    """How a run ended and how to resume it; "" for a finished run.

    A run that reprocesses properties (--again, --retry-failed) would start over, so the command
    to resume leaves that out.
    """
    restarts = [f"{name.upper()}=1" for name in ("again", "retry_failed") if settings.get(name)]
    without = f" without {' and '.join(restarts)}" if restarts else ""
    return _END_NOTES.get(state, "").format(again=f"the same command{without}")


def duration(seconds: float) -> str:
    """In the unit that fits, with two or three digits."""
    if seconds < 0.0095:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 0.95:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 99.5:
        return f"{seconds:.1f} s"
    if seconds < 600:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def duration_or_dash(seconds: float | None) -> str:
    """A duration, or "-" where it is unknown."""
    return "-" if seconds is None else duration(seconds)


def timestamp_utc(at: datetime | None) -> str:
    """A time in UTC, or "-" where it is unknown."""
    return "-" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def rate(per_s: float) -> str:
    """A rate per second, or "-" where it is 0 (nothing processed, or no known duration)."""
    if not per_s:
        return "-"
    return f"{per_s:,.0f}" if per_s >= 100 else f"{per_s:.1f}" if per_s >= 1 else f"{per_s:.3f}"


def area(m2: float) -> str:
    """In whole units, but a small area is never shown as 0."""
    return f"{m2:,.0f}" if m2 == 0 or m2 >= 10 else f"{m2:.1f}"


def source_name(source: str) -> str:
    """A boundary source as people read it."""
    return SOURCES.get(source, source)


def processed_summary(count: int, took_s: float, per_s: float) -> str:
    """How many properties, in what time, at what rate; leaves out what is unknown.

    The duration of a run that was killed before its first heartbeat is unknown (0).
    """
    summary = count_of(count, "properties")
    if took_s:
        summary += f" in {duration(took_s)}"
    return f"{summary}, {rate(per_s)} per second" if count and took_s else summary


def reviewed_note(count: int) -> str:
    """How many findings match a detection that people accepted, edited, rejected or restored."""
    return f"{count_of(count, 'findings')} matched reviewed detections; left unchanged."


def setting_value(value: object) -> str:
    """A setting's value on one line."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
