"""A chip -> the network's input: red, green, blue and near infrared in -1..1."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from detection.chip import Chip
from detection.errors import SegmenterError
from detection.segmenters.extend_valid import source_pixels
from detection.segmenters.landcover.encoder import STRIDE_PX

_COLOURS = ("red", "green", "blue")


def input_pixels(chip: Chip, gsd_m: float, device: torch.device) -> Tensor:
    """(1, 4, height, width) float32 of about `gsd_m` a pixel, both multiples of `STRIDE_PX`.

    Near infrared is 0 where the imagery has none.

    Invalid pixels continue the valid ones, so that the network sees no border at the edge of the
    imagery; what it finds there is not used.

    Raises:
        SegmenterError: a chip without red, green and blue, or not of 8 bits.
    """
    bands = [chip.band(name) for name in _COLOURS]
    found = [band for band in bands if band is not None]
    if len(found) < len(_COLOURS):
        raise SegmenterError(
            f"landcover needs the bands red, green and blue; the chip has "
            f"{', '.join(chip.bands) or 'none'}. Set `bands:` in the county's `imagery:`"
        )
    if chip.pixels.dtype != np.uint8:
        raise SegmenterError(
            f"landcover needs 8 bit imagery, but this is {chip.pixels.dtype}. Convert it with "
            "`gdal_translate -ot Byte -scale`, or use a service's 8 bit product"
        )
    infrared = chip.band("nir")
    stack = np.stack([*found, infrared] if infrared is not None else found)
    if chip.valid.any() and not chip.valid.all():
        rows, columns = source_pixels(chip.valid)
        stack = stack[:, rows, columns]
    image = torch.from_numpy(stack).to(device).float()
    image = image / 127.5 - 1
    if infrared is None:
        image = torch.cat([image, torch.zeros_like(image[:1])])
    size = tuple(
        STRIDE_PX * max(1, round(side * chip.gsd_m / gsd_m / STRIDE_PX))
        for side in (chip.height, chip.width)
    )
    if size == (chip.height, chip.width):
        return image[None]
    return functional.interpolate(image[None], size, mode="bilinear", antialias=True)
