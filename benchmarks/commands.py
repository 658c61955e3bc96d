"""Run the project's commands in a separate folder, and time the processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOTLINE = Path(sys.executable).with_name("lotline")


def environment(home: Path) -> dict[str, str]:
    """Return an environment with its own LOTLINE_HOME and the embedded database."""
    env = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REGISTRY", "COUNTY")}
    return {**env, "LOTLINE_HOME": str(home)}


def timed(command: list[str], folder: Path, env: dict[str, str]) -> float:
    """Return the seconds of a command, which must succeed."""
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, env=env, check=True, capture_output=True)
    return time.perf_counter() - started
