"""Other people's tools, in a virtual environment of their own, to compare with."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PINS = HERE / "peers.txt"


def interpreter() -> Path:
    """Its Python. The environment is made on the first call, and anew when a pin changes."""
    pins = hashlib.sha256(PINS.read_bytes()).hexdigest()[:12]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = Path(tempfile.gettempdir()) / f"lotline-peers-{version}-{pins}"
    python = folder / "bin/python"
    done = folder / "done"
    if not done.exists():
        print(f"installing {PINS.name} into {folder}", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--requirement", PINS], check=True
        )
        done.touch()
    return python


def ask(script: str, given: Any, timeout_s: float = 600) -> Any:  # noqa: ANN401 - JSON
    """What a script of this folder prints, run by the peers' Python with JSON for its input.

    The script must not import from this project, which the peers' environment does not have.
    """
    done = subprocess.run(
        [interpreter(), HERE / script],
        input=json.dumps(given).encode(),
        stdout=subprocess.PIPE,
        timeout=timeout_s,
        check=True,
    )
    return json.loads(done.stdout)


def version(name: str) -> str:
    """The pinned version of a peer."""
    pins = dict(
        line.split("==") for line in PINS.read_text(encoding="utf-8").splitlines() if "==" in line
    )
    return pins[name]
