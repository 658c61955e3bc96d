"""Train the tiny SAM3 of the tests, from nothing, on synthetic neighbourhoods, on a CPU.

    .venv/bin/python scripts/train_tiny_sam3.py            # about 20 minutes on two cores
    .venv/bin/python scripts/train_tiny_sam3.py --measure  # only measure what is there

It goes through the same forward pass as the real SAM3, and what it makes lies in
detection/segmenters/sam3/tiny: weights, configuration, and the figures on lots it never saw.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from transformers import Sam3Model

from detection.evaluation.sample_county import evaluate_on_sample
from detection.segmenters.sam3.forward import Pyramid, encode_image, feature_pyramid
from detection.segmenters.sam3.prompts import TextTokens, prompt_tokens, text_tokens
from detection.segmenters.sam3.segmenter import Sam3
from detection.segmenters.sam3.tokens import tokenize
from detection.segmenters.sam3.weights import TOKEN_IDS_KEY, load_weights
from detection.training.losses import chip_loss, map_loss
from detection.training.phrases import PHRASES, absent_phrase
from detection.training.tiny_network import MASK_PX, SIDE_PX, tiny_network
from detection.training.truth import (
    CHIP_PX,
    STUFF,
    THINGS,
    ChipTruth,
    chip_at,
    neighbourhood,
    truth_at,
)

TINY = Path(__file__).resolve().parent.parent / "detection" / "segmenters" / "sam3" / "tiny"
SEED = 7
STEPS = 600
# The semantic map learns alone for so much of the time.
MAP_ALONE = 0.4
LEARNING_RATE = 3e-3
# Boxes run away where their head learns as fast as the rest.
DECODER_SCALE = 0.4
WEIGHT_DECAY = 0.01
# (seed of the sample generator, lots); the sample county itself, 2026, is never trained on.
TRAINED_ON = tuple((seed, 150) for seed in range(101, 109))
CHIPS_EACH = 6
MEASURED_ON = ((2026, 200), (901, 120), (902, 120))
_EMBEDDING = "text_encoder.text_model.embeddings.token_embedding.weight"

Loss = Callable[[Sam3Model, Pyramid, Tensor, Tensor, list[ChipTruth]], dict[str, Tensor]]


class Chips:
    """Chips with their truth, lit anew each time."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._pixels: list[Tensor] = []
        self._truths: list[dict[str, tuple[Tensor, ...]]] = []
        for seed, lots in TRAINED_ON:
            place = neighbourhood(seed, lots)
            _, height, width = place.rgb.shape
            for _ in range(CHIPS_EACH):
                top = chance.randint(0, height - CHIP_PX)
                left = chance.randint(0, width - CHIP_PX)
                pixels = torch.from_numpy(chip_at(place.rgb, top, left)).float()[None]
                size = (SIDE_PX, SIDE_PX)
                small = functional.interpolate(pixels, size, mode="bilinear", antialias=True)
                self._pixels.append(small[0].round().to(torch.uint8))
                names = (*STUFF, *THINGS)
                truths = {name: truth_at(place, name, top, left, MASK_PX) for name in names}
                self._truths.append({name: _packed(truth) for name, truth in truths.items()})

    def draw(self) -> tuple[Tensor, list[str], list[ChipTruth]]:
        """Pixels (1, 3, side, side) in -1..1, phrases, and what each should find."""
        chance = self._chance
        index = chance.randrange(len(self._pixels))
        names = ["lawn", chance.choice(STUFF[1:]), "roof", chance.choice(THINGS[1:])]
        pixels = self._pixels[index].float()
        light = chance.uniform(0.9, 1.1)
        tint = torch.tensor([chance.uniform(0.96, 1.04) for _ in range(3)])[:, None, None]
        pixels = (pixels * light * tint + chance.uniform(-6, 6)).clamp(0, 255)
        truths = [_unpacked(self._truths[index][name]) for name in names]
        phrases = [chance.choice(PHRASES[name]) for name in names]
        empty = torch.zeros(MASK_PX, MASK_PX)
        nothing = ChipTruth(empty, empty + 1, empty[None][:0], torch.zeros(0, 4))
        return (
            pixels[None] / 127.5 - 1,
            [*phrases, absent_phrase(chance)],
            [*truths, nothing],
        )


