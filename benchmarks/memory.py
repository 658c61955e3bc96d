"""How much memory this process holds, as Linux counts it.

`getrusage` will not do: a new process inherits the peak of the one that started it.
"""

from __future__ import annotations

import re
from pathlib import Path


def resident_mb() -> float:
    """What it holds now."""
    return _status_mb("VmRSS")


def peak_mb() -> float:
    """The most that it held, since it began or since `forget_peak`."""
    return _status_mb("VmHWM")


def forget_peak() -> None:
    """Let the peak begin anew from what it holds now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _status_mb(what: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kib = re.search(rf"{what}:\s+(\d+) kB", status)
    assert kib is not None
    return int(kib[1]) * 1024 / 1e6
