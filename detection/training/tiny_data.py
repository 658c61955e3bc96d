"""Training samples of sam3-tiny: random chips of synthetic neighbourhoods with their truth."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pyproj import CRS
from torch import Tensor
from torch.nn import functional

from detection.chip import Chip
from detection.imagery.pixel_grid import PixelGrid, PixelWindow
from detection.labels import Label
from detection.sample.chip_truth import (
    CHIP_PX,
    STUFF,
    THINGS,
    ChipTruth,
    chip_at,
    neighbourhood,
    truth_at,
)
from detection.segmenters.sam3.phrases import PHRASES, absent_phrase
from detection.training.task import Probe
from detection.training.tiny_network import MASK_PX, SIDE_PX

# (seed of the sample generator, lots). The sample county, seed 2026, is never trained on.
TRAINING_SEEDS = tuple((seed, 150) for seed in range(101, 109))
_PROBE_SEED = (904, 12)


@dataclass(frozen=True, eq=False)
class TrainingSample:
    """A chip, the prompts for it, and what each prompt should find.

    Attributes:
        pixels: (1, 3, side, side) in -1..1.
        phrases, truths: of the same length; the last phrase is absent from the chip.
    """

    pixels: Tensor
    phrases: list[str]
    truths: list[ChipTruth]


class TrainingChips:
    """Chips in memory, packed to 8 bits, with random brightness and colour at each draw.

    Attributes:
        sha256: of all pixels and truths.
    """

    def __init__(
        self, seed: int, neighbourhoods: Sequence[tuple[int, int]], chips_per_seed: int
    ) -> None:
        """Cut chips at random corners of neighbourhoods (seed of the generator, lots)."""
        rng = random.Random(seed)  # noqa: S311  reproducible training, not cryptography
        self._seed = seed
        self._pixels: list[Tensor] = []
        self._truths: list[dict[str, tuple[Tensor, ...]]] = []
        self._names: list[str] = []
        for place_seed, lots in neighbourhoods:
            place = neighbourhood(place_seed, lots)
            _, height, width = place.rgb.shape
            for _ in range(chips_per_seed):
                top = rng.randint(0, height - CHIP_PX)
                left = rng.randint(0, width - CHIP_PX)
                self._names.append(f"sample seed {place_seed}, row {top}, column {left}")
                pixels = torch.from_numpy(chip_at(place.rgb, top, left)).float()[None]
                size = (SIDE_PX, SIDE_PX)
                small = functional.interpolate(pixels, size, mode="bilinear", antialias=True)
                self._pixels.append(small[0].round().to(torch.uint8))
                names = (*STUFF, *THINGS)
                truths = {name: truth_at(place, name, top, left, MASK_PX) for name in names}
                self._truths.append({name: _pack(truth) for name, truth in truths.items()})
        digest = hashlib.sha256()
        for pixels, truths_of_chip in zip(self._pixels, self._truths, strict=True):
            digest.update(pixels.numpy().tobytes())
            for planes in truths_of_chip.values():
                for plane in planes:
                    digest.update(plane.numpy().tobytes())
        self.sha256 = digest.hexdigest()

    def name_of(self, step: int) -> str:
        """The place of a step's chip."""
        return self._names[self._rng(step).randrange(len(self._pixels))]

    def _rng(self, step: int) -> random.Random:
        return random.Random(f"{self._seed} {step}")  # noqa: S311  not cryptography

    def draw(self, step: int) -> TrainingSample:
        """The chip of a step, with four prompts that may match and one that is absent."""
        rng = self._rng(step)
        index = rng.randrange(len(self._pixels))
        names = ["lawn", rng.choice(STUFF[1:]), "roof", rng.choice(THINGS[1:])]
        pixels = self._pixels[index].float()
        brightness = rng.uniform(0.9, 1.1)
        tint = torch.tensor([rng.uniform(0.96, 1.04) for _ in range(3)])[:, None, None]
        pixels = (pixels * brightness * tint + rng.uniform(-6, 6)).clamp(0, 255)
        truths = [_unpack(self._truths[index][name]) for name in names]
        phrases = [rng.choice(PHRASES[name]) for name in names]
        empty = torch.zeros(MASK_PX, MASK_PX)
        nothing = ChipTruth(empty, empty + 1, empty[None][:0], torch.zeros(0, 4))
        return TrainingSample(
            pixels[None] / 127.5 - 1,
            [*phrases, absent_phrase(rng)],
            [*truths, nothing],
        )


def probe_chips() -> Probe:
    """Two chips of a neighbourhood that is not trained on, and prompts for all labels."""
    place = neighbourhood(*_PROBE_SEED)
    grid = PixelGrid("EPSG:26916", 0.3)
    chips = []
    for top, left in ((0, 0), (place.rgb.shape[1] - CHIP_PX, place.rgb.shape[2] - CHIP_PX)):
        window = PixelWindow(left, top, CHIP_PX, CHIP_PX)
        chips.append(Chip(
            chip_at(place.rgb, top, left), np.ones((CHIP_PX, CHIP_PX), bool),
            grid.transform(window), CRS.from_user_input(grid.crs), ("red", "green", "blue"),
        ))  # fmt: skip
    labels = [Label(name, PHRASES[name][-1], "continuous", 4.0) for name in STUFF]
    labels += [Label(name, PHRASES[name][0], "discrete", 4.0) for name in THINGS]
    return Probe(chips, [*labels, Label("absent", "trampoline", "continuous", 4.0)])


def _pack(truth: ChipTruth) -> tuple[Tensor, ...]:
    planes = (truth.semantic, truth.weight, truth.masks)
    return (*((plane * 255).round().to(torch.uint8) for plane in planes), truth.boxes)


def _unpack(packed: tuple[Tensor, ...]) -> ChipTruth:
    semantic, weight, masks = (plane.float() / 255 for plane in packed[:3])
    return ChipTruth(semantic, weight, masks, packed[3])
