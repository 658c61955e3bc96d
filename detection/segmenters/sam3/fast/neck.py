"""SAM3's feature pyramid on tokens: upsampling as matrix products, one copy to image order."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from .linear import NetworkPart


class PyramidLevel(NamedTuple):
    """One level: matrix products on the tokens, then a 3 x 3 convolution.

    `steps` are (weight, bias) of 2 x 2 upsamplings with their four outputs concatenated, and a
    GELU between them. The last step merges the final upsampling (if any) with the 1 x 1
    convolution after it, because both are linear.
    """

    steps: list[tuple[Tensor, Tensor]]
    doublings: int
    pool: bool
    kernel: Tensor
    bias: Tensor


def level_weights(layer: NetworkPart, dtype: torch.dtype) -> PyramidLevel:
    """The weights of a transformers `Sam3FPNLayer`."""
    ups: list[NetworkPart] = [p for p in layer.scale_layers if isinstance(p, nn.ConvTranspose2d)]
    project = layer.proj1.weight.detach().float().flatten(1)
    shift = layer.proj1.bias.detach().float()
    steps = [_upsampling(up.weight.detach(), up.bias.detach()) for up in ups[:-1]]
    if ups:
        weight = torch.einsum("iayx,oa->ioyx", ups[-1].weight.detach().float(), project)
        steps.append(_upsampling(weight, project @ ups[-1].bias.detach().float() + shift))
    else:
        steps.append((project, shift))
    return PyramidLevel(
        steps=[(weight.to(dtype), bias.to(dtype)) for weight, bias in steps],
        doublings=len(ups),
        pool=any(isinstance(part, nn.MaxPool2d) for part in layer.scale_layers),
        kernel=layer.proj2.weight.detach().to(dtype).contiguous(memory_format=torch.channels_last),
        bias=layer.proj2.bias.detach().to(dtype),
    )


def _upsampling(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """A 2 x 2 transposed convolution, (in, out, 2, 2), as a matrix (2 * 2 * out, in)."""
    return weight.permute(2, 3, 1, 0).flatten(0, 2), bias.repeat(4)


def level_forward(tokens: Tensor, level: PyramidLevel, side: int, window: int) -> Tensor:
    """`tokens` (n, side * side, channels) in window order -> (n, out, height, width)."""
    x = tokens
    if level.pool:
        x = in_image_order(x, side, window, 0)
        x = functional.max_pool2d(x, 2, 2).permute(0, 2, 3, 1)
        x = functional.linear(x, *level.steps[0]).permute(0, 3, 1, 2)
        return functional.conv2d(x, level.kernel, level.bias, padding=1)
    for number, (weight, bias) in enumerate(level.steps):
        x = functional.gelu(x) if number else x
        x = functional.linear(x, weight, bias)
        x = x.unflatten(-1, (4, -1)) if level.doublings else x
    x = in_image_order(x, side, window, level.doublings)
    return functional.conv2d(x, level.kernel, level.bias, padding=1)


def in_image_order(tokens: Tensor, side: int, window: int, doublings: int) -> Tensor:
    """Tokens in window order, each split `doublings` times into 2 x 2, as an image.

    (n, tokens, 4, …, channels) -> (n, channels, height, width), channels last in memory.
    """
    n, channels, windows = len(tokens), tokens.shape[-1], side // window
    x = tokens.reshape(n, windows, windows, window, window, *[2, 2] * doublings, channels)
    ups = range(5, 5 + 2 * doublings)
    x = x.permute(0, 1, 3, *ups[::2], 2, 4, *ups[1::2], x.ndim - 1)
    size = side * 2**doublings
    return x.reshape(n, size, size, channels).permute(0, 3, 1, 2)