def train(steps: int) -> Sam3Model:
    """A network after so many chips, the same for the same seed and machine."""
    chance = random.Random(SEED)
    model = tiny_network(SEED)
    chips = Chips(chance)
    slow = list(model.detr_decoder.parameters())
    slow_ids = {id(parameter) for parameter in slow}
    fast = [parameter for parameter in model.parameters() if id(parameter) not in slow_ids]
    optimiser = torch.optim.AdamW(
        [{"params": fast, "scale": 1.0}, {"params": slow, "scale": DECODER_SCALE}],
        betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY,
    )  # fmt: skip
    model.train()
    started = time.monotonic()
    seen_terms: dict[str, float] = {}
    for step in range(steps):
        rate = min(1.0, (step + 1) / 20) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * group["scale"] * max(0.01, rate)
        pixels, phrases, truths = chips.draw()
        loss = map_loss if step < MAP_ALONE * steps else chip_loss
        terms = _step(model, optimiser, loss, pixels, phrases, truths)
        for name, value in terms.items():
            seen_terms[name] = 0.95 * seen_terms.get(name, value) + 0.05 * value
        if step % 25 == 0:
            shown = "  ".join(f"{name} {value:.3f}" for name, value in seen_terms.items())
            print(f"{step:5d}  {time.monotonic() - started:5.0f} s  {shown}", flush=True)
    model.train(mode=False)
    return model


def _step(
    model: Sam3Model,
    optimiser: torch.optim.Optimizer,
    loss: Loss,
    pixels: Tensor,
    phrases: list[str],
    truths: list[ChipTruth],
) -> dict[str, float]:
    ids, valid = tokenize(phrases)
    text = TextTokens(text_tokens(model, ids, valid), valid)
    seen = feature_pyramid(model, encode_image(model, pixels))
    prompt, prompt_valid = prompt_tokens(model, text, seen.levels[-1], seen.position)
    terms = loss(model, seen, prompt, prompt_valid, truths)
    optimiser.zero_grad()
    torch.stack(list(terms.values())).sum().backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return {name: float(value.detach()) for name, value in terms.items()}


def save(model: Sam3Model, folder: Path) -> None:
    """Weights in half precision, with only the words that were trained on, and one for all else."""
    known = sorted({
        int(token) for phrases in PHRASES.values()
        for row, valid in [tokenize(phrases)] for token in row[valid]
    })  # fmt: skip
    state = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    table = model.state_dict()[_EMBEDDING]
    ids = torch.tensor(known)
    other = int(tokenize(["trampoline"])[0][0, 1])
    state[_EMBEDDING] = torch.cat([table[ids], table[other][None]]).half()
    state[TOKEN_IDS_KEY] = ids.int()
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)  # it writes what only its owner may read
    model.config.save_pretrained(folder)


def _packed(truth: ChipTruth) -> tuple[Tensor, ...]:
    shares = (truth.semantic, truth.weight, truth.masks)
    return (*((share * 255).round().to(torch.uint8) for share in shares), truth.boxes)


def _unpacked(packed: tuple[Tensor, ...]) -> ChipTruth:
    semantic, weight, masks = (plane.float() / 255 for plane in packed[:3])
    return ChipTruth(semantic, weight, masks, packed[3])


def main() -> int:
    """Train, save, measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=TINY)
    parser.add_argument("--measure", action="store_true", help="only measure what is there")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    report = asked.out / "measured.json"
    took = json.loads(report.read_text())["training"] if report.is_file() else {}
    if not asked.measure:
        started, used = time.monotonic(), time.process_time()
        model = train(asked.steps)
        took = {
            "steps": asked.steps,
            "threads": asked.threads,
            "wall_s": round(time.monotonic() - started),
            "cpu_s": round(time.process_time() - used),
        }
        making = Path(tempfile.mkdtemp())
        save(model, making)
        asked.out.mkdir(parents=True, exist_ok=True)
        for path in making.iterdir():
            shutil.move(path, asked.out / path.name)
        making.rmdir()
    weights = load_weights(str(asked.out))
    figures = evaluate_on_sample(Sam3(weights, "sam3-tiny", device="cpu"), MEASURED_ON)
    content = {
        "synthetic": True,
        "sha256": weights.sha256,
        "bytes": (asked.out / "model.safetensors").stat().st_size,
        "training": took,
        "measured_on": [{"sample_seed": seed, "lots": lots} for seed, lots in MEASURED_ON],
        "figures": figures,
    }
    report.write_text(json.dumps(content, indent=2) + "\n")
    print(json.dumps(content, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
