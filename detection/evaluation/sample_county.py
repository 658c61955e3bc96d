"""Evaluate a SAM3 on synthetic lots that it was not trained on: IoU, objects, absent prompts."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
from detection.sample.chip_truth import (
    CHIP_PX,
    STUFF,
    THINGS,
    Neighbourhood,
    chip_at,
    neighbourhood,
)
from detection.segmenters.interface import Mask, Segmenter
from detection.segmenters.sam3.phrases import PHRASES
from detection.segmenters.sam3.segmenter import Sam3
from detection.segmenters.sam3.weights import load_weights
from detection.vectorize import vectorize_masks

# (seed of the sample generator, lots); training uses other seeds.
EVALUATION_SEEDS = ((2026, 200), (901, 120), (902, 120))
# None of these is in the sample county, and none was trained on.
ABSENT = (
    "round backyard trampoline", "solar panel", "tennis court", "car", "boat", "greenhouse",
    "gravel path", "playground", "satellite dish", "hot tub", "golf bunker", "tractor",
    "snow", "person", "fountain", "white van", "green umbrella", "parking lot", "railway",
    "football field",
)  # fmt: skip
# As in the chip plan: chips overlap, and each lot is evaluated in the centre of one.
_CELL_PX, _MARGIN_PX = 672, 168
_GRID = PixelGrid("EPSG:26916", 0.3)
_WINDOW = PixelWindow(0, 0, CHIP_PX, CHIP_PX)
_FOUND_IOU = 0.5
_FALSE_IOU = 0.1
_REPORT_NAME = "measured.json"


@dataclass
class SampleCounts:
    """Pixels of a label, and objects of things.

    Attributes:
        intersection_px, union_px: of prediction and truth, inside lots.
        predicted_px, true_px: of each, inside lots.
        true: objects in the truth; `found` of them are predicted.
        predicted: objects predicted; `false` of them match nothing in the truth.
    """

    intersection_px: int = 0
    union_px: int = 0
    predicted_px: int = 0
    true_px: int = 0
    true: int = 0
    found: int = 0
    predicted: int = 0
    false: int = 0


@dataclass
class SampleMetrics:
    """Counts summed over chips; `figures` turns them into ratios."""

    labels: dict[str, SampleCounts] = field(
        default_factory=lambda: {n: SampleCounts() for n in (*STUFF, *THINGS)}
    )
    absent_prompts: int = 0
    absent_empty: int = 0

    def figures(self) -> dict[str, float]:
        """Pixel IoU and relative area error inside lots; share of things found and of those false;
        share of absent prompts with nothing.
        """
        figures = {
            f"{name}_iou": c.intersection_px / max(1, c.union_px) for name, c in self.labels.items()
        }
        for name, c in self.labels.items():
            figures[f"{name}_area_error"] = abs(c.predicted_px - c.true_px) / max(1, c.true_px)
        for name in THINGS:
            count = self.labels[name]
            figures[f"{name}s_found"] = count.found / max(1, count.true)
            figures[f"{name}s_false"] = count.false / max(1, count.predicted)
        figures["absent_nothing"] = self.absent_empty / max(1, self.absent_prompts)
        return {name: round(value, 4) for name, value in figures.items()}


def evaluate_on_sample(sam3: Segmenter, seeds: tuple[tuple[int, int], ...]) -> dict[str, float]:
    """Ratios over neighbourhoods (seed, lots)."""
    total = SampleMetrics()
    for seed, lots in seeds:
        place = neighbourhood(seed, lots)
        for top, left in _chip_corners(place):
            _measure_chip(sam3, place, top, left, total)
    return total.figures()


def write_evaluation(folder: Path, training: Mapping[str, Any] | None) -> dict[str, Any]:
    """Evaluate the weights in a folder and write measured.json beside them.

    Args:
        training: how the weights were trained; None keeps what measured.json has.
    """
    path = folder / _REPORT_NAME
    if training is None:
        training = json.loads(path.read_text())["training"] if path.is_file() else {}
    weights = load_weights(str(folder))
    sam3 = Sam3(weights, "sam3-tiny", device="cpu")
    content = {
        "synthetic": True,
        "sha256": weights.sha256,
        "bytes": (folder / "model.safetensors").stat().st_size,
        "training": training,
        "measured_on": [{"sample_seed": seed, "lots": lots} for seed, lots in EVALUATION_SEEDS],
        "figures": evaluate_on_sample(sam3, EVALUATION_SEEDS),
    }
    path.write_text(json.dumps(content, indent=2) + "\n")
    return content


def main(arguments: list[str] | None = None) -> None:
    """Measure the weights in a folder: `python -m detection.evaluation.sample_county FOLDER`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path, help="with model.safetensors and config.json")
    parser.add_argument("--run", type=Path, help="folder of the run that trained them")
    chosen = parser.parse_args(arguments)
    training = None
    if chosen.run is not None:
        run = json.loads((chosen.run / "run.json").read_text(encoding="utf-8"))
        training = {
            "steps": run["ended"]["step"],
            "threads": run["threads"],
            "wall_s": run["ended"]["seconds"],
            "cpu_s": run["ended"]["cpu_s_of_this_process"],
        }
    sys.stdout.write(json.dumps(write_evaluation(chosen.folder, training), indent=2) + "\n")


