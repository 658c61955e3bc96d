"""SAM3 at full size in the local engine: how busy the rest of a batch keeps one GPU.

Run on a machine with a CUDA GPU: `python -m benchmarks.sam3_county`. There is no
database: outcomes are counted and dropped, as the notes say.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import rasterio
import torch
from rasterio.windows import Window
from transformers import Sam3Config, Sam3Model

from benchmarks.commands import ROOT
from benchmarks.results import Result, save
from benchmarks.sam3_segment import BENCHMARK_LABELS, labels_for, real_chips, segmenter
from benchmarks.sam3_speed import _machine, _spread
from detection import Detector, open_imagery
from detection.chip_plan import plan_chips
from detection.clip import LotLines
from detection.imagery.interface import ImagerySource
from detection.inference import read_chips
from detection.labels import Label
from detection.registry.county import DetectionCounty
from detection.segmenters.sam3.fast.linear import Precision
from detection.segmenters.sam3.segmenter import Sam3
from detection.timing import StageTimer
from parcels import Boundary, ParcelBoundaryService, Property, load_registry
from pipeline.batch.counters import Counters
from pipeline.batch.engine import Completed
from pipeline.batch.engines import local
from pipeline.batch.engines.local import LocalEngine
from pipeline.batch.lease_loop import CHUNK_LOTS
from pipeline.batch.stage_context import ChipSpec, StageContext
from pipeline.batch.stages import Chunk, PendingOutcome
from pipeline.store.queue.states import LeasedProperty
from pipeline.store.results.outcomes import RunInfo

sys.path.append(str(ROOT / "tests"))

from largecounty import KEY, LargeCounty, make_county

LOTS = 400_000
EVERY = 25  # one of these lots is a property: some 16 share a chip, as with lots of 0.5 ha
CHIP_PX, GSD_M, BATCH, PROMPTS = 1008, 0.6, 16, 2
ALONE = 12  # inference batches of the segmenter alone
SERIAL_LOTS = 128


@dataclass(frozen=True)
class Way:
    """One way through the county: chips and lots a second, and the GPU's share of the time."""

    name: str
    precision: str
    chips: int
    lots: int
    wall_s: float
    segment_s: float

    def row(self) -> list[str]:
        """As the table shows it."""
        return [
            self.name,
            self.precision,
            f"{self.chips:,}",
            f"{self.chips / self.wall_s:.1f}",
            f"{self.lots / self.wall_s:,.0f}" if self.lots else "",
            f"{self.segment_s / self.wall_s:.0%}",
        ]


def run() -> None:
    if not torch.cuda.is_available():
        sys.exit("benchmarks.sam3_county needs a CUDA GPU")
    with tempfile.TemporaryDirectory() as name:
        county = make_county(Path(name), LOTS)
        _make_chips_unique(county)
        entry = load_registry(county.registry, DetectionCounty).county(KEY)
        imagery = open_imagery(entry.imagery)
        leased = _neighbours(county)
        torch.manual_seed(0)
        with torch.device("cuda"):
            model = Sam3Model(Sam3Config()).eval()
        _spread(model)
        precisions: tuple[Precision, ...] = ("bf16", "fp8")
        ways = [
            way
            for precision in precisions
            for way in _ways(model, precision, entry, imagery, leased)
        ]
    save(_result(ways))


def _ways(
    model: Sam3Model,
    precision: Precision,
    entry: DetectionCounty,
    imagery: ImagerySource,
    leased: Sequence[LeasedProperty],
) -> Iterator[Way]:
    sam3 = segmenter(model, precision, BATCH)
    sam3.prepare(BENCHMARK_LABELS[:PROMPTS])
    labels = tuple(labels_for(sam3, real_chips(BATCH), PROMPTS))
    service = ParcelBoundaryService(entry)
    some = [each.property for each in leased[:CHUNK_LOTS]]
    boundaries = [each for each in service.boundaries(some) if isinstance(each, Boundary)]
    yield _alone(sam3, precision, boundaries, imagery, labels)
    yield _one_after_the_other(sam3, precision, boundaries[:SERIAL_LOTS], imagery, labels)
    yield _engine(sam3, precision, entry, service, imagery, labels, leased)


