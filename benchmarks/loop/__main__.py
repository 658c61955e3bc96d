"""`python -m benchmarks.loop --what shifted|real --out DIR`: train and judge, run by run."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.loop.real import RealPlace
from benchmarks.loop.runs import RunResults, TrainingLength
from benchmarks.loop.shifted import ShiftedCounty, ShiftedSizes, run_name
from benchmarks.loop.traced_lots import traced_places
from detection.evaluation.evaluate import Evaluation
from detection.evaluation.tile_images import TileImages

ROOT = Path(__file__).resolve().parent.parent.parent
TRACED = ROOT / "tests" / "data" / "traced"
# The traced windows that the shifted county rehearses, and those that show whether it unlearns.
_REHEARSED, _OLD_TILES = 20, ("riverside_2020_[0-4]*",)


def main(words: Sequence[str] | None = None) -> None:
    """Run what is missing."""
    options = _options(words)
    torch.set_num_threads(options.threads)
    length = TrainingLength(
        options.steps,
        options.batch,
        options.views,
        options.rate,
        options.device,
        autocast="auto" if options.device.startswith("cuda") else "bf16",
    )
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        images = TileImages(options.imagery, Path(scratch))
        if options.what == "shifted":
            _shifted(options, length, images, Path(scratch))
        else:
            _real(options, length, images, Path(scratch))


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loop", description=__doc__)
    parser.add_argument("--what", choices=("shifted", "real"), required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of runs and results")
    parser.add_argument(
        "--imagery", type=Path, nargs="+", required=True, help="folders with the traced tiles"
    )
    parser.add_argument("--only", nargs="*", default=(), help="names of runs, in their order")
    usual = TrainingLength()
    doses = ShiftedSizes().doses
    parser.add_argument("--doses", type=int, nargs="+", default=doses, help="of corrected lots")
    parser.add_argument("--steps", type=int, default=usual.steps)
    parser.add_argument("--batch", type=int, default=usual.batch)
    parser.add_argument("--views", type=int, default=usual.views)
    parser.add_argument("--rate", type=float, default=usual.learning_rate)
    parser.add_argument("--prompts", action="store_true", help="judge other prompts too")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="of torch, on a CPU")
    return parser.parse_args(words)


def _shifted(
    options: argparse.Namespace, length: TrainingLength, images: TileImages, scratch: Path
) -> None:
    places = traced_places(TRACED / "train", images)
    rehearsed = [window for place in places for window in place.windows]
    step = max(1, len(rehearsed) // _REHEARSED)
    old = Evaluation.open(TRACED, options.imagery, scratch / "old", _OLD_TILES)
    sizes = ShiftedSizes(doses=tuple(sorted(options.doses)))
    county = ShiftedCounty(
        options.out, sizes, old, rehearsed[::step][:_REHEARSED], with_prompts=options.prompts
    )
    results = RunResults(options.out)
    planned = {run_name(*planned): planned for planned in _planned(sizes.doses)}
    missing = [
        name
        for name in planned
        if name in (options.only or planned) and results.judged(name) is None
    ]
    if missing:
        by = county.judged_by()
        results.judge_base(by)
        for name in missing:
            results.run(county.run(*planned[name]), length, by)
    if not options.only or "turns" in options.only:
        county.turns(results)


def _planned(doses: Sequence[int]) -> list[tuple[int, str, str]]:
    """(corrected lots, tier, what is left out), the most telling first."""
    most = max(doses)
    falling = sorted(doses, reverse=True)
    return [
        *((dose, "heads", "") for dose in falling[:2]),
        (most, "heads", "positives only"),
        *((dose, "heads", "") for dose in falling[2:]),
        (most, "mask", ""),
        (most, "heads", "no rehearsal"),
        (most, "heads", "no negatives"),
        *((dose, "mask", "") for dose in falling[1:]),
        (most, "deep", ""),
    ]


def _real(
    options: argparse.Namespace, length: TrainingLength, images: TileImages, scratch: Path
) -> None:
    place = RealPlace.read(
        options.out, TRACED, images, options.imagery, scratch, with_prompts=options.prompts
    )
    results = RunResults(options.out)
    for fold in place.folds:
        if not options.only or fold.run.name in options.only:
            results.judge_base(fold.by, fold.base_name)
            results.run(fold.run, length, fold.by)


main()
