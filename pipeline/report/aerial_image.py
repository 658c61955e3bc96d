"""A chip as a picture that people see: RGBA pixels, or a JPEG of bounded size."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from detection.chip import Chip
from pipeline.report.palette import NO_IMAGERY_COLOUR

_QUALITIES = (78, 60, 40, 25)


def rgba_image(chip: Chip) -> NDArray[np.uint8]:
    """(height, width, 4) uint8 in natural colours; pixels without imagery are transparent."""
    names = ("red", "green", "blue")
    bands = [band for name in names if (band := chip.band(name)) is not None]
    if len(bands) < 3:
        bands = [chip.pixels[0]] * 3
    rgb = np.stack(bands, axis=-1).astype(np.float32)
    if chip.pixels.dtype != np.uint8:
        low, high = np.percentile(rgb[chip.valid], (1, 99))
        rgb = (rgb - low) / max(float(high - low), 1e-6) * 255
    alpha = np.where(chip.valid, 255, 0)[..., None]
    return np.concatenate([np.clip(rgb, 0, 255), alpha], axis=-1).astype(np.uint8)


def jpeg(chip: Chip, max_bytes: int) -> bytes:
    """A JPEG of about `max_bytes` at most; pixels without imagery have the colour of the maps."""
    from PIL import Image

    rgba = rgba_image(chip)
    ground = [int(NO_IMAGERY_COLOUR[i : i + 2], 16) for i in (1, 3, 5)]
    rgb = np.where(rgba[..., 3:] > 0, rgba[..., :3], np.array(ground, dtype=np.uint8))
    picture = Image.fromarray(np.ascontiguousarray(rgb.astype(np.uint8)))
    encoded = b""
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality, optimize=True)
        encoded = buffer.getvalue()
        if len(encoded) <= max_bytes:
            break
    return encoded
