"""Lots a second from masks to square metres, and how exactly; beside samgeo on the same masks."""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import shapely
from shapely.geometry.base import BaseGeometry

from benchmarks import peers
from benchmarks.lots_truth import LEAST_HOLE_M2, Comparison, Truth, found_by_peer, found_by_us
from benchmarks.memory import forget_peak, peak_mb, resident_mb
from benchmarks.results import Result, save
from benchmarks.synthetic_masks import (
    BENCHMARK_LABELS,
    SIDE,
    BlankImagery,
    Bounds,
    PreparedSegmenter,
    SceneMasks,
)
from detection import Detector
from detection.imagery.pixel_grid import PixelWindow
from detection.results import LotResult
from detection.sample.layout import CRS
from detection.sample.scene import SyntheticScene, build_scene
from detection.sample.truth import lot_truth, to_degrees
from detection.timing import StageTimer
from parcels.boundary import Boundary
from parcels.measure import area_m2, polygonal

SEED = 2026
LOTS = 800
RUNS = 5
STAGES = ("plan", "stitch", "measure")
PINS = peers.HERE / "peers_samgeo.txt"
# The default tile size of samgeo's generate_masks_tiled.
TILE_PX = 1024
OVERLAP_PX = 128


@dataclass(frozen=True, eq=False)
class Work:
    """A synthetic county whose masks are known beforehand."""

    boundaries: list[Boundary]
    imagery: BlankImagery
    segmenter: PreparedSegmenter

    def detect(self, lots: Sequence[int], timer: StageTimer | None = None) -> list[LotResult]:
        """The results of some of the lots."""
        boundaries = [self.boundaries[lot] for lot in lots]
        found = dict(
            Detector(self.segmenter).detect_iter(boundaries, self.imagery, BENCHMARK_LABELS, timer)
        )
        return [found[index] for index in range(len(lots))]


@dataclass(frozen=True, slots=True)
class Pace:
    """What a number of processes needed for all lots: the median run.

    Attributes:
        seconds: of the slowest process in each stage, and in "all" from the first start to the
            last end.
        grown_mb: the most memory that a process took beside what it had before.
    """

    seconds: dict[str, float]
    grown_mb: float


def run() -> None:
    peers.interpreter(PINS)
    scene = build_scene(SEED, LOTS)
    scene_masks = SceneMasks(scene)
    boundaries = [_boundary(yard.plan.polygon) for yard in scene.yards]
    work = Work(boundaries, BlankImagery(scene), PreparedSegmenter(scene_masks))
    results = work.detect(range(LOTS))  # creates the masks, outside the timed runs
    paces = {processes: _pace(work, processes) for processes in (1, 2)}
    grid = work.imagery.grid
    truth = Truth(lot_truth(scene), [yard.plan.parcel_id for yard in scene.yards], grid)
    ours, seams = found_by_us(results, grid), _overlaps(work.segmenter.created)
    compared = {"Lotline": [truth.compared(ours, label, seams) for label in BENCHMARK_LABELS]}
    answers = {}
    with tempfile.TemporaryDirectory() as name:
        tiles = _prepare_samgeo(Path(name), scene, work)
        for unique in (True, False):
            tool = f"samgeo {peers.version('segment-geospatial', PINS)}, `unique={unique}`"
            answers[tool] = _samgeo(Path(name), unique)
            theirs, seams = found_by_peer(answers[tool]["found"]), _overlaps(tiles)
            compared[tool] = [truth.compared(theirs, label, seams) for label in BENCHMARK_LABELS]
    _save_speed(work, paces, answers)
    _save_accuracy(compared)


def _boundary(lot: BaseGeometry) -> Boundary:
    geometry = polygonal(to_degrees(lot))
    return Boundary(geometry, "lot", area_m2(geometry), "parcel_id", "synthetic")


def _overlaps(windows: Iterable[Bounds]) -> BaseGeometry:
    """The ground that more than one of the windows shows."""
    boxes = [shapely.box(*bounds) for bounds in windows]
    pairs = [shapely.intersection(one, other) for one, other in combinations(boxes, 2)]
    return shapely.union_all(pairs)


