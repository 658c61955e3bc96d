"""Chips -> SAM3's input pixels: red, green and blue, square, in -1..1.

Equals transformers' `Sam3ImageProcessor` within one grey level, without torchvision.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from detection.chip import Chip
from detection.errors import SegmenterError

# Invalid pixels get the grey that normalises to 0.
_FILL_DN = 127.5


def preprocess(chips: Sequence[Chip], side_px: int, device: torch.device | str = "cpu") -> Tensor:
    """The pixels (n, 3, side_px, side_px) of n chips, float32 in -1..1.

    A chip of another size is resized, without keeping its aspect ratio, as in SAM3's training.

    Raises:
        SegmenterError: a chip without red, green and blue, or not 8 bit.
    """
    device = torch.device(device)
    return torch.stack([_pixels(chip, side_px, device) for chip in chips])


def _pixels(chip: Chip, side_px: int, device: torch.device) -> Tensor:
    bands = [chip.band(name) for name in ("red", "green", "blue")]
    found = [band for band in bands if band is not None]
    if len(found) < 3:
        raise SegmenterError(
            f"sam3 needs the bands red, green and blue; the chip has "
            f"{', '.join(chip.bands) or 'none'}. Set `bands:` in the county's `imagery:`"
        )
    if chip.pixels.dtype != np.uint8:
        raise SegmenterError(
            f"sam3 needs 8 bit imagery, but this is {chip.pixels.dtype}. Convert it with "
            "`gdal_translate -ot Byte -scale`, or use a service's 8 bit product"
        )
    image = _on_device(found, device).float()
    if not chip.valid.all():
        valid = torch.tensor(
            chip.valid, device=device
        )  # a copy, because the chip's array may be read-only
        image = torch.where(valid, image, _FILL_DN)
    if image.shape[1:] != (side_px, side_px):
        image = functional.interpolate(
            image[None], (side_px, side_px), mode="bilinear", antialias=True
        )[0]
        image = image.round().clamp(0, 255)
    return image / 127.5 - 1


def _on_device(bands: Sequence[NDArray[np.generic]], device: torch.device) -> Tensor:
    """Bands (height, width) as one tensor; copied asynchronously to a GPU from pinned memory."""
    pinned = device.type == "cuda"
    image = torch.empty(len(bands), *bands[0].shape, dtype=torch.uint8, pin_memory=pinned)
    np.stack(bands, out=image.numpy())
    return image.to(device, non_blocking=pinned)
