"""Random views of tiles: turned, scaled and recoloured, with their labels, on the device.

All views of a batch are cut by one resampling. The draw is a function of the seed and the step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from detection.training.sam3.labels import UNSURE


@dataclass(frozen=True, slots=True)
class LabelledViewSettings:
    """How views are drawn.

    Attributes:
        side_px: of a view, a multiple of 32; labels have half of it.
        gsd_m: of a view's pixel.
        scale: views are scaled by up to this factor either way: imagery of other pixel sizes.
        infrared_share: share of the views that keep their near infrared.
    """

    side_px: int = 512
    gsd_m: float = 0.2
    scale: float = 1.35
    infrared_share: float = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class LabelledViews:
    """b views.

    Attributes:
        pixels: (b, 4, side, side) in -1..1; near infrared is 0 where it was dropped.
        codes: (b, side/2, side/2) int64 classes traced by eye, -1 where unknown.
        ndvi: (b, side/2, side/2), NaN outside of the tile.
        soft: (b, 7, side/2, side/2) probabilities of a teacher, or None.
    """

    pixels: Tensor
    codes: Tensor
    ndvi: Tensor
    soft: Tensor | None


def cut_views(
    pixels: Tensor,
    traced: Tensor,
    soft: Tensor | None,
    rows: Tensor,
    centres: Tensor,
    tile_gsd_m: float,
    settings: LabelledViewSettings,
    generator: torch.Generator,
) -> LabelledViews:
    """Cut one view of each row's tile around a centre.

    Args:
        pixels, traced: of all tiles on the device, uint8; near infrared is 0 where there is none.
        soft: (n, 7, side, side) uint8, a teacher's probabilities x 255.
        rows: (b,) which tile.
        centres: (b, 2) x and y of the views in pixels of the tile.
    """
    side = pixels.shape[-1]
    device = pixels.device
    count = len(rows)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator, device=device)

    angle = uniform(0, 2 * math.pi)
    gsd = settings.gsd_m * torch.exp(uniform(-math.log(settings.scale), math.log(settings.scale)))
    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    reach = settings.side_px * gsd / (side * tile_gsd_m)
    cosine, sine = angle.cos() * reach, angle.sin() * reach
    shift = (centres / side * 2 - 1).to(device)
    affine = torch.stack(
        [
            torch.stack([cosine * flip, -sine, shift[:, 0]], 1),
            torch.stack([sine * flip, cosine, shift[:, 1]], 1),
        ],
        1,
    )
    at = functional.affine_grid(
        affine, [count, 1, settings.side_px, settings.side_px], align_corners=False
    )
    half = settings.side_px // 2
    at_half = functional.affine_grid(affine, [count, 1, half, half], align_corners=False)
    tiles = pixels[rows]
    image = functional.grid_sample(
        tiles.float(), at, "bilinear", padding_mode="reflection", align_corners=False
    )
    inside = (at_half.abs() < 1).all(-1)
    codes = functional.grid_sample(
        traced[rows, None].float(), at_half, "nearest", "zeros", align_corners=False
    )[:, 0]
    codes = torch.where(inside & (codes != UNSURE), codes, -1).long()
    red_nir = functional.grid_sample(
        tiles[:, [0, 3]].float(), at_half, "bilinear", "zeros", align_corners=False
    )
    ndvi = (red_nir[:, 1] - red_nir[:, 0]) / (red_nir.sum(1) + 1)
    has_infrared = (tiles[:, 3].amax((1, 2)) > 0)[:, None, None]
    ndvi = torch.where(inside & has_infrared, ndvi, torch.nan)
    taught = None
    if soft is not None:
        taught = functional.grid_sample(
            soft[rows].float() / 255, at_half, "bilinear", "border", align_corners=False
        )
    shown = _recoloured(image, settings, generator)
    shown[:, 3] *= has_infrared
    return LabelledViews(shown, codes, ndvi, taught)


def _recoloured(
    image: Tensor, settings: LabelledViewSettings, generator: torch.Generator
) -> Tensor:
    """Other sensors, suns and seasons: sharpness, gamma, contrast, tint, haze, noise."""
    count, device = len(image), image.device

    def uniform(low: float, high: float, channels: int = 1) -> Tensor:
        draw = torch.rand(count, channels, 1, 1, generator=generator, device=device)
        return low + (high - low) * draw

    image = image / 255
    blurred = functional.avg_pool2d(
        functional.pad(image, (2, 2, 2, 2), mode="reflect"), 5, stride=1
    )
    # Below 0 blurs as coarse imagery does, above 0 sharpens as fine imagery is.
    amount = torch.where(uniform(0, 1) < 0.5, uniform(-0.9, 0.9), torch.zeros_like(uniform(0, 1)))
    image = (image + amount * (image - blurred)).clamp(0, 1)
    colours, infrared = image[:, :3], image[:, 3:]
    colours = colours ** torch.exp(uniform(-0.35, 0.35))
    middle = colours.mean((1, 2, 3), keepdim=True)
    colours = middle + (colours - middle) * uniform(0.7, 1.35)
    colours = colours * uniform(0.8, 1.2) * uniform(0.92, 1.08, 3) + uniform(-0.06, 0.06)
    grey = colours.mean(1, keepdim=True)
    colours = grey + (colours - grey) * uniform(0.5, 1.4)
    haze = uniform(0, 0.25) * (uniform(0, 1) < 0.25)
    colours = colours + (0.85 - colours) * haze
    infrared = infrared * uniform(0.75, 1.25) + uniform(-0.06, 0.06)
    noise = torch.randn(image.shape, generator=generator, device=device)
    level = 0.02 * uniform(0, 1) ** 2
    image = torch.cat([colours, infrared], 1) + noise * level
    kept = (uniform(0, 1) < settings.infrared_share).float()
    image = image.clamp(0, 1) * 255 / 127.5 - 1
    return torch.cat([image[:, :3], image[:, 3:] * kept], 1)


def traced_windows(
    traced: NDArray[np.uint8], part_px: float = 96, least_known: float = 0.3
) -> list[tuple[int, float, float]]:
    """(image, x, y) of the centre of each part of about `part_px` that was traced.

    Args:
        traced: (n, side, side) codes, in each image one window.
        least_known: share of a part's middle that must have codes.
    """
    windows = []
    for row, codes in enumerate(traced):
        known = codes != UNSURE
        if not known.any():
            continue
        rows, columns = np.nonzero(known)
        top, left, bottom, right = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
        parts_down = max(1, round((bottom - top) / part_px))
        parts_across = max(1, round((right - left) / part_px))
        reach = max(1, int(part_px * 5 / 12))
        for i in range(parts_down):
            for j in range(parts_across):
                y = top + (i + 0.5) * (bottom - top) / parts_down
                x = left + (j + 0.5) * (right - left) / parts_across
                down = slice(max(0, int(y) - reach), int(y) + reach)
                across = slice(max(0, int(x) - reach), int(x) + reach)
                if known[down, across].mean() > least_known:
                    windows.append((row, float(x), float(y)))
    return windows