def _pace(work: Work, processes: int) -> Pace:
    """All lots with this number of processes, each with one part of the county."""
    fork = multiprocessing.get_context("fork")
    north = np.argsort([boundary.geometry.bounds[1] for boundary in work.boundaries])
    together = fork.Barrier(processes)
    workers = []
    for lots in np.array_split(north, processes):
        ours, theirs = fork.Pipe()
        worker = fork.Process(target=_timed, args=(work, lots.tolist(), together, theirs))
        worker.start()
        workers.append((worker, ours))
    answers = [connection.recv() for _, connection in workers]
    for worker, _ in workers:
        worker.join()
    runs = []
    for at_once in zip(*(spans for spans, _ in answers), strict=True):
        timers = [timer for _, _, timer in at_once]
        seconds = {stage: max(timer.seconds[stage] for timer in timers) for stage in STAGES}
        seconds["all"] = max(end for _, end, _ in at_once) - min(start for start, _, _ in at_once)
        runs.append(seconds)
    median = sorted(runs, key=lambda seconds: seconds["all"])[len(runs) // 2]
    return Pace(median, max(grown for _, grown in answers))


def _timed(work: Work, lots: list[int], together: Barrier, answer: Connection) -> None:
    """Send start, end and timer of each run, and the MB by which the process has grown."""
    before_mb = resident_mb()
    forget_peak()
    spans = []
    for _ in range(RUNS):
        together.wait()
        timer, start = StageTimer(), time.perf_counter()
        work.detect(lots, timer)
        spans.append((start, time.perf_counter(), timer))
    answer.send((spans, peak_mb() - before_mb))


def _prepare_samgeo(folder: Path, scene: SyntheticScene, work: Work) -> list[Bounds]:
    """An image of the county, its lots, and the masks of each tile; the tiles' CRS bounds."""
    grid = work.imagery.grid
    whole = grid.window_from_bounds(scene.bounds)
    profile = {
        "driver": "GTiff", "dtype": "uint8", "count": 3, "crs": CRS, "compress": "deflate",
        "tiled": True, "width": whole.width, "height": whole.height,
        "transform": grid.transform(whole),
    }  # fmt: skip
    with rasterio.open(folder / "source.tif", "w", **profile) as image:
        image.write(np.zeros((3, whole.height, whole.width), np.uint8))
    lots = grid.from_lonlat(np.array([lot.geometry for lot in work.boundaries], dtype=object))
    numbered = geopandas.GeoDataFrame({"lot": range(len(lots))}, geometry=lots, crs=CRS)
    numbered.to_file(folder / "lots.gpkg")
    tiles = [grid.bounds(tile) for tile in _tiles(whole)]
    for number, bounds in enumerate(tiles):
        fields: dict[str, Any] = {}
        for index, mask in enumerate(work.segmenter.scene_masks.masks(bounds)):
            fields[f"{mask.label.name}_{index}"] = mask.field
            fields[f"{mask.label.name}_{index}_at"] = (mask.row, mask.column)
        np.savez(folder / f"{number}.npz", **fields)
    return tiles


def _tiles(whole: PixelWindow) -> list[PixelWindow]:
    """The windows of samgeo's generate_masks_tiled, in its order; the last end with the image."""
    step = TILE_PX - OVERLAP_PX
    starts = [
        [min(number * step, side - TILE_PX) for number in range(-(-(side - OVERLAP_PX) // step))]
        for side in (whole.width, whole.height)
    ]
    return [
        PixelWindow(whole.column + column, whole.row + row, TILE_PX, TILE_PX)
        for row in starts[1]
        for column in starts[0]
    ]


def _samgeo(folder: Path, unique: bool) -> dict[str, Any]:
    given = {"folder": str(folder), "labels": [label.name for label in BENCHMARK_LABELS],
             "side": SIDE, "unique": unique}  # fmt: skip
    answer: dict[str, Any] = peers.ask("peers_lots.py", given, pins=PINS)
    return answer


def _save_speed(
    work: Work, paces: Mapping[int, Pace], answers: Mapping[str, Mapping[str, Any]]
) -> None:
    rows = []
    for processes, pace in paces.items():
        who = f"Lotline, {processes} process" + "es" * (processes > 1)
        for stage in (*STAGES, "all"):
            grown = f"{pace.grown_mb:.0f}" if stage == "all" else ""
            rows.append([f"{who}: {stage}", *_speed(pace.seconds[stage]), grown])
    for tool, answer in answers.items():
        seconds = answer["seconds"] | {"all": sum(answer["seconds"].values())}
        for stage, took_s in seconds.items():
            grown = f"{answer['grown_mb']:.0f}" if stage == "all" else ""
            rows.append([f"{tool}: {stage}", *_speed(took_s), grown])
    masks = sum(len(masks) for masks in work.segmenter.created.values())
    save(
        Result(
            name="lots",
            order=60,
            title="From masks to square metres: lots per second",
            command="python -m benchmarks lots",
            columns=["tool and stage", "s", "lots/s", "MB per process"],
            rows=rows,
            notes=[
                f"{LOTS} synthetic lots, {len(work.segmenter.created)} chips of 1008 px at "
                f"0.3 m, {len(BENCHMARK_LABELS)} labels, {masks} masks on SAM3's grid of "
                f"{SIDE} cells: one per chip for lawn, tree and driveway, one per object for "
                "roofs and pools. They are made from the sample generator's exact shapes, "
                "as logits of the covered share of a cell, with smooth noise. The detector "
                "is unchanged; its segmenter returns these masks for black pixels. "
                "`measure` is vectorizing, clipping and computing square metres. Two "
                "processes have half of the lots each; a stage's time is that of the slower "
                f"one. Lotline: the median of {RUNS} runs. MB is the memory that a process "
                "added.",
                "samgeo runs its own `generate_masks_tiled` (tiles of 1024 px with an "
                "overlap of 128), `raster_to_vector` and geopandas' `overlay` with the "
                "lots, as its users do, once and in one process, with masks of the same "
                "truth instead of its model; the time to make and enlarge the masks is "
                "excluded.",
            ],
        )
    )


def _speed(seconds: float) -> tuple[str, str]:
    return f"{seconds:.3f}", f"{LOTS / seconds:,.0f}"


def _save_accuracy(compared: Mapping[str, Sequence[Comparison]]) -> None:
    rows = []
    for index, label in enumerate(BENCHMARK_LABELS):
        for tool, comparisons in compared.items():
            of = comparisons[index]
            rows.append(
                [
                    f"{label.name}, {tool}",
                    str(len(of.errors)),
                    f"{statistics.median(of.errors):.2%}",
                    f"{np.percentile(of.errors, 95):.2%}",
                    f"{of.total:+.2%}",
                    *(f"{part} of {all_}" for part, all_ in (of.at_seams, of.elsewhere)),
                    f"{of.holes[0]} of {of.holes[1]}" if of.holes[1] else "",
                ]
            )
    save(
        Result(
            name="lots_accuracy",
            order=61,
            title="Area, seams and holes, from the same masks",
            command="python -m benchmarks lots",
            columns=[
                "label and tool", "lots", "area error, median", "95th percentile", "all lots",
                "broken at a seam", "broken elsewhere", "holes preserved",
            ],
            rows=rows,
            notes=[
"The masks of the table above against the synthetic county's exact truth, "
"on completely imaged lots with at least the label's minimum area. A "
"connected object of the truth within a lot is broken if it is detected as "
"more or less than one piece (of at least 5 % of it), or is less than half "
"covered. At a seam: it extends into the overlap of two chips or tiles. "
"Elsewhere, an object may be split at a neck thinner than a cell, and "
"Lotline discards what is smaller than the label's minimum area. Holes of "
f"at least {LEAST_HOLE_M2:g} m² are preserved if less than half of them is "
"covered. With `unique=True`, its default, samgeo numbers objects tile by "
"tile; with `unique=False`, all of a label is one mask: nothing breaks, and "
"touching objects are merged.",
],
        )
    )  # fmt: skip
