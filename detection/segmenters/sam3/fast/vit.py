"""SAM3's image encoder (a windowed ViT) without layout copies.

Tokens are put into window order once, with the patch embedding, and stay in it: a window is then a
contiguous run of rows. Global layers do not depend on the order of tokens, as long as the rotary
angles (RoPE) have the same order.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from . import ops
from .compilation import compile_part
from .linear import (
    FP8_MAX,
    Fp8Rows,
    NetworkPart,
    Precision,
    Weight,
    dtype_of,
    linear,
    pack,
    pack_weight,
)


class Norm(NamedTuple):
    """A layer norm's weights, each (channels,) in float32."""

    weight: Tensor
    bias: Tensor
    eps: float


class ViTBlock(NamedTuple):
    """One layer's weights. `cos` and `sin` (tokens, head / 2) are of its window, or the image.

    `scale` (heads,) is the factor for the products of fp8 queries and keys.
    """

    norm1: Norm
    qkv: Weight
    out: Weight
    norm2: Norm
    up: Weight
    down: Weight
    cos: Tensor
    sin: Tensor
    scale: Tensor
    heads: int


def norm_weights(layer: nn.LayerNorm) -> Norm:
    """The weights of a layer norm."""
    return Norm(layer.weight.detach().float(), layer.bias.detach().float(), layer.eps)


def layer_norm(x: Tensor, norm: Norm, dtype: torch.dtype) -> Tensor:
    """Layer norm in float32; the result in `dtype`."""
    return functional.layer_norm(x.float(), (x.shape[-1],), norm.weight, norm.bias, norm.eps).to(
        dtype
    )


