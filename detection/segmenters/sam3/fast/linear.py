"""Linear layers in float32, bf16, or fp8 with one scale per row."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

Precision = Literal["float32", "bf16", "fp8"]

# A part of transformers' model. mypy only knows its attributes as Tensor or Module.
NetworkPart: TypeAlias = Any

FP8 = torch.float8_e4m3fn
FP8_MAX = 448.0


def dtype_of(precision: Precision) -> torch.dtype:
    """The data type of activations."""
    return torch.float32 if precision == "float32" else torch.bfloat16


class Weight(NamedTuple):
    """A linear layer's weights: `weight` (out, in), `bias` (out,).

    With fp8, `weight` is e4m3, to be multiplied by `scale` (1, out); else `scale` is None.
    """

    weight: Tensor
    bias: Tensor
    scale: Tensor | None = None


class Fp8Rows(NamedTuple):
    """The input of an fp8 layer: e4m3 `values` (…, n), and the `scale` (rows, 1) of each row."""

    values: Tensor
    scale: Tensor


def pack(layers: list[nn.Linear], precision: Precision) -> Weight:
    """Layers with the same input as one layer; their outputs are concatenated."""
    weight = torch.cat([layer.weight.detach() for layer in layers])
    return pack_weight(weight, torch.cat([layer.bias.detach() for layer in layers]), precision)


def pack_weight(weight: Tensor, bias: Tensor, precision: Precision) -> Weight:
    """A float32 `weight` (out, in) and `bias` in `precision`."""
    if precision != "fp8":
        dtype = dtype_of(precision)
        return Weight(weight.to(dtype), bias.to(dtype))
    quantised, scale = quantise(weight.float())
    return Weight(quantised, bias.to(torch.bfloat16), scale.t().contiguous())


def quantise(x: Tensor) -> tuple[Tensor, Tensor]:
    """`x` (…, n) in e4m3, and the scale (rows, 1) to multiply each row by.

    Scales are dynamic, one per row: there is no calibration, and an outlier affects only its row.
    """
    x = x.float()
    scale = x.abs().amax(-1, keepdim=True).clamp(min=1e-12) / FP8_MAX
    return (x / scale).clamp(-FP8_MAX, FP8_MAX).to(FP8), scale.view(-1, 1)


def linear(x: Tensor | Fp8Rows, w: Weight) -> Tensor:
    """`x` (…, in) through the layer: (…, out), in the layer's bf16 or float32."""
    if isinstance(x, Tensor):
        return functional.linear(x, w.weight, w.bias)
    assert w.scale is not None  # noqa: S101  for mypy: an fp8 layer
    shape = x.values.shape[:-1]
    values = x.values.flatten(0, -2)
    if values.is_cuda:
        out = torch._scaled_mm(
            values,
            w.weight.t(),
            x.scale,
            w.scale,
            bias=w.bias,
            out_dtype=w.bias.dtype,
            use_fast_accum=True,
        )
    else:  # the same arithmetic, for machines without fp8 matrix units
        product = (values.float() @ w.weight.float().t()) * x.scale * w.scale
        out = (product + w.bias).to(w.bias.dtype)
    return out.unflatten(0, shape)
