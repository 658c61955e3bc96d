"""Click to mask: an outline from a click or a box, by the segmenter that measured the property."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

import shapely
from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from shapely import Point
from shapely.geometry.base import BaseGeometry

from detection.labels import Label
from pipeline.errors import InvalidOutline
from pipeline.review.access import Reviewer
from pipeline.review.json_response import json_response
from pipeline.review.panel_context import PanelContext, PanelResources
from pipeline.review.problems import ProblemError
from pipeline.review.routes.properties import geometry_json
from pipeline.review.routes.reviews import LabelName
from pipeline.store.reads.click_target import click_target

router = APIRouter(prefix="/v1/review", tags=["review"])

Longitude = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
Latitude = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]


class MaskRequest(BaseModel):
    """A click (longitude, latitude) on an object of a label, or a box (west, south, east, north).

    Exactly one of the two.
    """

    property_key: Annotated[int, Field(ge=1, lt=2**63)]
    label: LabelName
    point: tuple[Longitude, Latitude] | None = None
    box: tuple[Longitude, Latitude, Longitude, Latitude] | None = None


@router.post("/masks", response_class=JSONResponse)
def mask(body: MaskRequest, access: Reviewer, context: PanelResources) -> Response:
    """The outline of the object at a click or in a box; nothing is stored."""
    prompt = _prompt(body)
    with context.engine.connect() as conn:
        target = click_target(conn, body.property_key, body.label, access.counties)
    if not shapely.intersects(target.boundary.geometry, prompt):
        raise InvalidOutline("that is not on the property: click inside its boundary")
    found = context.masks.outline(
        target,
        context.county(target.county),
        lambda: context.imagery(target.county),
        _label(context, target.county, body.label),
        prompt,
    )
    answer = {
        "outline": geometry_json(found.detection.geometry),
        "area_m2": found.detection.area_m2,
        "segmenter": found.segmenter,
        "weights_sha256": found.weights_sha256,
    }
    return json_response(answer)


def _prompt(body: MaskRequest) -> BaseGeometry:
    if (body.point is None) == (body.box is None):
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "write a point or a box: one of the two"
        )
    if body.point is not None:
        return Point(body.point)
    assert body.box is not None  # noqa: S101 - one of the two
    west, south, east, north = body.box
    if not (west < east and south < north):
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "a box is west, south, east, north: it has no area"
        )
    return shapely.box(west, south, east, north)


def _label(context: PanelContext, county: str, name: str) -> Label:
    known = context.outline_rules(county).labels.get(name)
    if known is None:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"{name!r} has no prompt for the segmenter: add it to the county's `labels:`, or draw "
            "the outline",
        )
    return known
