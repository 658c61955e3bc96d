"""Decisions about one property that belong together: all of them are stored, or none.

A shared edge moves in two outlines, a split keeps one object and adds another, a union keeps one
and deletes another: a part of such a change would leave a gap or an overlap.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from parcels.errors import GeometryError
from pipeline.errors import InvalidOutline, NotStored, StoreError, VersionConflict
from pipeline.review.access import Reviewer
from pipeline.review.json_response import json_response
from pipeline.review.panel_context import PanelContext, PanelResources
from pipeline.review.parameters import RowKey
from pipeline.review.problems import ProblemError, status_of
from pipeline.review.routes.outlines import outline
from pipeline.review.routes.properties import property_json
from pipeline.review.routes.reviews import (
    Addition,
    Decision,
    IdempotencyKey,
    check_edit,
    conflict_problem,
    write_addition,
    write_decision,
)
from pipeline.store.reads.property_view import (
    PropertyView,
    property_of_detection,
    property_view,
)
from pipeline.store.reviews.events import Review
from pipeline.store.reviews.tokens import Access

router = APIRouter(prefix="/v1/review", tags=["review"])

MAX_DECISIONS = 200


class DecisionAbout(Decision):
    """A decision about a detection of the property."""

    detection_id: Annotated[int, Field(ge=1, lt=2**63)]


class JointAddition(Addition):
    """An object that is drawn together with other decisions."""

    action: Literal["add"]


JointDecision = Annotated[DecisionAbout | JointAddition, Field(discriminator="action")]


class JointDecisions(BaseModel):
    """Decisions in the order in which they are stored."""

    model_config = ConfigDict(extra="ignore")

    decisions: Annotated[list[JointDecision], Field(min_length=1, max_length=MAX_DECISIONS)]


@router.post(
    "/properties/{key}/reviews", status_code=HTTPStatus.CREATED, response_class=JSONResponse
)
def decide_together(
    key: RowKey,
    body: JointDecisions,
    access: Reviewer,
    context: PanelResources,
    idempotency_key: IdempotencyKey,
) -> Response:
    """Store several decisions about a property: all of them, or none.

    Each is an event of its own, under the key of the request with its number (`KEY.0`, `KEY.1`, …).
    """
    with context.engine.begin() as conn:
        property_view(conn, key, access.counties)  # which may be seen
        reviews: list[Review] = []
        try:
            with conn.begin_nested():
                for number, decision in enumerate(body.decisions):
                    own_key = f"{idempotency_key}.{number}"
                    reviews.append(_write(conn, context, key, decision, access, own_key))
        except (StoreError, GeometryError, ProblemError) as error:
            # All are rolled back: what is said of the property is what is stored.
            raise _refusal(property_view(conn, key), body, len(reviews), error) from error
        decided = {
            "reviews": [
                {"review_id": each.id, "detection_id": each.detection_id} for each in reviews
            ],
            "property": property_json(property_view(conn, key)),
        }
    return json_response(decided, HTTPStatus.CREATED)


def _write(
    conn: Connection,
    context: PanelContext,
    key: int,
    decision: JointDecision,
    access: Access,
    idempotency_key: str,
) -> Review:
    view = property_view(conn, key)
    if isinstance(decision, JointAddition):
        drawn = outline(decision.geometry)
        return write_addition(
            conn, context, view, decision, drawn, access.reviewer, idempotency_key
        )
    number = decision.detection_id
    if property_of_detection(conn, number, access.counties) != key:
        raise NotStored(f"there is no detection {number} on this property")
    drawn = None if decision.geometry is None else outline(decision.geometry)
    check_edit(conn, context, view, number, decision, drawn, idempotency_key)
    return write_decision(conn, number, decision, drawn, access.reviewer, idempotency_key)


def _refusal(
    view: PropertyView, body: JointDecisions, number: int, error: Exception
) -> ProblemError:
    """Say which decision is refused, and that none is stored."""
    refused = body.decisions[number]
    detection_id = refused.detection_id if isinstance(refused, DecisionAbout) else None
    what = "a new object" if detection_id is None else f"detection {detection_id}"
    place = f"decision {number + 1} of {len(body.decisions)} ({refused.action} {what})"
    detail = f"{place}: {error.detail if isinstance(error, ProblemError) else error}"
    if isinstance(error, VersionConflict) and isinstance(refused, DecisionAbout):
        drawn = None if refused.geometry is None else outline(refused.geometry)
        more = conflict_problem(view, refused.detection_id, drawn, error).more
        return ProblemError(HTTPStatus.CONFLICT, f"{detail}. Nothing was saved", None, **more)
    status = error.status if isinstance(error, ProblemError) else status_of(error)
    at = error.at if isinstance(error, InvalidOutline) else None
    more = {} if at is None else {"at": at}
    return ProblemError(
        status, f"{detail}. Nothing was saved", None, detection_id=detection_id, **more
    )
