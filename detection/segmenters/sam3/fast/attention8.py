"""Triton kernels of `ops.rope_attention`: the ViT's attention with e4m3 products."""

# Triton compiles these functions as its own language, which has no type annotations.
# ruff: noqa: ANN001, ANN202
# mypy: ignore-errors

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .linear import FP8

BLOCK = 64  # tokens, of queries and of keys
ONES = tl.constexpr(16)  # columns: the minimum for fp8 tensor cores
LOG2_E = 1.4426950408889634
# The bits of a non-negative e4m3 number, as an integer, are about 8 (7 + log2). A row's largest
# weight is scaled to 2^8, so that 15 powers of two remain below it.
TOP = tl.constexpr(15.0)
EIGHTHS = tl.constexpr(2.0**-21)  # 8 units in float16's last place, 2^-24


@triton.jit
def _to_integer_bits(x):
    """max(round(2^24 x), 0) below 1024: the bits of subnormal float16 numbers."""
    return tl.inline_asm_elementwise(
        "cvt.rn.relu.f16x2.f32 $0, $2, $1;", "=r,f,f", [x], tl.int16, True, 2
    )


@triton.jit
def _rope_quantise(
    x_ptr, cos_ptr, sin_ptr, qk_ptr, v_ptr, tokens, padded,
    heads: tl.constexpr, half: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    head: tl.constexpr = 2 * half
    n = (tl.program_id(1) // heads).to(tl.int64)
    h = tl.program_id(1) % heads
    ts = tl.program_id(0) * block + tl.arange(0, block)
    hs = tl.arange(0, half)
    real = (ts < tokens)[:, None]
    kind = qk_ptr.dtype.element_ty
    angle = ts[:, None] * half + hs[None, :]
    cos = tl.load(cos_ptr + angle, mask=real, other=0.0)
    sin = tl.load(sin_ptr + angle, mask=real, other=0.0)
    x_row = x_ptr + (n * tokens + ts)[:, None] * (3 * heads * head) + h * head
    qk_row = qk_ptr + (n * padded + ts)[:, None] * (2 * heads * head) + h * head
    for part in tl.static_range(2):
        at = part * heads * head + hs[None, :]
        a = tl.load(x_row + at, mask=real, other=0.0).to(tl.float32)
        b = tl.load(x_row + at + half, mask=real, other=0.0).to(tl.float32)
        tl.store(qk_row + at, (a * cos - b * sin).to(kind))
        tl.store(qk_row + at + half, (b * cos + a * sin).to(kind))
    ds = tl.arange(0, head)
    v = tl.load(x_row + 2 * heads * head + ds[None, :], mask=real, other=0.0)
    at = ((n * heads + h) * head + ds)[:, None] * padded + ts[None, :]
    tl.store(v_ptr + at, tl.trans(v.to(tl.float32).to(kind)))


@triton.jit
def _attention(
    qk_ptr, v_ptr, scale_ptr, one_ptr, out_ptr, log2_e,
    tokens: tl.constexpr, padded: tl.constexpr, heads: tl.constexpr, head: tl.constexpr,
    block: tl.constexpr,
):  # fmt: skip
    n = (tl.program_id(1) // heads).to(tl.int64)
    h = tl.program_id(1) % heads
    scale_log2e = tl.load(scale_ptr + h) * log2_e
    width: tl.constexpr = 2 * heads * head
    qs = tl.program_id(0) * block + tl.arange(0, block)
    ds = tl.arange(0, head)
    cs = tl.arange(0, block)
    # A thread has columns 2i, 2i+1, 2i+8, 2i+9 of each 16 of a product, and needs 4i to 4i+3
    # for the next product. The keys are read in an order that makes these the same.
    order = (cs & -16) | (((cs >> 1) & 3) << 2) | (((cs >> 3) & 1) << 1) | (cs & 1)
    q_at = qk_ptr + (n * padded + qs)[:, None] * width + h * head + ds[None, :]
    k_at = qk_ptr + (n * padded + order)[None, :] * width + (heads + h) * head + ds[:, None]
    v_at = v_ptr + ((n * heads + h) * head + ds)[None, :] * padded + cs[:, None]
    q = tl.load(q_at)
    one = tl.load(one_ptr + cs[:, None] + tl.arange(0, ONES)[None, :] * block)
    row_max = tl.full([block], float("-inf"), tl.float32)
    row_sum = tl.zeros([block, ONES], tl.float32)
    acc = tl.zeros([block, head], tl.float32)
    for start in range(0, padded, block):
        k = tl.load(k_at + start * width)
        v = tl.load(v_at + start)
        score = tl.dot(q, k)
        if tokens < padded:
            score = tl.where((start + order < tokens)[None, :], score, float("-inf"))
        new_max = tl.maximum(row_max, tl.max(score, 1) * scale_log2e)
        alpha = tl.exp2(row_max - new_max)
        p = _to_integer_bits(score * (scale_log2e * EIGHTHS) + ((TOP - new_max) * EIGHTHS)[:, None])
        p = p.to(tl.int8).to(tl.float8e4nv, bitcast=True)
        p = tl.permute(tl.reshape(p, [block, block // 16, 2, 4, 2]), [0, 1, 3, 2, 4])
        p = tl.reshape(p, [block, block])
        acc = tl.dot(p, v, acc * alpha[:, None])
        # Tensor cores' sums lose low bits, which accumulates because all terms are positive.
        row_sum = row_sum * alpha[:, None] + tl.dot(p, one)
        row_max = new_max
    out = out_ptr + ((n * tokens + qs)[:, None] * heads + h) * head + ds[None, :]
    acc = acc / tl.max(row_sum, 1)[:, None]
    tl.store(out, acc.to(out_ptr.dtype.element_ty), mask=(qs < tokens)[:, None])


def rope_attention(qkv: Tensor, cos: Tensor, sin: Tensor, scale: Tensor, heads: int) -> Tensor:
    """Two kernels: the first applies RoPE, quantises, and transposes values for the products.

    The second needs no exponentials of scores. An e4m3 number's bits are nearly its logarithm, so
    a score, scaled and rounded to an integer, *is* the weight's bits: up to 6 % off between powers
    of two, like e4m3 itself. The weights' sum uses the same rounded numbers.
    Source: N. Schraudolph, "A Fast, Compact Approximation of the Exponential Function", 1999.
    """
    qkv = qkv.contiguous()
    tokens, half = cos.shape
    n = qkv.numel() // (tokens * qkv.shape[-1])
    padded = triton.cdiv(tokens, BLOCK) * BLOCK
    qk = torch.empty((n, padded, 4 * heads * half), dtype=FP8, device=qkv.device)
    v = torch.empty((n, 2 * heads * half, padded), dtype=FP8, device=qkv.device)
    one = torch.ones((ONES.value, BLOCK), device=qkv.device).to(FP8)
    out = torch.empty((*qkv.shape[:-1], 2 * heads * half), dtype=FP8, device=qkv.device)
    grid = (padded // BLOCK, n * heads)
    _rope_quantise[grid](
        qkv, cos, sin, qk, v, tokens, padded, heads=heads, half=half, block=BLOCK, num_warps=4
    )
    _attention[grid](
        qk, v, scale, one, out, LOG2_E,
        tokens=tokens, padded=padded, heads=heads, head=2 * half, block=BLOCK,
        num_warps=4, num_stages=3,
    )  # fmt: skip
    return out
