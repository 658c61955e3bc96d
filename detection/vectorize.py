"""Mask -> polygons with their holes, in the chip's CRS."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize, shapes
from shapely import Polygon

from detection.chip import Chip
from detection.segmenters.protocol import Mask


@dataclass(frozen=True, slots=True)
class Outline:
    """One connected object of a mask: its polygon in the chip's CRS, and its score 0..1."""

    polygon: Polygon
    score: float


def outlines(mask: Mask, chip: Chip) -> list[Outline]:
    """The objects of a mask, exactly along its pixels' edges, every hole kept.

    Pixels that touch by a side are one object. Objects under the label's `min_area_m2` are
    left out. A polygon's area is the number of its pixels times a pixel's area. A pixel whose
    confidence is not a number counts 0 towards the score.

    Raises:
        ValueError: a mask that is not on the chip's grid.
    """
    if mask.pixels.shape != chip.valid.shape or mask.confidence.shape != chip.valid.shape:
        raise ValueError(
            f"the mask of {mask.label.name} is {mask.pixels.shape} with confidence "
            f"{mask.confidence.shape}, but the chip is {chip.valid.shape}"
        )
    found = mask.pixels & chip.valid
    if not found.any():
        return []
    min_area = mask.label.min_area_m2 * (abs(chip.transform.a) / chip.gsd_m) ** 2
    rings = [
        geometry["coordinates"]
        for geometry, _ in shapes(
            found.astype(np.uint8), mask=found, connectivity=4, transform=chip.transform
        )
    ]
    polygons = _polygons(rings)
    polygons = polygons[shapely.area(polygons) >= min_area]
    if not len(polygons):
        return []
    scores = _mean_inside(polygons, mask, chip)
    return [Outline(p, score) for p, score in zip(polygons, scores, strict=True)]


def _polygons(rings: list[list[list[tuple[float, float]]]]) -> NDArray[np.object_]:
    """A polygon for each list of rings, the shell first; all at once, which is far quicker."""
    flat = [ring for polygon in rings for ring in polygon]
    xy = np.fromiter(chain.from_iterable(chain.from_iterable(flat)), float).reshape(-1, 2)
    of_ring = np.repeat(np.arange(len(flat)), [len(ring) for ring in flat])
    of_polygon = np.repeat(np.arange(len(rings)), [len(polygon) for polygon in rings])
    return np.asarray(
        shapely.polygons(shapely.linearrings(xy, indices=of_ring), indices=of_polygon)
    )


def _mean_inside(polygons: NDArray[np.object_], mask: Mask, chip: Chip) -> list[float]:
    """The mean confidence of the pixels of each polygon (the polygons do not overlap)."""
    numbers = rasterize(
        [(polygon, number) for number, polygon in enumerate(polygons, start=1)],
        out_shape=mask.pixels.shape,
        transform=chip.transform,
        dtype="int32",
    ).ravel()
    # A model in half precision can overflow to NaN, which would spoil a whole object's mean.
    confidence = np.nan_to_num(mask.confidence.ravel(), nan=0.0, posinf=1.0, neginf=0.0)
    sums = np.bincount(numbers, confidence, len(polygons) + 1)[1:]
    counts = np.bincount(numbers, minlength=len(polygons) + 1)[1:]
    return [float(value) for value in np.clip(sums / np.maximum(counts, 1), 0.0, 1.0)]
