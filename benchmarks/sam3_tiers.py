"""Training SAM3's decoder: CPU time of a sample and peak memory by tier, on sam3-tiny.

One view of a synthetic neighbourhood, three prompts, one thread. The image encoder of the tiny
network is a far smaller share of the work than that of SAM3, so that little follows for full size.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import rasterio
import torch
from affine import Affine
from transformers import Sam3Model

from benchmarks.results import Result, save
from detection.sample.chip_truth import CHIP_PX, chip_at, neighbourhood
from detection.segmenters.sam3.forward import encode_image
from detection.segmenters.sam3.prompts import PhraseCache
from detection.training.sam3_decoder.batches import batch_targets
from detection.training.sam3_decoder.chip_views import ChipView, ViewRules, cut_chips
from detection.training.sam3_decoder.chips import read_chips
from detection.training.sam3_decoder.kept_views import KeptViews
from detection.training.sam3_decoder.recipe import load_start
from detection.training.sam3_decoder.settings import TierSettings
from detection.training.sam3_decoder.step import before_masks
from detection.training.sam3_decoder.task import TierTask
from detection.training.sam3_decoder.tiers import TIERS
from pipeline.learning.coco_file import run_lengths
from pipeline.learning.pair_images import mask_png

_GSD_M = 0.3
_STEPS = 2


def run() -> None:
    """Measure each tier in a process of its own, and save the table."""
    with tempfile.TemporaryDirectory() as folder:
        _write_chips(Path(folder))
        figures = {
            (tier, kept): _in_process(Path(folder), tier, kept)
            for tier in TIERS
            for kept in ((True, False) if tier != "full" else (False,))
        }
    full_ms = figures["full", False]["ms"]
    rows = [
        [
            tier, "yes" if kept else "no", f"{figure['ms']:,.0f}", f"{full_ms / figure['ms']:.1f}",
            f"{figure['peak_mb']:,.0f}", f"{figure['trained']:,}",
        ]
        for (tier, kept), figure in figures.items()
    ]  # fmt: skip
    save(Result(
        name="sam3_tiers",
        order=75,
        title="Training SAM3's decoder, by tier (sam3-tiny on a CPU)",
        command="python -m benchmarks sam3_tiers",
        columns=[
            "tier", "views kept", "CPU ms a sample", "times faster than full",
            "peak memory of the step, MB", "trained parameters",
        ],
        rows=rows,
        notes=[
            f"sam3-tiny only, on a CPU; nothing was measured at full size or on a GPU. Its image "
            f"encoder takes {figures['heads', False]['frozen_ms']:,.0f} ms of a sample; SAM3's own "
            "is most of the work, so the ratios there are others. Forward and backward pass of one "
            f"view with three prompts, one thread, CPU time, the median of {_STEPS} steps after "
            "one; without kept views, what the frozen parts compute is added. The peak is that of "
            "the process, above that before its first step."
        ],
    ))  # fmt: skip


def _in_process(folder: Path, tier: str, kept: bool) -> dict[str, Any]:
    words = [sys.executable, "-m", "benchmarks.sam3_tiers", str(folder), tier, str(int(kept))]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(folder: Path, tier: str, *, kept: bool) -> dict[str, Any]:
    """CPU milliseconds of a sample, the memory that a step takes, and the trained parameters."""
    torch.set_num_threads(1)
    start = load_start("sam3-tiny")
    settings = TierSettings(tier=tier, batch=1, views=1, words="dog")
    side_px = int(start.model.vision_encoder.config.image_size)
    rules = ViewRules(CHIP_PX * _GSD_M, side_px, 4 * side_px // 14, 1, 1.0, 3, ("dog",), 1)
    chips = [chip for chip in read_chips(folder) if chip.split == "train"]
    views = KeptViews(folder / "views", 1.0)
    task = TierTask(
        start.model, cut_chips(chips, rules), [], rules, settings, views, start.start_sha256
    )
    trained = [each for each in task.network.parameters() if each.requires_grad]
    task.network.train()
    before_mb = _peak_mb()
    times, frozen = [], []
    for step in range(_STEPS + 1):
        started = time.process_time()
        if not kept and tier != "full":
            _frozen_parts(start.model, task.views(step), rules, masks=tier == "mask")
        frozen.append(1000 * (time.process_time() - started))
        loss = torch.stack(list(task.loss(step).values())).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        times.append(1000 * (time.process_time() - started))
        for parameter in trained:
            parameter.grad = None
    return {
        "ms": median(times[1:]),
        "frozen_ms": median(frozen[1:]),
        "peak_mb": _peak_mb() - before_mb,
        "trained": sum(each.numel() for each in trained),
    }


@torch.no_grad()
def _frozen_parts(
    model: Sam3Model, views: Sequence[ChipView], rules: ViewRules, *, masks: bool
) -> None:
    """What kept views save: the encoder, and for the tier mask all before the mask decoder."""
    for view in views:
        tokens = encode_image(model, view.pixels(rules)[None])
        if masks:
            text = PhraseCache(model).encode(view.truth.phrases)
            before_masks(model, tokens, text, batch_targets([view.truth], tokens.device))


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _write_chips(folder: Path) -> None:
    """Two chips of a synthetic neighbourhood, of which all ground was judged."""
    place = neighbourhood(905, 12)
    (folder / "lot.png").write_bytes(mask_png(np.ones((CHIP_PX, CHIP_PX), bool)))
    chips = []
    for number, left in enumerate((0, place.rgb.shape[2] - CHIP_PX)):
        with rasterio.open(
            folder / f"{number}.tif", "w", driver="GTiff", width=CHIP_PX, height=CHIP_PX, count=3,
            dtype="uint8", crs="EPSG:26916", transform=Affine(_GSD_M, 0, 5e5, 0, -_GSD_M, 4e6),
        ) as image:  # fmt: skip
            image.write(chip_at(place.rgb, 0, left))
        window = (slice(0, CHIP_PX), slice(left, left + CHIP_PX))
        labels = {}
        for label in ("roof", "pool"):
            numbers = place.things[label][window]
            name = f"{number}-{label}.png"
            (folder / name).write_bytes(mask_png(numbers > 0))
            objects = [run_lengths(numbers == each) for each in np.unique(numbers) if each]
            labels[label] = {
                "prompt": label, "kind": "discrete", "mask": name, "exhaustive": True,
                "objects": objects,
            }  # fmt: skip
        chips.append({
            "name": str(number), "image": f"{number}.tif", "lot": "lot.png", "gsd_m": _GSD_M,
            "split": "validation" if number else "train", "labels": labels,
        })  # fmt: skip
    (folder / "chips.json").write_text(json.dumps({"format": 1, "chips": chips}))


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), sys.argv[2], kept=sys.argv[3] == "1")))
