"""Numbers and names as people read them, the same in the tables and on the page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pipeline.plurals import count_of, is_or_are

SOURCES = {"lot": "lot", "buffer_30m": "30 m buffer"}

_ENDS = {
    "running": "It is still running: these numbers are of this moment.",
    "interrupted": "Interrupted. What was written is kept; {again} goes on from there.",
    "failed": "An error stopped it. What was written is kept; {again} goes on from there.",
    "killed": "It was killed without a last word. What was written is kept, and counted here; "
    "{again} goes on from there. Times and requests are as of its last sign of life.",
}


def ended(state: str, settings: Mapping[str, Any]) -> str:
    """How a run of these settings ended, and how to go on; "" of one that is finished.

    What is told to begin anew would not go on.
    """
    anew = [f"{name.upper()}=1" for name in ("again", "retry_failed") if settings.get(name)]
    without = f" without {' and '.join(anew)}" if anew else ""
    return _ENDS.get(state, "").format(again=f"the same command{without}")


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


def known(seconds: float | None) -> str:
    """A duration, or that it is not known."""
    return "-" if seconds is None else duration(seconds)


def moment(at: datetime | None) -> str:
    """A time in UTC."""
    return "-" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def rate(per_s: float) -> str:
    """How many a second, where it is known of any."""
    if not per_s:
        return "-"
    return f"{per_s:,.0f}" if per_s >= 100 else f"{per_s:.1f}" if per_s >= 1 else f"{per_s:.3f}"


def area(m2: float) -> str:
    """In whole units, and not as 0 where there is some."""
    return f"{m2:,.0f}" if m2 == 0 or m2 >= 10 else f"{m2:.1f}"


def answered(count: int, took_s: float, per_s: float) -> str:
    """So many properties, in what time and how fast; what is not known is left out.

    A run that was killed before its first sign of life took nobody knows how long.
    """
    said = count_of(count, "properties")
    if took_s:
        said += f" in {duration(took_s)}"
    return f"{said}, {rate(per_s)} a second" if count and took_s else said


def reviewed(count: int) -> str:
    """That findings of a run are of what people have reviewed, whatever they said of it.

    Who restores what was rejected has said something too: no run changes it any more.
    """
    findings = f"{count_of(count, 'findings')} {is_or_are(count)}"
    return f"{findings} of what people have reviewed: that stays as it is."


def setting(value: object) -> str:
    """A setting's value in a line."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
