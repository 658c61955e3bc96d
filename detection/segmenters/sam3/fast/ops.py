"""Fused operations: one pass on a GPU, several in plain PyTorch.

Each is defined here in plain PyTorch, which runs on a CPU. On CUDA the function with the same name
in `kernels.py` or `attention8.py` replaces it. torch.compile treats both as opaque.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch._library.custom_ops import CustomOpDef
from torch.nn import functional

from .linear import FP8, quantise

NAMESPACE = "sam3_fast"


def _operation(
    *changed: str, module: str = "kernels"
) -> Callable[[Callable[..., object]], CustomOpDef]:
    """Register a function as a custom operation.

    `changed` are the arguments that it writes to; `module` has its kernel.
    """

    def make(function: Callable[..., object]) -> CustomOpDef:
        name = f"{NAMESPACE}::{function.__name__}"
        operation = torch.library.custom_op(name, function, mutates_args=changed)
        if importlib.util.find_spec("triton"):

            @operation.register_kernel("cuda")
            def _(*args: object) -> object:
                kernels = importlib.import_module(f".{module}", __package__)
                return getattr(kernels, function.__name__)(*args)

        return operation

    return make


@_operation()
def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention; all are (n, tokens, heads, head), the result contiguous.

    The heads of a token are contiguous in memory, as in a slice of packed q, k and v.
    """
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).contiguous()


@attention.register_fake
def _(q: Tensor, _k: Tensor, _v: Tensor) -> Tensor:
    return q.new_empty(q.shape)


@_operation("qkv")
def apply_rope(qkv: Tensor, cos: Tensor, sin: Tensor, heads: int) -> None:
    """Apply RoPE in place to the queries and keys of `qkv` (n, tokens, 3 * channels).

    Channel i of a head rotates with channel i + head / 2; `cos` and `sin` are (tokens, head / 2),
    float32. `n` may be a multiple of windows: row r has the angles of token r modulo tokens.
    """
    tokens, half = cos.shape
    x = qkv.view(-1, tokens, 3, heads, 2, half)[:, :, :2]
    a, b = x.float().unbind(-2)
    cos, sin = cos[:, None, None], sin[:, None, None]
    x.copy_(torch.stack([a * cos - b * sin, b * cos + a * sin], -2))


@_operation(module="attention8")
def rope_attention(qkv: Tensor, cos: Tensor, sin: Tensor, scale: Tensor, heads: int) -> Tensor:
    """`apply_rope`, then `attention` with queries, keys, values and result in e4m3.

    `qkv` (n, tokens, 3 * channels) must fit e4m3 even when rotated; the result is (n, tokens,
    channels). `scale` (heads,), float32, multiplies the products of queries and keys. The kernel
    also casts the softmax weights, and needs a power of two of channels per head, at least 32.
    """
    rotated = qkv.clone()
    apply_rope(rotated, cos, sin, heads)
    q, k, v = rotated.to(FP8).float().view(-1, len(cos), 3, heads, 2 * cos.shape[1]).unbind(2)
    q, k, v = (x.transpose(1, 2) for x in (q * scale[:, None], k, v))
    attended = functional.scaled_dot_product_attention(q, k, v, scale=1.0)
    return attended.transpose(1, 2).to(FP8).reshape(*qkv.shape[:-1], -1)


