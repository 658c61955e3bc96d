"""Time from a fresh clone to the first result: downloads and work."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.commands import ROOT, environment, timed
from benchmarks.results import Result, save


def run() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        clone, wheels = folder / "lotline", folder / "wheels"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        env = environment(clone / ".lotline") | {"PIP_NO_CACHE_DIR": "1"}
        pip = [sys.executable, "-m", "pip"]
        downloads = timed(
            [*pip, "download", "-q", "-r", "requirements.lock", "-d", str(wheels)], clone, env
        )
        size_mb = sum(path.stat().st_size for path in wheels.iterdir()) / 1e6
        env |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
        # hatchling builds the project itself and is not in the lock.
        timed([*pip, "download", "-q", "hatchling", "editables", "pip", "-d", str(wheels)], clone,
              {k: v for k, v in env.items() if k != "PIP_NO_INDEX"})  # fmt: skip
        install = timed(["make", "install"], clone, env)
        batch = timed(["make", "batch"], clone, env)
    total = downloads + install + batch
    rows = [
        [f"download the Python packages ({size_mb:,.0f} MB)", *_share(downloads, total)],
        ["`make install` from the downloaded files", *_share(install, total)],
        [
            "`make batch`: database cluster, sample county, 206 properties, map",
            *_share(batch, total),
        ],
        ["total", *_share(total, total)],
    ]
    save(
        Result(
            name="fresh_clone",
            order=10,
            title="Fresh clone to first result",
            command="python -m benchmarks fresh_clone",
            columns=["step", "minutes", "share"],
            rows=rows,
            notes=[
                "PostgreSQL with PostGIS was already installed. The CPU build of PyTorch "
                "was on disk: downloading the CUDA build adds gigabytes. Cores: "
                f"{os.cpu_count()}.",
            ],
        )
    )


def _share(seconds: float, total: float) -> list[str]:
    return [f"{seconds / 60:.2f}", f"{seconds / total:.0%}"]
