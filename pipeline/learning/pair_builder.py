"""A reviewed property as pairs: reads its chips again and rasterises what people confirmed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import shapely

from detection.chip import Chip
from detection.chip_plan import ChipPlan
from detection.clip import LotLines
from detection.errors import NoImagery
from detection.imagery.interface import ImagerySource
from detection.lot_chips import LotChips
from detection.segmenters import chip_size
from pipeline.learning.coco_file import CocoObject, coco_object
from pipeline.learning.pair import LabelMask, Pair, PairEvent, SegmenterView, StoredFile
from pipeline.learning.pair_images import BinaryMask, chip_tiff, mask_png, pixels_of
from pipeline.store.reads.fully_reviewed import AcceptedObject, ReviewedProperty

Store = Callable[[str, bytes, str], StoredFile]
"""Stores the bytes of a file: (folder, bytes, suffix) -> where."""


@dataclass(frozen=True, slots=True)
class BuiltPair:
    """A pair, and its objects for the COCO file."""

    pair: Pair
    objects: tuple[CocoObject, ...]


@dataclass(frozen=True, slots=True)
class PairSource:
    """A property, how the segmenter saw it, and how its lot lines lie on the imagery."""

    found: ReviewedProperty
    view: SegmenterView
    lines: LotLines

    @property
    def sha256(self) -> str:
        """The hash of all that the pairs follow from."""
        found = self.found
        facts = [
            found.county, found.property_id, found.boundary.version, found.full_review,
            found.labels, found.imagery_sha256, found.measured, found.is_audited,
            [(each.id, each.version, each.label) for each in found.objects],
            [each.id for each in found.events],
            self.view.model_dump(), self.lines.offset_m, self.lines.tolerance_m,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()


def view_of(found: ReviewedProperty, county_gsd_m: float | None) -> SegmenterView:
    """How the segmenter that measured a property last saw it.

    Args:
        county_gsd_m: the pixel size of the county's chips, where its entry sets one.

    Raises:
        SegmenterError: this version of Lotline does not know the segmenter.
    """
    _, name, weights_sha256, _ = found.measured[0]
    size = chip_size(name)
    return SegmenterView(
        name=name,
        weights_sha256=weights_sha256,
        chip_px=size.chip_px,
        chip_gsd_m=county_gsd_m or size.gsd_m,
    )


def chips_of(source: PairSource, imagery: ImagerySource) -> LotChips:
    """The reader of the property's chips; neighbours that were seen alike share chips."""
    return LotChips(imagery, source.view.chip_px, source.view.chip_gsd_m, source.lines)


def build_pairs(source: PairSource, chips: LotChips, store: Store) -> list[BuiltPair]:
    """The pairs of a property, with their files stored.

    Args:
        chips: of `chips_of`.

    Raises:
        ImageryChanged: the imagery is not that which was reviewed.
        ImageryUnavailable, NoImagery, DetectionError: its chips cannot be read.
        ObjectStoreError: a file cannot be stored.
    """
    found = source.found
    plan = chips.plan(found.boundary)
    if found.imagery_sha256 is not None:
        chips.check_imagery(found.boundary, plan, found.imagery_sha256)
    lot = chips.on_grid(found.boundary, plan)
    built = []
    for number, key in enumerate(plan.chip_keys):
        try:
            chip = chips.chip(key)
        except NoImagery:  # a part of a large lot; the rest was measured too
            continue
        judged = pixels_of([lot], (chip.height, chip.width), chip.transform) & chip.valid
        if judged.any():
            seen = replace(chip, view=chips.view(key))
            built.append(_pair(source, plan, number, seen, judged, store))
    return built


def _pair(
    source: PairSource, plan: ChipPlan, number: int, chip: Chip, judged: BinaryMask, store: Store
) -> BuiltPair:
    found = source.found
    # People draw on the imagery, so outlines are not shifted as lots are.
    outlines = {
        each.id: pixels_of(
            [plan.grid.from_lonlat(each.outline)], (chip.height, chip.width), chip.transform
        )
        for each in found.objects
    }
    labels = _labels(found)
    masks = {label: _union(found.objects, label, outlines, judged.shape) for label in labels}
    pair = Pair(
        id=f"{source.sha256[:32]}-{number}",
        source_sha256=source.sha256,
        county=found.county,
        property_id=found.property_id,
        is_audited=found.is_audited,
        exhaustive=True,
        width_px=chip.width,
        height_px=chip.height,
        gsd_m=chip.gsd_m,
        captured_on=chip.captured_on,
        chip=store("chips", chip_tiff(chip), ".tif"),
        chip_sha256=chip.sha256,
        view=None if chip.view is None else store("chips", chip_tiff(chip.view), ".tif"),
        lot=store("masks", mask_png(judged), ".png"),
        boundary=json.loads(shapely.to_geojson(found.boundary.geometry)),
        boundary_source=found.boundary.source,
        boundary_version=found.boundary.version,
        lot_offset_m=source.lines.offset_m,
        line_tolerance_m=source.lines.tolerance_m,
        parcel_ids=found.boundary.parcel_ids,
        segmenter=source.view,
        labels={
            label: LabelMask(
                mask=store("masks", mask_png(mask), ".png"),
                prompt=_prompt(found, label),
                is_exhaustive=label in found.labels,
                objects=sum(
                    each.label == label and bool(outlines[each.id].any()) for each in found.objects
                ),
                area_px=int((mask & judged).sum()),
            )
            for label, mask in masks.items()
        },
        reviewer=found.reviewer,
        reviewed_at=found.reviewed_at,
        events=tuple(
            PairEvent(
                review=each.id, detection=each.detection, action=each.action,
                reviewer=each.reviewer, at=each.created_at,
            )
            for each in found.events
        ),
    )  # fmt: skip
    objects = (
        coco_object(each.id, each.label, outlines[each.id], exhaustive=each.label in found.labels)
        for each in found.objects
    )
    return BuiltPair(pair, tuple(each for each in objects if each is not None))


def _labels(found: ReviewedProperty) -> list[str]:
    """The labels that were reviewed in full, and those of which an object was accepted."""
    return sorted({*found.labels, *(each.label for each in found.objects)})


def _union(
    objects: tuple[AcceptedObject, ...],
    label: str,
    outlines: dict[int, BinaryMask],
    shape: tuple[int, ...],
) -> BinaryMask:
    whole: BinaryMask = np.zeros(shape, bool)
    for each in objects:
        if each.label == label:
            whole |= outlines[each.id]
    return whole


def _prompt(found: ReviewedProperty, label: str) -> str | None:
    return next((prompt for name, _, _, prompt in found.measured if name == label), None)
