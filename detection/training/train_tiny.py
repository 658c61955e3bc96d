"""The training loop of sam3-tiny, on a CPU, through the same forward pass as the real SAM3."""

from __future__ import annotations

import math
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import Sam3Model

from detection.segmenters.sam3.forward import Pyramid, encode_image, feature_pyramid
from detection.segmenters.sam3.prompts import TextTokens, prompt_tokens, text_tokens
from detection.segmenters.sam3.tokens import tokenize
from detection.segmenters.sam3.weights import TOKEN_IDS_KEY
from detection.training.losses import chip_loss, map_loss
from detection.training.phrases import PHRASES
from detection.training.tiny_data import TrainingChips, TrainingSample
from detection.training.tiny_network import tiny_network
from detection.training.truth import ChipTruth

SEED = 7
STEPS = 600
# The fraction of the steps in which only the semantic map is trained.
MAP_ONLY_FRACTION = 0.4
LEARNING_RATE = 3e-3
WARM_UP_STEPS = 20
# The decoder learns slower than the rest, else its boxes diverge.
DECODER_LEARNING_RATE_SCALE = 0.4
WEIGHT_DECAY = 0.01
_EMBEDDING = "text_encoder.text_model.embeddings.token_embedding.weight"
_LOG_EVERY = 25

Loss = Callable[[Sam3Model, Pyramid, Tensor, Tensor, list[ChipTruth]], dict[str, Tensor]]
# Called with the step, the seconds so far and the running means of the loss terms.
OnProgress = Callable[[int, float, dict[str, float]], None]


def train(steps: int, on_progress: OnProgress | None = None) -> Sam3Model:
    """A network trained for a number of steps; deterministic on the same machine."""
    rng = random.Random(SEED)  # noqa: S311  reproducible training, not cryptography
    model = tiny_network(SEED)
    chips = TrainingChips(rng)
    optimizer = _optimizer(model)
    model.train()
    started = time.monotonic()
    mean_terms: dict[str, float] = {}
    for step in range(steps):
        _set_learning_rate(optimizer, step, steps)
        loss = map_loss if step < MAP_ONLY_FRACTION * steps else chip_loss
        terms = _train_step(model, optimizer, loss, chips.draw())
        for name, value in terms.items():
            mean_terms[name] = 0.95 * mean_terms.get(name, value) + 0.05 * value
        if on_progress is not None and step % _LOG_EVERY == 0:
            on_progress(step, time.monotonic() - started, mean_terms)
    model.train(mode=False)
    return model


def _optimizer(model: Sam3Model) -> torch.optim.Optimizer:
    decoder = list(model.detr_decoder.parameters())
    decoder_ids = {id(parameter) for parameter in decoder}
    others = [parameter for parameter in model.parameters() if id(parameter) not in decoder_ids]
    return torch.optim.AdamW(
        [
            {"params": others, "scale": 1.0},
            {"params": decoder, "scale": DECODER_LEARNING_RATE_SCALE},
        ],
        betas=(0.9, 0.98),
        weight_decay=WEIGHT_DECAY,
    )


def _set_learning_rate(optimizer: torch.optim.Optimizer, step: int, steps: int) -> None:
    """Linear warm-up, then cosine decay to 1 %."""
    warm_up = min(1.0, (step + 1) / WARM_UP_STEPS)
    rate = warm_up * 0.5 * (1 + math.cos(math.pi * step / steps))
    for group in optimizer.param_groups:
        group["lr"] = LEARNING_RATE * group["scale"] * max(0.01, rate)


def _train_step(
    model: Sam3Model, optimizer: torch.optim.Optimizer, loss: Loss, sample: TrainingSample
) -> dict[str, float]:
    """One optimizer step on one chip; the loss terms before it."""
    ids, valid = tokenize(sample.phrases)
    text = TextTokens(text_tokens(model, ids, valid), valid)
    features = feature_pyramid(model, encode_image(model, sample.pixels))
    prompt, prompt_valid = prompt_tokens(model, text, features.levels[-1], features.position)
    terms = loss(model, features, prompt, prompt_valid, sample.truths)
    optimizer.zero_grad()
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return {name: float(value.detach()) for name, value in terms.items()}


def save_weights(model: Sam3Model, folder: Path) -> None:
    """Write model.safetensors and config.json into a folder, replacing both once complete."""
    with tempfile.TemporaryDirectory() as name:
        draft = Path(name)
        _save(model, draft)
        folder.mkdir(parents=True, exist_ok=True)
        for path in draft.iterdir():
            shutil.move(path, folder / path.name)


def _save(model: Sam3Model, folder: Path) -> None:
    """Half precision; word embeddings only of the trained tokens, plus one for all others."""
    trained_ids = sorted({
        int(token) for phrases in PHRASES.values()
        for row, valid in [tokenize(phrases)] for token in row[valid]
    })  # fmt: skip
    state = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    table = model.state_dict()[_EMBEDDING]
    ids = torch.tensor(trained_ids)
    other_id = int(tokenize(["trampoline"])[0][0, 1])
    state[_EMBEDDING] = torch.cat([table[ids], table[other_id][None]]).half()
    state[TOKEN_IDS_KEY] = ids.int()
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)  # save_file makes it readable only by the owner
    model.config.save_pretrained(folder)
