"""Memory of this process, as Linux counts it.

Not `getrusage`: a new process inherits its parent's peak.
"""

from __future__ import annotations

import re
from pathlib import Path


def resident_mb() -> float:
    """Return the resident memory."""
    return _status_mb("VmRSS")


def peak_mb() -> float:
    """Return the peak since the start, or since `forget_peak`."""
    return _status_mb("VmHWM")


def forget_peak() -> None:
    """Reset the peak."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _status_mb(what: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kib = re.search(rf"{what}:\s+(\d+) kB", status)
    assert kib is not None
    return int(kib[1]) * 1024 / 1e6
