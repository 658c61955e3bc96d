"""Milliseconds of a click with SAM3 at full size: the first on a chip, and a later one.

    python -m benchmarks.review_masks_gpu

On a CUDA GPU, in the precision that a batch uses there. The weights are random, since speed does
not depend on them.
"""

from __future__ import annotations

import json
import statistics
import time

import numpy as np
import torch
from pyproj import CRS
from transformers import Sam3Config, Sam3Model

from detection.chip import Chip
from detection.imagery.pixel_grid import PixelGrid, PixelWindow
from detection.labels import Label
from detection.segmenters.interface import BoxPrompt, ClickPrompt
from detection.segmenters.sam3.segmenter import Sam3
from detection.segmenters.sam3.weights import Weights

_SIZE_PX = 1008
_LABEL = Label("roof", "house roof", "discrete", 8.0)
_GRID = PixelGrid("EPSG:26916", 0.3)
_WINDOW = PixelWindow(0, 0, _SIZE_PX, _SIZE_PX)


def measure_click_ms(device: str = "cuda", clicks: int = 30) -> dict[str, float | str]:
    """Median and p95 of later clicks and boxes on a chip, and of the first click on a new chip."""
    torch.manual_seed(0)
    with torch.device(device):
        model = Sam3Model(Sam3Config()).eval()
    sam3 = Sam3(Weights(model, "0" * 64), device=device, batch=1, fast=False)
    sam3.mask_at(_chip(0), _LABEL, ClickPrompt(500, 500))  # kernels and text are loaded once
    first_ms = [_timed_ms(sam3, _chip(seed), ClickPrompt(500, 500)) for seed in range(1, 6)]
    chip = _chip(1)
    later_ms = [
        _timed_ms(sam3, chip, ClickPrompt(x, x) if x % 2 else BoxPrompt(x, x, x + 60, x + 60))
        for x in range(100, 100 + clicks)
    ]
    return {
        "device": sam3.device,
        "first_ms": round(statistics.median(first_ms), 1),
        "later_ms_p50": round(statistics.median(later_ms), 1),
        "later_ms_p95": round(float(np.percentile(later_ms, 95)), 1),
    }


def _timed_ms(sam3: Sam3, chip: Chip, prompt: ClickPrompt | BoxPrompt) -> float:
    started = time.perf_counter()
    sam3.mask_at(chip, _LABEL, prompt)  # which copies the mask to the host
    return 1000 * (time.perf_counter() - started)


def _chip(seed: int) -> Chip:
    shape = (3, _SIZE_PX, _SIZE_PX)
    pixels = np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)
    return Chip(
        pixels, np.ones(shape[1:], bool), _GRID.transform(_WINDOW),
        CRS.from_user_input(_GRID.crs), ("red", "green", "blue"),
    )  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(measure_click_ms()))
