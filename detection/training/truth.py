"""Synthetic neighbourhoods as training data: pixels, and what is where, exactly."""

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
# Where chips reach beyond the imagery, as they do at a county's edge.
_BEYOND_PX = 160
_GREY_DN = 128


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """One scene in pixels, with a border that is not imaged.

    Attributes:
        rgb: (3, h, w) uint8.
        things: for each of THINGS (h, w) int32: the number of the thing, 0 where there is none.
        stuff: for each of STUFF (h, w) bool.
        lots: (h, w) int32, the number of the lot, 0 outside.
        unsure: for each label (h, w) bool: where the scene does not say, and nothing is learnt.
    """

    rgb: NDArray[np.uint8]
    things: dict[str, NDArray[np.int32]]
    stuff: dict[str, NDArray[np.bool_]]
    lots: NDArray[np.int32]
    unsure: dict[str, NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class ChipTruth:
    """What a prompt should find on a chip, on the mask's grid.

    Attributes:
        semantic: (side, side), the share of each cell that is the label.
        weight: (side, side), 0 where nothing is known.
        masks: (k, side, side), the same for each thing; none for stuff.
        boxes: (k, 4) centre x, centre y, width, height in 0..1 of the chip.
    """

    semantic: Tensor
    weight: Tensor
    masks: Tensor
    boxes: Tensor


def neighbourhood(seed: int, lots: int) -> Neighbourhood:
    """The neighbourhood of a seed of the sample generator."""
    scene = build_scene(seed, lots)
    rgb = paint(scene)[:3]
    number = _rasterizer(scene)
    yards = scene.yards
    leaves = number([unary_union(
        [crown.polygon for crown in scene.crowns]
        + [shrub.polygon for yard in yards for shrub in yard.shrubs]
    )]) > 0  # fmt: skip
    tree = number([unary_union([crown.polygon for crown in scene.crowns])]) > 0
    built = number([unary_union([yard.roof, yard.shed]) for yard in yards]) > 0
    shed = number([yard.shed for yard in yards]) > 0
    lot = number([yard.plan.polygon for yard in yards])
    street = number([scene.plan.pavement(PAVEMENT_HALF_M)]) > 0
    open_ground = ~leaves & ~built
    lawn = (number([yard.turf for yard in yards]) > 0) & open_ground
    shrubs = leaves & ~tree & ~built
    wild = (lot == 0) & ~street & ~tree
    made = Neighbourhood(
        rgb=rgb,
        things={
            "roof": number([yard.roof for yard in yards]) * ~tree,
            "driveway": number([yard.drive for yard in yards]) * open_ground,
            "pool": number([yard.pool for yard in yards]) * open_ground,
        },
        stuff={"lawn": lawn, "tree": tree, "vegetation": lawn | tree | shrubs},
        lots=lot,
        unsure={
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
    """The pixels (3, CHIP_PX, CHIP_PX) at a corner."""
    return rgb[:, top : top + CHIP_PX, left : left + CHIP_PX]


def truth_at(place: Neighbourhood, label: str, top: int, left: int, side: int) -> ChipTruth:
    """What the chip at a corner shows of a label, on a grid of side x side cells."""
    window = (slice(top, top + CHIP_PX), slice(left, left + CHIP_PX))
    weight = 1 - _shares(place.unsure[label][window].astype(np.int64), 1, side)[0]
    if label in place.stuff:
        semantic = _shares(place.stuff[label][window].astype(np.int64), 1, side)[0]
        return ChipTruth(
            semantic, weight, semantic.new_zeros(0, side, side), semantic.new_zeros(0, 4)
        )
    numbers, found = np.unique(place.things[label][window], return_inverse=True)
    found = found.reshape(CHIP_PX, CHIP_PX) + (0 if numbers[0] == 0 else 1)
    masks = _shares(found, int(found.max()), side)
    masks = masks[masks.sum((1, 2)) > 1.0]  # slivers at the chip's edge teach nothing
    semantic = masks.sum(0) if len(masks) else weight.new_zeros(side, side)
    return ChipTruth(semantic, weight, masks, _boxes(masks))


def _shares(numbers: NDArray[np.int64], most: int, side: int) -> Tensor:
    """(most, side, side): the share of each cell that the numbers 1..most have."""
    cell = torch.arange(CHIP_PX) * side // CHIP_PX
    cells = cell[:, None] * side + cell
    counts = torch.bincount(
        (torch.from_numpy(numbers).long() * side * side + cells).flatten(),
        minlength=(most + 1) * side * side,
    ).view(most + 1, side, side)
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
    def number(shapes: Iterable[BaseGeometry]) -> NDArray[np.int32]:
        burnt = [(shape, n) for n, shape in enumerate(shapes, 1) if not shape.is_empty]
        if not burnt:
            return np.zeros(scene.shape, np.int32)
        numbers: NDArray[np.int32] = rasterize(
            burnt, out_shape=scene.shape, transform=grid(scene), dtype="int32"
        )
        return numbers

    return number


def _with_border(place: Neighbourhood) -> Neighbourhood:
    """The same in a frame of grey, wide enough that a chip fits."""
    _, height, width = place.rgb.shape
    down = max(_BEYOND_PX, CHIP_PX - height)
    across = max(_BEYOND_PX, CHIP_PX - width)

    def framed(plane: NDArray[Any]) -> NDArray[Any]:
        return np.pad(plane, ((down, down), (across, across)))

    rgb = np.pad(place.rgb, ((0, 0), (down, down), (across, across)), constant_values=_GREY_DN)
    return Neighbourhood(
        rgb,
        {name: framed(plane) for name, plane in place.things.items()},
        {name: framed(plane) for name, plane in place.stuff.items()},
        framed(place.lots),
        {name: framed(plane) for name, plane in place.unsure.items()},
    )
