"""A loaded SAM3 as something to ask: the modules of transformers, or the fast forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn
from transformers import Sam3Model

from detection.errors import SegmenterError
from detection.segmenters.sam3.exemplars import Exemplar
from detection.segmenters.sam3.fast import FastEncoder, FastHeads
from detection.segmenters.sam3.fast.linear import Precision
from detection.segmenters.sam3.forward import (
    Pyramid,
    Sam3Output,
    encode_image,
    feature_pyramid,
    run_heads,
    set_precision,
)
from detection.segmenters.sam3.prompts import TextTokens, prompt_tokens

# For each chip and prompt, chip by chip; None is none at all.
PromptExemplars = Sequence[Sequence[Exemplar]] | None


class Network(Protocol):
    """SAM3 on chips and prompts. The tokens' layout is private: only `feature_pyramid` reads it."""

    fixed_shapes: bool
    """Whether another number of chips or prompts costs a compilation."""

    def tokens(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, side, side) in -1..1 -> tokens (n, s x s, channels): all that is kept."""
        ...

    def feature_pyramid(self, tokens: Tensor) -> Pyramid:
        """The levels that the heads read."""
        ...

    def answer(self, seen: Pyramid, text: TextTokens, shown: PromptExemplars) -> Sam3Output:
        """Of n chips and p phrases: n x p rows, chip by chip."""
        ...


def build_network(
    model: Sam3Model, precision: Precision, *, fast: bool | None = None, compiled: bool = False
) -> Network:
    """The network of a model that is on its device already.

    Args:
        fast: None takes the fast one where it is compiled and the image's side allows it.

    Raises:
        SegmenterError: fp8, or a fast one, where the side or the weights do not allow it.
    """
    fits = fits_windows(model)
    if precision == "fp8" and not fits:
        raise SegmenterError("fp8 needs an image side that its windows cover: use bf16")
    if fits and (fast if fast is not None else compiled or precision == "fp8"):
        return _FastNetwork(model, precision, compiled=compiled)
    return _TransformersNetwork(model, precision)


def fits_windows(model: Sam3Model) -> bool:
    """Whether whole windows cover the image: at full size, a side that is a multiple of 336."""
    vit = model.vision_encoder.backbone.config
    return int(vit.image_size // vit.patch_size) % int(vit.window_size) == 0


class _TransformersNetwork:
    """transformers' modules."""

    fixed_shapes = False

    def __init__(self, model: Sam3Model, precision: Precision) -> None:
        self._model = set_precision(model, precision)

    def tokens(self, pixels: Tensor) -> Tensor:
        return encode_image(self._model, pixels)

    def feature_pyramid(self, tokens: Tensor) -> Pyramid:
        return feature_pyramid(self._model, tokens)

    def answer(self, seen: Pyramid, text: TextTokens, shown: PromptExemplars) -> Sam3Output:
        prompt = prompt_tokens(self._model, text, seen.levels[-1], seen.position, shown)
        return run_heads(self._model, seen.repeat_rows(len(text.tokens)), *prompt)


class _FastNetwork:
    """The fast forward pass; prompts with exemplars go through it uncompiled.

    Their length differs from prompt to prompt, and each length would be compiled anew.
    """

    def __init__(self, model: Sam3Model, precision: Precision, *, compiled: bool) -> None:
        self.fixed_shapes = compiled
        self._model = model
        self._encoder = FastEncoder(model, precision, compiled=compiled)
        self._heads = FastHeads(model, precision, compiled=compiled)
        self._any_length = FastHeads(model, precision) if compiled else self._heads
        # Its weights are packed anew, and 1.8 GB need not lie on the device twice.
        nn.Module.to(model.vision_encoder.backbone, "meta")

    def tokens(self, pixels: Tensor) -> Tensor:
        return self._encoder.tokens(pixels)

    def feature_pyramid(self, tokens: Tensor) -> Pyramid:
        levels = self._encoder.levels_of(tokens)
        return Pyramid(levels, self._heads.position(levels[-1]))

    def answer(self, seen: Pyramid, text: TextTokens, shown: PromptExemplars) -> Sam3Output:
        if shown is None:
            found = self._heads(seen.levels, text.tokens, text.valid)
        else:
            coarse = seen.levels[-1]
            prompt = prompt_tokens(self._model, text, coarse, seen.position, shown)
            found = self._any_length.answer(seen.levels, *prompt)
        presence = found.presence[:, 0].sigmoid()
        return Sam3Output(
            scores=found.logits.sigmoid() * presence[:, None],
            presence=presence,
            boxes=found.boxes,
            masks=found.masks,
            semantic=found.semantic[:, 0],
        )
