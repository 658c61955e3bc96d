"""Triton kernels of the operations in `ops.py`, which defines what each computes."""

# Triton compiles these functions as its own language, which has no type annotations.
# ruff: noqa: ANN001, ANN202
# mypy: ignore-errors

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from .linear import FP8, FP8_MAX

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def _tanh(x):
    return tl.inline_asm_elementwise("tanh.approx.f32 $0, $1;", "=f,f", [x], tl.float32, True, 1)


@triton.jit
def _gelu(x):
    return 0.5 * x * (1.0 + _tanh(x * (0.7978845608028654 + 0.035677408136300125 * x * x)))


@triton.jit
def _gelu_quantise(
    x_ptr, out_ptr, scale_ptr, width: tl.constexpr, first: tl.constexpr, rest: tl.constexpr,
    limit: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    kind = out_ptr.dtype.element_ty
    left = tl.arange(0, first)
    right = first + tl.arange(0, rest)
    a = _gelu(tl.load(x_ptr + row * width + left).to(tl.float32))
    b = _gelu(tl.load(x_ptr + row * width + right, mask=right < width, other=0.0).to(tl.float32))
    row_max = tl.maximum(tl.max(tl.abs(a), 0), tl.max(tl.abs(b), 0))
    scale = tl.maximum(row_max, 1e-12) / limit
    tl.store(scale_ptr + row, scale)
    tl.store(out_ptr + row * width + left, (a / scale).to(kind))
    tl.store(out_ptr + row * width + right, (b / scale).to(kind), mask=right < width)


def gelu_quantise(x: Tensor) -> tuple[Tensor, Tensor]:
    """One program per row. A row's width is rarely a power of two, so it is read in two parts."""
    x = x.contiguous()
    width = x.shape[-1]
    rows = x.numel() // width
    first = 1 << (width.bit_length() - 1)
    rest = triton.next_power_of_2(max(width - first, 16))
    out = torch.empty_like(x, dtype=FP8)
    scale = x.new_empty(rows, 1, dtype=torch.float32)
    _gelu_quantise[(rows,)](
        x, out, scale, width=width, first=first, rest=rest, limit=FP8_MAX, num_warps=4
    )
    return out, scale


@triton.jit
def _add_norm_quantise(
    x_ptr, branch_ptr, weight_ptr, bias_ptr, out_ptr, values_ptr, scale_ptr, rows, eps,
    width: tl.constexpr, padded: tl.constexpr, block: tl.constexpr, limit: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    cs = tl.arange(0, padded)
    fits = cs < width
    mask = (row < rows)[:, None] & fits[None, :]
    at = row[:, None] * width + cs[None, :]
    x = tl.load(x_ptr + at, mask=mask, other=0.0).to(tl.float32)
    x += tl.load(branch_ptr + at, mask=mask, other=0.0).to(tl.float32)
    x = x.to(out_ptr.dtype.element_ty)
    tl.store(out_ptr + at, x, mask=mask)
    x = x.to(tl.float32)
    mean = tl.sum(x, 1) / width
    x = tl.where(fits[None, :], x - mean[:, None], 0.0)
    spread = tl.rsqrt(tl.sum(x * x, 1) / width + eps)
    weight = tl.load(weight_ptr + cs, mask=fits, other=0.0)
    bias = tl.load(bias_ptr + cs, mask=fits, other=0.0)
    x = x * spread[:, None] * weight[None, :] + bias[None, :]
    scale = tl.maximum(tl.max(tl.abs(x), 1), 1e-12) / limit
    tl.store(scale_ptr + row, scale, mask=row < rows)
    tl.store(values_ptr + at, (x / scale[:, None]).to(values_ptr.dtype.element_ty), mask=mask)


def add_norm_quantise(
    x: Tensor, branch: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """A few rows per program, each read once."""
    x, branch = x.contiguous(), branch.contiguous()
    width = x.shape[-1]
    rows = x.numel() // width
    out, values = torch.empty_like(x), torch.empty_like(x, dtype=FP8)
    scale = torch.empty((rows, 1), dtype=torch.float32, device=x.device)
    block = 4
    _add_norm_quantise[(triton.cdiv(rows, block),)](
        x, branch, weight, bias, out, values, scale, rows, eps,
        width=width, padded=triton.next_power_of_2(width), block=block, limit=FP8_MAX, num_warps=4,
    )  # fmt: skip
    return out, values, scale


@triton.jit
def _apply_rope(
    x_ptr, cos_ptr, sin_ptr, width, tokens,
    heads: tl.constexpr, half: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, block)
    mask = at < heads * half
    x = x_ptr + row * width + (at // half) * (2 * half) + at % half
    angle = (row % tokens) * half + at % half
    a = tl.load(x, mask=mask).to(tl.float32)
    b = tl.load(x + half, mask=mask).to(tl.float32)
    cos = tl.load(cos_ptr + angle, mask=mask)
    sin = tl.load(sin_ptr + angle, mask=mask)
    kind = x_ptr.dtype.element_ty
    tl.store(x, (a * cos - b * sin).to(kind), mask=mask)
    tl.store(x + half, (b * cos + a * sin).to(kind), mask=mask)


def apply_rope(qkv: Tensor, cos: Tensor, sin: Tensor, heads: int) -> None:
    """One program per row: all heads of its query and key."""
    tokens, half = cos.shape
    rows = qkv.numel() // qkv.shape[-1]
    block = triton.next_power_of_2(2 * heads * half)
    _apply_rope[(rows,)](
        qkv, cos, sin, qkv.shape[-1], tokens, heads=2 * heads, half=half, block=block, num_warps=4
    )


@triton.jit
def _attention(
    q_ptr, k_ptr, v_ptr, out_ptr, q_n, q_t, k_n, k_t, v_n, v_t, heads, scale_log2e,
    tokens: tl.constexpr, head: tl.constexpr, even: tl.constexpr,
    block_q: tl.constexpr, block_t: tl.constexpr,
):  # fmt: skip
    n = (tl.program_id(1) // heads).to(tl.int64)
    h = tl.program_id(1) % heads
    qs = tl.program_id(0) * block_q + tl.arange(0, block_q)
    ds = tl.arange(0, head)
    real = qs < tokens
    q_at = q_ptr + n * q_n + h * head + qs[:, None] * q_t + ds[None, :]
    k_at = k_ptr + n * k_n + h * head + ds[:, None]
    v_at = v_ptr + n * v_n + h * head + ds[None, :]
    q = tl.load(q_at, mask=real[:, None], other=0.0)
    row_max = tl.full([block_q], float("-inf"), tl.float32)
    row_sum = tl.zeros([block_q], tl.float32)
    acc = tl.zeros([block_q, head], tl.float32)
    for start in range(0, tokens, block_t):
        ts = start + tl.arange(0, block_t)
        if even:
            k = tl.load(k_at + ts[None, :] * k_t)
            v = tl.load(v_at + ts[:, None] * v_t)
        else:
            k = tl.load(k_at + ts[None, :] * k_t, mask=ts[None, :] < tokens, other=0.0)
            v = tl.load(v_at + ts[:, None] * v_t, mask=ts[:, None] < tokens, other=0.0)
        score = tl.dot(q, k, input_precision="ieee")
        if not even:
            score = tl.where(ts[None, :] < tokens, score, float("-inf"))
        new_max = tl.maximum(row_max, tl.max(score, 1) * scale_log2e)
        p = tl.exp2(score * scale_log2e - new_max[:, None])
        alpha = tl.exp2(row_max - new_max)
        row_sum = row_sum * alpha + tl.sum(p, 1)
        acc = tl.dot(p.to(v.dtype), v, acc * alpha[:, None], input_precision="ieee")
        row_max = new_max
    out = out_ptr + ((n * tokens + qs[:, None]) * heads + h) * head + ds[None, :]
    tl.store(out, (acc / row_sum[:, None]).to(out_ptr.dtype.element_ty), mask=real[:, None])


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Small tiles, many per multiprocessor: exponentials of one overlap products of another."""
    n, tokens, heads, head = q.shape
    out = q.new_empty((n, tokens, heads, head))
    block = 64
    _attention[(triton.cdiv(tokens, block), n * heads)](
        q, k, v, out, q.stride(0), q.stride(1), k.stride(0), k.stride(1), v.stride(0), v.stride(1),
        heads, head**-0.5 * LOG2_E.value,
        tokens=tokens, head=head, even=tokens % block == 0, block_q=block, block_t=block,
        num_warps=4, num_stages=3,
    )  # fmt: skip
    return out


@triton.jit
def _prompt_softmax(
    scores_ptr, offset_ptr, out_ptr, tokens, heads: tl.constexpr, words: tl.constexpr,
    block: tl.constexpr, padded: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(1).to(tl.int64)
    rows = tl.program_id(0) * block + tl.arange(0, block)
    ws = tl.arange(0, padded)
    mask = (rows < tokens)[:, None] & (ws < words)[None, :]
    at = (n * tokens + rows)[:, None] * (heads * words) + ws[None, :]
    for h in tl.static_range(heads):
        offset = tl.load(
            offset_ptr + (n * heads + h) * words + ws, mask=ws < words, other=float("-inf")
        )
        score = tl.load(scores_ptr + at + h * words, mask=mask, other=0.0).to(tl.float32)
        score += offset[None, :]
        p = tl.exp2((score - tl.max(score, 1)[:, None]) * LOG2_E)
        p = p / tl.sum(p, 1)[:, None]
        tl.store(out_ptr + at + h * words, p.to(out_ptr.dtype.element_ty), mask=mask)


def prompt_softmax(scores: Tensor, offset: Tensor) -> Tensor:
    """A few rows per program, head by head, because heads share cache lines."""
    scores, offset = scores.contiguous(), offset.contiguous()
    n, tokens, _ = scores.shape
    heads, words = offset.shape[1:]
    out = torch.empty_like(scores)
    block = 32
    _prompt_softmax[(triton.cdiv(tokens, block), n)](
        scores, offset, out, tokens, heads=heads, words=words, block=block,
        padded=triton.next_power_of_2(words), num_warps=4,
    )  # fmt: skip
    return out


@triton.jit
def _box_bias(
    edges_ptr, w1_ptr, b1_ptr, w2_ptr, b2_ptr, out_ptr, boxes, queries,
    side: tl.constexpr, heads: tl.constexpr, hidden: tl.constexpr,
    block: tl.constexpr, block_h: tl.constexpr, block_c: tl.constexpr,
):  # fmt: skip
    axis = tl.program_id(1)
    at = tl.program_id(0) * block + tl.arange(0, block)
    box, place = at // side, at % side
    real = box < boxes
    hs = tl.arange(0, block_h)
    cs = tl.arange(0, block_c)
    edge = edges_ptr + box * 4 + (1 - axis)
    low = 8.0 * (place.to(tl.float32) / side - tl.load(edge, mask=real, other=0.0))
    high = 8.0 * (place.to(tl.float32) / side - tl.load(edge + 2, mask=real, other=0.0))
    low = tl.where(low < 0, -1.0, 1.0) * tl.log2(tl.abs(low) + 1.0) / 3.0
    high = tl.where(high < 0, -1.0, 1.0) * tl.log2(tl.abs(high) + 1.0) / 3.0
    bias = tl.zeros([block, block_h], tl.float32)
    for start in range(0, hidden, block_c):
        c = axis * hidden + start + cs
        a = tl.load(w1_ptr + 2 * c)
        b = tl.load(w1_ptr + 2 * c + 1)
        x = low[:, None] * a[None, :] + high[:, None] * b[None, :] + tl.load(b1_ptr + c)[None, :]
        weight = tl.load(
            w2_ptr + (axis * heads + hs)[None, :] * hidden + (start + cs)[:, None],
            mask=hs[None, :] < heads, other=0.0,
        )  # fmt: skip
        bias = tl.dot(tl.maximum(x, 0.0), weight, bias, input_precision="tf32")
    bias += tl.load(b2_ptr + axis * heads + hs, mask=hs < heads, other=0.0)[None, :]
    n, query = box // queries, box % queries + 1
    row = (axis * (boxes // queries) + n)[:, None] * heads + hs[None, :]
    out = out_ptr + (row * (queries + 1) + query[:, None]) * side + place[:, None]
    tl.store(out, bias, mask=real[:, None] & (hs[None, :] < heads))


def box_bias(edges: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, side: int) -> Tensor:
    """The hidden layer stays in registers. The second product is in TF32."""
    edges = edges.contiguous()
    n, queries, _ = edges.shape
    heads, hidden = w2.shape[1:]
    out = edges.new_zeros(2, n, heads, queries + 1, side)
    block = 128
    _box_bias[(triton.cdiv(n * queries * side, block), 2)](
        edges, w1, b1, w2, b2, out, n * queries, queries,
        side=side, heads=heads, hidden=hidden, block=block,
        block_h=triton.next_power_of_2(max(heads, 16)), block_c=min(hidden, 32), num_warps=4,
    )  # fmt: skip
    return out


@triton.jit
def _biased_attention(
    q_ptr, k_ptr, v_ptr, rows_ptr, columns_ptr, out_ptr,
    q_n, q_t, k_n, k_t, v_n, v_t, heads, queries, scale_log2e,
    tokens: tl.constexpr, side: tl.constexpr, head: tl.constexpr,
    block_q: tl.constexpr, block_t: tl.constexpr,
):  # fmt: skip
    n = (tl.program_id(1) // heads).to(tl.int64)
    h = tl.program_id(1) % heads
    qs = tl.program_id(0) * block_q + tl.arange(0, block_q)
    ds = tl.arange(0, head)
    real = qs < queries
    q = tl.load(
        q_ptr + n * q_n + h * head + qs[:, None] * q_t + ds[None, :], mask=real[:, None], other=0.0
    )
    q = (q * scale_log2e).to(k_ptr.dtype.element_ty)
    k_at = k_ptr + n * k_n + h * head + ds[:, None]
    v_at = v_ptr + n * v_n + h * head + ds[None, :]
    bias = ((n * heads + h) * queries + qs) * side
    row_max = tl.full([block_q], float("-inf"), tl.float32)
    row_sum = tl.zeros([block_q], tl.float32)
    acc = tl.zeros([block_q, head], tl.float32)
    for start in range(0, tokens, block_t):
        ts = start + tl.arange(0, block_t)
        inside = ts < tokens
        k = tl.load(k_at + ts[None, :] * k_t, mask=inside[None, :], other=0.0)
        v = tl.load(v_at + ts[:, None] * v_t, mask=inside[:, None], other=0.0)
        both = real[:, None] & inside[None, :]
        if side >= block_t:  # then a tile spans at most two rows of tokens
            first = start // side
            upper = tl.load(rows_ptr + bias + first, mask=real, other=0.0)
            lower = tl.load(rows_ptr + bias + first + 1, mask=real & (first + 1 < side), other=0.0)
            row = tl.where((ts // side == first)[None, :], upper[:, None], lower[:, None])
        else:
            row = tl.load(rows_ptr + bias[:, None] + (ts // side)[None, :], mask=both, other=0.0)
        column = tl.load(columns_ptr + bias[:, None] + (ts % side)[None, :], mask=both, other=0.0)
        score = tl.dot(q, k, input_precision="ieee") + (row + column) * LOG2_E
        score = tl.where(inside[None, :], score, float("-inf"))
        new_max = tl.maximum(row_max, tl.max(score, 1))
        p = tl.exp2(score - new_max[:, None])
        alpha = tl.exp2(row_max - new_max)
        row_sum = row_sum * alpha + tl.sum(p, 1)
        acc = tl.dot(p.to(v.dtype), v, acc * alpha[:, None], input_precision="ieee")
        row_max = new_max
    out = out_ptr + ((n * queries + qs[:, None]) * heads + h) * head + ds[None, :]
    tl.store(out, acc / row_sum[:, None], mask=real[:, None])


def biased_attention(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """As `attention`, with the bias computed tile by tile."""
    n, queries, heads, head = q.shape
    rows, columns = rows.contiguous(), columns.contiguous()
    out = torch.empty((n, queries, heads, head), dtype=torch.float32, device=q.device)
    block = 64
    _biased_attention[(triton.cdiv(queries, block), n * heads)](
        q, k, v, rows, columns, out,
        q.stride(0), q.stride(1), k.stride(0), k.stride(1), v.stride(0), v.stride(1),
        heads, queries, head**-0.5 * LOG2_E.value,
        tokens=k.shape[1], side=rows.shape[-1], head=head, block_q=block, block_t=block,
        num_warps=4, num_stages=3,
    )  # fmt: skip
    return out


@triton.jit
def _group_sums(
    x_ptr, out_ptr, pixels, steps: tl.constexpr, channels: tl.constexpr, groups: tl.constexpr,
    block: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(1).to(tl.int64)
    cs = tl.arange(0, channels)
    first = tl.zeros([block, channels], tl.float32)
    second = tl.zeros([block, channels], tl.float32)
    for step in range(steps):
        rows = (tl.program_id(0) * steps + step) * block + tl.arange(0, block)
        at = (n * pixels + rows)[:, None] * channels + cs[None, :]
        x = tl.load(x_ptr + at, mask=(rows < pixels)[:, None], other=0.0).to(tl.float32)
        first += x
        second += x * x
    gs = tl.arange(0, groups)
    out = out_ptr + ((n * tl.num_programs(0) + tl.program_id(0)) * groups + gs) * 2
    tl.store(out, tl.sum(tl.reshape(tl.sum(first, 0), [groups, channels // groups]), 1))
    tl.store(out + 1, tl.sum(tl.reshape(tl.sum(second, 0), [groups, channels // groups]), 1))


def group_sums(x: Tensor, groups: int) -> Tensor:
    """A run of pixels per program; the programs' sums are added at the end."""
    x = x.contiguous()
    n, pixels, channels = x.shape
    block, steps = 16, 32
    chunks = triton.cdiv(pixels, block * steps)
    out = torch.empty((n, chunks, groups, 2), dtype=torch.float32, device=x.device)
    _group_sums[(chunks, n)](
        x, out, pixels, steps=steps, channels=channels, groups=groups, block=block, num_warps=4
    )
    return out.sum(1)


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The matrix library's fused epilogue; in float32 the exact GELU in a separate pass."""
    if x.dtype == torch.float32:
        return functional.gelu(functional.linear(x, weight, bias))
    return _fused(x, weight, bias, use_gelu=True)


def linear_relu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The matrix library's fused epilogue."""
    return _fused(x, weight, bias, use_gelu=False)


def _fused(x: Tensor, weight: Tensor, bias: Tensor, *, use_gelu: bool) -> Tensor:
    out = torch._addmm_activation(bias, x.flatten(0, -2), weight.t(), use_gelu=use_gelu)
    return out.unflatten(0, x.shape[:-1])
