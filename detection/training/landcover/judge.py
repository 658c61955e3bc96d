"""How good landcover is on traced tiles, through its segmenter, in colours alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from torch.nn import functional

from detection.chip import Chip
from detection.labels import Label
from detection.segmenters.interface import Segmenter
from detection.segmenters.landcover.encoder import STRIDE_PX
from detection.segmenters.landcover.network import CLASSES
from detection.segmenters.landcover.segmenter import Landcover
from detection.training.landcover.traced_images import TracedImage
from detection.training.sam3.labels import UNSURE
from detection.training.task import Judgement, Probe

_CRS = CRS.from_epsg(26911)
_LABELS = tuple(Label(name, name, "continuous", 1.0) for name in CLASSES[1:])
_TEMPERATURES = tuple(float(t) for t in np.geomspace(0.6, 3.0, 25))


def judge_windows(segmenter: Segmenter, images: Sequence[TracedImage], gsd_m: float) -> Judgement:
    """Mean IoU over the sure pixels of all images, less a quarter of the area errors.

    Args:
        gsd_m: of the network's input.
    """
    counts = np.zeros((len(_LABELS), 3))
    for image in images:
        truth = image.codes
        known = truth != UNSURE
        [masks] = segmenter.segment([_chip(image, gsd_m)], _LABELS)
        for number, (label, mask) in enumerate(zip(_LABELS, masks, strict=True)):
            predicted = _on_tile(mask.field, truth.shape) & known
            true = (truth == CLASSES.index(label.name)) & known
            both = (predicted & true).sum()
            counts[number] += (both, (predicted | true).sum(), predicted.sum() - true.sum())
    figures: dict[str, float] = {}
    scores = []
    for label, (both, either, excess) in zip(_LABELS, counts, strict=True):
        if not either:
            continue  # the images have none of it
        figures[f"{label.name}_iou"] = round(float(both / either), 4)
        error = abs(excess) / max(1.0, either)
        figures[f"{label.name}_area_error"] = round(float(error), 4)
        scores.append(both / either - 0.25 * error)
    return Judgement(round(float(np.mean(scores)), 4), figures)


def fit_temperature(segmenter: Landcover, images: Sequence[TracedImage], gsd_m: float) -> float:
    """The temperature with the least cross entropy on sure pixels.

    Args:
        segmenter: with a temperature of 1.
    """
    logs, codes = [], []
    for image in images:
        truth = image.codes
        _, probabilities = segmenter.planes(_chip(image, gsd_m))
        known = truth != UNSURE
        classes = torch.from_numpy(probabilities[None, : len(CLASSES)])
        fine = functional.interpolate(classes, truth.shape, mode="bilinear")[0].numpy()
        logs.append(np.log(np.clip(fine[:, known], 1e-6, 1)))
        codes.append(truth[known])
    log, code = np.concatenate(logs, 1), np.concatenate(codes).astype(np.int64)
    entropies = [
        _entropy((log / temperature).astype(np.float32), code) for temperature in _TEMPERATURES
    ]
    return _TEMPERATURES[int(np.argmin(entropies))]


def probe_of(images: Sequence[TracedImage], gsd_m: float) -> Probe:
    """Chips of the first images, on which exported weights must answer alike."""
    chips = [_chip(image, gsd_m) for image in images[:2]]
    return Probe(chips, list(_LABELS))


def _entropy(logits: NDArray[np.float32], codes: NDArray[np.int64]) -> float:
    highest = logits.max(0)
    total = highest + np.log(np.exp(logits - highest).sum(0))
    return float((total - logits[codes, np.arange(len(codes))]).mean())


def _chip(image: TracedImage, gsd_m: float) -> Chip:
    """The colours of an image at the network's ground sample distance."""
    side_m = image.pixels.shape[-1] * image.gsd_m
    side = max(1, round(side_m / gsd_m / STRIDE_PX)) * STRIDE_PX
    colours = torch.from_numpy(image.pixels[None, :3]).float()
    finer = image.gsd_m > gsd_m
    fine = functional.interpolate(colours, (side, side), mode="bilinear", antialias=not finer)[0]
    fine = fine.round().clamp(0, 255)
    size_m = side_m / side
    return Chip(
        fine.to(torch.uint8).numpy(), np.ones((side, side), np.bool_),
        Affine(size_m, 0, 400_000, 0, -size_m, 3_800_000), _CRS, ("red", "green", "blue"),
    )  # fmt: skip


def _on_tile(field: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    fine = functional.interpolate(torch.from_numpy(field)[None, None], shape, mode="bilinear")
    inside: NDArray[np.bool_] = fine[0, 0].numpy() > 0
    return inside
