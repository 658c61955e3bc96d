"""The passes over memory that torch.compile does not fuse well, as Triton kernels. CUDA only."""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from .linear import FP8, FP8_MAX


@triton.jit
def _gelu(x):
    """x * Phi(x); erf by Abramowitz and Stegun 7.1.26, at most 1.5e-7 off.

    The library's erf takes so many instructions that arithmetic, not memory, sets the time.
    """
    z = tl.abs(x) * 0.7071067811865476
    t = 1.0 / (1.0 + 0.3275911 * z)
    poly = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t
            + 0.254829592) * t
    tail = 0.5 * poly * tl.exp2(-1.4426950408889634 * z * z)
    return x * tl.where(x < 0, tail, 1.0 - tail)


@triton.jit
def _gelu_kernel(x_ptr, count, block: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    x = tl.load(x_ptr + at, mask=at < count, other=0.0).to(tl.float32)
    tl.store(x_ptr + at, _gelu(x).to(x_ptr.dtype.element_ty), mask=at < count)


def gelu_(x: Tensor) -> Tensor:
    """Exact GELU in place on a contiguous tensor."""
    _gelu_kernel[(triton.cdiv(x.numel(), 4096),)](x, x.numel(), block=4096, num_warps=8)
    return x


@triton.jit
def _gelu_quantise_kernel(
    x_ptr, out_ptr, scale_ptr, width: tl.constexpr, first: tl.constexpr, rest: tl.constexpr,
    limit: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    a_at = tl.arange(0, first)
    b_at = first + tl.arange(0, rest)
    a = _gelu(tl.load(x_ptr + row * width + a_at).to(tl.float32))
    b = _gelu(tl.load(x_ptr + row * width + b_at, mask=b_at < width, other=0.0).to(tl.float32))
    most = tl.maximum(tl.max(tl.abs(a), 0), tl.max(tl.abs(b), 0))
    scale = tl.maximum(most, 1e-12) / limit
    inverse = 1.0 / scale
    kind = out_ptr.dtype.element_ty
    tl.store(scale_ptr + row, scale)
    a = tl.clamp(a * inverse, -limit, limit)
    b = tl.clamp(b * inverse, -limit, limit)
    tl.store(out_ptr + row * width + a_at, a.to(kind))
    tl.store(out_ptr + row * width + b_at, b.to(kind), mask=b_at < width)


def gelu_quantise(x: Tensor) -> tuple[Tensor, Tensor]:
    """`quantise(gelu(x))` of `x` (rows, n) in one pass."""
    rows, width = x.shape
    first = 1 << (width.bit_length() - 1)
    rest = max(16, triton.next_power_of_2(width - first))
    out = torch.empty_like(x, dtype=FP8)
    scale = x.new_empty(rows, 1, dtype=torch.float32)
    _gelu_quantise_kernel[(rows,)](
        x, out, scale, width=width, first=first, rest=rest, limit=FP8_MAX, num_warps=4
    )
    return out, scale


@triton.jit
def _biased_kernel(
    q_ptr, k_ptr, v_ptr, rows_ptr, columns_ptr, out_ptr,
    q_n, q_h, q_q, kv_n, kv_h, kv_t, heads, queries, tokens: tl.constexpr, scale,
    side: tl.constexpr, head: tl.constexpr, block_q: tl.constexpr, block_t: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(1) // heads
    h = tl.program_id(1) % heads
    qs = tl.program_id(0) * block_q + tl.arange(0, block_q)
    ds = tl.arange(0, head)
    real = qs < queries
    q_at = n.to(tl.int64) * q_n + h * q_h + qs[:, None] * q_q + ds[None, :]
    q = tl.load(q_ptr + q_at, mask=real[:, None], other=0.0)
    q = (q * (scale * 1.4426950408889634)).to(k_ptr.dtype.element_ty)
    kv = n.to(tl.int64) * kv_n + h * kv_h
    bias_row = (tl.program_id(1).to(tl.int64) * queries + qs) * side
    most = tl.full([block_q], float("-inf"), tl.float32)
    total = tl.zeros([block_q], tl.float32)
    seen = tl.zeros([block_q, head], tl.float32)
    for start in range(0, tokens, block_t):
        ts = start + tl.arange(0, block_t)
        inside = ts < tokens
        both = real[:, None] & inside[None, :]
        k = tl.load(k_ptr + kv + ts[None, :] * kv_t + ds[:, None], mask=inside[None, :], other=0.0)
        v = tl.load(v_ptr + kv + ts[:, None] * kv_t + ds[None, :], mask=inside[:, None], other=0.0)
        row = tl.load(rows_ptr + bias_row[:, None] + (ts // side)[None, :], mask=both, other=0.0)
        column = tl.load(
            columns_ptr + bias_row[:, None] + (ts % side)[None, :], mask=both, other=0.0
        )
        score = tl.dot(q, k) + (row + column) * 1.4426950408889634
        score = tl.where(inside[None, :], score, float("-inf"))
        higher = tl.maximum(most, tl.max(score, 1))
        p = tl.exp2(score - higher[:, None])
        fade = tl.exp2(most - higher)
        total = total * fade + tl.sum(p, 1)
        seen = tl.dot(p.to(v.dtype), v, seen * fade[:, None])
        most = higher
    out_at = (tl.program_id(1).to(tl.int64) * queries + qs[:, None]) * head + ds[None, :]
    tl.store(out_ptr + out_at, seen / total[:, None], mask=real[:, None])


def biased_attention(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """See `decoder.biased_attention`; `k` and `v` bf16 with the same strides."""
    n, heads, queries, head = q.shape
    tokens, side = k.shape[2], rows.shape[-1]
    out = torch.empty((n, heads, queries, head), dtype=torch.float32, device=q.device)
    block_q, block_t = 64, 64
    _biased_kernel[(triton.cdiv(queries, block_q), n * heads)](
        q, k, v, rows.contiguous(), columns.contiguous(), out,
        q.stride(0), q.stride(1), q.stride(2), k.stride(0), k.stride(1), k.stride(2),
        heads, queries, tokens, head**-0.5,
        side=side, head=head, block_q=block_q, block_t=block_t, num_warps=4, num_stages=3,
    )  # fmt: skip
    return out


@triton.jit
def _turn_kernel(
    x_ptr, cos_ptr, sin_ptr, row_stride, first_head, tokens,
    heads: tl.constexpr, head: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """RoPE in place on `heads` heads of each row; cos and sin are (tokens, head / 2)."""
    half: tl.constexpr = head // 2
    at = tl.arange(0, block)
    row = tl.program_id(0).to(tl.int64)
    angle = (row % tokens) * half + at % half
    x = x_ptr + row * row_stride + first_head * head + (at // half) * head + at % half
    mask = at < heads * half
    a = tl.load(x, mask=mask).to(tl.float32)
    b = tl.load(x + half, mask=mask).to(tl.float32)
    cos = tl.load(cos_ptr + angle, mask=mask)
    sin = tl.load(sin_ptr + angle, mask=mask)
    tl.store(x, (a * cos - b * sin).to(x_ptr.dtype.element_ty), mask=mask)
    tl.store(x + half, (b * cos + a * sin).to(x_ptr.dtype.element_ty), mask=mask)


def turn_(qkv: Tensor, cos: Tensor, sin: Tensor, first_head: int, heads: int, head: int) -> None:
    """Turn `heads` heads from `first_head` on in each row of `qkv` (rows, width), in place."""
    rows = qkv.shape[0]
    block = triton.next_power_of_2(heads * head // 2)
    _turn_kernel[(rows,)](
        qkv, cos, sin, qkv.stride(0), first_head, cos.shape[0],
        heads=heads, head=head, block=block, num_warps=2 if heads <= 16 else 4,
    )  # fmt: skip


@triton.jit
def _attention_kernel(
    q_ptr, k_ptr, v_ptr, out_ptr, cos_ptr, sin_ptr,
    q_n, q_t, k_n, k_t, v_n, v_t, o_n, o_t, heads, tokens: tl.constexpr, scale,
    head: tl.constexpr, turn: tl.constexpr, even: tl.constexpr,
    block_q: tl.constexpr, block_t: tl.constexpr,
):  # fmt: skip
    half: tl.constexpr = head // 2
    n = (tl.program_id(1) // heads).to(tl.int64)
    h = tl.program_id(1) % heads
    qs = tl.program_id(0) * block_q + tl.arange(0, block_q)
    ds = tl.arange(0, head)
    hs = tl.arange(0, half)
    real = qs < tokens
    q_base = q_ptr + n * q_n + h * head
    k_base = k_ptr + n * k_n + h * head
    v_base = v_ptr + n * v_n + h * head
    fold = scale * 1.4426950408889634
    if turn:
        at = qs[:, None] * q_t + hs[None, :]
        a = tl.load(q_base + at, mask=real[:, None], other=0.0).to(tl.float32)
        b = tl.load(q_base + at + half, mask=real[:, None], other=0.0).to(tl.float32)
        angle = qs[:, None] * half + hs[None, :]
        cos = tl.load(cos_ptr + angle, mask=real[:, None], other=0.0)
        sin = tl.load(sin_ptr + angle, mask=real[:, None], other=0.0)
        q1 = ((a * cos - b * sin)).to(k_ptr.dtype.element_ty)
        q2 = ((b * cos + a * sin)).to(k_ptr.dtype.element_ty)
    else:
        q = tl.load(q_base + qs[:, None] * q_t + ds[None, :], mask=real[:, None], other=0.0)
    most = tl.full([block_q], float("-inf"), tl.float32)
    total = tl.zeros([block_q], tl.float32)
    seen = tl.zeros([block_q, head], tl.float32)
    for start in range(0, tokens, block_t):
        ts = start + tl.arange(0, block_t)
        inside = ts < tokens
        if turn:
            k_at = k_base + ts[None, :] * k_t + hs[:, None]
            if even:
                k1 = tl.load(k_at)
                k2 = tl.load(k_at + half)
            else:
                k1 = tl.load(k_at, mask=inside[None, :], other=0.0)
                k2 = tl.load(k_at + half, mask=inside[None, :], other=0.0)
            score = tl.dot(q1, k1)
            score = tl.dot(q2, k2, score)
        else:
            k_at = k_base + ts[None, :] * k_t + ds[:, None]
            if even:
                k = tl.load(k_at)
            else:
                k = tl.load(k_at, mask=inside[None, :], other=0.0)
            score = tl.dot(q, k)
        if not even:
            score = tl.where(inside[None, :], score, float("-inf"))
        v_at = v_base + ts[:, None] * v_t + ds[None, :]
        if even:
            v = tl.load(v_at)
        else:
            v = tl.load(v_at, mask=inside[:, None], other=0.0)
        higher = tl.maximum(most, tl.max(score, 1) * fold)
        p = tl.exp2(score * fold - higher[:, None])
        fade = tl.exp2(most - higher)
        total = total * fade + tl.sum(p, 1)
        seen = tl.dot(p.to(v.dtype), v, seen * fade[:, None])
        most = higher
    out = out_ptr + n * o_n + h * head + qs[:, None] * o_t + ds[None, :]
    tl.store(out, (seen / total[:, None]).to(out_ptr.dtype.element_ty), mask=real[:, None])


def attention(q: Tensor, k: Tensor, v: Tensor, cos: Tensor | None = None, sin: Tensor | None = None,
              block_q: int = 64, block_t: int = 64, warps: int = 4, stages: int = 3) -> Tensor:
    """Attention of q, k, v (n, tokens, heads, head); with `cos` and `sin`, q is turned first."""
    n, tokens, heads, head = q.shape
    out = torch.empty((n, tokens, heads, head), dtype=q.dtype, device=q.device)
    _attention_kernel[(triton.cdiv(tokens, block_q), n * heads)](
        q, k, v, out, q if cos is None else cos, q if sin is None else sin,
        q.stride(0), q.stride(1), k.stride(0), k.stride(1), v.stride(0), v.stride(1),
        out.stride(0), out.stride(1), heads, tokens, head**-0.5,
        head=head, turn=cos is not None, even=tokens % block_t == 0,
        block_q=block_q, block_t=block_t, num_warps=warps, num_stages=stages,
    )  # fmt: skip
    return out
