"""The overhead of Ray on one machine: the same county with the free segmenter, twice."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

from benchmarks.commands import ROOT
from benchmarks.results import Result, save

sys.path.append(str(ROOT / "tests"))
# Ray's workers import the segmenter by its name.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests"), str(ROOT)])

from largecounty import KEY, TWIN, LargeCounty, make_county
from segmenters import build_free

from pipeline import BatchRequest, run_batch
from pipeline.settings import Settings

LOTS = 10_000
STAGES = ("boundary", "read", "segment", "measure", "write")


def run() -> None:
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(0o755)
        county = make_county(home / "county", LOTS)
        local = _row("local", KEY, county, home)
        ray = _row("ray", TWIN, county, home)
    save(
        Result(
            name="ray_overhead",
            order=34,
            title="Local engine and Ray on one machine",
            command="python -m benchmarks ray_overhead",
            columns=["engine", "entire call, s", "run, s", "lots/s", *STAGES],
            rows=[local, ray],
            notes=[
                f"A synthetic county of {LOTS:,} lots, with a segmenter that costs nothing, "
                "so that the overhead between the stages shows. The entire call includes "
                "starting and stopping Ray and its workers; the run lasts from its first "
                "lease to its report. Columns of stages: seconds of all calls.",
            ],
        )
    )


def _row(engine: Literal["local", "ray"], key: str, county: LargeCounty, home: Path) -> list[str]:
    request = BatchRequest(
        key,
        registry=county.registry,
        properties=county.properties,
        segmenter="free",
        engine=engine,
    )
    started_s = time.perf_counter()
    report = run_batch(request, Settings(home=home), build=build_free)
    call_s = time.perf_counter() - started_s
    busy_s = report.timer.seconds if report.timer else {}
    return [
        engine,
        f"{call_s:.1f}",
        f"{report.wall_s:.1f}",
        f"{report.done / report.wall_s:,.0f}",
        *(f"{busy_s.get(stage, 0.0):.1f}" for stage in STAGES),
    ]
