"""Other tools for comparison, in their own virtual environments."""

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


def interpreter(pins: Path = PINS) -> Path:
    """Return their Python; the environment is created on the first call and when a pin changes.

    Only the pins are installed, without their dependencies.
    """
    digest = hashlib.sha256(pins.read_bytes()).hexdigest()[:12]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = Path(tempfile.gettempdir()) / f"lotline-peers-{version}-{digest}"
    python = folder / "bin/python"
    done = folder / "done"
    if not done.exists():
        print(f"installing {pins.name} into {folder}", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        options = ["--quiet", "--no-deps", "--requirement", str(pins)]
        subprocess.run([str(python), "-m", "pip", "install", *options], check=True)
        done.touch()
    return python


def ask(
    script: str,
    given: Any,  # noqa: ANN401 - JSON
    timeout_s: float = 600,
    pins: Path = PINS,
) -> Any:  # noqa: ANN401 - JSON
    """Run a script of this folder with the peers' Python; JSON in, JSON out.

    The script must not import this project, which is not in the peers' environment.
    """
    done = subprocess.run(
        [interpreter(pins), HERE / script],
        input=json.dumps(given).encode(),
        stdout=subprocess.PIPE,
        timeout=timeout_s,
        check=True,
    )
    return json.loads(done.stdout)


def version(name: str, pins: Path = PINS) -> str:
    """Return the pinned version of a peer."""
    lines = pins.read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line)[name]
