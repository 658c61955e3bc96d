"""The prompts of a batch: a phrase for each label, and phrases that name nothing.

The network knows only the tokens of its taught phrases. Every other token has one shared embedding,
during training already, so that a word it never saw is like the untaught words that it did see.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Sam3Model

from detection.segmenters.sam3.host_copy import copy_to
from detection.segmenters.sam3.phrases import TAUGHT_PHRASES, untaught_phrase
from detection.segmenters.sam3.prompts import TextTokens, text_tokens
from detection.segmenters.sam3.tokens import tokenize
from detection.training.sam3.labels import LABELS

# The token whose embedding stands for all untaught ones.
_OTHER_ID = int(tokenize(["trampoline"])[0][0, 1])


def taught_phrases() -> tuple[str, ...]:
    """All phrases that the network is taught, label by label."""
    return tuple(phrase for label in LABELS for phrase in TAUGHT_PHRASES[label])


def known_token_ids() -> Tensor:
    """(k,) int64, sorted: the tokens of the taught phrases, with the start and end of a text."""
    ids, valid = tokenize(taught_phrases())
    found: Tensor = torch.unique(ids[valid])
    return found


OTHER_TOKEN_ID = _OTHER_ID


@dataclass(frozen=True, slots=True, eq=False)
class PhraseBook:
    """Token ids of phrases, with untaught tokens replaced by the one that stands for them."""

    ids: Tensor
    valid: Tensor

    @classmethod
    def of(cls, phrases: list[str], device: torch.device) -> PhraseBook:
        """The phrases' tokens on a device."""
        ids, valid = tokenize(phrases)
        untaught = ~torch.isin(ids, known_token_ids()) & valid
        return cls(ids.masked_fill(untaught, _OTHER_ID).to(device), valid.to(device))

    def encode(self, model: Sam3Model, rows: list[int]) -> TextTokens:
        """The text encoder's tokens of some of the phrases."""
        index = copy_to(torch.tensor(rows), self.ids.device)
        ids, valid = self.ids[index], self.valid[index]
        return TextTokens(text_tokens(model, ids, valid), valid)


class PromptSampler:
    """Draws the phrases of a step: one for each label, then some that name nothing."""

    def __init__(self, absent: int, device: torch.device, seed: int) -> None:
        self._absent = absent
        rng = random.Random(seed)  # noqa: S311  reproducible training, not cryptography
        negatives = sorted({untaught_phrase(rng) for _ in range(2000)} - set(taught_phrases()))
        phrases = [*taught_phrases(), *negatives]
        self._book = PhraseBook.of(phrases, device)
        self._ranges: list[range] = []
        start = 0
        for label in LABELS:
            self._ranges.append(range(start, start + len(TAUGHT_PHRASES[label])))
            start += len(TAUGHT_PHRASES[label])
        self._negatives = range(start, len(phrases))

    def draw(self, model: Sam3Model, rng: random.Random) -> TextTokens:
        """The tokens of `len(LABELS)` phrases and of the absent ones."""
        rows = [rng.choice(span) for span in self._ranges]
        rows += [rng.choice(self._negatives) for _ in range(self._absent)]
        return self._book.encode(model, rows)