def window_order(side: int, window: int) -> Tensor:
    """Row-major indices of a square grid's tokens, window by window: (side * side,).

    Raises:
        ValueError: the windows do not cover the grid exactly.
    """
    if side % window:
        raise ValueError(
            f"a grid of {side} x {side} tokens cannot be split into windows of {window}. "
            f"Choose an image size that is a multiple of {window} patches"
        )
    grid = torch.arange(side * side).view(side // window, window, side // window, window)
    return grid.permute(0, 2, 1, 3).flatten()


def output_bound(weight: Tensor, bias: Tensor, norm: Norm) -> Tensor:
    """An upper bound of a layer's output after a norm, per channel, for any image.

    A normalized token has the length sqrt(channels), and attention is a weighted mean of values.
    So the fp8 scales of queries, keys, values and attention's result follow from the weights
    alone. A bound that is rarely reached costs a floating-point format no precision.
    """
    length = math.sqrt(weight.shape[1])
    return length * (weight * norm.weight).norm(dim=1) + (weight @ norm.bias + bias).abs()


def rotated_bound(weight: Tensor, bias: Tensor, norm: Norm, heads: int) -> Tensor:
    """`output_bound` of each head's queries or keys (heads,), for any rotation by RoPE.

    Channel i of a head rotates with channel i + head / 2.
    """
    return output_bound(weight, bias, norm).view(heads, 2, -1).norm(dim=1).amax(-1)


class FastViT:
    """The ViT of a loaded model, rebuilt: pixels -> tokens in window order.

    The arithmetic is transformers'. The differences: token order, packed weights (q, k and v in
    one product, RoPE's channel pairs reordered), RoPE's angles computed once, and the patch
    embedding as a matrix product.
    """

    def __init__(self, vit: NetworkPart, precision: Precision, *, compiled: bool) -> None:
        config = vit.config
        self.dtype = dtype_of(precision)
        self.side = config.image_size // config.patch_size
        self.window = config.window_size
        self.shape = (self.side // self.window, self.window, config.patch_size)
        device = vit.layer_norm.weight.device
        self.order = window_order(self.side, self.window).to(device)
        self.norm = norm_weights(vit.layer_norm)

        kernel = vit.embeddings.patch_embeddings.projection.weight.detach().flatten(1)
        # Rows are padded to a multiple of 16 bytes, which tensor cores need for full speed.
        self.kernel = functional.pad(kernel, (0, -kernel.shape[1] % 8)).to(self.dtype)
        position = vit.embeddings._tile_position_embeddings(
            vit.embeddings.position_embeddings.detach(), self.side, self.side
        )
        self.position = position[0, self.order].to(self.dtype)
        self.embed = compile_part(embed, compiled=compiled)
        self.block = compile_part(block_forward, compiled=compiled)
        self.blocks = [self._block(layer, precision) for layer in vit.layers]

    def _block(self, layer: NetworkPart, precision: Precision) -> ViTBlock:
        attention = layer.attention
        norm1 = norm_weights(layer.layer_norm1)
        heads, head = attention.num_attention_heads, attention.head_dim
        # RoPE rotates channels 2i and 2i+1 of a head together. With all even channels first, the
        # partner is half a head away. Permuting queries and keys alike keeps their products.
        halves = torch.cat([torch.arange(0, head, 2), torch.arange(1, head, 2)])
        rows = (torch.arange(heads)[:, None] * head + halves).flatten()
        q, k, v = (
            (layer_part.weight.detach(), layer_part.bias.detach())
            for layer_part in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        rows = rows.to(v[0].device)
        q, k = ((weight[rows], bias[rows]) for weight, bias in (q, k))
        out, out_weight = attention.o_proj, attention.o_proj.weight.detach()
        scale = torch.full((heads,), head**-0.5, device=rows.device)
        if precision == "fp8":
            limits = [rotated_bound(*weights, norm1, heads) / FP8_MAX for weights in (q, k)]
            scale = scale * limits[0] * limits[1]
            limits = [limit.repeat_interleave(head) for limit in limits]
            limits.append(output_bound(*v, norm1) / FP8_MAX)
            q, k, v = (
                (weight / limit[:, None], bias / limit)
                for (weight, bias), limit in zip((q, k, v), limits, strict=True)
            )
            out_weight = out_weight * limits[2]
        weight, bias = (torch.cat(parts) for parts in zip(q, k, v, strict=True))

        cos, sin = layer.rotary_emb(self.position, layer.position_ids)
        order = slice(None) if layer.window_size else self.order
        cos, sin = (angles[0, order, ::2].float().contiguous() for angles in (cos, sin))
        return ViTBlock(
            norm1=norm1,
            qkv=pack_weight(weight, bias, precision),
            out=pack_weight(out_weight, out.bias.detach(), precision),
            norm2=norm_weights(layer.layer_norm2),
            up=pack([layer.mlp.fc1], precision),
            down=pack([layer.mlp.fc2], precision),
            cos=cos,
            sin=sin,
            scale=scale,
            heads=heads,
        )

    def __call__(self, pixels: Tensor) -> Tensor:
        """`pixels` (n, 3, size, size) -> tokens (n, tokens, channels), in window order."""
        x = self.embed(pixels, self.shape, self.kernel, self.position, self.norm)
        branch = torch.zeros_like(x)
        for block in self.blocks:
            x, branch = self.block(x, branch, block)
        return x + branch


def embed(
    pixels: Tensor, shape: tuple[int, int, int], kernel: Tensor, position: Tensor, norm: Norm
) -> Tensor:
    """The patch embedding: one matrix product, positions, norm -> (n, tokens, channels).

    `shape` is (windows per side, patches per window side, pixels per patch side).
    """
    windows, window, patch = shape
    x = pixels.to(kernel.dtype).view(
        len(pixels), -1, windows, window, patch, windows, window, patch
    )
    x = x.permute(0, 2, 5, 3, 6, 1, 4, 7).reshape(len(pixels), (windows * window) ** 2, -1)
    x = functional.pad(x, (0, kernel.shape[1] - x.shape[-1]))
    return layer_norm(functional.linear(x, kernel) + position, norm, kernel.dtype)


def block_forward(x: Tensor, branch: Tensor, w: ViTBlock) -> tuple[Tensor, Tensor]:
    """One layer: (residual stream, branch that the next layer's first kernel adds to it).

    Both are (n, tokens, channels). So sum and norm are one pass over memory.
    """
    x, normed = add_norm(x, branch, w.norm1, w.qkv)
    x, normed = add_norm(x, linear(attend(linear(normed, w.qkv), w), w.out), w.norm2, w.up)
    return x, mlp(normed, w.up, w.down)


def add_norm(x: Tensor, branch: Tensor, norm: Norm, w: Weight) -> tuple[Tensor, Tensor | Fp8Rows]:
    """The sum, and its norm in the input format of the layer `w`."""
    if w.scale is None:
        x = x + branch
        return x, layer_norm(x, norm, branch.dtype)
    x, values, scale = ops.add_norm_quantise(x, branch, *norm)
    return x, Fp8Rows(values, scale)


def attend(qkv: Tensor, w: ViTBlock) -> Tensor | Fp8Rows:
    """Attention within each run of `len(w.cos)` tokens; `qkv` is (n, tokens, 3 * channels)."""
    if w.out.scale is not None:
        attended = ops.rope_attention(qkv, w.cos, w.sin, w.scale, w.heads)
        return Fp8Rows(attended, w.cos.new_ones(attended[..., 0].numel(), 1))
    ops.apply_rope(qkv, w.cos, w.sin, w.heads)
    q, k, v = qkv.view(-1, len(w.cos), 3, w.heads, 2 * w.cos.shape[1]).unbind(2)
    return ops.attention(q, k, v).view(*qkv.shape[:2], -1)


def mlp(x: Tensor | Fp8Rows, up: Weight, down: Weight) -> Tensor:
    """Two linear layers with a GELU between them."""
    if isinstance(x, Tensor):
        return linear(ops.linear_gelu(x, up.weight, up.bias), down)
    return linear(Fp8Rows(*ops.gelu_quantise(linear(x, up))), down)
