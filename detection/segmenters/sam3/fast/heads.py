"""SAM3's heads: image features and prompts -> masks, boxes and scores."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from .compilation import compile_part, tf32_matmul
from .decoder import Decoder
from .fusion import attend_to_prompt, fuse, fusion_layer, self_attend
from .linear import NetworkPart, Precision, dtype_of
from .masks import MaskDecoder
from .prompts import geometry_token


class HeadsOutput(NamedTuple):
    """The output of n = chips x prompts, chip by chip, with q queries each.

    `masks` (n, q, h, w) and `semantic` (n, 1, h, w) are logits in the heads' precision; `boxes`
    (n, q, 4) are xyxy in 0..1, `logits` (n, q) and `presence` (n, 1) float32.
    """

    masks: Tensor
    boxes: Tensor
    logits: Tensor
    presence: Tensor
    semantic: Tensor


class FastHeads:
    """All parts of a loaded `Sam3Model` after its image encoder, for text prompts.

    The prompt includes the geometry encoder's token, as in Meta's model. The decoder and the boxes
    stay in float32 (with TF32 products, unless `precision` is float32). fp8 applies to the image
    encoder only; here it means bf16.
    """

    def __init__(
        self, model: NetworkPart, precision: Precision = "bf16", *, compiled: bool = False
    ) -> None:
        half: Precision = "float32" if precision == "float32" else "bf16"
        self.dtype = dtype_of(half)
        self.geometry = model.geometry_encoder
        self.positions = model.vision_encoder.neck.position_encoding
        self.layers = [fusion_layer(layer, half) for layer in model.detr_encoder.layers]
        self.decode = compile_part(Decoder(model, half).__call__, compiled=compiled)
        self.draw = compile_part(MaskDecoder(model.mask_decoder, half).__call__, compiled=compiled)
        self.token = compile_part(geometry_token, compiled=compiled)
        self.parts = (
            compile_part(self_attend, compiled=compiled),
            compile_part(attend_to_prompt, compiled=compiled),
        )
        self.rounding = nullcontext if half == "float32" else tf32_matmul

    def __call__(
        self, maps: Sequence[Tensor], text: Tensor, valid: Tensor, top: int | None = None
    ) -> HeadsOutput:
        """Run each phrase on each chip.

        `maps` are the encoder's feature maps (a fourth is ignored), `text` (prompts, t, channels)
        the projected text with `valid` (prompts, t). `top` as in `predict`.
        """
        with torch.inference_mode(), self.rounding():
            coarse = maps[2].to(self.dtype)
            chips, prompts = len(coarse), len(text)
            image = coarse.flatten(2).transpose(1, 2)
            token = self.token(self.geometry, image, self._position_rows(coarse))
            prompt = torch.cat(
                [text.float().repeat(chips, 1, 1), token.repeat_interleave(prompts, 0)], 1
            )
            valid = torch.cat([valid, valid.new_ones(prompts, 1)], 1).repeat(chips, 1)
            return self.predict(maps, prompt, valid, top)

    def predict(
        self, maps: Sequence[Tensor], prompt: Tensor, valid: Tensor, top: int | None = None
    ) -> HeadsOutput:
        """Run complete prompts (chips x prompts, t, channels), where `valid`, on the chips.

        `top` limits the result to the queries with the highest logits, best first: the masks of
        all would take 33 MB per prompt.
        """
        with torch.inference_mode(), self.rounding():
            fine, middle, coarse = (level.to(self.dtype) for level in maps[:3])
            image, position = coarse.flatten(2).transpose(1, 2), self._position_rows(coarse)
            image = fuse(image, position, prompt, valid, self.layers, *self.parts)
            decoded = self.decode(image, position, prompt, valid)
            queries, boxes, logits = decoded.queries, decoded.boxes, decoded.logits
            if top is not None:
                logits, order = logits.topk(top)
                boxes = boxes.take_along_dim(order[..., None], 1)
                queries = queries.take_along_dim(order[..., None], 1)
            masks, semantic = self.draw(image, [fine, middle], prompt, valid, queries)
            return HeadsOutput(masks, boxes, logits, decoded.presence, semantic)

    def position(self, coarse: Tensor) -> Tensor:
        """The position encoding (1, channels, h, w), float32, of the coarsest map."""
        shape = torch.Size((1, *coarse.shape[1:]))
        position: Tensor = self.positions(shape, coarse.device, torch.float32)
        return position

    def _position_rows(self, coarse: Tensor) -> Tensor:
        """The position encoding as (tokens, channels)."""
        return self.position(coarse).flatten(2)[0].t().contiguous()
