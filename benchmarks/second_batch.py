"""A second `lotline batch`: time to find nothing to do."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from benchmarks.commands import LOTLINE, environment, timed
from benchmarks.results import Result, save

RUNS = 5


def run() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        env = environment(folder / "home")
        batch = [str(LOTLINE), "batch"]
        first = timed(batch, folder, env)
        cold = [timed(batch, folder, env) for _ in range(RUNS)]
        timed([str(LOTLINE), "db", "url"], folder, env)  # leaves the database running
        warm = [timed(batch, folder, env) for _ in range(RUNS)]
        bare = [timed([str(LOTLINE), "--version"], folder, env) for _ in range(RUNS)]
        timed([str(LOTLINE), "db", "stop"], folder, env)
    rows = [
        ["first `lotline batch`: 206 properties, new database cluster", f"{first:.1f}", "1"],
        _row("second: embedded database started and stopped", cold, first),
        _row("second: database already running", warm, first),
        _row("`lotline --version`: interpreter and command line only", bare, first),
    ]
    save(
        Result(
            name="second_batch",
            order=20,
            title="A second `make batch` on a finished county",
            command="python -m benchmarks second_batch",
            columns=["process", "median, s", "ratio to the first"],
            rows=rows,
        )
    )


def _row(what: str, seconds: list[float], first: float) -> list[str]:
    median = statistics.median(seconds)
    return [what, f"{median:.2f}", f"{median / first:.3f}"]
