"""The audit: samples, answers that are blind to everybody else's, and what they say."""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from pipeline.errors import NotStored
from pipeline.review.access import Admin, Reviewer, Viewer
from pipeline.review.json_response import json_response
from pipeline.review.panel_context import PanelResources
from pipeline.review.parameters import RowKey
from pipeline.review.routes.outlines import Outline, outline
from pipeline.review.routes.properties import geometry_json, is_partly_imaged
from pipeline.review.routes.reviews import IdempotencyKey, LabelName
from pipeline.store.reads.property_view import has_county
from pipeline.store.reviews.audit_answers import AuditItem, answer, item_view
from pipeline.store.reviews.audit_figures import audit_figures
from pipeline.store.reviews.audit_results import audit_results
from pipeline.store.reviews.audit_samples import (
    MAX_PER_STRATUM,
    PER_STRATUM,
    SECOND_FRACTION,
    start_sample,
)
from pipeline.store.reviews.audit_statistics import AuditVerdict
from pipeline.store.reviews.outline_checks import check_outline

router = APIRouter(prefix="/v1/review/audit", tags=["audit"])


class SampleRequest(BaseModel):
    """A random sample of a county's detections, drawn by label and boundary source."""

    county: Annotated[str, Field(min_length=1, max_length=200)]
    per_stratum: Annotated[int, Field(ge=1, le=MAX_PER_STRATUM)] = PER_STRATUM
    second_fraction: Annotated[float, Field(ge=0, le=1)] = SECOND_FRACTION
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None


class AnswerRequest(BaseModel):
    """What a reviewer says of an item.

    Attributes:
        label: what it is, for the verdict "label".
        geometry: its true outline, for the verdict "outline".
    """

    verdict: AuditVerdict
    label: LabelName | None = None
    geometry: Outline | None = None
    note: Annotated[str, Field(max_length=2_000)] = ""


@router.post("/samples", status_code=HTTPStatus.CREATED, response_class=JSONResponse)
def start(
    body: SampleRequest, access: Admin, context: PanelResources, idempotency_key: IdempotencyKey
) -> Response:
    """Draw a sample; from now on it is the county's audit."""
    with context.engine.begin() as conn:
        if not has_county(conn, body.county, access.counties):
            raise NotStored(f"there is no county {body.county[:100]!r}")
        sample = start_sample(
            conn,
            body.county,
            access.reviewer,
            per_stratum=body.per_stratum,
            second_fraction=body.second_fraction,
            seed=body.seed,
            idempotency_key=idempotency_key,
        )
    return json_response(asdict(sample), HTTPStatus.CREATED)


@router.get("/results", response_class=JSONResponse)
def results(
    access: Viewer, context: PanelResources, county: Annotated[str, Query(max_length=200)]
) -> Response:
    """Error rates of a county's newest audit, with 95 % intervals; null before the first.

    What rests on too few answers is null, with a `reason`.
    """
    with context.engine.connect() as conn:
        if not has_county(conn, county, access.counties):
            raise NotStored(f"there is no county {county[:100]!r}")
        found = audit_results(conn, county)
    return json_response(None if found is None else audit_figures(found))


@router.get("/items/{item_id}", response_class=JSONResponse)
def show(item_id: RowKey, access: Reviewer, context: PanelResources) -> Response:
    """An item as it was sampled: nothing that people decided about it."""
    with context.engine.connect() as conn:
        return json_response(_json(item_view(conn, item_id, access.reviewer, access.counties)))


@router.post(
    "/items/{item_id}/answers", status_code=HTTPStatus.CREATED, response_class=JSONResponse
)
def answer_item(
    item_id: RowKey,
    body: AnswerRequest,
    access: Reviewer,
    context: PanelResources,
    idempotency_key: IdempotencyKey,
) -> Response:
    """Answer an item; the same key again changes nothing, and answers alike."""
    drawn = None if body.geometry is None else outline(body.geometry)
    with context.engine.begin() as conn:
        item = item_view(conn, item_id, access.reviewer, access.counties)
        if drawn is not None:
            check_outline(drawn, item.boundary, item.label, context.outline_rules(item.county))
        given = answer(
            conn,
            item_id,
            access.reviewer,
            body.verdict,
            label=body.label,
            geometry=drawn,
            note=body.note,
            idempotency_key=idempotency_key,
        )
        seen = item_view(conn, item_id, access.reviewer)
    answered = {"answer_id": given.id, "review_id": given.review_id, "item": _json(seen)}
    return json_response(answered, HTTPStatus.CREATED)


def _json(item: AuditItem) -> dict[str, Any]:
    """An item for the page, without the number by which its history could be looked up."""
    names = (
        "id", "property_key", "county", "property_id", "label", "source", "clipped_area_m2",
        "boundary_area_m2", "captured_on", "gsd_m", "coverage_fraction", "position", "needs_second",
        "is_complete",
    )  # fmt: skip
    return {
        **{name: getattr(item, name) for name in names},
        "is_partly_imaged": is_partly_imaged(item.coverage_fraction),
        "geometry": geometry_json(item.geometry),
        "boundary": geometry_json(item.boundary),
        "answers": [
            {
                "reviewer": each.reviewer,
                "verdict": each.verdict,
                "label": each.label,
                "note": each.note,
                "created_at": each.created_at,
                "geometry": geometry_json(each.geometry),
            }
            for each in item.answers
        ],
    }
