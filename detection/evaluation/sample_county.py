"""How well a trained network finds what is on lots it has never seen, through the adapter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import shapely
import torch
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.features import shapes
from shapely import STRtree
from shapely.geometry import shape
from torch.nn import functional

from detection.chip import Chip
from detection.imagery.pixel_grid import PixelGrid, PixelWindow
from detection.labels import Label
from detection.mosaic import mosaic_of
from detection.segmenters.interface import Mask
from detection.segmenters.sam3.segmenter import Sam3
from detection.training.phrases import PHRASES
from detection.training.truth import CHIP_PX, STUFF, THINGS, Neighbourhood, chip_at, neighbourhood
from detection.vectorize import vectorize_masks

# None of these is in the sample county, and none was trained on.
ABSENT = (
    "round backyard trampoline", "solar panel", "tennis court", "car", "boat", "greenhouse",
    "gravel path", "playground", "satellite dish", "hot tub", "golf bunker", "tractor",
    "snow", "person", "fountain", "white van", "green umbrella", "parking lot", "railway",
    "football field",
)  # fmt: skip
# The plan's cells: chips overlap, and each lot is looked at in the middle of one.
_CELL_PX, _MARGIN_PX = 672, 168
_FRAME = PixelGrid("EPSG:26916", 0.3)
_WINDOW = PixelWindow(0, 0, CHIP_PX, CHIP_PX)
_FOUND_IOU = 0.5
_FALSE_IOU = 0.1


@dataclass
class PixelCounts:
    """Pixels of stuff, or objects of things."""

    shared: int = 0
    either: int = 0
    true: int = 0
    found: int = 0
    said: int = 0
    false: int = 0


@dataclass
class SampleMetrics:
    """Sums over chips; `share` makes figures of them."""

    of: dict[str, PixelCounts] = field(
        default_factory=lambda: {n: PixelCounts() for n in (*STUFF, *THINGS)}
    )
    asked_in_vain: int = 0
    said_nothing: int = 0

    def figures(self) -> dict[str, float]:
        """IoU of pixels inside lots; things found and false; absent prompts answered so."""
        figures = {f"{name}_iou": c.shared / max(1, c.either) for name, c in self.of.items()}
        for name in THINGS:
            count = self.of[name]
            figures[f"{name}s_found"] = count.found / max(1, count.true)
            figures[f"{name}s_false"] = count.false / max(1, count.said)
        figures["absent_nothing"] = self.said_nothing / max(1, self.asked_in_vain)
        return {name: round(value, 4) for name, value in figures.items()}


def evaluate_on_sample(sam3: Sam3, seeds: tuple[tuple[int, int], ...]) -> dict[str, float]:
    """Figures over neighbourhoods (seed, lots) that were not trained on."""
    total = SampleMetrics()
    for seed, lots in seeds:
        place = neighbourhood(seed, lots)
        for top, left in _cells(place):
            _measure_chip(sam3, place, top, left, total)
    return total.figures()


def _cells(place: Neighbourhood) -> Iterator[tuple[int, int]]:
    """Corners of chips whose middles tile the lots."""
    _, height, width = place.rgb.shape
    rows, columns = np.nonzero(place.lots)
    for top in range(int(rows.min()) - _MARGIN_PX, int(rows.max()) - _MARGIN_PX, _CELL_PX):
        for left in range(
            int(columns.min()) - _MARGIN_PX, int(columns.max()) - _MARGIN_PX, _CELL_PX
        ):
            yield (max(0, min(top, height - CHIP_PX)), max(0, min(left, width - CHIP_PX)))


def _measure_chip(
    sam3: Sam3, place: Neighbourhood, top: int, left: int, total: SampleMetrics
) -> None:
    pixels = chip_at(place.rgb, top, left)
    chip = Chip(
        pixels, np.ones((CHIP_PX, CHIP_PX), bool), _FRAME.transform(_WINDOW),
        CRS.from_user_input(_FRAME.crs), ("red", "green", "blue"),
    )  # fmt: skip
    labels = [Label(name, PHRASES[name][-1], "continuous", 4.0) for name in STUFF]
    labels += [Label(name, PHRASES[name][1], "discrete", 4.0) for name in THINGS]
    absent = [Label(text, text, "continuous", 4.0) for text in ABSENT[::2]]
    absent += [Label(text, text, "discrete", 4.0) for text in ABSENT[1::2]]
    [masks] = sam3.segment([chip], [*labels, *absent])
    window = (slice(top, top + CHIP_PX), slice(left, left + CHIP_PX))
    middle = np.zeros((CHIP_PX, CHIP_PX), bool)
    middle[_MARGIN_PX:-_MARGIN_PX, _MARGIN_PX:-_MARGIN_PX] = True
    on_lots = (place.lots[window] > 0) & middle
    for label in labels:
        mine = [mask for mask in masks if mask.label is label]
        said = np.zeros_like(middle)
        for mask in mine:
            said |= _pixels(mask)
        count = total.of[label.name]
        plane = place.things if label.name in THINGS else place.stuff
        true = plane[label.name][window]
        count.shared += int((said & (true > 0) & on_lots).sum())
        count.either += int(((said | (true > 0)) & on_lots).sum())
        if label.name in THINGS:
            objects = (
                list(vectorize_masks(mine, mosaic_of(chip, _FRAME, _WINDOW)).polygons)
                if mine
                else []
            )
            _count_things(objects, true, chip, count)
    for label in absent:
        total.asked_in_vain += 1
        total.said_nothing += not any((m.field > 0).any() for m in masks if m.label is label)


def _pixels(mask: Mask) -> NDArray[np.bool_]:
    """Where a mask is, on the chip's pixels."""
    whole = np.full(mask.cells, -1.0, np.float32)
    height, width = mask.field.shape
    whole[mask.row : mask.row + height, mask.column : mask.column + width] = mask.field
    field = torch.from_numpy(whole)[None, None]
    fine = functional.interpolate(field, (CHIP_PX, CHIP_PX), mode="bilinear")
    return (fine[0, 0] > 0).numpy()


def _count_things(
    objects: list[shapely.Polygon], true: np.ndarray, chip: Chip, count: PixelCounts
) -> None:
    """Things whose middle is in the chip's; the largest piece stands for one that a tree parts."""
    pieces: dict[float, shapely.Polygon] = {}
    for outline, number in shapes(true.astype(np.int32), mask=true > 0, transform=chip.transform):
        piece = shape(outline)
        if number not in pieces or piece.area > pieces[number].area:
            pieces[number] = piece
    known = list(pieces.values())
    inside = _middle_box(chip)
    truths = [piece for piece in known if inside.contains(piece.centroid) and piece.area > 4]
    said = [one for one in objects if inside.contains(one.centroid)]
    count.true += len(truths)
    count.found += sum(_best_iou(piece, objects) >= _FOUND_IOU for piece in truths)
    count.said += len(said)
    count.false += sum(_best_iou(one, known) < _FALSE_IOU for one in said)


def _middle_box(chip: Chip) -> shapely.Polygon:
    left, top = chip.transform @ (_MARGIN_PX, _MARGIN_PX)
    right, bottom = chip.transform @ (CHIP_PX - _MARGIN_PX, CHIP_PX - _MARGIN_PX)
    return shapely.box(left, bottom, right, top)


def _best_iou(one: shapely.Polygon, others: list[shapely.Polygon]) -> float:
    near = [others[index] for index in STRtree(others).query(one)]
    shared = [one.intersection(other).area for other in near]
    ious = [s / (one.area + o.area - s) for s, o in zip(shared, near, strict=True)]
    return max(ious, default=0.0)
