"""An object without an id: the property that it is on, and whether it is stored already."""

from __future__ import annotations

from collections.abc import Sequence

import shapely
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection

from parcels.measure import area_m2, iou
from parcels.untrusted import sanitize_text
from pipeline.review.corrections.correction import UnusableValue
from pipeline.store.reads.corrected import LotAt, NearbyDetection, live_detections, lots_at
from pipeline.store.results.crossings import require_few_crossings

# As much of an object must be inside the boundary of its property.
MIN_INSIDE = 0.5
# Outlines that overlap by at least this IoU are the same object, as for a run's findings.
SAME_OBJECT_IOU = 0.5
# What a person drew anew over the pixels of a mask.
UNCHANGED_IOU = 0.98


def property_of(
    conn: Connection, county: str, outline: BaseGeometry, property_id: str | None
) -> LotAt:
    """The property in whose boundary at least half of an outline is.

    A lot goes before a circle of 30 m, which says nothing about whose ground it is.

    Raises:
        UnusableValue: there is none, or there are several, with what to do.
        InvalidOutline: the outline crosses a boundary too often.
    """
    near = lots_at(conn, county, outline)
    for lot in near:
        require_few_crossings(outline, lot.boundary)
    size_m2 = area_m2(outline)
    shares = {
        lot.key: area_m2(shapely.intersection(outline, lot.boundary)) / size_m2 for lot in near
    }
    holding = [lot for lot in near if shares[lot.key] >= MIN_INSIDE]
    if property_id is not None:
        named = [lot for lot in holding if lot.property_id == property_id]
        if len(named) != 1:
            raise UnusableValue(
                f"not half of it is in the boundary of {sanitize_text(property_id, 60)!r}"
                f"{_of_others(holding)}: correct property_id, or leave it blank"
            )
        return named[0]
    lots = [lot for lot in holding if lot.source == "lot"] or holding
    if len(lots) == 1:
        return lots[0]
    if lots:
        names = ", ".join(sanitize_text(lot.property_id, 40) for lot in lots[:5])
        raise UnusableValue(
            f"{len(lots)} properties have the ground ({names}): write the one it is on in the "
            "column property_id"
        )
    if near:
        parts = ", ".join(
            f"{sanitize_text(lot.property_id, 40)} {shares[lot.key]:.0%}" for lot in near[:5]
        )
        raise UnusableValue(
            f"no property has half of it ({parts}): split it along the lot line, one object for "
            "each property"
        )
    raise UnusableValue(
        "it is in no boundary of the county's properties: add the property to the properties "
        "file and run `lotline batch` first"
    )


def _of_others(holding: Sequence[LotAt]) -> str:
    names = ", ".join(sanitize_text(lot.property_id, 40) for lot in holding[:5])
    return f", but in that of {names}" if names else ""


def same_object(
    conn: Connection, property_fk: int, label: str, outline: BaseGeometry
) -> tuple[NearbyDetection, float] | None:
    """The stored object of the label that an outline shows, and the IoU of the two.

    Raises:
        InvalidOutline: the outline crosses a stored one too often.
    """
    live = live_detections(conn, property_fk, label)
    near = [each for each in live if shapely.intersects(each.outline, outline)]
    for each in near:
        require_few_crossings(outline, each.outline)
    scored = [(each, iou(each.outline, outline)) for each in near]
    best = max(scored, key=lambda pair: pair[1], default=None)
    return best if best is not None and best[1] >= SAME_OBJECT_IOU else None
