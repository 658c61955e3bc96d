"""SAM3's image encoder (a ViT with windows) without its layout copies.

The tokens are put into window order once, while the image is cut into patches, and stay in it:
a window is then a run of rows, and the global layers do not mind the order of their tokens as
long as the rotary angles are in the same one.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import ops
from .linear import Precision, Weight, dtype_of, linear, multiply, pack
from .running import part


class Norm(NamedTuple):
    """A layer norm's weights, each (channels,) in float32."""

    weight: Tensor
    bias: Tensor
    eps: float


class Block(NamedTuple):
    """One layer. `cos` and `sin` (tokens, head / 2) are those of its window, or of the image."""

    norm1: Norm
    qkv: Weight
    out: Weight
    norm2: Norm
    up: Weight
    down: Weight
    cos: Tensor
    sin: Tensor
    heads: int


def norm_of(layer: nn.LayerNorm) -> Norm:
    """The weights of a layer norm."""
    return Norm(layer.weight.detach().float(), layer.bias.detach().float(), layer.eps)


def layer_norm(x: Tensor, norm: Norm, dtype: torch.dtype) -> Tensor:
    """In float32 whatever `x` is; the result in `dtype`."""
    return F.layer_norm(x.float(), (x.shape[-1],), norm.weight, norm.bias, norm.eps).to(dtype)


def window_order(side: int, window: int) -> Tensor:
    """Row-major indices of a square grid's tokens, window after window: (side * side,).

    Raises:
        ValueError: the windows do not cover the grid exactly.
    """
    if side % window:
        raise ValueError(
            f"a grid of {side} x {side} tokens is not made of windows of {window}: "
            f"choose an image size that is a multiple of {window} patches"
        )
    grid = torch.arange(side * side).view(side // window, window, side // window, window)
    return grid.permute(0, 2, 1, 3).flatten()


class Trunk:
    """The ViT of a loaded model, rebuilt: pixels to tokens in window order.

    Its arithmetic is transformers'; what differs is the order of the tokens, packed weights
    (q, k and v in one product, the pairs that RoPE turns laid side by side), RoPE's angles
    computed once, and the patches cut by a matrix product.
    """

    def __init__(self, vit: nn.Module, precision: Precision, compiled: bool) -> None:
        config = vit.config
        self.dtype = dtype_of(precision)
        self.side = config.image_size // config.patch_size
        self.window = config.window_size
        self.shape = (self.side // self.window, self.window, config.patch_size)
        device = vit.layer_norm.weight.device
        self.order = window_order(self.side, self.window).to(device)
        self.norm = norm_of(vit.layer_norm)

        kernel = vit.embeddings.patch_embeddings.projection.weight.detach().flatten(1)
        # Rows of a multiple of 16 bytes: matrix units read nothing else at full speed.
        self.kernel = F.pad(kernel, (0, -kernel.shape[1] % 8)).to(self.dtype)
        position = vit.embeddings._tile_position_embeddings(
            vit.embeddings.position_embeddings.detach(), self.side, self.side
        )
        self.position = position[0, self.order].to(self.dtype)
        self.embed = part(embed, compiled)
        self.block = part(block_forward, compiled)
        self.blocks = [self._block(layer, config, precision) for layer in vit.layers]

    def _block(self, layer: nn.Module, config: object, precision: Precision) -> Block:
        attention = layer.attention
        half: Precision = "float32" if precision == "float32" else "bf16"
        heads, head = attention.num_attention_heads, attention.head_dim
        # RoPE turns channels 2i and 2i+1 of a head together. With all even channels first, the
        # partner lies half a head away; queries and keys permuted alike have the same products.
        halves = torch.cat([torch.arange(0, head, 2), torch.arange(1, head, 2)])
        rows = (torch.arange(heads)[:, None] * head + halves).flatten()
        width = heads * head
        rows = torch.cat([rows, width + rows, 2 * width + torch.arange(width)])

        cos, sin = layer.rotary_emb(self.position, layer.position_ids)
        order = slice(None) if layer.window_size else self.order
        cos, sin = (angles[0, order, ::2].float().contiguous() for angles in (cos, sin))
        return Block(
            norm1=norm_of(layer.layer_norm1),
            qkv=pack(
                [attention.q_proj, attention.k_proj, attention.v_proj],
                precision,
                rows.to(self.order.device),
            ),
            # In fp8 it would gain nothing: its input would have to be made fp8 in a pass of its own.
            out=pack([attention.o_proj], half),
            norm2=norm_of(layer.layer_norm2),
            up=pack([layer.mlp.fc1], precision),
            down=pack([layer.mlp.fc2], precision),
            cos=cos,
            sin=sin,
            heads=heads,
        )

    def __call__(self, pixels: Tensor) -> Tensor:
        """`pixels` (n, 3, size, size) to tokens (n, tokens, channels), in window order."""
        x = self.embed(pixels, self.shape, self.kernel, self.position, self.norm)
        branch = torch.zeros((), dtype=self.dtype, device=x.device).expand_as(x)
        for block in self.blocks:
            x, branch = self.block(x, branch, block)
        return x + branch


def embed(
    pixels: Tensor, shape: tuple[int, int, int], kernel: Tensor, position: Tensor, norm: Norm
) -> Tensor:
    """Patches as rows, one matrix product, positions, norm: (n, tokens, channels).

    `shape` is windows a side, patches a window's side, pixels a patch's side.
    """
    windows, window, patch = shape
    x = pixels.to(kernel.dtype).view(len(pixels), -1, windows, window, patch, windows, window, patch)
    x = x.permute(0, 2, 5, 3, 6, 1, 4, 7).reshape(len(pixels), (windows * window) ** 2, -1)
    x = F.pad(x, (0, kernel.shape[1] - x.shape[-1]))
    return layer_norm(F.linear(x, kernel) + position, norm, kernel.dtype)


def block_forward(x: Tensor, branch: Tensor, w: Block) -> tuple[Tensor, Tensor]:
    """One layer: the residual stream, and what the next layer's first kernel adds to it.

    Both are (n, tokens, channels). Sum and norm are one pass over memory this way.
    """
    dtype = branch.dtype
    x = x + branch
    x = x + linear(attend(linear(layer_norm(x, w.norm1, dtype), w.qkv), w), w.out)
    return x, mlp(layer_norm(x, w.norm2, dtype), w.up, w.down)


def mlp(x: Tensor, up: Weight, down: Weight) -> Tensor:
    """Two linear layers with a GELU between them."""
    if down.scale is None:
        return linear(ops.linear_gelu(x, up.weight, up.bias), down)
    hidden = ops.gelu_quantise(linear(x, up).flatten(0, -2))
    return multiply(*hidden, down).unflatten(0, x.shape[:-1])


def attend(qkv: Tensor, w: Block) -> Tensor:
    """Attention inside each run of `len(w.cos)` tokens; `qkv` (n, tokens, 3 * channels)."""
    ops.turn(qkv, w.cos, w.sin, w.heads)
    q, k, v = qkv.view(-1, len(w.cos), 3, w.heads, 2 * w.cos.shape[1]).unbind(2)
    return ops.attention(q, k, v).view(*qkv.shape[:2], -1)
