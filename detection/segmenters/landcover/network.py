"""The network of landcover: an EfficientNet encoder, and a decoder to half the resolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from detection.segmenters.landcover.encoder import FEATURE_CHANNELS, Encoder

# The codes of a pixel's class, as in label maps traced by eye.
CLASSES = ("other", "lawn", "tree", "roof", "driveway", "pool")
# A plane of its own: near infrared tells vegetation from the rest, whatever class it is.
VEGETATION_PLANE = len(CLASSES)
PLANES = len(CLASSES) + 1
DECODER_CHANNELS = (160, 96, 64, 48)


class LandcoverNet(nn.Module):
    """Pixels -> logits of the classes and of vegetation at half the resolution.

    Args:
        decoder_channels: at 1/16, 1/8, 1/4 and 1/2.
    """

    def __init__(self, decoder_channels: Sequence[int] = DECODER_CHANNELS) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder_channels = tuple(decoder_channels)
        deepest = FEATURE_CHANNELS[-1]
        self.context = _Context(deepest, decoder_channels[0])
        self.steps = nn.ModuleList()
        before = decoder_channels[0]
        for skip, channels in zip(reversed(FEATURE_CHANNELS[:-1]), decoder_channels, strict=True):
            self.steps.append(_DecoderStep(before, skip, channels))
            before = channels
        self.head = nn.Conv2d(before, PLANES, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (n, 7, h/2, w/2): `CLASSES` (softmax), then vegetation (sigmoid).

        Args:
            pixels: (n, 4, h, w) in -1..1, red, green, blue and near infrared, which is 0 where
                there is none; h and w are multiples of 32.
        """
        return self.decode(self.encoder(pixels))

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        """Logits, as `forward`, of the encoder's features, finest first."""
        *skips, deepest = features
        x = self.context(deepest)
        for step, skip in zip(self.steps, reversed(skips), strict=True):
            x = step(x, skip)
        logits: Tensor = self.head(x)
        return logits


def channels_last(network: LandcoverNet, device: torch.device) -> LandcoverNet:
    """The network on a device, in the memory layout in which its convolutions are fastest."""
    placed: LandcoverNet = network.to(device)
    layout: Any = placed  # torch's annotations do not know of memory formats here
    layout.to(memory_format=torch.channels_last)
    return placed


class _Context(nn.Module):
    """Each place's features, and those of its surroundings at two scales."""

    def __init__(self, before: int, channels: int) -> None:
        super().__init__()
        self.here = nn.Conv2d(before, channels, 1, bias=False)
        self.around = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.far = nn.Conv2d(
            channels, channels, 3, padding=3, dilation=3, groups=channels, bias=False
        )
        self.mix = nn.Conv2d(3 * channels, channels, 1, bias=False)
        self.norm_here = nn.BatchNorm2d(channels)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        here = functional.relu(self.norm_here(self.here(x)))
        parts = torch.cat([here, self.around(here), self.far(here)], 1)
        return functional.relu(self.norm(self.mix(parts)))


class _DecoderStep(nn.Module):
    """Doubles the resolution, and adds the encoder's features at that resolution."""

    def __init__(self, before: int, skip: int, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before + skip, channels, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = torch.cat([functional.interpolate(x, scale_factor=2.0, mode="nearest"), skip], 1)
        x = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(self.second_norm(self.second(x)))
