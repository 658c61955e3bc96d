"""What reviewers decide: one event each, with a version check and an idempotency key."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Literal

import shapely
from fastapi import APIRouter, Header
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection

from parcels.measure import area_m2
from pipeline.errors import VersionConflict
from pipeline.review.access import Reviewer
from pipeline.review.json_response import json_response
from pipeline.review.panel_context import PanelResources
from pipeline.review.parameters import RowKey
from pipeline.review.problems import ProblemError
from pipeline.review.routes.outlines import Outline, outline
from pipeline.review.routes.properties import property_json
from pipeline.store.reads.property_view import (
    PropertyView,
    property_of_detection,
    property_view,
)
from pipeline.store.reviews import verdicts

router = APIRouter(prefix="/v1/review", tags=["review"])


IdempotencyKey = Annotated[str, Header(min_length=8, max_length=200)]
LabelName = Annotated[str, Field(min_length=1, max_length=100)]


class Decision(BaseModel):
    """A decision about a detection; `version` is the one that the reviewer saw."""

    model_config = ConfigDict(extra="ignore")

    action: Literal["accept", "reject", "relabel", "edit", "restore"]
    version: Annotated[int, Field(ge=1, lt=2**31)]
    label: LabelName | None = None
    geometry: Outline | None = None
    note: Annotated[str, Field(max_length=2_000)] = ""


class Addition(BaseModel):
    """An object that no run found."""

    label: LabelName
    geometry: Outline
    note: Annotated[str, Field(max_length=2_000)] = ""


@router.post(
    "/detections/{detection_id}/reviews",
    status_code=HTTPStatus.CREATED,
    response_class=JSONResponse,
)
def decide(
    detection_id: RowKey,
    body: Decision,
    access: Reviewer,
    context: PanelResources,
    idempotency_key: IdempotencyKey,
) -> Response:
    """Decide about a detection; the same key again changes nothing, and answers alike."""
    geometry = None if body.geometry is None else outline(body.geometry)
    with context.engine.begin() as conn:
        key = property_of_detection(conn, detection_id, access.counties)
        try:
            review = _decide(conn, detection_id, body, geometry, access.reviewer, idempotency_key)
        except VersionConflict as error:
            raise _conflict(property_view(conn, key), detection_id, geometry, error) from error
        decided = {
            "review_id": review.id,
            "detection_id": detection_id,
            "property": property_json(property_view(conn, key)),
        }
    return json_response(decided, HTTPStatus.CREATED)


@router.post(
    "/properties/{key}/detections", status_code=HTTPStatus.CREATED, response_class=JSONResponse
)
def add(
    key: RowKey,
    body: Addition,
    access: Reviewer,
    context: PanelResources,
    idempotency_key: IdempotencyKey,
) -> Response:
    """Add an object that no run found; it is accepted."""
    drawn = outline(body.geometry)
    with context.engine.begin() as conn:
        property_view(conn, key, access.counties)  # which may be seen
        review = verdicts.add(
            conn, key, access.reviewer, body.label, drawn, body.note,
            idempotency_key=idempotency_key,
        )  # fmt: skip
        added = {
            "review_id": review.id,
            "detection_id": review.detection_id,
            "property": property_json(property_view(conn, key)),
        }
    return json_response(added, HTTPStatus.CREATED)


def _decide(
    conn: Connection,
    detection_id: int,
    body: Decision,
    geometry: BaseGeometry | None,
    reviewer: str,
    idempotency_key: str,
) -> verdicts.Review:
    common: dict[str, Any] = {
        "note": body.note,
        "idempotency_key": idempotency_key,
        "expected_version": body.version,
    }
    if body.action == "edit":
        if geometry is None:
            raise _missing("geometry", "edit")
        return verdicts.edit(conn, detection_id, reviewer, geometry, **common)
    if body.action == "relabel":
        if body.label is None:
            raise _missing("label", "relabel")
        return verdicts.relabel(conn, detection_id, reviewer, body.label, **common)
    simple = {
        "accept": verdicts.accept,
        "reject": verdicts.reject,
        "restore": verdicts.restore,
    }
    return simple[body.action](conn, detection_id, reviewer, **common)


def _missing(name: str, action: str) -> ProblemError:
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{action} needs {name!r}")


def _conflict(
    view: PropertyView, detection_id: int, geometry: BaseGeometry | None, error: VersionConflict
) -> ProblemError:
    """Both versions: the property as it is now, and the difference to what was drawn, in m²."""
    theirs = next((each for each in view.detections if each.id == detection_id), None)
    difference_m2 = None
    if theirs is not None and geometry is not None:
        difference_m2 = area_m2(shapely.symmetric_difference(geometry, theirs.geometry))
    return ProblemError(
        HTTPStatus.CONFLICT,
        str(error),
        property=property_json(view),
        detection_id=detection_id,
        difference_m2=difference_m2,
    )