@rope_attention.register_fake
def _(qkv: Tensor, *_: object) -> Tensor:
    return qkv.new_empty(*qkv.shape[:-1], qkv.shape[-1] // 3, dtype=FP8)


@_operation()
def add_norm_quantise(
    x: Tensor, branch: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """`x + branch`, and `quantise` of its layer norm; `x` and `branch` are (…, channels)."""
    x = x + branch
    return x, *quantise(functional.layer_norm(x.float(), weight.shape, weight, bias, eps))


@add_norm_quantise.register_fake
def _(x: Tensor, _branch: Tensor, weight: Tensor, *_: object) -> tuple[Tensor, Tensor, Tensor]:
    return (
        x.new_empty(x.shape),
        x.new_empty(x.shape, dtype=FP8),
        weight.new_empty(x[..., 0].numel(), 1),
    )


@_operation()
def gelu_quantise(x: Tensor) -> tuple[Tensor, Tensor]:
    """`quantise(gelu(x))` of `x` (…, n). The kernel uses the tanh form of GELU (error 5e-4)."""
    return quantise(functional.gelu(x.float()))


@gelu_quantise.register_fake
def _(x: Tensor) -> tuple[Tensor, Tensor]:
    scale = x.new_empty(x[..., 0].numel(), 1, dtype=torch.float32)
    return x.new_empty(x.shape, dtype=FP8), scale


@_operation()
def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`gelu(linear(x))`; on CUDA in the product's epilogue, in bf16 with the tanh form (5e-4).

    Meta's code does the same (`addmm_act`).
    """
    return functional.gelu(functional.linear(x, weight, bias))


@linear_gelu.register_fake
def _(x: Tensor, weight: Tensor, _bias: Tensor) -> Tensor:
    return x.new_empty(*x.shape[:-1], len(weight))


@_operation()
def linear_relu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`relu(linear(x))`; on CUDA in the product's epilogue."""
    return functional.relu(functional.linear(x, weight, bias))


@linear_relu.register_fake
def _(x: Tensor, weight: Tensor, _bias: Tensor) -> Tensor:
    return x.new_empty(*x.shape[:-1], len(weight))


@_operation()
def prompt_softmax(scores: Tensor, offset: Tensor) -> Tensor:
    """Softmax over each head's words of `scores` (n, tokens, heads * words).

    `offset` (n, heads, words), float32, is added first; -inf masks a word.
    """
    weights = (scores.unflatten(-1, offset.shape[1:]).float() + offset[:, None]).softmax(-1)
    return weights.flatten(-2).to(scores.dtype)


@prompt_softmax.register_fake
def _(scores: Tensor, _offset: Tensor) -> Tensor:
    return torch.empty_like(scores)


@_operation()
def box_bias(edges: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, side: int) -> Tensor:
    """The embedded distance of each row and column of tokens from each box's edges.

    `edges` (n, q, 4) xyxy in 0..1; the weights of two small networks, rows first: `w1` (2, hidden,
    2), `b1` (2, hidden), `w2` (2, heads, hidden), `b2` (2, heads). The result is (2, n, heads,
    q + 1, side), rows first; the first query is the presence token, without box and bias.
    """
    positions = torch.arange(side, device=edges.device, dtype=edges.dtype)[:, None] / side

    def embed(axis: int) -> Tensor:
        distance = 8 * (positions - edges[:, :, None, 1 - axis :: 2])
        distance = distance.sign() * (distance.abs() + 1).log2() / math.log2(8)
        bias = functional.linear(
            functional.relu(functional.linear(distance, w1[axis], b1[axis])), w2[axis], b2[axis]
        )
        return functional.pad(bias.permute(0, 3, 1, 2), (0, 0, 1, 0))

    return torch.stack([embed(0), embed(1)]).contiguous()


@box_bias.register_fake
def _(edges: Tensor, _w1: Tensor, _b1: Tensor, w2: Tensor, _b2: Tensor, side: int) -> Tensor:
    return edges.new_empty(2, len(edges), w2.shape[1], edges.shape[1] + 1, side)


@_operation()
def biased_attention(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Attention of `q` (n, queries, heads, head), float32, to an image's tokens.

    `k` and `v` are (n, side * side, heads, head). `box_bias`'s `rows` and `columns` are added to
    the scores. Their sum is never materialized: it would take 33 MB per layer and prompt.
    """
    bias = (rows[..., :, None] + columns[..., None, :]).flatten(-2)
    q, k, v = (x.transpose(1, 2).to(q.dtype) for x in (q, k, v))
    return (
        functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        .transpose(1, 2)
        .contiguous()
    )


@biased_attention.register_fake
def _(q: Tensor, *_: Tensor) -> Tensor:
    return q.new_empty(q.shape)


@_operation()
def group_sums(x: Tensor, groups: int) -> Tensor:
    """Sums of `x` (n, pixels, channels) and of its squares over each group: (n, groups, 2)."""
    x = x.float().unflatten(-1, (groups, -1))
    return torch.stack([x.sum((1, 3)), x.square().sum((1, 3))], -1)


@group_sums.register_fake
def _(x: Tensor, groups: int) -> Tensor:
    return x.new_empty(len(x), groups, 2, dtype=torch.float32)
