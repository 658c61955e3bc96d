"""A re-run of a finished county of 100,000 lots: seconds until a batch finds nothing to do."""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.commands import LOTLINE, ROOT, environment, timed
from benchmarks.county import batch
from benchmarks.results import Result, save

sys.path.append(str(ROOT / "tests"))

from largecounty import KEY, make_county

LOTS = 100_000
RUNS = 5


def run() -> None:
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(0o755)
        made = make_county(home / "county", LOTS)
        first = batch(made, home)
        bare = [str(LOTLINE), "batch", "--county", KEY, "--registry", str(made.registry)]
        with_csv = [*bare, "--properties", str(made.properties)]
        env = {**environment(home), "OMP_NUM_THREADS": "1"}
        cold = _seconds(with_csv, home, env)
        timed([str(LOTLINE), "db", "url"], home, env)  # leaves the database running
        rows: list[tuple[str, list[float]]] = [
            ("the same CSV, embedded database started and stopped", cold),
            ("the same CSV, database already running", _seconds(with_csv, home, env)),
            ("no CSV: the county's queue, database already running", _seconds(bare, home, env)),
            ("`lotline --version`", [timed([str(LOTLINE), "--version"], home, env)]),
        ]
        timed([str(LOTLINE), "db", "stop"], home, env)
    save(
        Result(
            name="rerun",
            order=33,
            title=f"A batch over a finished county of {LOTS:,} lots",
            command="python -m benchmarks rerun",
            columns=["process", "median, s", "slowest, s"],
            rows=[[what, *_spread(seconds)] for what, seconds in rows],
            notes=[
                f"The first run took {first.wall_s:.0f} s, with a segmenter that costs nothing.",
            ],
        )
    )


def _spread(seconds: list[float]) -> list[str]:
    return [f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}"]


def _seconds(command: list[str], folder: Path, env: dict[str, str]) -> list[float]:
    return [_finished(command, folder, env) for _ in range(RUNS)]


def _finished(command: list[str], folder: Path, env: dict[str, str]) -> float:
    """Seconds of a batch that exits with 1, as one property's parcel does not exist."""
    shell = ["sh", "-c", '"$@"; test $? -eq 1', "sh", *command]
    return timed(shell, folder, env)
