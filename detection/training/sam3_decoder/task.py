"""Batches of corrections and of rehearsal, for the trainer."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Sam3Model

from detection.segmenters.sam3.forward import encode_image
from detection.segmenters.sam3.prompts import TextTokens, text_tokens
from detection.segmenters.sam3.tokens import tokenize
from detection.training.ranks import ALONE, Ranks
from detection.training.sam3.losses import LossWeights, divisors
from detection.training.sam3_decoder.batches import batch_targets
from detection.training.sam3_decoder.chip_views import ChipView, ViewRules
from detection.training.sam3_decoder.frozen_views import FrozenViews
from detection.training.sam3_decoder.kept_views import KeptViews
from detection.training.sam3_decoder.settings import TierSettings
from detection.training.sam3_decoder.step import mask_decoder_losses, token_losses
from detection.training.sam3_decoder.tiers import TrainedParts, check_tier, parameter_groups
from detection.training.task import ParameterGroup, split_batch

NAME = "sam3-decoder"
# The weight of the class term in SAM3's training, where the term is divided by so many queries.
_CLASS_WEIGHT, _QUERIES = 20.0, 200


class TierTask:
    """The trained parts of a network, and the loss of a step.

    Attributes:
        name, network, data_sha256: as in `TrainingTask`; the network is the trained parts.
    """

    name = NAME

    def __init__(
        self,
        model: Sam3Model,
        corrections: Sequence[ChipView],
        rehearsal: Sequence[ChipView],
        rules: ViewRules,
        settings: TierSettings,
        kept: KeptViews,
        start_sha256: str,
        on_message: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Keep what the frozen parts make of the views, and prepare the others for training.

        Args:
            model: on its device, in evaluation mode, without gradients.
            rehearsal: none trains on corrections alone.
            start_sha256: of its weights.

        Raises:
            TrainingError: the views do not fit on the disk.
        """
        self._model, self._settings, self._rules = model, settings, rules
        self._tier = check_tier(settings.tier)
        self._frozen = FrozenViews(model, rules, kept, start_sha256)
        views = [*corrections, *rehearsal]
        if self._tier == "mask":
            self._frozen.keep_before(views, settings.keep_pyramid, on_message)
        elif self._tier != "full":
            self._frozen.keep_tokens(views, on_message)
        self._batch, self._prompts = settings.batch, rules.prompts
        self._ranks = ALONE
        self._rehearsal_share = settings.rehearsal_share if rehearsal else 0.0
        self._sources = (corrections, rehearsal)
        queries = int(model.detr_decoder.query_embed.weight.shape[0])
        self._weights = LossWeights(classes=_CLASS_WEIGHT * queries / _QUERIES)
        self.network: nn.Module = TrainedParts(model, self._tier)
        drawn = [start_sha256, dataclasses.asdict(rules), _chosen(settings)]
        drawn += [[view.key, view.chip.sha256] for view in views]
        self.data_sha256 = hashlib.sha256(json.dumps(drawn, sort_keys=True).encode()).hexdigest()

    @property
    def sizes(self) -> Mapping[str, int]:
        """The views in a step, and the prompts of each; what is kept for `mask` has all of them."""
        batch = {"batch": self._batch}
        return batch if self._tier == "mask" else {**batch, "prompts": self._prompts}

    def resize(self, sizes: Mapping[str, int]) -> None:
        """Draw fewer views, with the same share of rehearsal, and fewer prompts of each."""
        self._batch = sizes["batch"]
        self._prompts = sizes.get("prompts", self._prompts)

    def share(self, ranks: Ranks) -> None:
        """Take every `ranks.count`-th view of batches that are so many times as large."""
        self._ranks = ranks

    def loss(self, step: int) -> Mapping[str, Tensor]:
        """The weighted terms of a step's views."""
        views = self.views(step)[self._ranks.number :: self._ranks.count]
        device = self._model.text_projection.weight.device
        truth = batch_targets([view.truth for view in views], device)
        by = divisors(truth, self._ranks)
        if self._tier == "mask":
            before = self._frozen.before(views, self._settings.keep_pyramid)
            return mask_decoder_losses(self._model, before, truth, self._weights, by)
        if self._tier == "full":
            pixels = torch.stack([view.pixels(self._rules) for view in views]).to(device)
            tokens, text = encode_image(self._model, pixels), self._trained_text(views)
        else:
            tokens, text = self._frozen.tokens(views), self._frozen.text(views)
        return token_losses(self._model, tokens, text, truth, self._weights, by)

    def views(self, step: int) -> list[ChipView]:
        """The views of a step, of all ranks: corrections, then rehearsal."""
        random = np.random.default_rng((self._rules.seed, step))
        counts = split_batch(self._batch * self._ranks.count, self._rehearsal_share, step)
        views = [
            source[row]
            for source, count in zip(self._sources, counts, strict=True)
            for row in (random.integers(len(source), size=count) if count else ())
        ]
        if self._prompts == self._rules.prompts:
            return views
        chosen = [random.choice(self._rules.prompts, self._prompts, replace=False) for _ in views]
        return [
            dataclasses.replace(view, truth=view.truth.of_prompts(sorted(prompts.tolist())))
            for view, prompts in zip(views, chosen, strict=True)
        ]

    def parameter_groups(self) -> list[ParameterGroup]:
        """The trained parts'."""
        return parameter_groups(self.network, self._settings.weight_decay)

    def batch_name(self, step: int) -> str:
        """The chips of a step's views."""
        return ", ".join(view.chip.name for view in self.views(step))

    def _trained_text(self, views: Sequence[ChipView]) -> TextTokens:
        phrases = [phrase for view in views for phrase in view.truth.phrases]
        different = list(dict.fromkeys(phrases))
        device = self._model.text_projection.weight.device
        ids, valid = (part.to(device) for part in tokenize(different))
        with torch.autocast(device.type, enabled=False):
            tokens = text_tokens(self._model, ids, valid)
        rows = torch.tensor([different.index(phrase) for phrase in phrases], device=device)
        return TextTokens(tokens[rows], valid[rows])


def _chosen(settings: TierSettings) -> dict[str, object]:
    """The settings without places on this machine, which change nothing."""
    places = ("start", "rehearsal", "cache", "cache_gib")
    return {name: v for name, v in dataclasses.asdict(settings).items() if name not in places}
