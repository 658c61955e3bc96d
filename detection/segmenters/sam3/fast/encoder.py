"""SAM3's image encoder, optimized for speed, with the outputs of `model.vision_encoder`."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

from .compilation import compile_part
from .linear import NetworkPart, Precision
from .neck import PyramidLevel, in_image_order, level_forward, level_weights
from .vit import FastViT


class FastEncoder:
    """The ViT and neck of a loaded `Sam3Model`, with repacked weights in `precision`.

    It runs on any device, and is fast on a CUDA GPU when `compiled`.
    """

    def __init__(
        self, model: NetworkPart, precision: Precision = "bf16", *, compiled: bool = False
    ) -> None:
        vision = model.vision_encoder
        self.trunk = FastViT(vision.backbone, precision, compiled=compiled)
        self.levels = [level_weights(layer, self.trunk.dtype) for layer in vision.neck.fpn_layers]
        self.level = compile_part(level_forward, compiled=compiled)
        self.positions = vision.neck.position_encoding

    def __call__(self, pixels: Tensor) -> Sam3VisionEncoderOutput:
        """`pixels` (n, 3, size, size) from the model's preprocessing."""
        with torch.inference_mode():
            tokens = self.trunk(pixels)
            maps = self._maps(tokens, self.levels)
            image = in_image_order(tokens, self.trunk.side, self.trunk.window, 0)
            return Sam3VisionEncoderOutput(
                last_hidden_state=image.flatten(2).transpose(1, 2),
                fpn_hidden_states=maps,
                fpn_position_encoding=tuple(self._position(level) for level in maps),
            )

    def tokens(self, pixels: Tensor) -> Tensor:
        """The ViT's tokens (n, tokens, channels), in window order; these are cached."""
        with torch.inference_mode():
            return self.trunk(pixels)

    def levels_of(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """The three finest maps, finest first; the heads need no more."""
        with torch.inference_mode():
            return self._maps(tokens, self.levels[:3])

    def pyramid(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """`levels_of` the pixels' `tokens`."""
        return self.levels_of(self.tokens(pixels))

    def _maps(self, tokens: Tensor, levels: list[PyramidLevel]) -> tuple[Tensor, ...]:
        side, window = self.trunk.side, self.trunk.window
        return tuple(self.level(tokens, level, side, window) for level in levels)

    def _position(self, level: Tensor) -> Tensor:
        one = torch.Size((1, *level.shape[1:]))
        position: Tensor = self.positions(one, level.device, torch.float32)
        return position.to(level.dtype).expand_as(level)
