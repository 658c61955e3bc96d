"""Synthetic neighbourhoods as rasters, and the truth of chips of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry
from shapely.ops import unary_union
from torch import Tensor

from detection.sample.layout import PAVEMENT_HALF_M
from detection.sample.paint import grid, paint
from detection.sample.scene import SyntheticScene, build_scene

CHIP_PX = 1008
THINGS = ("roof", "driveway", "pool")
STUFF = ("lawn", "tree", "vegetation")
# The border without imagery, as at the edge of a county.
_BORDER_PX = 160
_GREY_DN = 128


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """A rasterized scene, with a border without imagery.

    Attributes:
        rgb: (3, h, w) uint8.
        things: for each of THINGS (h, w) int32: the instance number, 0 where there is none.
        stuff: for each of STUFF (h, w) bool.
        lots: (h, w) int32, the number of the lot, 0 outside.
        ignored: for each label (h, w) bool: where the truth is unknown and has no loss.
    """

    rgb: NDArray[np.uint8]
    things: dict[str, NDArray[np.int32]]
    stuff: dict[str, NDArray[np.bool_]]
    lots: NDArray[np.int32]
    ignored: dict[str, NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class ChipTruth:
    """What a prompt should find on a chip, on the grid of the mask.

    Attributes:
        semantic: (side, side), the fraction of each cell with the label.
        weight: (side, side), 0 where the truth is unknown.
        masks: (k, side, side), the same for each thing; empty for stuff.
        boxes: (k, 4), centre x, centre y, width, height in fractions of the chip.
    """

    semantic: Tensor
    weight: Tensor
    masks: Tensor
    boxes: Tensor


def neighbourhood(seed: int, lots: int) -> Neighbourhood:
    """Rasterize the scene of a seed of the sample generator."""
    scene = build_scene(seed, lots)
    rgb = paint(scene)[:3]
    burn = _rasterizer(scene)
    yards = scene.yards
    leaves = burn([unary_union(
        [crown.polygon for crown in scene.crowns]
        + [shrub.polygon for yard in yards for shrub in yard.shrubs]
    )]) > 0  # fmt: skip
    tree = burn([unary_union([crown.polygon for crown in scene.crowns])]) > 0
    built = burn([unary_union([yard.roof, yard.shed]) for yard in yards]) > 0
    shed = burn([yard.shed for yard in yards]) > 0
    lot = burn([yard.plan.polygon for yard in yards])
    street = burn([scene.plan.pavement(PAVEMENT_HALF_M)]) > 0
    open_ground = ~leaves & ~built
    lawn = (burn([yard.turf for yard in yards]) > 0) & open_ground
    shrubs = leaves & ~tree & ~built
    wild = (lot == 0) & ~street & ~tree
    made = Neighbourhood(
        rgb=rgb,
        things={
            "roof": burn([yard.roof for yard in yards]) * ~tree,
            "driveway": burn([yard.drive for yard in yards]) * open_ground,
            "pool": burn([yard.pool for yard in yards]) * open_ground,
        },
        stuff={"lawn": lawn, "tree": tree, "vegetation": lawn | tree | shrubs},
        lots=lot,
        ignored={
            "roof": shed & ~tree,
            "driveway": np.zeros_like(tree),
            "pool": np.zeros_like(tree),
            "lawn": wild,
            "tree": shrubs,
            "vegetation": wild,
        },
    )
    return _with_border(made)


def chip_at(rgb: NDArray[np.uint8], top: int, left: int) -> NDArray[np.uint8]:
    """The pixels (3, CHIP_PX, CHIP_PX) from an upper left corner."""
    return rgb[:, top : top + CHIP_PX, left : left + CHIP_PX]


def truth_at(place: Neighbourhood, label: str, top: int, left: int, side: int) -> ChipTruth:
    """The truth of a label on the chip at a corner, on a grid of side x side cells."""
    window = (slice(top, top + CHIP_PX), slice(left, left + CHIP_PX))
    weight = 1 - _cell_fractions(place.ignored[label][window].astype(np.int64), 1, side)[0]
    if label in place.stuff:
        semantic = _cell_fractions(place.stuff[label][window].astype(np.int64), 1, side)[0]
        return ChipTruth(
            semantic, weight, semantic.new_zeros(0, side, side), semantic.new_zeros(0, 4)
        )
    numbers, indices = np.unique(place.things[label][window], return_inverse=True)
    indices = indices.reshape(CHIP_PX, CHIP_PX) + (0 if numbers[0] == 0 else 1)
    masks = _cell_fractions(indices, int(indices.max()), side)
    masks = masks[masks.sum((1, 2)) > 1.0]  # slivers at the chip's edge are useless
    semantic = masks.sum(0) if len(masks) else weight.new_zeros(side, side)
    return ChipTruth(semantic, weight, masks, _boxes(masks))


def _cell_fractions(numbers: NDArray[np.int64], max_number: int, side: int) -> Tensor:
    """(max_number, side, side): the fraction of each cell with the numbers 1..max_number."""
    cell = torch.arange(CHIP_PX) * side // CHIP_PX
    cells = cell[:, None] * side + cell
    counts = torch.bincount(
        (torch.from_numpy(numbers).long() * side * side + cells).flatten(),
        minlength=(max_number + 1) * side * side,
    ).view(max_number + 1, side, side)
    return counts[1:] / counts.sum(0).clamp(min=1)


def _boxes(masks: Tensor) -> Tensor:
    side = masks.shape[-1]
    boxes = masks.new_zeros(len(masks), 4)
    for box, mask in zip(boxes, masks, strict=True):
        rows, columns = (
            torch.nonzero(mask.amax(axis) > 0.5 * mask.amax())[:, 0] for axis in (1, 0)
        )
        top, bottom = int(rows[0]), int(rows[-1]) + 1
        left, right = int(columns[0]), int(columns[-1]) + 1
        box[:] = torch.tensor([left + right, top + bottom, 2 * (right - left), 2 * (bottom - top)])
    return boxes / (2 * side)


def _rasterizer(scene: SyntheticScene) -> Callable[[Iterable[BaseGeometry]], NDArray[np.int32]]:
    def burn(shapes: Iterable[BaseGeometry]) -> NDArray[np.int32]:
        numbered = [(shape, n) for n, shape in enumerate(shapes, 1) if not shape.is_empty]
        if not numbered:
            return np.zeros(scene.shape, np.int32)
        numbers: NDArray[np.int32] = rasterize(
            numbered, out_shape=scene.shape, transform=grid(scene), dtype="int32"
        )
        return numbers

    return burn


def _with_border(place: Neighbourhood) -> Neighbourhood:
    """The same with a grey border, so that a chip fits."""
    _, height, width = place.rgb.shape
    down = max(_BORDER_PX, CHIP_PX - height)
    across = max(_BORDER_PX, CHIP_PX - width)

    def padded(plane: NDArray[Any]) -> NDArray[Any]:
        return np.pad(plane, ((down, down), (across, across)))

    rgb = np.pad(place.rgb, ((0, 0), (down, down), (across, across)), constant_values=_GREY_DN)
    return Neighbourhood(
        rgb,
        {name: padded(plane) for name, plane in place.things.items()},
        {name: padded(plane) for name, plane in place.stuff.items()},
        padded(place.lots),
        {name: padded(plane) for name, plane in place.ignored.items()},
    )
