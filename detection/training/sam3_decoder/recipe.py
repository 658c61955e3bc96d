"""The recipe `sam3-decoder`: trains the decoder of any SAM3 on labelled chips.

DATA has chips.json (see `chips`), as `lotline train --from` writes it from exported corrections.
"""

from __future__ import annotations

import copy
import dataclasses
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import Sam3Model

from detection.errors import TrainingError
from detection.segmenters.interface import Segmenter
from detection.segmenters.sam3.segmenter import CHIP_PX, Sam3
from detection.segmenters.sam3.sources import delta_file
from detection.segmenters.sam3.weights import BASE_KEY, Weights, load_weights
from detection.training.recipes import RecipeRequest, Training
from detection.training.sam3_decoder.chip_views import ViewRules, cut_chips
from detection.training.sam3_decoder.chips import LabelledChip, read_chips
from detection.training.sam3_decoder.delta import (
    add_metrics,
    delta_metadata,
    delta_tensors,
    save_delta,
)
from detection.training.sam3_decoder.kept_views import KeptViews
from detection.training.sam3_decoder.lot_judge import LotJudge
from detection.training.sam3_decoder.settings import TierSettings
from detection.training.sam3_decoder.task import NAME, TierTask
from detection.training.sam3_decoder.tiers import with_parts
from detection.training.settings import TrainingSettings, changed
from detection.training.task import Judgement, Probe

# SAM3's rate is for 256 channels; narrower networks take proportionally larger steps.
_RATE, _RATE_CHANNELS = 8e-5, 256
_SHIPPED = {"sam3-tiny": "tiny", "sam3-nano": "nano"}
_NANO_PX = 336
_DETECTION_GSD_M = 0.3
_MOST_PROMPTS = 9


@dataclass(frozen=True, slots=True, eq=False)
class StartWeights:
    """What a training begins with.

    Attributes:
        base: the source of the base, without a delta.
        base_sha256: of the base; `start_sha256` of all that the network is loaded from.
        before: the tensors of the delta that it goes on from.
    """

    model: Sam3Model
    base: str
    base_sha256: str
    start_sha256: str
    before: Mapping[str, Tensor]


def load_start(source: str) -> StartWeights:
    """The weights to begin with.

    Raises:
        TrainingError: none are named.
        SegmenterError: they cannot be loaded.
    """
    if not source:
        raise TrainingError(
            f"{NAME} trains the weights of a SAM3: name them with --weights (a folder, a file, a "
            "hub id such as facebook/sam3, or sam3-tiny)"
        )
    base, *deltas = source.split(os.pathsep)
    if base in _SHIPPED:
        base = str(files("detection.segmenters.sam3").joinpath(_SHIPPED[base]))
    weights = load_weights(os.pathsep.join([base, *deltas]))
    if not deltas:
        return StartWeights(weights.model, base, weights.sha256, weights.sha256, {})
    path = delta_file(deltas[0])
    base_sha256 = delta_metadata(path)[BASE_KEY]
    return StartWeights(weights.model, base, base_sha256, weights.sha256, delta_tensors(path))


def build(request: RecipeRequest) -> Training:
    """Load weights and chips, and compute what the frozen parts make of the views.

    Raises:
        TrainingError: data are missing or wrong, or the views are too large.
        SegmenterError: the weights to start from cannot be loaded.
    """
    if request.data is None:
        raise TrainingError(
            f"{NAME} learns from corrections: give --from ADDRESS, or --data with chips.json"
        )
    settings = changed(TierSettings(), request.overrides)
    chips = read_chips(request.data)
    rehearsal = read_chips(Path(settings.rehearsal)) if settings.rehearsal else []
    trained, judged = _split(chips, settings.judged_one_in)
    rehearsed = [chip for chip in rehearsal if chip.split == "train"]
    start = load_start(settings.start)
    device = torch.device(request.device)
    nn.Module.to(start.model, device)
    rules = _rules(start.model, settings, [*trained, *rehearsed], request.seed)
    folder = Path(settings.cache) if settings.cache else request.data / "views"
    kept = KeptViews(folder, settings.cache_gib)
    task = TierTask(
        start.model, cut_chips(trained, rules), cut_chips(rehearsed, rules), rules, settings, kept,
        start.start_sha256, request.on_message,
    )  # fmt: skip
    width = int(start.model.text_projection.weight.shape[0])
    training = TrainingSettings(
        steps=300, learning_rate=_RATE * _RATE_CHANNELS / width, warm_up=0.05, clip_norm=0.1,
        ema_decay=0.98, betas=(0.9, 0.99), checkpoint_every=100, read_every=10,
    )  # fmt: skip
    resolved: dict[str, object] = dataclasses.asdict(settings) | {
        "base": start.base, "base_sha256": start.base_sha256, "start_sha256": start.start_sha256,
        "chips": len(trained), "rehearsal_chips": len(rehearsed), "judged_chips": len(judged),
    }  # fmt: skip
    if not request.judged:
        return Training(task, training, None, resolved)
    judge = LotJudge(judged, rules.view_m, settings.absent_words)
    export = DeltaExport(start, settings.tier, judge, device, _chip_px(start.model, settings))
    # Training can make weights worse: what it began with is the score to beat.
    first = judge.judge(export.wrap(task.network))
    request.on_message(f"the weights to start from have the score {first.score}")
    return Training(task, training, export, resolved | {"start_score": first.score})


