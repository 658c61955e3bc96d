"""Hot reload at landcover's size: seconds until new weights are used, and what fails meanwhile."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

from benchmarks.commands import ROOT
from benchmarks.results import Result, save
from detection.labels import LABELS
from pipeline.store.database import Database, open_database
from pipeline.store.models.answer_check import known_chip
from pipeline.store.models.champion_holder import ChampionHolder

sys.path.append(str(ROOT / "tests" / "integration"))

from registered import LANDCOVER, Registered, landcover_folder, pickled

ROUNDS = 3
CHECKS = 50


def run() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with open_database(None, folder / "home") as database:
            rows = _rows(database, folder)
            database.engine.dispose()
            if database.server is not None:
                database.server.stop()
    save(
        Result(
            name="model_reload",
            order=36,
            title="Hot reload of landcover's weights (11 MB)",
            command="python -m benchmarks model_reload",
            columns=["what", "median", "slowest"],
            rows=rows,
            notes=[
                "A reload fetches the files, compares their SHA-256, builds the network, and tries "
                "it on the known chip. The first one of a process also paints the chip.",
            ],
        )
    )


def _rows(database: Database, folder: Path) -> list[list[str]]:
    registered = Registered(database, folder / "stored")
    new = registered.add(landcover_folder(folder / "new", 0.01, 0))
    bad = registered.add(pickled(folder / "canary"))
    holder = ChampionHolder(database.engine, LANDCOVER, folder / "cache")
    holder.current()
    alone, cpu = _reloads(registered, holder, new)
    checks = []
    for _ in range(CHECKS):
        started_s = time.perf_counter()
        holder.current()
        checks.append(time.perf_counter() - started_s)
    busy, calls, failed = _beside_work(registered, holder, new)
    registered.promote(bad)
    started_s = time.perf_counter()
    kept = holder.current()
    refused_s = time.perf_counter() - started_s
    assert kept is holder.current()
    assert not (folder / "canary").exists()
    return [
        ["new weights in use, s", *_spread(alone, 2)],
        ["the same, seconds of CPU time of the process", *_spread(cpu, 2)],
        ["the same beside a caller who segments without a pause, s", *_spread(busy, 2)],
        [f"calls of that caller meanwhile: {calls:,}; failed", str(failed), ""],
        ["nothing was promoted: one lookup, ms", *_spread([1e3 * each for each in checks], 2)],
        ["a pickle dressed as weights: refused, s", f"{refused_s:.2f}", ""],
    ]


def _reloads(
    registered: Registered, holder: ChampionHolder, number: int
) -> tuple[list[float], list[float]]:
    """Wall and CPU seconds of promotions, each taken back before the next."""
    seconds, cpu_seconds = [], []
    for _ in range(ROUNDS):
        registered.promote(number)
        started_s, cpu_started_s = time.perf_counter(), time.process_time()
        holder.current()
        seconds.append(time.perf_counter() - started_s)
        cpu_seconds.append(time.process_time() - cpu_started_s)
        assert holder.version is not None
        registered.roll_back()
        holder.current()
    return seconds, cpu_seconds


def _beside_work(
    registered: Registered, holder: ChampionHolder, number: int
) -> tuple[list[float], int, int]:
    done, chip, labels = Event(), known_chip(), [LABELS["lawn"]]
    counts = {"calls": 0, "failed": 0}

    def work() -> None:
        while not done.is_set():
            counts["calls"] += 1
            try:
                [masks] = holder.current().segment([chip], labels)
                counts["failed"] += not masks
            except Exception:  # each is counted
                counts["failed"] += 1

    with ThreadPoolExecutor(1) as pool:
        worker = pool.submit(work)
        seconds, _ = _reloads(registered, holder, number)
        done.set()
        worker.result()
    return seconds, counts["calls"], counts["failed"]


def _spread(values: list[float], digits: int) -> list[str]:
    return [f"{statistics.median(values):.{digits}f}", f"{max(values):.{digits}f}"]
