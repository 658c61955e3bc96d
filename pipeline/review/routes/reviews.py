"""What reviewers decide: one event each, with a version check and an idempotency key."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any, Literal

import shapely
from fastapi import APIRouter, Header
from fastapi.responses import JSONResponse, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from shapely import MultiPolygon
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Connection

from detection.registry.label_entry import label_name
from parcels.measure import area_m2
from pipeline.errors import NotStored, VersionConflict
from pipeline.review.access import Reviewer
from pipeline.review.json_response import json_response
from pipeline.review.panel_context import PanelContext, PanelResources
from pipeline.review.parameters import RowKey
from pipeline.review.problems import ProblemError
from pipeline.review.routes.outlines import Outline, outline
from pipeline.review.routes.properties import property_json
from pipeline.store.reads.property_view import (
    PropertyView,
    property_of_detection,
    property_view,
)
from pipeline.store.results.crossings import require_few_crossings
from pipeline.store.reviews import undo, verdicts
from pipeline.store.reviews.events import Review, is_sent_before
from pipeline.store.reviews.full_reviews import mark_fully_reviewed, withdraw_full_review
from pipeline.store.reviews.leases import require_property
from pipeline.store.reviews.outline_checks import check_outline
from pipeline.store.reviews.tokens import Access

router = APIRouter(prefix="/v1/review", tags=["review"])


IdempotencyKey = Annotated[str, Header(min_length=8, max_length=200)]
LabelName = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(label_name)]


class Decision(BaseModel):
    """A decision about a detection; `version` is the one that the reviewer saw."""

    model_config = ConfigDict(extra="ignore")

    action: Literal["accept", "reject", "relabel", "edit", "restore", "delete"]
    version: Annotated[int, Field(ge=1, lt=2**31)]
    label: LabelName | None = None
    geometry: Outline | None = None
    note: Annotated[str, Field(max_length=2_000)] = ""


class UndoRequest(BaseModel):
    """`version` is the detection's that the reviewer saw."""

    version: Annotated[int, Field(ge=1, lt=2**31)]
    note: Annotated[str, Field(max_length=2_000)] | None = None


class FullReviewMark(BaseModel):
    """Whether every object of the property's measured labels is decided, and none is missing."""

    fully_reviewed: bool
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
        if body.action == "edit":
            view = property_view(conn, key)
            check_edit(conn, context, view, detection_id, body, geometry, idempotency_key)
        try:
            review = write_decision(
                conn, detection_id, body, geometry, access.reviewer, idempotency_key
            )
        except VersionConflict as error:
            raise conflict_problem(
                property_view(conn, key), detection_id, geometry, error
            ) from error
        return _saved(conn, review, key)


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
        view = property_view(conn, key, access.counties)  # which may be seen
        review = write_addition(conn, context, view, body, drawn, access.reviewer, idempotency_key)
        return _saved(conn, review, key)


@router.post(
    "/events/{review_id}/undo", status_code=HTTPStatus.CREATED, response_class=JSONResponse
)
def undo_review(
    review_id: RowKey,
    body: UndoRequest,
    access: Reviewer,
    context: PanelResources,
    idempotency_key: IdempotencyKey,
) -> Response:
    """Take back what the reviewer decided; it must be the last decision about its detection."""
    return _take_back(undo.undo, review_id, body, access, context, idempotency_key)


@router.post(
    "/events/{review_id}/redo", status_code=HTTPStatus.CREATED, response_class=JSONResponse
)
def redo_review(
    review_id: RowKey,
    body: UndoRequest,
    access: Reviewer,
    context: PanelResources,
    idempotency_key: IdempotencyKey,
) -> Response:
    """Decide again what was taken back: `review_id` is the event that was undone."""
    return _take_back(undo.redo, review_id, body, access, context, idempotency_key)


@router.post("/properties/{key}/fully-reviewed", response_class=JSONResponse)
def mark(
    key: RowKey,
    body: FullReviewMark,
    access: Reviewer,
    context: PanelResources,
    idempotency_key: IdempotencyKey,
) -> Response:
    """Mark a property as fully reviewed, or withdraw the mark."""
    write = mark_fully_reviewed if body.fully_reviewed else withdraw_full_review
    with context.engine.begin() as conn:
        require_property(conn, key, access.counties)
        write(conn, key, access.reviewer, body.note, idempotency_key=idempotency_key)
        return json_response({"property": property_json(property_view(conn, key))})


def _take_back(
    act: Callable[..., Review],
    review_id: int,
    body: UndoRequest,
    access: Access,
    context: PanelContext,
    idempotency_key: str,
) -> Response:
    with context.engine.begin() as conn:
        detection_id = undo.detection_of_event(conn, review_id)
        try:
            key = property_of_detection(conn, detection_id, access.counties)
        except NotStored as error:
            raise NotStored(f"there is no review {review_id}") from error
        try:
            review = act(
                conn,
                review_id,
                access.reviewer,
                body.note,
                idempotency_key=idempotency_key,
                expected_version=body.version,
            )
        except VersionConflict as error:
            raise conflict_problem(property_view(conn, key), detection_id, None, error) from error
        return _saved(conn, review, key)


def _saved(conn: Connection, review: Review, key: int) -> Response:
    """What was saved, and the property as it is then."""
    saved = {
        "review_id": review.id,
        "detection_id": review.detection_id,
        "property": property_json(property_view(conn, key)),
    }
    return json_response(saved, HTTPStatus.CREATED)


def check_edit(
    conn: Connection,
    context: PanelContext,
    view: PropertyView,
    detection_id: int,
    body: Decision,
    geometry: MultiPolygon | None,
    idempotency_key: str,
) -> None:
    """Refuse an edited outline that is no object of its label on the property.

    What is stored already was checked, maybe with another label or boundary than today's.
    """
    if is_sent_before(conn, idempotency_key):
        return
    detection = next((each for each in view.detections if each.id == detection_id), None)
    if body.action == "edit" and geometry and view.boundary and detection:
        rules = context.outline_rules(view.county)
        check_outline(geometry, view.boundary, detection.label, rules)
        require_few_crossings(geometry, detection.geometry)  # their difference is told


def write_addition(
    conn: Connection,
    context: PanelContext,
    view: PropertyView,
    body: Addition,
    drawn: MultiPolygon,
    reviewer: str,
    idempotency_key: str,
) -> Review:
    """Check the outline of a drawn object, and store it.

    Raises:
        InvalidOutline: it is no object of its label on the property.
        StoreError: the property has no boundary.
    """
    if view.boundary is not None and not is_sent_before(conn, idempotency_key):
        check_outline(drawn, view.boundary, body.label, context.outline_rules(view.county))
    return verdicts.add(
        conn, view.key, reviewer, body.label, drawn, body.note, idempotency_key=idempotency_key
    )


def write_decision(
    conn: Connection,
    detection_id: int,
    body: Decision,
    geometry: BaseGeometry | None,
    reviewer: str,
    idempotency_key: str,
) -> Review:
    """Store a decision about a detection; the version that was seen must be the stored one.

    Raises:
        VersionConflict: it is not.
        StoreError: the detection's state does not allow it.
    """
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
        "delete": verdicts.delete,
    }
    return simple[body.action](conn, detection_id, reviewer, **common)


def _missing(name: str, action: str) -> ProblemError:
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{action} needs {name!r}")


def conflict_problem(
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
