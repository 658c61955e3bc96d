"""Errors of the detections on lots against the exact truth: areas, seams and holes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import geopandas
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from detection.imagery.pixel_grid import PixelGrid
from detection.labels import Label
from detection.results import FULL_COVERAGE_FRACTION, LotResult

# Smaller holes have only a few cells of a mask, too few to preserve.
LEAST_HOLE_M2 = 6.0
# The minimum share of an object that a piece of it must cover.
_LEAST_PIECE_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Found:
    """A tool's result for a label on a lot: m², and polygons in the imagery's CRS."""

    area_m2: float
    polygons: tuple[Polygon, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One label on all lots.

    Attributes:
        errors: the absolute error of each lot's area as a share of the true area.
        total: the error of the total area, as a share.
        at_seams, elsewhere: (objects broken or lost, objects).
        holes: (holes preserved, holes).
    """

    errors: NDArray[np.float64]
    total: float
    at_seams: tuple[int, int]
    elsewhere: tuple[int, int]
    holes: tuple[int, int]


_Key = tuple[int, str]


class Truth:
    """The true objects on each completely imaged lot, by label."""

    def __init__(
        self, truth: geopandas.GeoDataFrame, parcel_ids: Sequence[str], frame: PixelGrid
    ) -> None:
        numbers = {parcel_id: number for number, parcel_id in enumerate(parcel_ids)}
        whole = truth[truth["coverage_fraction"] >= FULL_COVERAGE_FRACTION]
        shapes = frame.from_lonlat(whole.geometry.to_numpy())
        self._rows: dict[_Key, tuple[float, BaseGeometry]] = {
            (numbers[parcel_id], label): (float(area_m2), shape)
            for parcel_id, label, area_m2, shape in zip(
                whole["parcel_id"], whole["label"], whole["area_m2"], shapes, strict=True
            )
        }

    def compared(
        self, found: Mapping[_Key, Found], label: Label, seams: BaseGeometry
    ) -> Comparison:
        """Compare one label on the lots that have at least its minimum area.

        Args:
            seams: the area of overlapping chips or tiles, in the imagery's CRS.
        """
        shapely.prepare(seams)
        true_m2, measured_m2 = [], []
        broken = {True: 0, False: 0}
        things = {True: 0, False: 0}
        holes_kept = holes = 0
        for (lot, name), (area_m2, shape) in self._rows.items():
            if name != label.name or area_m2 < label.min_area_m2:
                continue
            mine = found.get((lot, name), Found(0.0, ()))
            true_m2.append(area_m2)
            measured_m2.append(mine.area_m2)
            polygons = np.array(mine.polygons, dtype=object)
            for thing in shapely.get_parts(shape):
                if thing.area < label.min_area_m2:
                    continue
                at_seam = bool(seams.intersects(thing))
                things[at_seam] += 1
                broken[at_seam] += _is_broken(thing, polygons)
                for hole in map(Polygon, thing.interiors):
                    if hole.area >= LEAST_HOLE_M2:
                        holes += 1
                        holes_kept += bool(_covered(hole, polygons).sum() < hole.area / 2)
        truth, measured = np.array(true_m2), np.array(measured_m2)
        return Comparison(
            errors=np.abs(measured - truth) / truth,
            total=float(measured.sum() / truth.sum() - 1),
            at_seams=(broken[True], things[True]),
            elsewhere=(broken[False], things[False]),
            holes=(holes_kept, holes),
        )


def _is_broken(thing: Polygon, polygons: NDArray[np.object_]) -> bool:
    covered = _covered(thing, polygons)
    pieces = np.count_nonzero(covered >= _LEAST_PIECE_SHARE * thing.area)
    return bool(pieces != 1 or covered.sum() < thing.area / 2)


def _covered(shape: Polygon, polygons: NDArray[np.object_]) -> NDArray[np.float64]:
    """Return the area of a shape that each polygon covers."""
    return np.asarray(shapely.area(shapely.intersection(polygons, shape)))


def found_by_us(results: Sequence[LotResult], frame: PixelGrid) -> dict[_Key, Found]:
    """Return the detector's results, by lot and label."""
    rows = [(lot, each) for lot, result in enumerate(results) for each in result.detections]
    shapes = frame.from_lonlat(np.array([each.geometry for _, each in rows], dtype=object))
    return _by_key(
        (lot, each.label, each.area_m2, shape)
        for (lot, each), shape in zip(rows, shapes, strict=True)
    )


def found_by_peer(rows: Iterable[tuple[int, str, str]]) -> dict[_Key, Found]:
    """Return a peer's polygons (lot, label, WKB in hex), with areas in their CRS."""
    shapes = ((lot, label, shapely.from_wkb(wkb)) for lot, label, wkb in rows)
    return _by_key((lot, label, float(shape.area), shape) for lot, label, shape in shapes)


def _by_key(rows: Iterable[tuple[int, str, float, Polygon | MultiPolygon]]) -> dict[_Key, Found]:
    area_m2: dict[_Key, float] = defaultdict(float)
    polygons: dict[_Key, list[Polygon]] = defaultdict(list)
    for lot, label, part_m2, shape in rows:
        area_m2[lot, label] += part_m2
        polygons[lot, label] += list(shapely.get_parts(shape))
    return {key: Found(area_m2[key], tuple(polygons[key])) for key in area_m2}
