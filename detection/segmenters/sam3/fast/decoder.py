"""SAM3's DETR decoder: queries -> boxes and scores, in float32."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from transformers.models.sam3.modeling_sam3 import (
    box_cxcywh_to_xyxy,
    inverse_sigmoid,
)

from . import ops
from .linear import NetworkPart, Precision, Weight, linear, pack


class FastDecoderOutput(NamedTuple):
    """Of n prompts: `queries` (n, q, channels), `boxes` xyxy in 0..1, `logits` (n, q), presence."""

    queries: Tensor
    boxes: Tensor
    logits: Tensor
    presence: Tensor


class Decoder:
    """transformers' layers, except for the attention to the image and its box bias.

    See `ops.biased_attention`.
    """

    def __init__(self, model: NetworkPart, precision: Precision) -> None:
        self.decoder = model.detr_decoder
        self.scoring = model.dot_product_scoring
        attentions = [layer.vision_cross_attn for layer in self.decoder.layers]
        half: Precision = "float32" if precision == "float32" else "bf16"
        self.keys: Weight = pack([attention.k_proj for attention in attentions], half)
        self.values: Weight = pack([attention.v_proj for attention in attentions], half)
        self.heads = attentions[0].num_attention_heads
        networks = (self.decoder.box_rpb_embed_y, self.decoder.box_rpb_embed_x)
        self.bias = [
            torch.stack([getattr(getattr(network, layer), kind).detach() for network in networks])
            for layer in ("layer1", "layer2")
            for kind in ("weight", "bias")
        ]

    def __call__(
        self, image: Tensor, position: Tensor, prompt: Tensor, valid: Tensor
    ) -> FastDecoderOutput:
        """`image` (n, tokens, channels) from `fuse`; `prompt` (n, t, channels) float32."""
        d, n = self.decoder, len(image)
        side = math.isqrt(image.shape[1])
        shape = (len(d.layers), self.heads, -1)
        keys = linear(image + position.to(image.dtype), self.keys).unflatten(-1, shape)
        values = linear(image, self.values).unflatten(-1, shape)
        boxes = d.reference_points.weight.sigmoid().expand(n, -1, -1)
        x = torch.cat([d.presence_token.weight, d.query_embed.weight]).expand(n, -1, -1)
        mask = valid[:, None, None].expand(-1, -1, x.shape[1], -1)
        for number, layer in enumerate(d.layers):
            rows, columns = ops.box_bias(box_cxcywh_to_xyxy(boxes), *self.bias, side)
            query_position = functional.pad(
                d.ref_point_head(d.position_encoding.encode_boxes(boxes)), (0, 0, 1, 0)
            )
            k, v = keys[:, :, number], values[:, :, number]
            x = decoder_layer(x, query_position, prompt, mask, k, v, rows, columns, layer)
            queries = d.output_layer_norm(x[:, 1:])
            boxes = (d.box_head(queries) + inverse_sigmoid(boxes)).sigmoid()
        presence = d.presence_head(d.presence_layer_norm(x[:, :1])).squeeze(-1)
        limit = d.clamp_presence_logit_max_val
        logits = self.scoring(queries[None], prompt, valid)[0].squeeze(-1)
        return FastDecoderOutput(
            queries, box_cxcywh_to_xyxy(boxes), logits, presence.clamp(-limit, limit)
        )


def decoder_layer(
    x: Tensor,
    position: Tensor,
    prompt: Tensor,
    mask: Tensor,
    k: Tensor,
    v: Tensor,
    rows: Tensor,
    columns: Tensor,
    layer: NetworkPart,
) -> Tensor:
    """Self-attention of the queries, cross-attention to prompt and image, then the MLP."""
    at = x + position
    x = layer.self_attn_layer_norm(x + layer.self_attn(at, at, x)[0])
    text = layer.text_cross_attn(x + position, prompt, prompt, attention_mask=mask)[0]
    x = layer.text_cross_attn_layer_norm(x + text)
    attention = layer.vision_cross_attn
    q = attention.q_proj(x + position).unflatten(-1, (k.shape[2], -1))
    attended = ops.biased_attention(q, k, v, rows, columns).flatten(2)
    x = layer.vision_cross_attn_layer_norm(x + attention.o_proj(attended))
    return layer.mlp_layer_norm(x + layer.mlp(x))
