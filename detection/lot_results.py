"""Masks of a mosaic -> the result of each of its lots, measured; all lots at once.

Continuous things are outlined once for each lot, within its own window: neighbours see the same
edges, and what a lot gets does not depend on which other lots are asked for. Discrete things
are outlined once, whole.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from shapely import GeometryType, MultiPolygon, STRtree

from detection.chip_plan import CONTEXT_BUFFER_M
from detection.clip import LotLines, Parts, continuous_parts, discrete_parts
from detection.mosaic import Mosaic
from detection.results import Detection, LotResult
from detection.segmenters.interface import Mask
from detection.vectorize import Outlines, crop_mask, vectorize_masks
from parcels.boundary import Boundary
from parcels.errors import ParcelsError
from parcels.measure import areas_beside_m2, areas_m2, polygonal

log = logging.getLogger(__name__)

_Lots = NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class _Near:
    """Objects of one kind and the lots (by index) that they may lie on; n pairs."""

    objects: Outlines
    of_lot: NDArray[np.intp]


def lot_results(
    boundaries: Sequence[Boundary],
    mosaic: Mosaic,
    masks: Sequence[Mask],
    lines: LotLines | None = None,
) -> list[LotResult]:
    """A result for each boundary on a mosaic; one that cannot be measured fails alone.

    A continuous label's detections are the connected parts inside the boundary. The whole object
    is what lies in the boundary's bounds and `CONTEXT_BUFFER_M` around, in full cells; a
    discrete label's is all of it.

    Args:
        boundaries: whose bounds, with `CONTEXT_BUFFER_M` round them, lie in the mosaic.
        masks: on the mosaic's grid, of all labels; they are the order of a result's detections.
        lines: how the boundaries lie on the imagery.

    Raises:
        ValueError: a mask that does not fit its grid, or a field that is not finite.
    """
    lines = lines or LotLines()
    try:
        return _results(boundaries, mosaic, masks, lines)
    except (ParcelsError, shapely.GEOSException) as error:
        if len(boundaries) > 1:  # the other half is not to fail with it
            middle = len(boundaries) // 2
            halves = boundaries[:middle], boundaries[middle:]
            return [result for half in halves for result in lot_results(half, mosaic, masks, lines)]
        log.warning("a boundary cannot be measured: %s", error)
        log.debug("where it happened", exc_info=True)
        return [LotResult("failed", reason="bad_geometry", detail=str(error))]


def _results(
    boundaries: Sequence[Boundary], mosaic: Mosaic, masks: Sequence[Mask], lines: LotLines
) -> list[LotResult]:
    lonlat = np.array([boundary.geometry for boundary in boundaries], dtype=object)
    # Rounding in the other CRS can make a ring of a valid lot cross itself.
    lots = _multipolygons(mosaic.grid.from_lonlat(lonlat))
    lots = lines.align_to_imagery(boundaries, lots, mosaic.grid.unit_m)
    shares = _imaged_shares(lots, mosaic)
    imaged = np.flatnonzero(shares)
    detections = _detections(lots[imaged], mosaic, masks, lines)
    results = [_not_imaged(mosaic)] * len(boundaries)
    for found, index in zip(detections, imaged, strict=True):
        results[index] = LotResult("detected", found, float(shares[index]), mosaic.info)
    return results


def _not_imaged(mosaic: Mosaic) -> LotResult:
    if mosaic.failed_sources:
        detail = f"imagery cannot be read: {', '.join(mosaic.failed_sources)}"
        return LotResult("no_imagery", reason="corrupt", detail=detail)
    detail = "the imagery has no usable pixel in the boundary"
    return LotResult("no_imagery", reason="nodata", detail=detail)


def _detections(
    lots: _Lots, mosaic: Mosaic, masks: Sequence[Mask], lines: LotLines
) -> list[tuple[Detection, ...]]:
    """What counts for each lot (in the mosaic's CRS), of all masks, measured in one go."""
    unit_m = mosaic.grid.unit_m
    things, cover = _near(lots, mosaic, masks)
    whole_or_shared = discrete_parts(
        things.objects.polygons, lots, things.of_lot, lines.tolerance_m, unit_m
    )
    trimmed = continuous_parts(cover.objects.polygons, lots, cover.of_lot, unit_m)
    rows = _measured(things, whole_or_shared, mosaic, masks)
    rows += _measured(cover, trimmed, mosaic, masks)
    rows.sort(key=lambda row: row[:2])
    found: list[list[Detection]] = [[] for _ in lots]
    for lot, _, detection in rows:
        found[lot].append(detection)
    return [tuple(each) for each in found]


def _near(lots: _Lots, mosaic: Mosaic, masks: Sequence[Mask]) -> tuple[_Near, _Near]:
    """The discrete and the continuous objects that may lie on the lots."""
    margin = CONTEXT_BUFFER_M / mosaic.grid.unit_m
    windows = shapely.bounds(lots) + np.array([-margin, -margin, margin, margin])
    looks: list[Mask] = []  # what is to be outlined: masks, and windows of masks
    of_mask, of_lot = [], []
    for number, mask in enumerate(masks):
        if mask.label.kind == "discrete" or mask.label.simplify_share:
            looks.append(mask)
            of_mask.append(number)
            of_lot.append(-1)
            continue
        for lot, look in enumerate(crop_mask(mask, mosaic, windows)):
            if look is not None:
                looks.append(look)
                of_mask.append(number)
                of_lot.append(lot)
    seen = vectorize_masks(looks, mosaic)
    lot_of = np.array(of_lot, dtype=np.intp)[seen.masks]
    seen = Outlines(seen.polygons, seen.scores, np.array(of_mask, dtype=np.intp)[seen.masks])
    discrete = np.array([mask.label.kind == "discrete" for mask in masks], dtype=bool)[seen.masks]
    windowed = lot_of >= 0
    return (
        _on_lots(seen[discrete], lots),
        _both(
            _Near(seen[windowed], lot_of[windowed]),
            _in_windows(seen[~windowed & ~discrete], windows, masks, mosaic.grid.unit_m),
        ),
    )


def _on_lots(objects: Outlines, lots: _Lots) -> _Near:
    lot, index = STRtree(objects.polygons).query(lots)
    return _Near(objects[index], lot)


def _in_windows(
    objects: Outlines, windows: NDArray[np.float64], masks: Sequence[Mask], unit_m: float
) -> _Near:
    """What is seen in each lot's window of whole objects, connected part by connected part."""
    boxes = shapely.box(*windows.T)
    lot, index = STRtree(objects.polygons).query(boxes, predicate="intersects")
    seen = shapely.intersection(objects.polygons[index], boxes[lot])
    pieces, of = shapely.get_parts(seen, return_index=True)
    least_m2 = np.array([mask.label.min_area_m2 for mask in masks])[objects.masks[index][of]]
    area_m2 = shapely.area(pieces) * unit_m**2
    kept = (area_m2 > 0) & (area_m2 >= least_m2)
    of = of[kept]
    whole = objects[index[of]]
    return _Near(Outlines(pieces[kept], whole.scores, whole.masks), lot[of])


def _both(one: _Near, other: _Near) -> _Near:
    a, b = one.objects, other.objects
    objects = Outlines(
        np.concatenate([a.polygons, b.polygons]),
        np.concatenate([a.scores, b.scores]),
        np.concatenate([a.masks, b.masks]),
    )
    return _Near(objects, np.concatenate([one.of_lot, other.of_lot]))


def _measured(
    near: _Near, parts: Parts, mosaic: Mosaic, masks: Sequence[Mask]
) -> list[tuple[int, int, Detection]]:
    """(lot, mask, detection) for each part."""
    if not len(parts):
        return []
    geometries = _multipolygons(mosaic.grid.to_lonlat(parts.measured))
    area_m2 = areas_m2(geometries)
    whole = near.objects[parts.objects]
    # One area is made of corners on the ground; the other two lie beside it.
    measured = shapely.area(parts.measured), area_m2
    clipped_area_m2 = areas_beside_m2(shapely.area(parts.inside), *measured)
    whole_area_m2 = areas_beside_m2(shapely.area(whole.polygons), *measured)
    lots = near.of_lot[parts.objects]
    return [
        (
            int(lots[i]),
            int(whole.masks[i]),
            Detection(
                label=masks[whole.masks[i]].label.name,
                prompt=masks[whole.masks[i]].label.prompt,
                score=float(whole.scores[i]),
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
    """Valid multipolygons of polygonal geometries; most need no repair, which is slow."""
    made = np.asarray(geometries, dtype=object).copy()
    valid, kind = shapely.is_valid(made), shapely.get_type_id(made)
    single = valid & (kind == GeometryType.POLYGON)
    made[single] = shapely.multipolygons(made[single], indices=np.arange(single.sum()))
    for i in np.flatnonzero(~single & ~(valid & (kind == GeometryType.MULTIPOLYGON))):
        made[i] = polygonal(made[i])
    return made


def _imaged_shares(lots: _Lots, mosaic: Mosaic) -> NDArray[np.float64]:
    """The share of each lot's pixels (by their centres) that the mosaic shows, 0..1."""
    if mosaic.valid.all():
        return np.ones(len(lots))
    return np.array([_imaged_share(lot, mosaic) for lot in lots])


def _imaged_share(lot: MultiPolygon, mosaic: Mosaic) -> float:
    window = mosaic.grid.window_from_bounds(lot.bounds)
    row, column = window.row - mosaic.window.row, window.column - mosaic.window.column
    valid = mosaic.valid[row : row + window.height, column : column + window.width]
    transform = mosaic.grid.transform(window)
    inside = geometry_mask([lot], valid.shape, transform, invert=True)
    if not inside.any():  # smaller than a pixel: the pixels that it touches
        inside = geometry_mask([lot], valid.shape, transform, all_touched=True, invert=True)
    return float(valid[inside].mean()) if inside.any() else 0.0