def _chip_corners(place: Neighbourhood) -> Iterator[tuple[int, int]]:
    """(top, left) of chips whose centres tile the lots."""
    _, height, width = place.rgb.shape
    rows, columns = np.nonzero(place.lots)
    for top in range(int(rows.min()) - _MARGIN_PX, int(rows.max()) - _MARGIN_PX, _CELL_PX):
        for left in range(
            int(columns.min()) - _MARGIN_PX, int(columns.max()) - _MARGIN_PX, _CELL_PX
        ):
            yield (max(0, min(top, height - CHIP_PX)), max(0, min(left, width - CHIP_PX)))


def _measure_chip(
    sam3: Segmenter, place: Neighbourhood, top: int, left: int, total: SampleMetrics
) -> None:
    pixels = chip_at(place.rgb, top, left)
    chip = Chip(
        pixels, np.ones((CHIP_PX, CHIP_PX), bool), _GRID.transform(_WINDOW),
        CRS.from_user_input(_GRID.crs), ("red", "green", "blue"),
    )  # fmt: skip
    labels = [Label(name, PHRASES[name][-1], "continuous", 4.0) for name in STUFF]
    labels += [Label(name, PHRASES[name][1], "discrete", 4.0) for name in THINGS]
    absent = [Label(text, text, "continuous", 4.0) for text in ABSENT[::2]]
    absent += [Label(text, text, "discrete", 4.0) for text in ABSENT[1::2]]
    [masks] = sam3.segment([chip], [*labels, *absent])
    window = (slice(top, top + CHIP_PX), slice(left, left + CHIP_PX))
    centre = np.zeros((CHIP_PX, CHIP_PX), bool)
    centre[_MARGIN_PX:-_MARGIN_PX, _MARGIN_PX:-_MARGIN_PX] = True
    on_lots = (place.lots[window] > 0) & centre
    for label in labels:
        label_masks = [mask for mask in masks if mask.label is label]
        predicted = np.zeros_like(centre)
        for mask in label_masks:
            predicted |= _mask_pixels(mask)
        count = total.labels[label.name]
        plane = place.things if label.name in THINGS else place.stuff
        true = plane[label.name][window]
        count.intersection_px += int((predicted & (true > 0) & on_lots).sum())
        count.predicted_px += int((predicted & on_lots).sum())
        count.true_px += int(((true > 0) & on_lots).sum())
        count.union_px += int(((predicted | (true > 0)) & on_lots).sum())
        if label.name in THINGS:
            objects = (
                list(vectorize_masks(label_masks, mosaic_of(chip, _GRID, _WINDOW)).polygons)
                if label_masks
                else []
            )
            _count_things(objects, true, chip, count)
    for label in absent:
        total.absent_prompts += 1
        total.absent_empty += not any((m.field > 0).any() for m in masks if m.label is label)


def _mask_pixels(mask: Mask) -> NDArray[np.bool_]:
    """(CHIP_PX, CHIP_PX): where the field of a mask is positive."""
    field = np.full(mask.cells, -1.0, np.float32)
    height, width = mask.field.shape
    field[mask.row : mask.row + height, mask.column : mask.column + width] = mask.field
    fine = functional.interpolate(
        torch.from_numpy(field)[None, None], (CHIP_PX, CHIP_PX), mode="bilinear"
    )
    return (fine[0, 0] > 0).numpy()


def _count_things(
    objects: list[shapely.Polygon], true: np.ndarray, chip: Chip, count: SampleCounts
) -> None:
    """Count objects whose centroid is in the chip's centre.

    A thing that a tree splits counts as its largest piece.
    """
    largest: dict[float, shapely.Polygon] = {}
    for outline, number in shapes(true.astype(np.int32), mask=true > 0, transform=chip.transform):
        piece = shape(outline)
        if number not in largest or piece.area > largest[number].area:
            largest[number] = piece
    known = list(largest.values())
    centre = _centre_box(chip)
    truths = [piece for piece in known if centre.contains(piece.centroid) and piece.area > 4]
    predicted = [each for each in objects if centre.contains(each.centroid)]
    count.true += len(truths)
    count.found += sum(_best_iou(piece, objects) >= _FOUND_IOU for piece in truths)
    count.predicted += len(predicted)
    count.false += sum(_best_iou(each, known) < _FALSE_IOU for each in predicted)


def _centre_box(chip: Chip) -> shapely.Polygon:
    left, top = chip.transform @ (_MARGIN_PX, _MARGIN_PX)
    right, bottom = chip.transform @ (CHIP_PX - _MARGIN_PX, CHIP_PX - _MARGIN_PX)
    return shapely.box(left, bottom, right, top)


def _best_iou(polygon: shapely.Polygon, others: list[shapely.Polygon]) -> float:
    near = [others[index] for index in STRtree(others).query(polygon)]
    shared = [polygon.intersection(other).area for other in near]
    ious = [s / (polygon.area + o.area - s) for s, o in zip(shared, near, strict=True)]
    return max(ious, default=0.0)


if __name__ == "__main__":
    main()
