"""What was seen on a chip -> the result of each of its lots, measured."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from shapely import MultiPolygon, Polygon, STRtree

from detection.chip import Chip
from detection.clip import Part, parts_on_lot
from detection.imagery.frame import Frame
from detection.labels import Label
from detection.results import ChipInfo, Detection, LotResult
from detection.segmenters.protocol import Mask
from detection.vectorize import outlines
from parcels.boundary import Boundary
from parcels.errors import ParcelsError
from parcels.measure import areas_m2, polygonal

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seen:
    """The objects of one mask of a chip: n polygons in the chip's CRS, and their whole areas."""

    label: Label
    polygons: NDArray[np.object_]
    scores: list[float]
    whole_area_m2: NDArray[np.float64]
    tree: STRtree


def see(mask: Mask, chip: Chip, frame: Frame) -> Seen:
    """The objects of a mask.

    Raises:
        ValueError: a mask that is not on the chip's grid.
    """
    found = outlines(mask, chip)
    polygons = np.array([outline.polygon for outline in found], dtype=object)
    whole_area_m2 = areas_m2(frame.to_lonlat(polygons)) if found else np.empty(0)
    scores = [outline.score for outline in found]
    return Seen(mask.label, polygons, scores, whole_area_m2, STRtree(polygons))


def lot_results(
    lots: Sequence[Boundary], chip: Chip, frame: Frame, seen: Sequence[Seen]
) -> list[LotResult]:
    """A result for each lot of a chip; a lot that cannot be measured fails alone."""
    info = _chip_info(chip)
    return [_lot_result(lot, chip, info, frame, seen) for lot in lots]


def _lot_result(
    lot: Boundary, chip: Chip, info: ChipInfo, frame: Frame, seen: Sequence[Seen]
) -> LotResult:
    try:
        # Rounding in the other CRS can make a ring of a valid lot cross itself.
        geometry = polygonal(frame.from_lonlat(lot.geometry))
        imaged_share = _imaged_share(chip, frame, geometry)
        if imaged_share == 0.0:
            return _not_imaged(chip)
        detections = _detections(geometry, chip, frame, seen)
    except (ParcelsError, shapely.GEOSException) as error:
        log.warning("a boundary cannot be measured: %s", error)
        log.debug("where it happened", exc_info=True)
        return LotResult("failed", reason="bad_geometry", detail=str(error))
    return LotResult("detected", detections, imaged_share, info)


def _not_imaged(chip: Chip) -> LotResult:
    if chip.failed_sources:
        detail = f"imagery cannot be read: {', '.join(chip.failed_sources)}"
        return LotResult("no_imagery", reason="corrupt", detail=detail)
    detail = "the imagery has no usable pixel in the boundary"
    return LotResult("no_imagery", reason="nodata", detail=detail)


def _detections(
    lot: MultiPolygon, chip: Chip, frame: Frame, seen: Sequence[Seen]
) -> tuple[Detection, ...]:
    """What counts for a lot (in the chip's CRS), of all labels, measured in one go."""
    found = [(things, part) for things in seen for part in _parts(things, lot, chip)]
    if not found:
        return ()
    both = [part.measured for _, part in found] + [part.inside for _, part in found]
    lonlat = frame.to_lonlat(np.array(both, dtype=object))
    measured = _multipolygons(lonlat[: len(found)])
    area_m2 = areas_m2(measured)
    clipped_area_m2 = areas_m2(lonlat[len(found) :])
    return tuple(
        Detection(
            label=things.label.name,
            prompt=things.label.prompt,
            score=things.scores[part.index],
            relation=part.relation,
            geometry=measured[i],
            area_m2=float(area_m2[i]),
            clipped_area_m2=float(clipped_area_m2[i]),
            whole_area_m2=float(things.whole_area_m2[part.index]),
        )
        for i, (things, part) in enumerate(found)
    )


def _parts(things: Seen, lot: MultiPolygon, chip: Chip) -> list[Part]:
    near = np.sort(things.tree.query(lot))
    unit_m = chip.gsd_m / abs(chip.transform.a)
    parts = parts_on_lot(things.polygons[near], lot, things.label.kind, unit_m)
    return [Part(int(near[p.index]), p.relation, p.measured, p.inside) for p in parts]


def _multipolygons(geometries: NDArray[np.object_]) -> list[MultiPolygon]:
    """Valid multipolygons of polygonal geometries; most need no repair, which is slow."""
    made: list[MultiPolygon] = []
    for geometry, valid in zip(geometries, shapely.is_valid(geometries), strict=True):
        if valid and isinstance(geometry, MultiPolygon):
            made.append(geometry)
        elif valid and isinstance(geometry, Polygon):
            made.append(MultiPolygon([geometry]))
        else:
            made.append(polygonal(geometry))
    return made


def _imaged_share(chip: Chip, frame: Frame, lot: MultiPolygon) -> float:
    """The share of a lot's pixels (by their centres) that the chip shows, 0..1."""
    if chip.valid.all():
        return 1.0
    window = frame.window_over(lot.bounds)
    transform = frame.transform(window)
    left, top = ~chip.transform @ (transform.c, transform.f)
    row, column = round(top), round(left)
    valid = chip.valid[row : row + window.height, column : column + window.width]
    inside = geometry_mask([lot], valid.shape, transform, invert=True)
    if not inside.any():  # smaller than a pixel: the pixels that it touches
        inside = geometry_mask([lot], valid.shape, transform, all_touched=True, invert=True)
    return float(valid[inside].mean()) if inside.any() else 0.0


def _chip_info(chip: Chip) -> ChipInfo:
    return ChipInfo(
        sha256=chip.sha256,
        sources=chip.sources,
        captured_on=chip.captured_on,
        crs=chip.crs.to_string(),
        gsd_m=chip.gsd_m,
        bands=chip.bands,
        bounds=chip.bounds,
    )
