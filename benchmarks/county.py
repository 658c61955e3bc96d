"""A county end to end with the free segmenter, so that everything except inference shows."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands import ROOT
from benchmarks.results import Result, save

sys.path.append(str(ROOT / "tests"))

from batches import environment, free_segmenter_command, start_process
from largecounty import KEY, LargeCounty, make_county

SIZES = (1_000, 10_000, 100_000)
STAGES = ("lease", "boundary", "plan", "read", "segment", "stitch", "measure", "write")
_EVERY_S = 0.2


@dataclass(frozen=True)
class Run:
    """One batch on a new county.

    Attributes:
        wall_s: wall-clock seconds of the run, from the first lease to the report.
        busy_s: seconds by stage, summed over its threads and processes.
        peak_mb: peak resident memory of the batch's processes, in each half of its time.
    """

    lots: int
    wall_s: float
    busy_s: dict[str, float]
    peak_mb: tuple[float, float]


def batch(county: LargeCounty, home: Path) -> Run:
    """Run a batch in another process, and sample its memory."""
    samples: list[float] = []
    with start_process(
        free_segmenter_command(county, KEY, home / "log"), home, environment(None, home)
    ) as batch:
        while batch.process.poll() is None:
            samples.append(batch.resident_mb())
            time.sleep(_EVERY_S)
        code, output, errors = batch.wait()
        assert code == 0, errors
    result = json.loads(output)
    half = len(samples) // 2
    peaks_mb = (max(samples[:half]), max(samples[half:]))
    return Run(sum(result["processed"].values()), result["wall_s"], result["busy_s"], peaks_mb)


def run() -> None:
    runs = []
    for lots in SIZES:
        with tempfile.TemporaryDirectory() as name:
            home = Path(name)
            home.chmod(0o755)
            runs.append(batch(make_county(home / "county", lots), home))
    save(
        Result(
            name="county",
            order=32,
            title="A county end to end, with a segmenter that costs nothing",
            command="python -m benchmarks county",
            columns=["lots", "s", "lots/s", "peak MB, 1st half", "2nd half", *STAGES],
            rows=[_row(each) for each in runs],
            notes=[
                "A synthetic county: lots of 18 x 36 m in a GeoParquet file; 0.6 m imagery "
                "in a GeoTIFF that is read and decoded; chips of 512 pixels; four labels "
                "(lawn, tree, roof, pool) whose masks are drawn without inference. About "
                "four detections per lot are vectorized, clipped, measured and written to "
                "an embedded PostGIS on the same cores.",
                "Columns of stages: lots per second of busy time, over all threads and "
                "processes of the stage; stages run concurrently. Peaks are the resident "
                "memory of all processes of the batch, sampled five times per second, "
                "without PostgreSQL's.",
            ],
        )
    )


def _row(run: Run) -> list[str]:
    busy = (run.busy_s.get(stage, 0.0) for stage in STAGES)
    return [
        f"{run.lots:,}",
        f"{run.wall_s:.1f}",
        f"{run.lots / run.wall_s:,.0f}",
        *(f"{mb:,.0f}" for mb in run.peak_mb),
        *(f"{run.lots / seconds:,.0f}" if seconds else "" for seconds in busy),
    ]
