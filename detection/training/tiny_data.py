"""Training samples of sam3-tiny: random chips of synthetic neighbourhoods with their truth."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from detection.training.phrases import PHRASES, absent_phrase
from detection.training.tiny_network import MASK_PX, SIDE_PX
from detection.training.truth import (
    CHIP_PX,
    STUFF,
    THINGS,
    ChipTruth,
    chip_at,
    neighbourhood,
    truth_at,
)

# (seed of the sample generator, lots). The sample county, seed 2026, is never trained on.
TRAINING_SEEDS = tuple((seed, 150) for seed in range(101, 109))
CHIPS_PER_SEED = 6


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
    """Chips in memory, packed to 8 bits, with random brightness and colour at each draw."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._pixels: list[Tensor] = []
        self._truths: list[dict[str, tuple[Tensor, ...]]] = []
        for seed, lots in TRAINING_SEEDS:
            place = neighbourhood(seed, lots)
            _, height, width = place.rgb.shape
            for _ in range(CHIPS_PER_SEED):
                top = rng.randint(0, height - CHIP_PX)
                left = rng.randint(0, width - CHIP_PX)
                pixels = torch.from_numpy(chip_at(place.rgb, top, left)).float()[None]
                size = (SIDE_PX, SIDE_PX)
                small = functional.interpolate(pixels, size, mode="bilinear", antialias=True)
                self._pixels.append(small[0].round().to(torch.uint8))
                names = (*STUFF, *THINGS)
                truths = {name: truth_at(place, name, top, left, MASK_PX) for name in names}
                self._truths.append({name: _pack(truth) for name, truth in truths.items()})

    def draw(self) -> TrainingSample:
        """A random chip with four prompts that may match and one that is absent."""
        rng = self._rng
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


def _pack(truth: ChipTruth) -> tuple[Tensor, ...]:
    planes = (truth.semantic, truth.weight, truth.masks)
    return (*((plane * 255).round().to(torch.uint8) for plane in planes), truth.boxes)


def _unpack(packed: tuple[Tensor, ...]) -> ChipTruth:
    semantic, weight, masks = (plane.float() / 255 for plane in packed[:3])
    return ChipTruth(semantic, weight, masks, packed[3])
