"""Attention between image tokens and the few prompt tokens, as two matrix products.

The projections are folded into the few tokens: scores are `x @ (Wq' k)`, the result is
`p @ (v Wo)`. So the many image tokens are neither projected nor copied.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from . import ops
from .linear import NetworkPart
from .vit import layer_norm, norm_weights


class CrossWeights(NamedTuple):
    """A transformers `Sam3Attention`'s weights in float32, (heads, head, channels) or (out, in)."""

    q: Tensor
    q_bias: Tensor
    k: Tensor
    k_bias: Tensor
    v: Tensor
    v_bias: Tensor
    out: Tensor
    out_bias: Tensor


def cross_weights(attention: NetworkPart) -> CrossWeights:
    """The weights, split by head."""
    shape = (attention.num_attention_heads, attention.head_dim)

    def split(layer: nn.Linear) -> tuple[Tensor, Tensor]:
        return (
            layer.weight.detach().float().unflatten(0, shape),
            layer.bias.detach().float().view(shape),
        )

    out = attention.o_proj
    return CrossWeights(
        *split(attention.q_proj),
        *split(attention.k_proj),
        *split(attention.v_proj),
        out.weight.detach().float().unflatten(1, shape),
        out.bias.detach().float(),
    )


def image_to_prompt(x: Tensor, prompt: Tensor, valid: Tensor, w: CrossWeights) -> Tensor:
    """Each token of `x` (n, tokens, channels) attends to `prompt` (n, t, channels) where `valid`.

    The result has `x`'s shape and dtype.
    """
    k = torch.einsum("ntc,hdc->nhtd", prompt, w.k) + w.k_bias[:, None]
    v = torch.einsum("ntc,hdc->nhtd", prompt, w.v) + w.v_bias[:, None]
    k = k * w.q.shape[1] ** -0.5
    probes = torch.einsum("nhtd,hdc->nhtc", k, w.q).flatten(1, 2)
    outputs = torch.einsum("nhtd,ohd->nhto", v, w.out).flatten(1, 2)
    offset = torch.einsum("nhtd,hd->nht", k, w.q_bias)
    offset = offset.masked_fill(~valid[:, None], float("-inf"))
    scores = torch.bmm(x, probes.to(x.dtype).transpose(1, 2))
    weights = ops.prompt_softmax(scores, offset)
    return torch.bmm(weights, outputs.to(x.dtype)) + w.out_bias.to(x.dtype)


def geometry_token(encoder: NetworkPart, image: Tensor, position: Tensor) -> Tensor:
    """The token that the geometry encoder adds to every prompt: (n, 1, channels).

    It attends only to the image, so all prompts share it. `image` is (n, tokens, channels),
    `position` (tokens, channels); the result is float32.
    """
    token = encoder.prompt_layer_norm(encoder.final_proj(encoder.cls_embed.weight))
    token = token.expand(len(image), -1)
    keys = image + position.to(image.dtype)
    for layer in encoder.layers:
        attention = layer.self_attn  # of a single token: its own value
        token = token + attention.o_proj(attention.v_proj(layer.layer_norm1(token)))
        w = cross_weights(layer.cross_attn)
        query = torch.einsum("nc,hdc->nhd", layer.layer_norm2(token), w.q) + w.q_bias
        probe = torch.einsum("nhd,hdc->nhc", query * w.q.shape[1] ** -0.5, w.k)
        scores = torch.bmm(keys, probe.to(image.dtype).transpose(1, 2))
        weights = scores.float().softmax(1).to(image.dtype)
        attended = torch.bmm(weights.transpose(1, 2), image).float()
        attended = torch.einsum("nhc,hdc->nhd", attended, w.v) + w.v_bias
        token = token + torch.einsum("nhd,ohd->no", attended, w.out) + w.out_bias
        token = token + layer.mlp(layer.layer_norm3(token))
    norm = norm_weights(encoder.output_layer_norm)
    return layer_norm(token, norm, torch.float32)[:, None]
