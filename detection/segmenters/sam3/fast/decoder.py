"""SAM3's DETR decoder: queries to boxes and scores, in float32."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.sam3.modeling_sam3 import box_cxcywh_to_xyxy, inverse_sigmoid

from .linear import Precision, Weight, linear, pack


class Decoded(NamedTuple):
    """Of n prompts: `queries` (n, q, channels), `boxes` xyxy in 0…1, `logits` (n, q), presence."""

    queries: Tensor
    boxes: Tensor
    logits: Tensor
    presence: Tensor


class Decoder:
    """transformers' own layers, save for the attention to the image and its box bias.

    That bias is a sum over rows and columns. It is added while the scores are made, never laid
    out: for 200 queries it would be 33 MB a layer and prompt.
    """

    def __init__(self, model: nn.Module, precision: Precision) -> None:
        self.decoder = model.detr_decoder
        self.scoring = model.dot_product_scoring
        attentions = [layer.vision_cross_attn for layer in self.decoder.layers]
        half: Precision = "float32" if precision == "float32" else "bf16"
        self.keys: Weight = pack([attention.k_proj for attention in attentions], half)
        self.values: Weight = pack([attention.v_proj for attention in attentions], half)
        self.heads = attentions[0].num_attention_heads

    def __call__(self, image: Tensor, position: Tensor, prompt: Tensor, valid: Tensor) -> Decoded:
        """`image` (n, tokens, channels) as `fuse` gives it; `prompt` (n, t, channels) float32."""
        d, n = self.decoder, len(image)
        side = math.isqrt(image.shape[1])
        shape = (len(d.layers), self.heads, -1)
        keys = linear(image + position.to(image.dtype), self.keys).unflatten(-1, shape)
        values = linear(image, self.values).unflatten(-1, shape)
        boxes = d.reference_points.weight.sigmoid().expand(n, -1, -1)
        x = torch.cat([d.presence_token.weight, d.query_embed.weight]).expand(n, -1, -1)
        mask = valid[:, None, None].expand(-1, -1, x.shape[1], -1)
        for number, layer in enumerate(d.layers):
            rows, columns = box_bias(boxes, side, d.box_rpb_embed_y, d.box_rpb_embed_x)
            place = F.pad(d.ref_point_head(d.position_encoding.encode_boxes(boxes)), (0, 0, 1, 0))
            k, v = keys[:, :, number].transpose(1, 2), values[:, :, number].transpose(1, 2)
            x = decoder_layer(x, place, prompt, mask, k, v, rows, columns, layer)
            queries = d.output_layer_norm(x[:, 1:])
            boxes = (d.box_head(queries) + inverse_sigmoid(boxes)).sigmoid()
        presence = d.presence_head(d.presence_layer_norm(x[:, :1])).squeeze(-1)
        limit = d.clamp_presence_logit_max_val
        logits = self.scoring(queries[None], prompt, valid)[0].squeeze(-1)
        return Decoded(queries, box_cxcywh_to_xyxy(boxes), logits, presence.clamp(-limit, limit))


def decoder_layer(
    x: Tensor,
    place: Tensor,
    prompt: Tensor,
    mask: Tensor,
    k: Tensor,
    v: Tensor,
    rows: Tensor,
    columns: Tensor,
    layer: nn.Module,
) -> Tensor:
    """Queries look at each other, at the prompt and at the image; then the MLP."""
    at = x + place
    x = layer.self_attn_layer_norm(x + layer.self_attn(at, at, x)[0])
    text = layer.text_cross_attn(x + place, prompt, prompt, attention_mask=mask)[0]
    x = layer.text_cross_attn_layer_norm(x + text)
    attention = layer.vision_cross_attn
    q = attention.q_proj(x + place).unflatten(-1, (k.shape[1], -1)).transpose(1, 2)
    seen = biased_attention(q, k, v, rows, columns).transpose(1, 2).flatten(2)
    x = layer.vision_cross_attn_layer_norm(x + attention.o_proj(seen.to(x.dtype)))
    return layer.mlp_layer_norm(x + layer.mlp(x))


def box_bias(
    boxes: Tensor, side: int, embed_rows: nn.Module, embed_columns: nn.Module
) -> tuple[Tensor, Tensor]:
    """How far each row and column of tokens lies from each box's edges, embedded.

    `boxes` (n, q, 4) cxcywh to two of (n, heads, q + 1, side); the first query is the presence
    token's, which has no box.
    """
    edges = box_cxcywh_to_xyxy(boxes)
    places = torch.arange(side, device=boxes.device, dtype=boxes.dtype)[:, None] / side

    def embed(pair: Tensor, embedding: nn.Module) -> Tensor:
        away = 8 * (places - pair[:, :, None])
        away = away.sign() * (away.abs() + 1).log2() / math.log2(8)
        return F.pad(embedding(away).permute(0, 3, 1, 2), (0, 0, 1, 0))

    return embed(edges[..., 1::2], embed_rows), embed(edges[..., 0::2], embed_columns)


def biased_attention(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Attention of `q` (n, heads, queries, head) to an image's tokens with a bias a row and column.

    `k` and `v` are (n, heads, side * side, head).
    """
    if q.is_cuda and k.dtype == torch.bfloat16:
        from .kernels import biased_attention as on_gpu

        return on_gpu(q, k, v, rows, columns)
    bias = (rows[..., :, None] + columns[..., None, :]).flatten(-2)
    return F.scaled_dot_product_attention(q, k.to(q.dtype), v.to(q.dtype), attn_mask=bias)
