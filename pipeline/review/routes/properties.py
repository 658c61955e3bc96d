"""A property at hand, its neighbours in the list, and the history of its detections."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry

from pipeline.review.access import Viewer
from pipeline.review.json_response import json_response
from pipeline.review.panel_context import PanelResources
from pipeline.review.parameters import RowKey
from pipeline.store.reads.property_view import (
    DetectionView,
    PropertyView,
    counties_of,
    property_view,
    review_history,
)
from pipeline.store.reviews.work_list import WorkFilter, next_property

router = APIRouter(prefix="/v1/review", tags=["review"])


Text = Annotated[str | None, Query(max_length=200)]


@router.get("/counties")
def counties(access: Viewer, context: PanelResources) -> list[dict[str, Any]]:
    """The counties that have properties."""
    with context.engine.connect() as conn:
        return counties_of(conn, access.counties)


@router.get("/next")
def next_in_list(
    access: Viewer,
    context: PanelResources,
    county: Text = None,
    label: Text = None,
    state: Text = None,
    source: Text = None,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
) -> dict[str, int | None]:
    """The key of the next property with detections as filtered, after a key; None at the end."""
    wanted = WorkFilter(county, label, state, source)
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
    return json_response(
        [{**asdict(event), "geometry": geometry_json(event.geometry)} for event in events]
    )


def property_json(view: PropertyView) -> dict[str, Any]:
    """A property for the page; coordinates have all their digits."""
    document: dict[str, Any] = {
        name: getattr(view, name)
        for name in _names(PropertyView)
        if name not in ("boundary", "detections")
    }
    return {
        **document,
        "boundary": geometry_json(view.boundary),
        "detections": [detection_json(each) for each in view.detections],
    }


def detection_json(view: DetectionView) -> dict[str, Any]:
    """A detection for the page."""
    document = {name: getattr(view, name) for name in _names(DetectionView) if name != "geometry"}
    return {**document, "geometry": geometry_json(view.geometry)}


def _names(kind: type[PropertyView | DetectionView]) -> list[str]:
    return [each.name for each in fields(kind)]


def geometry_json(geometry: BaseGeometry | None) -> dict[str, Any] | None:
    """GeoJSON of a geometry."""
    return None if geometry is None else mapping(geometry)
