"""SAM3 end to end at full size: 8 bit chips in, cropped numpy masks out; a part of sam3_speed.

The weights are random. They are drawn so that boxes and masks spread over the chip, and a label's
least score is set so that so many queries count as found: what finding costs is in the times.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from affine import Affine
from pyproj import CRS
from transformers import Sam3Model

from detection.chip import Chip
from detection.errors import SegmenterError
from detection.labels import Label
from detection.segmenters.interface import Mask
from detection.segmenters.sam3.fast.linear import Precision
from detection.segmenters.sam3.segmenter import Sam3
from detection.segmenters.sam3.weights import Weights

SIDE_PX = 1008
FOUND = 40  # of the 200 queries of a chip and prompt
BENCHMARK_LABELS = (
    Label("lawn", "mowed grass lawn", "continuous", 4.0),
    Label("roof", "house roof", "discrete", 4.0),
    Label("pool", "backyard swimming pool", "discrete", 4.0),
    Label("tree", "tree canopy", "continuous", 4.0),
)


@dataclass(frozen=True)
class Way:
    """`Sam3.segment` with this number of prompts, measured.

    `prepared_s` is the compilation; `masks` a chip's; `memory_gib` the most that was in use.
    """

    precision: Precision
    prompts: int
    batch: int
    ms_a_chip: float
    prepared_s: float
    masks: float
    memory_gib: float


def real_chips(count: int) -> list[Chip]:
    """Smooth random 8 bit images with grain: red, green, blue and near infrared."""
    noise = np.random.default_rng(0)
    chips = []
    for number in range(count):
        coarse = torch.from_numpy(noise.random((1, 4, 24, 24), np.float32))
        smooth = torch.nn.functional.interpolate(coarse, size=(SIDE_PX, SIDE_PX), mode="bilinear")
        grain = noise.integers(0, 24, (4, SIDE_PX, SIDE_PX), dtype=np.uint8)
        pixels = (smooth[0] * 230).to(torch.uint8).numpy() + grain
        at = Affine(0.3, 0, 5e5 + 300 * number, 0, -0.3, 4e6)
        bands = ("red", "green", "blue", "nir")
        chips.append(Chip(pixels, np.ones(pixels.shape[1:], bool), at, CRS.from_epsg(26916), bands))
    return chips


def segmenter(model: Sam3Model, precision: Precision, batch: int) -> Sam3:
    """With a copy of the weights, because the fast network modifies its model."""
    return Sam3(
        Weights(copy.deepcopy(model), "random"), device="cuda", precision=precision, batch=batch
    )


def labels_for(sam3: Sam3, chips: Sequence[Chip], prompts: int) -> list[Label]:
    """Labels of which about FOUND queries a chip count as found."""
    labels = []
    with torch.inference_mode():
        for label in BENCHMARK_LABELS[:prompts]:
            text = sam3._phrase_cache.encode([label.prompt] * prompts)
            tokens = sam3._pad_to_batch(sam3._tokens(chips[:1]))
            pyramid = sam3._network.feature_pyramid(tokens)
            scores = sam3._network.predict(pyramid, text, None).scores[0]
            labels.append(replace(label, score_threshold=float(scores.sort().values[-FOUND])))
    return labels


def timed(model: Sam3Model, precision: Precision, prompts: int, batch: int) -> Way:
    """The median time of eight batches."""
    torch.cuda.reset_peak_memory_stats()
    chips = real_chips(4 * batch)
    sam3 = segmenter(model, precision, batch)
    started = time.perf_counter()
    sam3.prepare(BENCHMARK_LABELS[:prompts])
    prepared_s = time.perf_counter() - started
    labels = labels_for(sam3, chips, prompts)
    spans, masks = [], 0
    for start in range(0, len(chips), batch):
        some = chips[start : start + batch]
        for chip in some:
            chip.sha256  # noqa: B018  the detector keeps it with each detection, at any speed
        sam3._token_cache.clear()
        started = time.perf_counter()
        found = sam3.segment(some, labels)
        spans.append(time.perf_counter() - started)
        masks += sum(map(len, found))
    ms = 1000 * statistics.median(spans) / batch
    peak_gib = torch.cuda.max_memory_allocated() / 2**30
    return Way(precision, prompts, batch, ms, prepared_s, masks / len(chips), peak_gib)


def short_of_memory(model: Sam3Model) -> list[str]:
    """The result of eight chips when fewer fit into memory, and when one does not fit."""
    chips = real_chips(8)
    roomy = segmenter(model, "bf16", 8)
    labels = labels_for(roomy, chips, 2)
    expected = roomy.segment(chips, labels)
    del roomy
    tight = segmenter(model, "bf16", 8)
    whole = torch.cuda.get_device_properties(0).total_memory
    said = []
    for spare_gib in (3, 0):
        torch.cuda.empty_cache()
        limit = torch.cuda.memory_reserved() + spare_gib * 2**30
        torch.cuda.set_per_process_memory_fraction(limit / whole)
        taken = [] if spare_gib else _all_that_is_left()
        before = tight.batch
        try:
            found = tight.segment(chips, labels)
            outcome = f"completed in batches of {tight.batch}, {_agreement(found, expected)}"
        except SegmenterError as error:
            outcome = f"SegmenterError: {error}"
        said.append(f"with {spare_gib} GiB free, {before} chips at once: {outcome}")
        del taken
        torch.cuda.set_per_process_memory_fraction(1.0)
        tight._token_cache.clear()
    again = tight.segment(chips[:2], labels)
    said.append(f"after freeing memory, two chips: {_agreement(again, expected[:2])}")
    return said


def _all_that_is_left() -> list[torch.Tensor]:
    taken = []
    for mib in (256, 64, 16, 4, 1):
        try:
            while True:
                taken.append(torch.empty(mib << 20, dtype=torch.uint8, device="cuda"))
        except torch.OutOfMemoryError:
            continue
    return taken


def _agreement(found: list[list[Mask]], expected: list[list[Mask]]) -> str:
    """How much of the cover of the first, continuous label is the same."""
    pairs = [(a[0].field > 0, b[0].field > 0) for a, b in zip(found, expected, strict=True)]
    same = float(np.mean([np.mean(a == b) for a, b in pairs]))
    return f"{same:.2%} of the cells are as without a limit"
