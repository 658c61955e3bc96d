"""Prompt tokens: of text, encoded once per phrase and process, and of exemplars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Sam3Model

from detection.segmenters.sam3.exemplars import Exemplar, geometry_tokens
from detection.segmenters.sam3.tokens import tokenize


@dataclass(frozen=True, slots=True, eq=False)
class TextTokens:
    """p phrases: tokens (p, 32, channels) float32, and valid (p, 32), False for padding."""

    tokens: Tensor
    valid: Tensor

    def select(self, phrases: slice) -> TextTokens:
        """A slice of the phrases."""
        return TextTokens(self.tokens[phrases], self.valid[phrases])


class PhraseCache:
    """A cache of encoded phrases; `calls` counts runs of the text encoder."""

    def __init__(self, model: Sam3Model) -> None:
        self.calls = 0
        self._model = model
        self._device = model.text_projection.weight.device
        self._cache: dict[str, tuple[Tensor, Tensor]] = {}

    def encode(self, phrases: Sequence[str]) -> TextTokens:
        """The tokens of phrases, in their order.

        Raises:
            SegmenterError: an invalid phrase.
        """
        for phrase in phrases:
            if phrase not in self._cache:
                self._cache[phrase] = self._encode(phrase)
        rows = [self._cache[phrase] for phrase in phrases]
        return TextTokens(torch.stack([t for t, _ in rows]), torch.stack([v for _, v in rows]))

    # no_grad instead of inference mode, whose tensors cannot be used in training.
    @torch.no_grad()
    def _encode(self, phrase: str) -> tuple[Tensor, Tensor]:
        ids, valid = (part.to(self._device) for part in tokenize([phrase]))
        self.calls += 1
        return text_tokens(self._model, ids, valid)[0], valid[0]


def text_tokens(model: Sam3Model, ids: Tensor, valid: Tensor) -> Tensor:
    """(p, 32, channels) of token ids (p, 32)."""
    # Causal and without padding. Of two dimensions, transformers would read on the host whether all
    # are valid, which waits for the device.
    attend = valid[:, None, None] & valid.new_ones(valid.shape[1], valid.shape[1]).tril()
    found = model.get_text_features(input_ids=ids, attention_mask=attend)
    tokens: Tensor = found.pooler_output
    return tokens


def prompt_tokens(
    model: Sam3Model,
    text: TextTokens,
    features: Tensor,
    position: Tensor,
    exemplars: Sequence[Sequence[Exemplar]] | None = None,
) -> tuple[Tensor, Tensor]:
    """The prompt tokens of p phrases on b chips, and which are valid.

    Without exemplars, the geometry token depends only on the chip, and is computed once per chip.

    Args:
        features: (b, channels, h, w), the coarsest level of the pyramid.
        position: (1, channels, h, w), its position encoding.
        exemplars: of each of the b x p rows (chip by chip), in 0..1 of the chip.

    Returns:
        tokens (b x p, n, channels) float32 and valid (b x p, n) bool, chip by chip.
    """
    chips, phrases = features.shape[0], text.tokens.shape[0]
    features = features.float()
    if exemplars is None:
        shown, shown_valid = geometry_tokens(model, features, position)
        shown = shown.repeat_interleave(phrases, 0)
        shown_valid = shown_valid.repeat_interleave(phrases, 0)
    else:
        features = features.repeat_interleave(phrases, 0)
        shown, shown_valid = geometry_tokens(model, features, position, exemplars)
    tokens = torch.cat([text.tokens.repeat(chips, 1, 1), shown], 1)
    return tokens, torch.cat([text.valid.repeat(chips, 1), shown_valid], 1)
