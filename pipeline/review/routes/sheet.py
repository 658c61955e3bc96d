"""The contact sheet: similar detections of a label, and a picture of each."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from pipeline.errors import NotStored, SettingsError
from pipeline.review import thumbnails
from pipeline.review.access import Viewer
from pipeline.review.imagery_threads import in_imagery_thread
from pipeline.review.panel_context import PanelContext, PanelResources
from pipeline.review.parameters import RowKey
from pipeline.review.problems import ProblemError
from pipeline.store.reads.detection_sheet import (
    PicturedDetection,
    SheetCursor,
    SheetFilter,
    SheetItem,
    SheetLabel,
    SheetSort,
    SheetState,
    pictured_detection,
    sheet_labels,
    sheet_page,
)
from pipeline.store.reads.property_view import has_county
from pipeline.store.reviews.tokens import Access

router = APIRouter(tags=["review"])

MAX_ITEMS = 200

# Without NUL, which PostgreSQL's text cannot hold.
Name = Annotated[str, Query(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]
Score = Annotated[float | None, Query(ge=0, le=1, allow_inf_nan=False)]
AreaM2 = Annotated[float | None, Query(ge=0, le=1e12, allow_inf_nan=False)]
SizePx = Annotated[int, Query(ge=thumbnails.MIN_PX, le=thumbnails.MAX_PX)]
# "other": the pixels come from other files than those that the segmenter saw.
IMAGERY_HEADER = "Lotline-Imagery"


class SheetPage(BaseModel):
    """A page of a contact sheet; `next` is `after` of the next one, None at the end."""

    items: list[SheetItem]
    next: str | None


@router.get("/v1/review/sheet")
def sheet(
    access: Viewer,
    context: PanelResources,
    county: Name,
    label: Name,
    state: SheetState = "proposed",
    min_score: Score = None,
    max_score: Score = None,
    min_area_m2: AreaM2 = None,
    max_area_m2: AreaM2 = None,
    sort: SheetSort = "score",
    after: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_ITEMS)] = 60,
) -> SheetPage:
    """Detections of a label that are alike, in groups of score or area."""
    wanted = SheetFilter(county, label, state, min_score, max_score, min_area_m2, max_area_m2, sort)
    cursor = None if after is None else _cursor(after)
    with context.engine.connect() as conn:
        if not has_county(conn, county, access.counties):
            raise NotStored(f"there is no county {county[:100]!r}")
        items, following = sheet_page(conn, wanted, limit, cursor, access.reviewer)
    return SheetPage(items=items, next=None if following is None else str(following))


@router.get("/v1/review/sheet/labels")
def labels(access: Viewer, context: PanelResources, county: Name) -> list[SheetLabel]:
    """The labels of a county by state: how many detections, and their scores and areas."""
    with context.engine.connect() as conn:
        if not has_county(conn, county, access.counties):
            raise NotStored(f"there is no county {county[:100]!r}")
        return sheet_labels(conn, county)


@router.get("/tiles/detections/{detection_id}.webp", response_class=Response, tags=["tiles"])
async def picture(
    detection_id: RowKey,
    request: Request,
    access: Viewer,
    context: PanelResources,
    size: SizePx = 256,
) -> Response:
    """A detection on the imagery around it; 404 with the reason where there is none."""
    known = request.headers.get("if-none-match", "")
    read = partial(_picture, detection_id, known, access, context, size)
    return await in_imagery_thread(request, read)


def _picture(
    detection_id: int, known: str, access: Access, context: PanelContext, size: int
) -> Response:
    with context.engine.connect() as conn:
        pictured = pictured_detection(conn, detection_id, access.counties)
    headers = {"ETag": _tag(context, pictured, size), "Cache-Control": "private, no-cache"}
    if headers["ETag"] in (each.strip().removeprefix("W/") for each in known.split(",")):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    drawn = thumbnails.thumbnail(
        context.imagery(pictured.county), pictured.outline, pictured.label, size
    )
    seen, shown = (_places(each.imagery_files) for each in (pictured, drawn))
    if seen and shown and seen.isdisjoint(shown):
        headers[IMAGERY_HEADER] = "other"
    return Response(drawn.webp, media_type="image/webp", headers=headers)


def _places(files: Sequence[str]) -> set[str]:
    """One name for each file: a run may have had another way to it, by `..` or a link."""
    return {name if "://" in name else os.path.realpath(name) for name in files}


def _cursor(after: str) -> SheetCursor:
    try:
        return SheetCursor.parse(after)
    except SettingsError as error:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error


def _tag(context: PanelContext, pictured: PicturedDetection, size: int) -> str:
    """Of all that a picture is made from; imagery may be another after the panel's restart."""
    made_from = repr((pictured.county, pictured.label, pictured.version, size)).encode()
    digest = hmac.new(context.secret, made_from + pictured.outline.wkb, hashlib.sha256)
    return f'"{digest.hexdigest()[:32]}"'
