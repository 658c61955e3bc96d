"""SAM3's DETR encoder: the image tokens attend to each other and to the prompt."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from . import ops
from .linear import NetworkPart, Precision, Weight, linear, pack
from .prompts import CrossWeights, cross_weights, image_to_prompt
from .vit import Norm, layer_norm, norm_weights


class FusionLayer(NamedTuple):
    """One layer's weights."""

    norm1: Norm
    qk: Weight
    v: Weight
    out: Weight
    norm2: Norm
    cross: CrossWeights
    norm3: Norm
    up: Weight
    down: Weight
    heads: int


def fusion_layer(layer: NetworkPart, precision: Precision) -> FusionLayer:
    """The weights of a transformers `Sam3DetrEncoderLayer`."""
    attention = layer.self_attn
    return FusionLayer(
        norm1=norm_weights(layer.layer_norm1),
        qk=pack([attention.q_proj, attention.k_proj], precision),
        v=pack([attention.v_proj], precision),
        out=pack([attention.o_proj], precision),
        norm2=norm_weights(layer.layer_norm2),
        cross=cross_weights(layer.cross_attn),
        norm3=norm_weights(layer.layer_norm3),
        up=pack([layer.mlp.fc1], precision),
        down=pack([layer.mlp.fc2], precision),
        heads=attention.num_attention_heads,
    )


def self_attend(x: Tensor, position: Tensor, w: FusionLayer) -> Tensor:
    """Self-attention of `x` (n, tokens, channels), independent of the prompt."""
    normed = layer_norm(x, w.norm1, x.dtype)
    qk = linear(normed + position.to(x.dtype), w.qk).unflatten(-1, (2, w.heads, -1))
    v = linear(normed, w.v).unflatten(-1, (w.heads, -1))
    return x + linear(ops.attention(*qk.unbind(2), v).flatten(2), w.out)


def attend_to_prompt(x: Tensor, prompt: Tensor, valid: Tensor, w: FusionLayer) -> Tensor:
    """Cross-attention of `x` (n, tokens, channels) to the prompt, and the layer's MLP."""
    x = x + image_to_prompt(layer_norm(x, w.norm2, x.dtype), prompt, valid, w.cross)
    hidden = ops.linear_relu(layer_norm(x, w.norm3, x.dtype), w.up.weight, w.up.bias)
    return x + linear(hidden, w.down)


def fuse(
    image: Tensor,
    position: Tensor,
    prompt: Tensor,
    valid: Tensor,
    layers: list[FusionLayer],
    self_attn: Callable[..., Tensor] = self_attend,
    prompt_attn: Callable[..., Tensor] = attend_to_prompt,
) -> Tensor:
    """`image` (chips, tokens, channels) and prompts (chips * k, t, channels): (chips * k, …).

    The first self-attention does not depend on the prompts, and runs once per chip. `self_attn`
    and `prompt_attn` are the two halves of a layer, possibly compiled.
    """
    repeats = len(prompt) // len(image)
    for number, layer in enumerate(layers):
        image = self_attn(image, position, layer)
        if number == 0 and repeats > 1:
            image = torch.repeat_interleave(image, repeats, 0)
        image = prompt_attn(image, prompt, valid, layer)
    return image
