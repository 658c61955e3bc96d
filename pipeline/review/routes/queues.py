"""Queues: which property comes next and why, and who has which property open."""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from pipeline.errors import NotStored
from pipeline.review.access import Reviewer, Viewer
from pipeline.review.json_response import json_response
from pipeline.review.panel_context import PanelResources
from pipeline.review.parameters import RowKey
from pipeline.review.problems import ProblemError
from pipeline.store.reads.property_view import has_county
from pipeline.store.reviews import audit_answers, leases, teaching, work_list
from pipeline.store.reviews.leases import LeaseHolder, ReviewLease, ReviewQueue
from pipeline.store.reviews.tokens import Access

router = APIRouter(prefix="/v1/review", tags=["queues"])

# A tab of a browser, or a program: made up by it, the same in all of its requests.
HolderName = Annotated[str, Field(min_length=8, max_length=100)]
Key = Annotated[int, Field(ge=1, lt=2**63)]
Filter = Annotated[str | None, Field(max_length=200)]


class NextRequest(BaseModel):
    """What the next property of a queue must be like; None is any.

    Attributes:
        holder: of the lease.
        state: of the list; the other queues have detections that nobody has decided about.
        after: in the list, the key of the property before it; 0 for the first.
        skip: what the reviewer has passed over: keys of properties in the teaching queue, ids of
            items in the audit.
    """

    holder: HolderName
    county: Filter = None
    label: Filter = None
    state: Filter = None
    source: Filter = None
    run: Key | None = None
    after: Annotated[int, Field(ge=0, lt=2**63)] = 0
    skip: Annotated[list[Key], Field(max_length=1_000)] = []


class LeaseRequest(BaseModel):
    """A property that is opened, or still worked on."""

    property_key: Key
    holder: HolderName
    queue: ReviewQueue = "list"


@router.get("/runs")
def runs(
    access: Viewer, context: PanelResources, county: Annotated[str, Query(max_length=200)]
) -> list[dict[str, Any]]:
    """The runs of a county, newest first."""
    with context.engine.connect() as conn:
        _require_county(conn, county, access)
        return work_list.runs_of(conn, county)


@router.post("/queues/{queue}/next", response_class=JSONResponse)
def next_of_queue(
    queue: ReviewQueue, body: NextRequest, access: Reviewer, context: PanelResources
) -> Response:
    """Lease the next property of a queue, and release the one before.

    `key` is None at the end. Properties that other people have open are left out.
    """
    holder = _holder(access, body.holder)
    with context.engine.begin() as conn:
        if queue == "list":
            wanted = work_list.WorkFilter(
                body.county, body.label, body.state, body.source, body.run
            )
            listed = work_list.lease_next(conn, wanted, body.after, holder, access.counties)
            return json_response(_found(listed))
        if body.county is None:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY, f"the {queue} queue is that of one 'county'"
            )
        _require_county(conn, body.county, access)
        if queue == "teaching":
            limits = teaching.TeachingFilter(body.county, body.label, body.source, body.run)
            return json_response(_found(teaching.lease_next(conn, limits, holder, body.skip)))
        found = audit_answers.lease_next(conn, body.county, holder, body.skip)
        progress = audit_answers.progress(conn, body.county, access.reviewer)
        return json_response({**_found(found), "progress": asdict(progress)})


@router.post("/leases", response_class=JSONResponse)
def take_lease(body: LeaseRequest, access: Reviewer, context: PanelResources) -> Response:
    """Take or renew the lease of a property; that of somebody else is answered, not taken.

    A lease warns others and locks nothing: versions protect what is saved.
    """
    with context.engine.begin() as conn:
        leases.require_property(conn, body.property_key, access.counties)
        lease = leases.take(conn, body.property_key, _holder(access, body.holder), body.queue)
    return json_response(asdict(lease))


@router.delete("/leases/{key}", status_code=HTTPStatus.NO_CONTENT)
def end_lease(
    key: RowKey,
    holder: Annotated[str, Query(min_length=8, max_length=100)],
    access: Reviewer,
    context: PanelResources,
) -> None:
    """Release a property; the lease of somebody else stays."""
    with context.engine.begin() as conn:
        leases.require_property(conn, key, access.counties)
        leases.release(conn, key, _holder(access, holder))


def _holder(access: Access, name: str) -> LeaseHolder:
    """Names are made up by browsers: those of two tokens are never the same."""
    return LeaseHolder(access.reviewer, f"{access.token_id or 0}:{name}")


def _require_county(conn: Connection, county: str, access: Access) -> None:
    if not has_county(conn, county, access.counties):
        raise NotStored(f"there is no county {county[:100]!r}")


def _found(
    found: tuple[work_list.ListedProperty | teaching.Lesson | audit_answers.AuditTask, ReviewLease]
    | None,
) -> dict[str, Any]:
    if found is None:
        return {"key": None, "lease": None}
    chosen = {name: value for name, value in asdict(found[0]).items() if name != "property_key"}
    return {"key": found[0].property_key, **chosen, "lease": asdict(found[1])}
