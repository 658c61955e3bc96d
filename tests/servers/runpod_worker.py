"""The serverless worker in a process of its own, with the SDK."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

# Where scripts/install_venv.sh puts what the extra `runpod` adds.
SDK = Path(sys.prefix) / "runpod"
ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def runpod_worker(
    folder: Path, *arguments: str, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a worker; its output is in `folder`/output. Skips the test where there is no SDK."""
    if find_spec("runpod") is None and not (SDK / "runpod" / "__init__.py").is_file():
        pytest.skip("the runpod SDK is not installed; `make install` puts it into .venv/runpod")
    home = folder / "home"
    home.mkdir()
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "netblock"), str(SDK)])
    given = {
        **os.environ, "PYTHONPATH": path, "HOME": str(home), "LOTLINE_HOME": str(home / "lotline"),
        "OMP_NUM_THREADS": "1", "RUNPOD_SKIP_GPU_CHECK": "true",
        "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true", **environment,
    }  # fmt: skip
    command = [sys.executable, "-m", "pipeline.serve.runpod_handler", *arguments]
    with (folder / "output").open("wb") as output:
        worker = subprocess.Popen(
            command, env=given, cwd=folder, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield worker
        finally:
            worker.kill()
            worker.wait()


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(worker: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    """Wait until the worker listens; fails if it ends before."""
    end = time.monotonic() + 180
    while worker.poll() is None and time.monotonic() < end:
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail(f"the worker does not listen:\n{(folder / 'output').read_text()}")
