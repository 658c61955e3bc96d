"""The default segmenter on this machine's CPU: chips a second, memory, first result of a batch."""

from __future__ import annotations

import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import shapely
import torch

from benchmarks.commands import LOTLINE, environment
from benchmarks.results import Result, save
from detection import LABELS
from detection.chip import Chip
from detection.chip_plan import plan_chips
from detection.imagery import GeoTiffMosaic
from detection.inference import read_chips
from detection.sample import generate
from detection.segmenters.landcover.inference_network import InferenceNetwork
from detection.segmenters.landcover.network import channels_last
from detection.segmenters.landcover.preprocess import input_pixels
from detection.segmenters.landcover.segmenter import Landcover
from detection.segmenters.landcover.weights import load_landcover
from detection.timing import StageTimer
from parcels.boundary import Boundary
from parcels.measure import area_m2, polygonal

CHIPS = 6
REPEATS = 3
CPU = torch.device("cpu")


def run() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        chips, lots_per_chip = _chips(folder)
        rows = _rows(chips)
        batch = _first_result(folder)
    save(
        Result(
            name="landcover",
            order=35,
            title="The default segmenter on a CPU",
            command="python -m benchmarks landcover",
            columns=["way", "ms per chip", "chips/s", "ratio"],
            rows=rows,
            notes=[
                f"{torch.get_num_threads()} threads, float32 unless said; medians of {REPEATS} "
                f"passes over {CHIPS} chips of the sample county (synthetic). A chip is the "
                "segmenter's: 512 px of 0.2 m, 102 m a side, for all lots in it; here "
                f"{lots_per_chip:.1f} lots are new with each chip, since a batch measures all.",
                f"`lotline batch` in a new LOTLINE_HOME (embedded database and sample county made "
                f"first): the first progress line with results after {batch.first_s:.0f} s, "
                f"{batch.lots} properties after {batch.total_s:.0f} s, peak memory of the process "
                f"{batch.peak_mb:,.0f} MB.",
                "bfloat16 is not used: it costs up to 0.004 of IoU on the Riverside windows of "
                "docs/landcover.md.",
            ],
        )
    )


def _chips(folder: Path) -> tuple[list[Chip], float]:
    """Chips of the sample county, and its lots for each of its chips."""
    county = generate(folder / "county")
    lots = [_boundary(geometry) for geometry in _geometries(county.parcels)]
    imagery = GeoTiffMosaic(str(county.imagery))
    plans, _ = plan_chips(lots, imagery, Landcover.chip_px, load_landcover().config.gsd_m)
    keys = list(dict.fromkeys(key for plan in plans for key in plan.chip_keys))
    middle = len(keys) // 2
    read = read_chips(keys[middle : middle + CHIPS], imagery, StageTimer())
    return [chip for chip in read.values() if isinstance(chip, Chip)], len(lots) / len(keys)


def _geometries(parcels: Path) -> list[shapely.Geometry]:
    import geopandas

    return list(geopandas.read_file(parcels).geometry)


def _boundary(geometry: shapely.Geometry) -> Boundary:
    lonlat = polygonal(geometry)
    return Boundary(lonlat, "lot", area_m2(lonlat), "parcel_id", "sample county")


def _rows(chips: list[Chip]) -> list[list[str]]:
    weights, segmenter = load_landcover(), Landcover(device="cpu")
    labels = [LABELS[name] for name in segmenter.labels or ()]
    pixels = [input_pixels(chip, weights.config.gsd_m, CPU) for chip in chips]
    folded, trained = InferenceNetwork(weights.network, CPU), channels_last(weights.network, CPU)

    def plainly(index: int) -> None:
        trained(pixels[index].contiguous(memory_format=torch.channels_last))

    def in_bfloat16(index: int) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            folded.logits(pixels[index])

    ways: dict[str, Callable[[int], object]] = {
        "network as trained": plainly,
        "network, batch norms folded": lambda index: folded.logits(pixels[index]),
        "the same in bfloat16 (not used)": in_bfloat16,
        "`Landcover.segment`: pixels to masks of six labels": lambda index: segmenter.segment(
            [chips[index]], labels
        ),
    }
    with torch.inference_mode():
        seconds = {way: _seconds(call, len(chips)) for way, call in ways.items()}
    first = next(iter(seconds.values()))
    return [
        [way, f"{1000 * each:.0f}", f"{1 / each:.1f}", f"{first / each:.2f}"]
        for way, each in seconds.items()
    ]


def _seconds(call: Callable[[int], object], count: int) -> float:
    """The median of the passes over all chips, per chip."""
    call(0)
    passes = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        for index in range(count):
            call(index)
        passes.append((time.perf_counter() - started) / count)
    return statistics.median(passes)


@dataclass(frozen=True, slots=True)
class FirstResult:
    """A batch of the sample county by a user who has only installed Lotline."""

    first_s: float
    total_s: float
    lots: int
    peak_mb: float


def _first_result(folder: Path) -> FirstResult:
    started, first_s, lots, peak_kib = time.perf_counter(), 0.0, 0, 0
    with subprocess.Popen(
        [str(LOTLINE), "batch"], cwd=folder, env=environment(folder / "home"),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as batch:  # fmt: skip
        assert batch.stdout is not None
        status = Path("/proc") / str(batch.pid) / "status"
        for line in batch.stdout:
            if progress := re.search(r": (\d+) of (\d+)", line):
                first_s = first_s or time.perf_counter() - started
                lots = int(progress[2])
            if peak := re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii")):
                peak_kib = max(peak_kib, int(peak[1]))
    if batch.returncode:
        raise SystemExit(f"lotline batch ended with {batch.returncode}")
    return FirstResult(first_s, time.perf_counter() - started, lots, peak_kib * 1024 / 1e6)
