"""Random changes of views' colour and sharpness, on the device: other sensors, suns, seasons."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

# The imagery's own pixel size that a share of the views is reduced to, in metres.
_COARSE_GSD_M = (0.6, 0.75, 0.9, 1.0)
_COARSE_SHARE = 0.25
_GREY_DN = 127.5


def photometric(pixels: Tensor, gsd_m: float, generator: torch.Generator) -> Tensor:
    """Views (b, 3, side, side) in 0..255, -1 outside of the imagery -> input in -1..1.

    Outside becomes grey, as in the adapter.

    Args:
        gsd_m: the size of a pixel in metres.
    """
    outside = pixels[:, :1] < 0
    image = _coarsen(pixels.clamp(min=0), gsd_m, generator)
    image = _recolour(image / 255, generator)
    image = (image * 255).round().clamp(0, 255)
    return torch.where(outside, _GREY_DN, image) / 127.5 - 1


def _coarsen(image: Tensor, gsd_m: float, generator: torch.Generator) -> Tensor:
    """Reduce the first views to a coarser pixel size and back. The views' order is random."""
    views = int(len(image) * _COARSE_SHARE)
    if not views:
        return image
    groups = image[:views].chunk(len(_COARSE_GSD_M))
    sides = [round(image.shape[-1] * gsd_m / coarse) for coarse in _COARSE_GSD_M]
    reduced = [
        functional.interpolate(
            functional.interpolate(group, (side, side), mode="bilinear", antialias=True),
            image.shape[-2:],
            mode="bilinear",
        )
        for group, side in zip(groups, sides, strict=False)
    ]
    noise = torch.randn(image.shape, generator=generator, device=image.device)
    level = 4 * _uniform(len(image), 0, 1, generator, image.device) ** 2
    return torch.cat([*reduced, image[views:]]) + noise * level


def _recolour(image: Tensor, generator: torch.Generator) -> Tensor:
    """Gamma, contrast, brightness, saturation, tint and haze of images in 0..1."""
    views, device = len(image), image.device

    def uniform(low: float, high: float, channels: int = 1) -> Tensor:
        return _uniform(views, low, high, generator, device, channels)

    image = image.clamp(0, 1) ** torch.exp(uniform(-0.35, 0.35))
    middle = image.mean((1, 2, 3), keepdim=True)
    image = middle + (image - middle) * uniform(0.7, 1.35)
    image = image * uniform(0.8, 1.2) * uniform(0.92, 1.08, 3) + uniform(-0.06, 0.06)
    grey = image.mean(1, keepdim=True)
    image = grey + (image - grey) * uniform(0.5, 1.5)
    haze = uniform(0, 0.25) * (uniform(0, 1) < 0.3)
    return image + (0.85 - image) * haze


def _uniform(
    views: int,
    low: float,
    high: float,
    generator: torch.Generator,
    device: torch.device,
    channels: int = 1,
) -> Tensor:
    draw = torch.rand(views, channels, 1, 1, generator=generator, device=device)
    return low + (high - low) * draw