class DeltaExport:
    """How trained parts become a delta, and how good it is."""

    def __init__(
        self, start: StartWeights, tier: str, judge: LotJudge, device: torch.device, chip_px: int
    ) -> None:
        self._start, self._tier, self._judge = start, tier, judge
        self._device, self._chip_px = device, chip_px

    @property
    def probe(self) -> Probe:
        """What the loaded delta must answer as the network does."""
        return Probe(self._judge.probed, self._judge.labels)

    def export(self, network: nn.Module, folder: Path) -> None:
        """Write the delta into an empty folder."""
        save_delta(
            network, folder, base_sha256=self._start.base_sha256, tier=self._tier,
            before=self._start.before,
        )  # fmt: skip

    def load(self, folder: Path) -> Segmenter:
        """The segmenter of the base with an exported delta."""
        return self._segmenter(load_weights(f"{self._start.base}{os.pathsep}{folder}"))

    def wrap(self, network: nn.Module) -> Segmenter:
        """The segmenter of the network with trained parts, without files."""
        own = with_parts(self._start.model, copy.deepcopy(network))
        return self._segmenter(Weights(own, ""))

    def judge(self, segmenter: Segmenter) -> Judgement:
        """See `LotJudge`."""
        return self._judge.judge(segmenter)

    def seal(self, folder: Path, judgement: Judgement) -> str:
        """Put the metrics into the delta; returns its hash."""
        figures = {name: round(value, 4) for name, value in judgement.figures.items()}
        return add_metrics(folder, {"score": judgement.score, **figures})

    def _segmenter(self, weights: Weights) -> Sam3:
        # Not compiled: that takes longer than judging.
        return Sam3(
            weights, "sam3", str(self._device), "float32", fast=False, chip_px=self._chip_px
        )


def _split(chips: list[LabelledChip], one_in: int) -> tuple[list[LabelledChip], list[LabelledChip]]:
    """(to train on, to judge by).

    Raises:
        TrainingError: there are too few to have both.
    """
    judged = {chip.name for chip in chips if chip.split == "validation"}
    if not judged:
        hashes = {chip.name: zlib.crc32(chip.name.encode()) for chip in chips}
        judged = {name for name, value in hashes.items() if value % one_in == 0}
        judged = judged or {min(hashes, key=lambda name: hashes[name])}
    trained = [chip for chip in chips if chip.name not in judged]
    if not trained:
        raise TrainingError(
            f"{len(chips)} chips are too few to train on some and judge by others: review more lots"
        )
    return trained, [chip for chip in chips if chip.name in judged]


def _chip_px(model: Sam3Model, settings: TierSettings) -> int:
    is_nano = int(model.vision_encoder.config.image_size) == _NANO_PX
    return settings.chip_px or (_NANO_PX if is_nano else CHIP_PX)


def _rules(
    model: Sam3Model, settings: TierSettings, chips: list[LabelledChip], seed: int
) -> ViewRules:
    side_px = int(model.vision_encoder.config.image_size)
    patch_px = int(model.vision_encoder.backbone.config.patch_size)
    words = settings.absent_words
    labels = max(len(chip.labels) for chip in chips)
    prompts = settings.prompts or min(_MOST_PROMPTS, labels + bool(words))
    return ViewRules(
        view_m=_chip_px(model, settings) * _DETECTION_GSD_M,
        side_px=side_px,
        cells=4 * (side_px // patch_px),
        count=settings.views,
        scale=settings.scale,
        prompts=prompts,
        words=words,
        seed=seed,
    )
