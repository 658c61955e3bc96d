"""SAM3's mask decoder: pixel features once per prompt, then one matrix product for all masks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from . import ops
from .linear import NetworkPart, Precision, dtype_of
from .prompts import CrossWeights, cross_weights, image_to_prompt
from .vit import Norm, layer_norm, norm_weights


class ConvBlock(NamedTuple):
    """A 3 x 3 convolution and the group norm after it."""

    kernel: Tensor
    bias: Tensor
    norm: Norm
    groups: int


class MaskDecoder:
    """The weights of a transformers `Sam3MaskDecoder`."""

    def __init__(self, decoder: NetworkPart, precision: Precision) -> None:
        self.dtype = dtype_of(precision)
        self.norm = norm_weights(decoder.prompt_cross_attn_norm)
        self.cross: CrossWeights = cross_weights(decoder.prompt_cross_attn)
        self.embedder = decoder.mask_embedder
        pixels = decoder.pixel_decoder
        self.stages = [
            ConvBlock(
                conv.weight.detach().to(self.dtype).contiguous(memory_format=torch.channels_last),
                conv.bias.detach().to(self.dtype),
                Norm(norm.weight.detach(), norm.bias.detach(), norm.eps),
                norm.num_groups,
            )
            for conv, norm in zip(pixels.conv_layers, pixels.norms, strict=True)
        ]
        self.instance = decoder.instance_projection
        self.semantic = decoder.semantic_projection

    def __call__(
        self, image: Tensor, levels: list[Tensor], prompt: Tensor, valid: Tensor, queries: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mask logits (n, q, h, w) and semantic logits (n, 1, h, w) of n prompts.

        `levels` are the two finer feature maps, (chips, channels, …), the finest first.
        """
        pixels = self._pixels(image, levels, prompt, valid)
        rows, offsets = self._rows(queries)
        n, channels, height, width = pixels.shape
        pixels = pixels.permute(0, 2, 3, 1).reshape(n, -1, channels)
        logits = torch.bmm(rows.to(self.dtype), pixels.transpose(1, 2)) + offsets.to(self.dtype)
        logits = logits.unflatten(-1, (height, width))
        return logits[:, :-1], logits[:, -1:]

    def _rows(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """The row whose product with the pixels is each mask; the last is the semantic map's.

        The pixels' 1 x 1 projections are folded into the queries.
        """
        embedded = self.embedder(queries)
        weight, bias = self.instance.weight.flatten(1), self.instance.bias
        semantic = self.semantic.weight.flatten(1).expand(len(queries), -1, -1)
        rows = torch.cat([embedded @ weight, semantic], 1)
        offset = self.semantic.bias.expand(len(queries), 1)
        return rows, torch.cat([embedded @ bias, offset], 1)[..., None]

    def _pixels(self, image: Tensor, levels: list[Tensor], prompt: Tensor, valid: Tensor) -> Tensor:
        normed = layer_norm(image, self.norm, self.dtype)
        image = image + image_to_prompt(normed, prompt, valid, self.cross)
        side = levels[-1].shape[-1] // 2
        x = image.unflatten(1, (side, side)).permute(0, 3, 1, 2)
        for level, stage in zip(reversed(levels), self.stages, strict=False):
            x = raise_level(x, level, stage)
        return x


def raise_level(x: Tensor, level: Tensor, stage: ConvBlock) -> Tensor:
    """`x` (n, channels, h, w) upsampled 2x, plus the finer `level` (chips, channels, 2h, 2w)."""
    x = functional.interpolate(x, scale_factor=2, mode="nearest")
    x = (x.unflatten(0, (len(level), -1)) + level[:, None]).flatten(0, 1)
    x = functional.conv2d(
        x.contiguous(memory_format=torch.channels_last), stage.kernel, stage.bias, padding=1
    )
    return group_norm_relu(x, stage.norm, stage.groups)


def group_norm_relu(x: Tensor, norm: Norm, groups: int) -> Tensor:
    """Group norm and ReLU of `x` (n, channels, h, w), channels last, computed in float32."""
    n, channels, height, width = x.shape
    pixels = x.permute(0, 2, 3, 1).reshape(n, -1, channels)
    mean, square = (ops.group_sums(pixels, groups) * (groups / pixels[0].numel())).unbind(-1)
    scale = (square - mean.square() + norm.eps).rsqrt()
    mean, scale = (part.repeat_interleave(channels // groups, 1) for part in (mean, scale))
    scale = scale * norm.weight
    shift = norm.bias - mean * scale
    pixels = functional.relu(pixels.float() * scale[:, None] + shift[:, None]).to(x.dtype)
    return pixels.view(n, height, width, channels).permute(0, 3, 1, 2)
