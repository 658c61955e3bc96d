"""A property at hand, its neighbours in the list, and the history of its detections."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any

import shapely
from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry

from detection.caveats import segmenter_caveats
from detection.results import FULL_COVERAGE_FRACTION
from detection.segmenters import can_prompt
from parcels.measure import area_m2
from pipeline.report.area_notes import overlap_notes
from pipeline.review.access import Viewer
from pipeline.review.json_response import json_response
from pipeline.review.panel_context import PanelResources
from pipeline.review.parameters import RowKey
from pipeline.store.reads.property_view import (
    DetectionView,
    PropertyView,
    ReviewEvent,
    counties_of,
    property_view,
    review_history,
)
from pipeline.store.reviews.work_list import WorkFilter, next_property

router = APIRouter(prefix="/v1/review", tags=["review"])


Text = Annotated[str | None, Query(max_length=200)]


@router.get("/counties")
def counties(access: Viewer, context: PanelResources) -> list[dict[str, Any]]:
    """The counties that have properties; `synthetic` is null where no registry says it."""
    with context.engine.connect() as conn:
        found = counties_of(conn, access.counties)
    return [{**each, "synthetic": context.is_synthetic(each["county"])} for each in found]


@router.get("/next")
def next_in_list(
    access: Viewer,
    context: PanelResources,
    county: Text = None,
    label: Text = None,
    state: Text = None,
    source: Text = None,
    run: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
) -> dict[str, int | None]:
    """The key of the next property with detections as filtered, after a key; None at the end."""
    wanted = WorkFilter(county, label, state, source, run)
    with context.engine.connect() as conn:
        return {"key": next_property(conn, wanted, after, access.counties)}


@router.get("/properties/{key}", response_class=JSONResponse)
def show(key: RowKey, access: Viewer, context: PanelResources) -> Response:
    """A property with its boundary, its detections and its areas."""
    with context.engine.connect() as conn:
        return json_response(property_json(property_view(conn, key, access.counties)))


@router.get("/detections/{detection_id}/history", response_class=JSONResponse)
def history(detection_id: RowKey, access: Viewer, context: PanelResources) -> Response:
    """What people decided about a detection, oldest first."""
    with context.engine.connect() as conn:
        events = review_history(conn, detection_id, access.counties)
    return json_response([_event_json(each) for each in events])


def _event_json(event: ReviewEvent) -> dict[str, Any]:
    document = {name: getattr(event, name) for name in _names(ReviewEvent)}
    del document["geometry_before"]
    return {
        **document,
        "geometry": geometry_json(event.geometry),
        "outline": _outline_change(event),
    }


def _outline_change(event: ReviewEvent) -> dict[str, float] | None:
    """The area before and after an event, and of the ground that only one of both covers, in m²."""
    before, after = event.geometry_before, event.geometry
    if before is None or after is None or event.action == "add":
        return None
    changed_m2 = area_m2(shapely.symmetric_difference(before, after))
    if changed_m2 == 0:
        return None
    return {"before_m2": area_m2(before), "after_m2": area_m2(after), "changed_m2": changed_m2}


def property_json(view: PropertyView) -> dict[str, Any]:
    """A property for the page; coordinates have all their digits."""
    document: dict[str, Any] = {
        name: getattr(view, name)
        for name in _names(PropertyView)
        if name not in ("boundary", "detections", "label_contains")
    }
    return {
        **document,
        "boundary": geometry_json(view.boundary),
        "is_partly_imaged": is_partly_imaged(view.coverage_fraction),
        "measured_by": [
            {"segmenter": name, "caveats": segmenter_caveats(name)} for name in view.segmenters
        ],
        "area_notes": overlap_notes(view.areas_m2, view.label_contains),
        "can_click_to_mask": any(map(can_prompt, view.segmenters)),
        "detections": [detection_json(each) for each in view.detections],
    }


def is_partly_imaged(coverage_fraction: float | None) -> bool | None:
    """Whether part of a boundary has no imagery; None if that is not known."""
    return None if coverage_fraction is None else coverage_fraction < FULL_COVERAGE_FRACTION


def detection_json(view: DetectionView) -> dict[str, Any]:
    """A detection for the page."""
    document = {name: getattr(view, name) for name in _names(DetectionView) if name != "geometry"}
    return {**document, "geometry": geometry_json(view.geometry)}


def _names(kind: type[PropertyView | DetectionView | ReviewEvent]) -> list[str]:
    return [each.name for each in fields(kind)]


def geometry_json(geometry: BaseGeometry | None) -> dict[str, Any] | None:
    """GeoJSON of a geometry."""
    return None if geometry is None else mapping(geometry)
