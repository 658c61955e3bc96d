"""Random views of tiles: a rotated, scaled window with its pixels and its truth, on the device.

All views of a batch are cut at once. The truth is sampled twice as finely as the mask's cells and
averaged, so that a cell at an edge has its share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from detection.training.sam3.instances import MAX_NUMBER
from detection.training.sam3.labels import WEIGHT_UNIT
from detection.training.sam3.network import GSD_M, NanoSize
from detection.training.sam3.tiles import Tiles

# Samples per side of a cell.
_FINE = 2
# Of two views, one is at the network's own resolution and one is up to this factor finer or
# coarser, for photographs without georeference.
_NEAR, _FAR = 1.05, 1.5
# Of the views, these are turned by quarters, which keeps the imagery's sharpness, and these may
# reach over the tile's edge, as a chip reaches over the imagery's.
_QUARTER_TURNS, _OVERHANGING = 0.5, 0.1
# The objects of one label and view; the largest are kept.
MAX_OBJECTS = 32
# Smaller pieces at the view's edge are no objects of their own.
_LEAST_CELLS = 4.0
# A label is present from this many cells on, and absent below the second.
_PRESENT_CELLS, _ABSENT_CELLS = 6.0, 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """b views; attributes as in `RowTargets`, by view and label instead of by row.

    Attributes:
        pixels: (b, 3, side, side) in 0..255; -1 outside of the tile.
        semantic, weight: (b, labels, s, s).
        present, present_weight: (b, labels).
        counts: (b, object labels).
        boxes: (b, object labels, k, 4).
        masks: (b, object labels, k, s, s).
    """

    pixels: Tensor
    semantic: Tensor
    weight: Tensor
    present: Tensor
    present_weight: Tensor
    counts: Tensor
    boxes: Tensor
    masks: Tensor


def cat_views(parts: list[Views]) -> Views:
    """One batch of several."""
    names = Views.__slots__
    return Views(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


def random_poses(
    tiles: Tiles, views: int, size: NanoSize, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """(rows, poses): the tile of each view, and its affine map (views, 2, 3) for `cut_views`."""
    device = tiles.pixels.device
    rows = torch.randint(len(tiles), (views,), generator=generator, device=device)
    draw = torch.rand(7, views, generator=generator, device=device)
    spread = torch.where(draw[0] < 0.5, math.log(_NEAR), math.log(_FAR))
    half = size.chip_px * GSD_M / tiles.side_m * torch.exp(spread * (2 * draw[1] - 1))
    quarters = (draw[2] * 4).floor() * (math.pi / 2)
    angle = torch.where(draw[3] < _QUARTER_TURNS, quarters, draw[2] * 2 * math.pi)
    cosine, sine = angle.cos() * half, angle.sin() * half
    mirrored = torch.where(draw[4] < 0.5, -1.0, 1.0)
    # Half the extent of the turned window along each axis, in half sides of the tile.
    reach = cosine.abs() + sine.abs()
    room = torch.where(draw[5] < _OVERHANGING, torch.ones_like(reach), (1 - reach).clamp(min=0))
    centre = (2 * torch.rand(2, views, generator=generator, device=device) - 1) * room
    pose = torch.stack([cosine * mirrored, -sine, centre[0], sine * mirrored, cosine, centre[1]], 1)
    return rows, pose.view(-1, 2, 3)


def cut_views(tiles: Tiles, rows: Tensor, poses: Tensor, size: NanoSize) -> Views:
    """The views of tiles.

    Args:
        rows: (b,) the tiles.
        poses: (b, 2, 3): the view's x and y, in -1..1, to the tile's, also in -1..1.
    """
    image_grid = _grid(poses, size.chip_px)
    fine = _grid(poses, size.cells * _FINE)
    pixels = _sample(tiles.pixels[rows].float(), image_grid, "bilinear")
    pixels = torch.where(_inside(image_grid)[:, None], pixels, -1.0)
    inside = _inside(fine)[:, None].float()
    targets = _sample(tiles.targets[rows].float(), fine, "bilinear") / 255
    weights = _sample(tiles.weights[rows].float(), fine, "nearest") / WEIGHT_UNIT * inside
    numbers = _sample(tiles.objects[rows].float(), fine, "nearest").round().long()
    numbers = numbers * (inside > 0)
    semantic = functional.avg_pool2d(targets, _FINE)
    # A cell that is partly unknown is unknown.
    weight = -functional.max_pool2d(-weights, _FINE)
    present, present_weight = _presence(semantic * (weight > 0))
    counts, boxes, masks = _objects(numbers)
    return Views(pixels, semantic, weight, present, present_weight, counts, boxes, masks)


def _grid(poses: Tensor, side: int) -> Tensor:
    """(b, side, side, 2): where each pixel's centre lies on the tile, in -1..1."""
    grid: Tensor = functional.affine_grid(poses, [len(poses), 1, side, side], align_corners=False)
    return grid


def _inside(grid: Tensor) -> Tensor:
    return (grid.abs() <= 1).all(-1)


def _sample(planes: Tensor, grid: Tensor, mode: str) -> Tensor:
    return functional.grid_sample(planes, grid, mode, padding_mode="border", align_corners=False)


def _presence(semantic: Tensor) -> tuple[Tensor, Tensor]:
    """(present, weight), both (b, labels): 1 or 0; the weight is 0 between both limits."""
    cells = (semantic * (semantic > 0.5)).flatten(2).sum(2)
    faint = semantic.flatten(2).sum(2)
    present = (cells >= _PRESENT_CELLS).float()
    absent = (cells < _ABSENT_CELLS) & (faint < 4 * _PRESENT_CELLS)
    return present, ((present > 0) | absent).float()


def _objects(numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(counts, boxes, masks) of the largest objects in views of numbers (b, labels, f, f)."""
    views, labels = numbers.shape[:2]
    flat = numbers.flatten(2)
    # A fixed size: the largest number would have to be copied to the host.
    areas = torch.zeros(views, labels, MAX_NUMBER + 1, device=numbers.device)
    areas.scatter_add_(2, flat, torch.ones_like(flat, dtype=areas.dtype))
    areas[..., 0] = 0
    area, chosen = areas.topk(MAX_OBJECTS, 2)
    real = area >= _LEAST_CELLS * _FINE**2
    # Padding must not equal any number.
    chosen = torch.where(real, chosen, -1)
    # Few bytes a sample: these are the largest tensors of a batch.
    inside = numbers.short()[:, :, None] == chosen.short()[..., None, None]
    boxes = _extents(inside) * real[..., None]
    samples = inside.view(torch.uint8)
    masks = sum(samples[..., i::_FINE, j::_FINE] for i in range(_FINE) for j in range(_FINE))
    return real.sum(2), boxes, masks.half() / _FINE**2  # type: ignore[union-attr]


def _extents(inside: Tensor) -> Tensor:
    """(..., 4): centre and size, in 0..1, of the extents of (..., side, side)."""
    side = inside.shape[-1]
    low, high = [], []
    for axis in (-2, -1):  # columns, then rows
        line = inside.any(axis).to(torch.uint8)
        low.append(line.argmax(-1))
        high.append(side - line.flip(-1).argmax(-1))
    start, end = torch.stack(low, -1) / side, torch.stack(high, -1) / side
    return torch.cat([(start + end) / 2, end - start], -1)
