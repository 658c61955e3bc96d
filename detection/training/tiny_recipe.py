"""The training of sam3-tiny: synthetic chips, SAM3's losses, export and judge."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import Sam3Model

from detection.evaluation.sample_county import evaluate_on_sample
from detection.segmenters.interface import Segmenter
from detection.segmenters.sam3.forward import encode_image, feature_pyramid
from detection.segmenters.sam3.phrases import PHRASES
from detection.segmenters.sam3.prompts import TextTokens, prompt_tokens, text_tokens
from detection.segmenters.sam3.segmenter import Sam3
from detection.segmenters.sam3.tokens import tokenize
from detection.segmenters.sam3.weights import TOKEN_IDS_KEY, Weights, load_weights
from detection.training.losses import chip_loss, map_loss
from detection.training.recipes import RecipeRequest, Training
from detection.training.settings import TrainingSettings, changed
from detection.training.task import Judgement, ParameterGroup, Probe, decay_groups
from detection.training.tiny_data import TRAINING_SEEDS, TrainingChips, probe_chips
from detection.training.tiny_network import tiny_network

NAME = "sam3-tiny"
# Twenty minutes on two cores. The decoder's boxes diverge at higher rates, see `TinySettings`.
SETTINGS = TrainingSettings(
    steps=600, learning_rate=3e-3, warm_up=20 / 600, checkpoint_every=100, read_every=25
)
_EMBEDDING = "text_encoder.text_model.embeddings.token_embedding.weight"
# Neither trained on nor in measured.json. Two hundred metres are enough to choose a checkpoint.
_JUDGE_SEEDS = ((903, 24),)


@dataclass(frozen=True, slots=True)
class TinySettings:
    """What is particular to sam3-tiny.

    Attributes:
        map_only_steps: steps in which only the semantic map is trained, since it learns fastest
            and the decoder needs its features.
        decoder_rate: factor of the learning rate of the DETR decoder, whose boxes diverge else.
        weight_decay: of matrices and kernels.
        chips_per_seed: chips of each synthetic neighbourhood.
        neighbourhoods: number of synthetic neighbourhoods.
        judge_lots: lots of the neighbourhood on which checkpoints are judged.
    """

    map_only_steps: int = 240
    decoder_rate: float = 0.4
    weight_decay: float = 0.01
    chips_per_seed: int = 6
    neighbourhoods: int = len(TRAINING_SEEDS)
    judge_lots: int = _JUDGE_SEEDS[0][1]


class TinyTask:
    """A chip a step, with four prompts that may match and one that is absent."""

    name = NAME

    def __init__(self, settings: TinySettings, seed: int) -> None:
        self._model = tiny_network(seed)
        self.network: nn.Module = self._model
        self._settings = settings
        self._chips = TrainingChips(
            seed, TRAINING_SEEDS[: settings.neighbourhoods], settings.chips_per_seed
        )
        drawn = json.dumps([seed, dataclasses.asdict(settings)], sort_keys=True)
        self.data_sha256 = hashlib.sha256(f"{self._chips.sha256} {drawn}".encode()).hexdigest()

    def loss(self, step: int) -> Mapping[str, Tensor]:
        """The weighted terms of a step's chip."""
        sample = self._chips.draw(step)
        model = self._model
        ids, valid = tokenize(sample.phrases)
        text = TextTokens(text_tokens(model, ids, valid), valid)
        features = feature_pyramid(model, encode_image(model, sample.pixels))
        prompt, prompt_valid = prompt_tokens(model, text, features.levels[-1], features.position)
        loss = map_loss if step < self._settings.map_only_steps else chip_loss
        return loss(model, features, prompt, prompt_valid, sample.truths)

    def parameter_groups(self) -> list[ParameterGroup]:
        """The DETR decoder learns slower than the rest."""
        decay = self._settings.weight_decay
        named = list(self._model.named_parameters())
        others = [(name, each) for name, each in named if not name.startswith("detr_decoder.")]
        decoder = [(name, each) for name, each in named if name.startswith("detr_decoder.")]
        return [
            *decay_groups(others, decay, no_decay=("embed",)),
            *decay_groups(decoder, decay, self._settings.decoder_rate, no_decay=("embed",)),
        ]

    def batch_name(self, step: int) -> str:
        """The chip of a step: its neighbourhood and corner."""
        return self._chips.name_of(step)


class TinyExport:
    """model.safetensors and config.json, as `load_weights` takes them."""

    def __init__(self, settings: TinySettings) -> None:
        self._judge_seeds = ((_JUDGE_SEEDS[0][0], settings.judge_lots),)
        self.probe: Probe = probe_chips()

    def export(self, network: nn.Module, folder: Path) -> None:
        """Half precision; word embeddings only of the trained tokens, plus one for all others."""
        if not isinstance(network, Sam3Model):
            raise TypeError(f"expected a Sam3Model, not {type(network).__name__}")
        tensors = network.state_dict()
        state = {name: each.detach().cpu().half().contiguous() for name, each in tensors.items()}
        ids = _trained_token_ids()
        other_id = int(tokenize(["trampoline"])[0][0, 1])
        table = state[_EMBEDDING]
        state[_EMBEDDING] = torch.cat([table[ids], table[other_id][None]])
        state[TOKEN_IDS_KEY] = ids.int()
        path = folder / "model.safetensors"
        save_file(state, path, {"format": "pt"})
        path.chmod(0o644)  # save_file makes it readable only by the owner
        network.config.save_pretrained(folder)

    def load(self, folder: Path) -> Segmenter:
        """Load the weights as detection does."""
        return Sam3(load_weights(str(folder)), NAME, "cpu", fast=False)

    def wrap(self, network: nn.Module) -> Segmenter:
        """The adapter around the network in float32."""
        if not isinstance(network, Sam3Model):
            raise TypeError(f"expected a Sam3Model, not {type(network).__name__}")
        return Sam3(Weights(network, ""), NAME, "cpu", "float32", fast=False)

    def judge(self, segmenter: Segmenter) -> Judgement:
        """Mean IoU of the labels, less their area errors and false alarms."""
        figures = evaluate_on_sample(segmenter, self._judge_seeds)
        labels = list(PHRASES)
        iou = sum(figures[f"{label}_iou"] for label in labels) / len(labels)
        error = sum(min(1.0, figures[f"{label}_area_error"]) for label in labels) / len(labels)
        false_alarms = 1 - figures["absent_nothing"]
        return Judgement(round(iou - 0.25 * error - false_alarms, 4), figures)


def _trained_token_ids() -> Tensor:
    phrases = [phrase for of_label in PHRASES.values() for phrase in of_label]
    ids, valid = tokenize(phrases)
    return torch.tensor(sorted(set(ids[valid].tolist())))


def build(request: RecipeRequest) -> Training:
    """Build the training, on the CPU. It needs no data: the chips are generated."""
    settings = changed(TinySettings(), request.overrides)
    return Training(
        task=TinyTask(settings, request.seed),
        settings=SETTINGS,
        export=TinyExport(settings) if request.judged else None,
        resolved=dataclasses.asdict(settings),
    )
