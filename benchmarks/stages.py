"""Lots per second in each stage of a batch on the sample county."""

from __future__ import annotations

import statistics
import tempfile
from collections import defaultdict
from pathlib import Path

from benchmarks.results import Result, save
from pipeline import BatchRequest, run_batch
from pipeline.settings import Settings

RUNS = 3
WORK = ("lease", "boundary", "plan", "read", "segment", "stitch", "measure", "write")


def run() -> None:
    seconds: dict[str, list[float]] = defaultdict(list)
    calls: dict[str, int] = {}
    walls_s: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        settings = Settings(home=folder / "home")
        run_batch(
            BatchRequest("sample", limit=1, segmenter="spectral"), settings
        )  # imports, cluster, sample county
        for _ in range(RUNS):
            report = run_batch(
                BatchRequest("sample", segmenter="spectral", again=True, out=folder), settings
            )
            assert report.timer is not None
            assert report.run is not None
            for stage in (*WORK, "map"):
                seconds[stage].append(report.timer.seconds.get(stage, 0.0))
            calls = report.timer.calls
            lots = report.done
            walls_s.append(report.run.took_s)
    medians = {stage: statistics.median(values) for stage, values in seconds.items()}
    total = sum(medians[stage] for stage in WORK)
    rows = [
        [
            stage,
            str(calls[stage]),
            f"{medians[stage]:.2f}",
            f"{lots / medians[stage]:,.0f}",
            f"{medians[stage] / total:.0%}" if stage in WORK else "",
        ]
        for stage in (*WORK, "map")
        if medians[stage] > 0
    ]
    rows.append(["all stages", "", f"{total:.2f}", f"{lots / total:,.0f}", "100%"])
    wall_s = statistics.median(walls_s)
    rows.append(["the run", "", f"{wall_s:.2f}", f"{lots / wall_s:,.0f}", ""])
    save(
        Result(
            name="stages",
            order=30,
            title="Stages of a batch on the sample county",
            command="python -m benchmarks stages",
            columns=["stage", "calls", "s", "lots/s", "share"],
            rows=rows,
            notes=[
                f"{lots} properties, three labels, `spectral` on the CPU, in one process; "
                f"the median of {RUNS} runs. Stages run concurrently in threads; the seconds "
                "of a stage include its waits for a core. The run is wall-clock time, from "
                "its first lease to its end. `segment` is called once per chip.",
            ],
        )
    )
