"""One interface for SAM3's two forward passes: transformers' modules, or the fast one."""

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

# Of each chip and prompt, chip by chip; None for none at all.
PromptExemplars = Sequence[Sequence[Exemplar]] | None


class Network(Protocol):
    """SAM3 on chips and prompts. The tokens' layout is private: only `feature_pyramid` reads it."""

    fixed_shapes: bool
    """Whether another number of chips or prompts needs a new compilation."""

    def tokens(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, side, side) in -1..1 -> tokens (n, s x s, channels), which are cached."""
        ...

    def feature_pyramid(self, tokens: Tensor) -> Pyramid:
        """The pyramid levels that the heads need."""
        ...

    def predict(
        self, features: Pyramid, text: TextTokens, exemplars: PromptExemplars
    ) -> Sam3Output:
        """The output of n chips and p phrases: n x p rows, chip by chip."""
        ...


def build_network(
    model: Sam3Model, precision: Precision, *, fast: bool | None = None, compiled: bool = False
) -> Network:
    """The network of a model that is already on its device.

    Args:
        fast: None uses the fast forward pass if it is compiled and the image side allows it.

    Raises:
        SegmenterError: fp8 with an image side that does not allow it.
    """
    fits = fits_windows(model)
    if precision == "fp8" and not fits:
        raise SegmenterError("fp8 needs an image side that is a multiple of the windows. Use bf16")
    if fits and (fast if fast is not None else compiled or precision == "fp8"):
        return _FastNetwork(model, precision, compiled=compiled)
    return _TransformersNetwork(model, precision)


def fits_windows(model: Sam3Model) -> bool:
    """Whether full windows cover the image: at full size, a side that is a multiple of 336."""
    vit = model.vision_encoder.backbone.config
    return int(vit.image_size // vit.patch_size) % int(vit.window_size) == 0


class _TransformersNetwork:
    """The forward pass with transformers' modules."""

    fixed_shapes = False

    def __init__(self, model: Sam3Model, precision: Precision) -> None:
        self._model = set_precision(model, precision)

    def tokens(self, pixels: Tensor) -> Tensor:
        return encode_image(self._model, pixels)

    def feature_pyramid(self, tokens: Tensor) -> Pyramid:
        return feature_pyramid(self._model, tokens)

    def predict(
        self, features: Pyramid, text: TextTokens, exemplars: PromptExemplars
    ) -> Sam3Output:
        prompt = prompt_tokens(self._model, text, features.levels[-1], features.position, exemplars)
        return run_heads(self._model, features.repeat_rows(len(text.tokens)), *prompt)


class _FastNetwork:
    """The fast forward pass; prompts with exemplars run uncompiled.

    Their lengths differ, and each length would need a compilation.
    """

    def __init__(self, model: Sam3Model, precision: Precision, *, compiled: bool) -> None:
        self.fixed_shapes = compiled
        self._model = model
        self._encoder = FastEncoder(model, precision, compiled=compiled)
        self._heads = FastHeads(model, precision, compiled=compiled)
        self._uncompiled = FastHeads(model, precision) if compiled else self._heads
        # Its weights have been repacked: do not hold 1.8 GB on the device twice.
        nn.Module.to(model.vision_encoder.backbone, "meta")

    def tokens(self, pixels: Tensor) -> Tensor:
        return self._encoder.tokens(pixels)

    def feature_pyramid(self, tokens: Tensor) -> Pyramid:
        levels = self._encoder.levels_of(tokens)
        return Pyramid(levels, self._heads.position(levels[-1]))

    def predict(
        self, features: Pyramid, text: TextTokens, exemplars: PromptExemplars
    ) -> Sam3Output:
        if exemplars is None:
            output = self._heads(features.levels, text.tokens, text.valid)
        else:
            coarse = features.levels[-1]
            prompt = prompt_tokens(self._model, text, coarse, features.position, exemplars)
            output = self._uncompiled.predict(features.levels, *prompt)
        presence = output.presence[:, 0].sigmoid()
        return Sam3Output(
            scores=output.logits.sigmoid() * presence[:, None],
            presence=presence,
            boxes=output.boxes,
            masks=output.masks,
            semantic=output.semantic[:, 0],
        )
