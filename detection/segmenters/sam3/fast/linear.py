"""A linear layer in the precision asked for: float32, bf16, or fp8 with a scale a row."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Precision = Literal["float32", "bf16", "fp8"]

FP8 = torch.float8_e4m3fn
FP8_MAX = 448.0


def dtype_of(precision: Precision) -> torch.dtype:
    """What the activations are kept in."""
    return torch.float32 if precision == "float32" else torch.bfloat16


class Weight(NamedTuple):
    """A linear layer's weights: `weight` (out, in), `bias` (out,).

    With fp8, `weight` is e4m3 and `scale` (1, out) brings it back; else `scale` is None.
    """

    weight: Tensor
    bias: Tensor
    scale: Tensor | None = None


def pack(layers: list[nn.Linear], precision: Precision, rows: Tensor | None = None) -> Weight:
    """Layers that read the same input as one, their outputs one after the other.

    `rows` puts the outputs into another order.
    """
    weight = torch.cat([layer.weight.detach() for layer in layers])
    bias = torch.cat([layer.bias.detach() for layer in layers])
    if rows is not None:
        weight, bias = weight[rows], bias[rows]
    if precision != "fp8":
        dtype = dtype_of(precision)
        return Weight(weight.to(dtype), bias.to(dtype))
    quantised, scale = quantise(weight.float())
    return Weight(quantised, bias.to(torch.bfloat16), scale.t().contiguous())


def quantise(x: Tensor) -> tuple[Tensor, Tensor]:
    """`x` (rows, n) in e4m3, and the scale (rows, 1) that brings each row back.

    The scale is the row's own, found as it passes: nothing is calibrated, and one outlier
    spoils no other row.
    """
    scale = x.abs().amax(-1, keepdim=True).float().clamp(min=1e-12) / FP8_MAX
    return (x.float() / scale).clamp(-FP8_MAX, FP8_MAX).to(FP8), scale


def linear(x: Tensor, w: Weight) -> Tensor:
    """`x` (…, in) through the layer: (…, out), in `x`'s dtype."""
    if w.scale is None:
        return F.linear(x, w.weight, w.bias)
    return multiply(*quantise(x.flatten(0, -2)), w).unflatten(0, x.shape[:-1])


def multiply(rows: Tensor, scale: Tensor, w: Weight) -> Tensor:
    """`rows` as `quantise` gives them through an fp8 layer: (rows, out) in bf16."""
    if rows.is_cuda:
        return torch._scaled_mm(
            rows, w.weight.t(), scale, w.scale, bias=w.bias, out_dtype=w.bias.dtype, use_fast_accum=True
        )
    # The same arithmetic, for machines without fp8 matrix units.
    return ((rows.float() @ w.weight.float().t()) * scale * w.scale + w.bias).to(w.bias.dtype)
