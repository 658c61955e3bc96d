"""Boundaries and imagery -> detections in each boundary, measured."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from shapely import MultiPolygon

from detection.chip import Chip
from detection.chips import ChipPlan, plan_chips
from detection.clip import parts_on_lot
from detection.clock import Clock
from detection.errors import ImageryUnavailable, LabelError, NoImagery
from detection.imagery.frame import Frame
from detection.imagery.protocol import Imagery
from detection.labels import Label
from detection.results import ChipInfo, Detection, LotResult
from detection.segmenters.protocol import Mask, Segmenter
from detection.vectorize import Outline, outlines
from parcels.boundary import Boundary
from parcels.errors import ParcelsError
from parcels.measure import areas_m2, polygonal

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Seen:
    """The objects of one label on a chip, in the chip's CRS, with their whole areas."""

    label: Label
    outlines: list[Outline]
    whole_area_m2: NDArray[np.float64]


class Detector:
    """Runs a segmenter over the chips that boundaries need, each chip once."""

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter = segmenter

    def detect(
        self, boundaries: Sequence[Boundary], imagery: Imagery, labels: Sequence[Label]
    ) -> list[LotResult]:
        """One result for each boundary, in their order.

        A boundary without usable imagery, or on a chip that the segmenter failed on, has a
        result that says so; it never stops the others.

        Raises:
            ImageryError: imagery that is configured wrongly.
            LabelError: a label that the segmenter does not find.
        """
        results = dict(self.detect_iter(boundaries, imagery, labels))
        return [results[index] for index in range(len(boundaries))]

    def detect_iter(
        self,
        boundaries: Sequence[Boundary],
        imagery: Imagery,
        labels: Sequence[Label],
        clock: Clock | None = None,
    ) -> Iterator[tuple[int, LotResult]]:
        """`detect`, chip by chip: (index of the boundary, its result) as soon as it is known."""
        clock = clock or Clock()
        self._check(labels)
        with clock.stage("plan"):
            plans, unplanned = plan_chips(boundaries, imagery)
        for index, why in unplanned.items():
            yield index, LotResult(why.status, reason=why.reason, detail=why.detail)
        for plan in plans:
            lots = [boundaries[index] for index in plan.lots]
            yield from zip(plan.lots, self._chip(plan, lots, imagery, labels, clock), strict=True)

    def _check(self, labels: Sequence[Label]) -> None:
        known = self.segmenter.labels
        for label in labels:
            if label.name not in known:
                raise LabelError(
                    f"the segmenter {self.segmenter.name} does not find {label.name!r}: choose "
                    f"from {', '.join(known)}, or another segmenter"
                )

    def _chip(
        self,
        plan: ChipPlan,
        lots: Sequence[Boundary],
        imagery: Imagery,
        labels: Sequence[Label],
        clock: Clock,
    ) -> list[LotResult]:
        """The results of the lots of one chip."""
        try:
            with clock.stage("read"):
                chip = imagery.read(plan.frame, plan.window)
        except NoImagery as error:
            return [LotResult("no_imagery", reason=error.reason, detail=str(error)) for _ in lots]
        except ImageryUnavailable as error:
            return [LotResult("unavailable", reason="imagery", detail=str(error)) for _ in lots]
        try:
            with clock.stage("segment"):
                (masks,) = self.segmenter.segment([chip], labels)
            with clock.stage("vectorize"):
                seen = [_see(mask, chip, plan.frame) for mask in masks]
        except Exception as error:  # whatever a model does, the other chips go on
            log.exception("the segmenter failed on a chip")
            detail = f"{self.segmenter.name} failed: {error}"
            return [LotResult("failed", reason="segmenter", detail=detail) for _ in lots]
        with clock.stage("clip"):
            return [_lot_result(lot, chip, plan.frame, seen) for lot in lots]


def _see(mask: Mask, chip: Chip, frame: Frame) -> _Seen:
    found = outlines(mask, chip)
    return _Seen(mask.label, found, _areas_m2([outline.polygon for outline in found], frame))


def _lot_result(lot: Boundary, chip: Chip, frame: Frame, seen: Sequence[_Seen]) -> LotResult:
    """What was seen on one lot of a chip."""
    try:
        # Rounding in the other CRS can make a ring of a valid lot cross itself.
        geometry = polygonal(frame.from_lonlat(lot.geometry))
        imaged_share = _imaged_share(chip, geometry)
        if imaged_share == 0.0:
            return _not_imaged(chip)
        detections = tuple(d for things in seen for d in _on_lot(things, geometry, chip, frame))
    except (ParcelsError, shapely.GEOSException) as error:
        log.exception("a boundary cannot be measured")
        return LotResult("failed", reason="bad_geometry", detail=str(error))
    return LotResult("detected", detections, imaged_share, _chip_info(chip))


def _not_imaged(chip: Chip) -> LotResult:
    if chip.failed_sources:
        detail = f"imagery cannot be read: {', '.join(chip.failed_sources)}"
        return LotResult("no_imagery", reason="corrupt", detail=detail)
    detail = "the imagery has no usable pixel in the boundary"
    return LotResult("no_imagery", reason="nodata", detail=detail)


def _on_lot(things: _Seen, lot: MultiPolygon, chip: Chip, frame: Frame) -> Iterator[Detection]:
    unit_m = chip.gsd_m / abs(chip.transform.a)
    objects = [outline.polygon for outline in things.outlines]
    parts = parts_on_lot(objects, lot, things.label.kind, unit_m)
    if not parts:
        return
    measured = [polygonal(frame.to_lonlat(part.measured)) for part in parts]
    area_m2 = areas_m2(np.asarray(measured, dtype=object))
    clipped_area_m2 = _areas_m2([part.inside for part in parts], frame)
    for i, part in enumerate(parts):
        yield Detection(
            label=things.label.name,
            prompt=things.label.prompt,
            score=things.outlines[part.index].score,
            relation=part.relation,
            geometry=measured[i],
            area_m2=float(area_m2[i]),
            clipped_area_m2=float(clipped_area_m2[i]),
            whole_area_m2=float(things.whole_area_m2[part.index]),
        )


def _areas_m2(geometries: Sequence[shapely.Geometry], frame: Frame) -> NDArray[np.float64]:
    if not geometries:
        return np.empty(0)
    return np.asarray(areas_m2(frame.to_lonlat(np.asarray(geometries, dtype=object))))


def _imaged_share(chip: Chip, lot: MultiPolygon) -> float:
    """The share of a lot's pixels (by their centres) that the chip shows, 0..1."""
    inside = geometry_mask([lot], chip.valid.shape, chip.transform, invert=True)
    if not inside.any():  # smaller than a pixel: the pixels that it touches
        inside = geometry_mask(
            [lot], chip.valid.shape, chip.transform, all_touched=True, invert=True
        )
    return float(chip.valid[inside].mean()) if inside.any() else 0.0


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