def _alone(
    sam3: Sam3,
    precision: str,
    boundaries: Sequence[Boundary],
    imagery: ImagerySource,
    labels: Sequence[Label],
) -> Way:
    """The segmenter alone, with chips that are in memory and hashed."""
    plans, _ = plan_chips(boundaries, imagery, CHIP_PX, GSD_M, LotLines())
    places = list(dict.fromkeys(place for plan in plans for place in plan.chip_keys))
    chips = list(read_chips(places[: ALONE * BATCH], imagery, StageTimer()).values())
    for chip in chips:
        chip.sha256  # type: ignore[union-attr]  # noqa: B018  all of this county can be read
    sam3.segment(chips[:BATCH], labels)  # type: ignore[arg-type]
    sam3._token_cache.clear()
    started = time.perf_counter()
    for first in range(0, len(chips) - BATCH + 1, BATCH):
        sam3.segment(chips[first : first + BATCH], labels)  # type: ignore[arg-type]
    wall_s = time.perf_counter() - started
    return Way("segmenter only", precision, len(chips) // BATCH * BATCH, 0, wall_s, wall_s)


def _one_after_the_other(
    sam3: Sam3,
    precision: str,
    boundaries: Sequence[Boundary],
    imagery: ImagerySource,
    labels: Sequence[Label],
) -> Way:
    sam3._token_cache.clear()
    timer, started = StageTimer(), time.perf_counter()
    detector = Detector(sam3, LotLines(), GSD_M)
    lots = sum(1 for _ in detector.detect_iter(boundaries, imagery, labels, timer))
    wall_s = time.perf_counter() - started
    stages = timer.stages
    return Way(
        "stages in sequence", precision, stages["read"].calls, lots, wall_s,
        stages["segment"].seconds,
    )  # fmt: skip


def _engine(
    sam3: Sam3,
    precision: str,
    entry: DetectionCounty,
    service: ParcelBoundaryService,
    imagery: ImagerySource,
    labels: tuple[Label, ...],
    leased: Sequence[LeasedProperty],
) -> Way:
    """Measured from the first written lots, as its processes take seconds to start."""
    names = tuple(label.name for label in labels)
    run_info = RunInfo(1, sam3.name, None, names)
    spec = ChipSpec(CHIP_PX, GSD_M, BATCH)
    context = StageContext(entry, run_info, "benchmark", labels, LotLines(), spec, "defer", "")
    sam3._token_cache.clear()
    counters, lots, began = Counters(), 0, 0.0
    parts = range(0, len(leased), CHUNK_LOTS)
    chunks = (Chunk(i, tuple(leased[at : at + CHUNK_LOTS])) for i, at in enumerate(parts))
    with _nothing_is_written():
        engine = LocalEngine(context, service, imagery, sam3, mock.Mock(), _processes())
        for update in engine.run(chunks, lambda: False, lambda _: None):
            if not began:
                began = time.perf_counter()
                continue
            counters.add(update.counters)
            lots += len(update.completed)
        wall_s = time.perf_counter() - began
    spent_s = counters.timer.stages["segment"].seconds
    return Way("local engine", precision, counters.encoder_calls, lots, wall_s, spent_s)


def _processes() -> int:
    return len(os.sched_getaffinity(0)) - 1


@contextmanager
def _nothing_is_written() -> Iterator[None]:
    def drop(outcomes: Sequence[PendingOutcome], *_: object) -> list[Completed]:
        return [Completed(leased.property.property_id, None) for leased, _ in outcomes]

    with mock.patch.object(local, "write_outcomes", drop):
        yield


def _neighbours(county: LargeCounty) -> list[LeasedProperty]:
    """Every 25th lot, in squares of about half a kilometre, as a lease scan returns them."""
    rows = [line.split(",") for line in county.properties.read_text("utf-8").splitlines()[1:]]
    chosen = [row for row in rows if row[0][4:].isdigit() and int(row[0][4:]) % EVERY == 0]
    chosen.sort(key=lambda row: (round(float(row[2]) * 200), round(float(row[1]) * 160), row[0]))
    return [
        LeasedProperty(number, Property(row[0], float(row[1]), float(row[2])), 1)
        for number, row in enumerate(chosen)
    ]


def _make_chips_unique(county: LargeCounty) -> None:
    """Add grain to the repetitive imagery: equal chips would be encoded once."""
    grain = np.random.default_rng(0).integers(0, 4, 64_000_000, dtype=np.uint8)
    path = county.folder / "imagery.tif"
    grainy = county.folder / "grainy.tif"
    with rasterio.open(path) as source, rasterio.open(grainy, "w", **source.profile) as target:
        target.colorinterp = source.colorinterp
        for row in range(0, source.height, 256):
            window = Window(0, row, source.width, min(256, source.height - row))
            pixels = source.read(window=window)
            first = row % 977
            target.write(pixels ^ grain[first : first + pixels.size].reshape(pixels.shape),
                         window=window)  # fmt: skip
    grainy.replace(path)


def _result(ways: Sequence[Way]) -> Result:
    return Result(
        name="sam3_county",
        order=12,
        title="SAM3 in a batch: how busy one GPU is",
        command="python -m benchmarks.sam3_county",
        columns=["setup", "precision", "chips", "chips/s", "lots/s", "segmenter busy"],
        rows=[way.row() for way in ways],
        notes=[
            f"The full architecture with random weights, {PROMPTS} prompts, chips of "
            f"{CHIP_PX} px at {GSD_M} m in batches of {BATCH}; a synthetic county of 18 "
            f"x 36 m lots, of which one in {EVERY} is processed; its imagery is a "
            "deflated GeoTIFF with grain. With random weights, 40 of 200 queries are "
            "above the score threshold.",
            f"The local engine has {_processes()} worker processes and is timed from its "
            "first written lots on. There is no database: results are discarded instead "
            "of written.",
        ],
        machine=f"{_machine()}, {os.cpu_count()} cores",
    )


if __name__ == "__main__":
    run()
