"""Checks of outlines that people draw, on the lot that they are for, by the kind of their label.

A continuous label (a lawn) ends at the boundary, a discrete one (a roof) may cross it but must be
on the lot: the rules by which runs assign objects to lots (`detection.clip`), so that what a person
draws and what a run finds there mean the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import shapely
from shapely import MultiPolygon
from shapely.geometry.base import BaseGeometry

from detection.clip import MIN_PART_M2, LotLines
from detection.labels import Label
from parcels.errors import GeometryError
from parcels.measure import area_m2, buffer_m
from pipeline.errors import InvalidOutline
from pipeline.store.results.crossings import require_few_crossings

# Farther from the boundary than this, an outline is on the wrong property or in the wrong place.
MAX_REACH_M = 500.0


@dataclass(frozen=True, slots=True)
class OutlineRules:
    """What a county says of its objects.

    Attributes:
        labels: by name; others count as discrete.
        lines: how well its lot lines fit the imagery.
    """

    labels: Mapping[str, Label]
    lines: LotLines

    @property
    def tolerance_m(self) -> float:
        """How far an outline may cross a lot line that is drawn where the county says it is."""
        return self.lines.tolerance_m + math.hypot(*self.lines.offset_m)


def check_outline(
    outline: MultiPolygon, boundary: BaseGeometry, label: str, rules: OutlineRules
) -> None:
    """Refuse an outline that is no object of its label on this lot.

    Args:
        outline, boundary: valid polygons in EPSG:4326.

    Raises:
        InvalidOutline: it is too small, too far away, leaves the lot, or crosses its boundary too
            often; how to fix it.
    """
    require_few_crossings(outline, boundary)
    size_m2 = area_m2(outline)
    known = rules.labels.get(label)
    least_m2 = MIN_PART_M2 if known is None else min(known.min_area_m2, MIN_PART_M2)
    if size_m2 < least_m2:
        raise InvalidOutline(
            f"the outline has {size_m2:.2g} m², too small for an object: draw at least "
            f"{least_m2:g} m²"
        )
    # Around its hull: so far around thousands of bends of a shore would take minutes.
    if not shapely.covers(buffer_m(shapely.convex_hull(boundary), MAX_REACH_M), outline):
        raise InvalidOutline(
            f"the outline is more than {MAX_REACH_M:g} m away from the property: draw it on the "
            "property, and check that coordinates are longitude, latitude"
        )
    if known is not None and known.kind == "continuous":
        _check_within(outline, boundary, label, rules.tolerance_m)
    else:
        _check_reaches(outline, boundary, label, rules.tolerance_m)


def _check_within(
    outline: MultiPolygon, boundary: BaseGeometry, label: str, tolerance_m: float
) -> None:
    outside = shapely.difference(outline, buffer_m(boundary, tolerance_m))
    if (outside_m2 := area_m2(outside)) >= MIN_PART_M2:
        raise InvalidOutline(
            f"{outside_m2:,.1f} m² of the outline are more than {tolerance_m:g} m outside the "
            f"property, where a {label} does not count: clip it to the boundary (G), or draw that "
            "part on the property that it is on"
        )


def _check_reaches(
    outline: MultiPolygon, boundary: BaseGeometry, label: str, tolerance_m: float
) -> None:
    inside_m2 = area_m2(shapely.intersection(outline, boundary))
    if inside_m2 > area_m2(outline) / 2 or shapely.intersects(
        outline, _core(boundary, tolerance_m)
    ):
        return
    raise InvalidOutline(
        f"the {label} is not on this property: {inside_m2:,.1f} m² of it are inside, within "
        f"{tolerance_m:g} m of the boundary. Draw it on the property that it is on"
    )


def _core(boundary: BaseGeometry, tolerance_m: float) -> BaseGeometry:
    """The boundary without a strip along its lines; empty if it is narrower than two of them."""
    try:
        return buffer_m(boundary, -tolerance_m)
    except GeometryError:
        return MultiPolygon()
