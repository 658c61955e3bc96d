"""Masks of a mosaic -> the measured result of each of its lots, all in one pass.

Continuous labels are vectorized for each lot within its own window: neighbours get the same edges,
and a lot's result does not depend on which other lots are requested. Discrete objects are
vectorized once, complete.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import GeometryType, STRtree

from detection.chip_plan import CONTEXT_BUFFER_M
from detection.clip import LotLines, Parts, continuous_parts, discrete_parts
from detection.lot_imagery import lot_imagery
from detection.mosaic import Mosaic
from detection.results import Detection, LotResult
from detection.segmenters.interface import Mask
from detection.vectorize import Outlines, crop_mask, vectorize_masks
from parcels.boundary import Boundary
from parcels.errors import ParcelsError
from parcels.measure import areas_m2, polygonal, scaled_areas_m2

log = logging.getLogger(__name__)

_Lots = NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class _Candidates:
    """n pairs of an object and a lot (by index) that it may be on; objects of one kind."""

    objects: Outlines
    of_lot: NDArray[np.intp]


def lot_results(
    boundaries: Sequence[Boundary],
    mosaic: Mosaic,
    masks: Sequence[Mask],
    lines: LotLines | None = None,
) -> list[LotResult]:
    """The result of each boundary on a mosaic; one that cannot be measured fails alone.

    A continuous label's detections are the connected parts inside the boundary. Its complete object
    is limited to the boundary's bounds plus `CONTEXT_BUFFER_M`, in full cells; a discrete label's
    is not.

    Args:
        boundaries: their bounds plus `CONTEXT_BUFFER_M` are inside the mosaic.
        masks: of all labels, on the mosaic's grid; detections are in their order.
        lines: offset and accuracy of the boundaries on the imagery.

    Raises:
        ValueError: a mask that does not fit its grid, or a field that is not finite.
    """
    lines = lines or LotLines()
    try:
        return _results(boundaries, mosaic, masks, lines)
    except (ParcelsError, shapely.GEOSException) as error:
        if len(boundaries) > 1:  # bisect, so that only the bad boundary fails
            middle = len(boundaries) // 2
            halves = boundaries[:middle], boundaries[middle:]
            return [result for half in halves for result in lot_results(half, mosaic, masks, lines)]
        log.warning("a boundary cannot be measured: %s", error)
        log.debug("traceback of the geometry error", exc_info=True)
        return [LotResult("failed", reason="bad_geometry", detail=str(error))]


def _results(
    boundaries: Sequence[Boundary], mosaic: Mosaic, masks: Sequence[Mask], lines: LotLines
) -> list[LotResult]:
    lonlat = np.array([boundary.geometry for boundary in boundaries], dtype=object)
    # Rounding in the target CRS can make a valid lot's ring cross itself.
    lots = _multipolygons(mosaic.grid.from_lonlat(lonlat))
    lots = lines.align_to_imagery(boundaries, lots, mosaic.grid.unit_m)
    imagery = lot_imagery(list(lots), mosaic)
    imaged = np.flatnonzero([each.coverage_fraction for each in imagery])
    detections = _detections(lots[imaged], mosaic, masks, lines)
    results = [_no_imagery(mosaic)] * len(boundaries)
    for found, index in zip(detections, imaged, strict=True):
        of_lot = imagery[index]
        results[index] = LotResult("detected", found, of_lot.coverage_fraction, of_lot.info)
    return results


def _no_imagery(mosaic: Mosaic) -> LotResult:
    if mosaic.failed_sources:
        detail = f"imagery cannot be read: {', '.join(mosaic.failed_sources)}"
        return LotResult("no_imagery", reason="corrupt", detail=detail)
    detail = "the imagery has only nodata in the boundary"
    return LotResult("no_imagery", reason="nodata", detail=detail)


def _detections(
    lots: _Lots, mosaic: Mosaic, masks: Sequence[Mask], lines: LotLines
) -> list[tuple[Detection, ...]]:
    """The measured detections of each lot (in the mosaic's CRS), of all masks in one pass."""
    unit_m = mosaic.grid.unit_m
    discrete, continuous = _candidates(lots, mosaic, masks)
    discrete_on_lots = discrete_parts(
        discrete.objects.polygons, lots, discrete.of_lot, lines.tolerance_m, unit_m
    )
    continuous_on_lots = continuous_parts(
        continuous.objects.polygons, lots, continuous.of_lot, unit_m
    )
    rows = _measure_parts(discrete, discrete_on_lots, mosaic, masks)
    rows += _measure_parts(continuous, continuous_on_lots, mosaic, masks)
    rows.sort(key=lambda row: row[:2])
    found: list[list[Detection]] = [[] for _ in lots]
    for lot, _, detection in rows:
        found[lot].append(detection)
    return [tuple(each) for each in found]


def _candidates(
    lots: _Lots, mosaic: Mosaic, masks: Sequence[Mask]
) -> tuple[_Candidates, _Candidates]:
    """The discrete and the continuous objects that may be on the lots."""
    buffer = CONTEXT_BUFFER_M / mosaic.grid.unit_m
    windows = shapely.bounds(lots) + np.array([-buffer, -buffer, buffer, buffer])
    to_vectorize: list[Mask] = []  # masks, and crops of masks
    of_mask, of_lot = [], []
    for number, mask in enumerate(masks):
        if mask.label.kind == "discrete" or mask.label.simplify_share:
            to_vectorize.append(mask)
            of_mask.append(number)
            of_lot.append(-1)
            continue
        for lot, crop in enumerate(crop_mask(mask, mosaic, windows)):
            if crop is not None:
                to_vectorize.append(crop)
                of_mask.append(number)
                of_lot.append(lot)
    found = vectorize_masks(to_vectorize, mosaic)
    lot_of = np.array(of_lot, dtype=np.intp)[found.masks]
    found = Outlines(found.polygons, found.scores, np.array(of_mask, dtype=np.intp)[found.masks])
    discrete = np.array([mask.label.kind == "discrete" for mask in masks], dtype=bool)[found.masks]
    cropped = lot_of >= 0
    return (
        _on_lots(found[discrete], lots),
        _concatenate(
            _Candidates(found[cropped], lot_of[cropped]),
            _in_windows(found[~cropped & ~discrete], windows, masks, mosaic.grid.unit_m),
        ),
    )


def _on_lots(objects: Outlines, lots: _Lots) -> _Candidates:
    lot, index = STRtree(objects.polygons).query(lots)
    return _Candidates(objects[index], lot)


def _in_windows(
    objects: Outlines, windows: NDArray[np.float64], masks: Sequence[Mask], unit_m: float
) -> _Candidates:
    """The connected parts of complete objects in each lot's window."""
    boxes = shapely.box(*windows.T)
    lot, index = STRtree(objects.polygons).query(boxes, predicate="intersects")
    clipped = shapely.intersection(objects.polygons[index], boxes[lot])
    pieces, of = shapely.get_parts(clipped, return_index=True)
    min_area_m2 = np.array([mask.label.min_area_m2 for mask in masks])[objects.masks[index][of]]
    area_m2 = shapely.area(pieces) * unit_m**2
    kept = (area_m2 > 0) & (area_m2 >= min_area_m2)
    of = of[kept]
    complete = objects[index[of]]
    return _Candidates(Outlines(pieces[kept], complete.scores, complete.masks), lot[of])


def _concatenate(one: _Candidates, other: _Candidates) -> _Candidates:
    a, b = one.objects, other.objects
    objects = Outlines(
        np.concatenate([a.polygons, b.polygons]),
        np.concatenate([a.scores, b.scores]),
        np.concatenate([a.masks, b.masks]),
    )
    return _Candidates(objects, np.concatenate([one.of_lot, other.of_lot]))


def _measure_parts(
    candidates: _Candidates, parts: Parts, mosaic: Mosaic, masks: Sequence[Mask]
) -> list[tuple[int, int, Detection]]:
    """(lot, mask, detection) of each part."""
    if not len(parts):
        return []
    geometries = _multipolygons(mosaic.grid.to_lonlat(parts.measured))
    area_m2 = areas_m2(geometries)
    complete = candidates.objects[parts.objects]
    # The equal-area measurement is done once; the other two areas are scaled from it.
    measured = shapely.area(parts.measured), area_m2
    clipped_area_m2 = scaled_areas_m2(shapely.area(parts.inside), *measured)
    whole_area_m2 = scaled_areas_m2(shapely.area(complete.polygons), *measured)
    lots = candidates.of_lot[parts.objects]
    return [
        (
            int(lots[i]),
            int(complete.masks[i]),
            Detection(
                label=masks[complete.masks[i]].label.name,
                prompt=masks[complete.masks[i]].label.prompt,
                score=float(complete.scores[i]),
                relation=parts.relations[i],
                geometry=geometries[i],
                area_m2=float(area_m2[i]),
                clipped_area_m2=float(clipped_area_m2[i]),
                whole_area_m2=float(whole_area_m2[i]),
            ),
        )
        for i in range(len(parts))
    ]


def _multipolygons(geometries: NDArray[np.object_]) -> _Lots:
    """Polygonal geometries as valid multipolygons; only invalid ones are repaired (slow)."""
    result = np.asarray(geometries, dtype=object).copy()
    valid, kind = shapely.is_valid(result), shapely.get_type_id(result)
    single = valid & (kind == GeometryType.POLYGON)
    result[single] = shapely.multipolygons(result[single], indices=np.arange(single.sum()))
    for i in np.flatnonzero(~single & ~(valid & (kind == GeometryType.MULTIPOLYGON))):
        result[i] = polygonal(result[i])
    return result
