"""Errors as problem details (RFC 9457): one table of our errors and their HTTP statuses."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionLeft
from starlette.exceptions import HTTPException

from detection.errors import (
    DetectionError,
    ImageryChanged,
    ImageryUnavailable,
    NoImagery,
    SegmenterError,
)
from parcels.errors import GeometryError, ParcelsError, RegistryError, SourceUnavailable
from pipeline.errors import (
    InvalidOutline,
    NotStored,
    PipelineError,
    StoreError,
    VersionConflict,
)
from pipeline.redaction import redactor
from pipeline.review.json_response import json_response

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

# The first class that an error is an instance of decides.
STATUS_OF: Mapping[type[Exception], HTTPStatus] = {
    NotStored: HTTPStatus.NOT_FOUND,
    VersionConflict: HTTPStatus.CONFLICT,
    InvalidOutline: HTTPStatus.UNPROCESSABLE_ENTITY,
    StoreError: HTTPStatus.CONFLICT,  # the request does not fit what is stored
    GeometryError: HTTPStatus.UNPROCESSABLE_ENTITY,
    NoImagery: HTTPStatus.NOT_FOUND,
    ImageryChanged: HTTPStatus.CONFLICT,
    SegmenterError: HTTPStatus.CONFLICT,  # not the one that measured, or it failed
    ImageryUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    SourceUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    UnicodeEncodeError: HTTPStatus.UNPROCESSABLE_ENTITY,  # half of a surrogate pair
    DataError: HTTPStatus.UNPROCESSABLE_ENTITY,  # a NUL, or a number that no column holds
    IntegrityError: HTTPStatus.CONFLICT,  # two requests wrote the same at the same time
    RegistryError: HTTPStatus.NOT_FOUND,  # no such county in the panel's registry
    NoConnectionLeft: HTTPStatus.SERVICE_UNAVAILABLE,  # others wait with all of them
    OperationalError: HTTPStatus.SERVICE_UNAVAILABLE,  # the database cannot be reached
}
_OURS = (PipelineError, DetectionError, ParcelsError)
_RETRY_AFTER_S = 5


class ProblemError(Exception):
    """A refusal of the panel itself.

    Args:
        detail: what is wrong, and how to fix it.
        more: additional members of the problem document.
    """

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        headers: Mapping[str, str] | None = None,
        **more: object,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.more = status, detail, headers, more


def problem(
    status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None, **more: object
) -> Response:
    """A response that says what is wrong; secrets in it are masked."""
    document = {
        "type": "about:blank",
        "title": status.phrase,
        "status": int(status),
        "detail": redactor.text(detail),
        **more,
    }
    return json_response(document, status, headers=headers, media_type=MEDIA_TYPE)


def status_of(error: Exception) -> HTTPStatus:
    """The HTTP status of an error."""
    for kind, status in STATUS_OF.items():
        if isinstance(error, kind):
            return status
    return HTTPStatus.BAD_REQUEST if isinstance(error, _OURS) else HTTPStatus.INTERNAL_SERVER_ERROR


def install_problems(app: FastAPI) -> None:
    """Have every error of the application become a problem document."""
    for kind in (*_OURS, DBAPIError, NoConnectionLeft, UnicodeEncodeError):
        app.add_exception_handler(kind, _ours)
    app.add_exception_handler(ProblemError, _refusal)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def _ours(_: Request, error: Exception) -> Response:
    status = status_of(error)
    if isinstance(error, (DataError, UnicodeEncodeError)):
        detail = (
            "the request holds text or a number that cannot be stored: remove NUL and other "
            "characters that are no text"
        )
    elif isinstance(error, NoConnectionLeft):
        detail = "too many requests wait for the database: try again in a few seconds"
    elif isinstance(error, IntegrityError):
        log.warning("the database refused a change: %s", error.orig)
        detail = "somebody changed the same at the same moment: read it again, then decide"
    elif isinstance(error, DBAPIError):
        log.error("the database failed: %s", error.orig)
        detail = (
            "the database cannot be reached: try again in a few seconds"
            if status == HTTPStatus.SERVICE_UNAVAILABLE
            else "the database refused the request: see the server's log"
        )
    else:
        detail = str(error)
    retry = {"Retry-After": str(_RETRY_AFTER_S)} if status == 503 else {}
    at = error.at if isinstance(error, InvalidOutline) else None
    return problem(status, detail, retry, **({} if at is None else {"at": at}))


def _refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)  # noqa: S101 - as registered
    return problem(error.status, error.detail, error.headers, **error.more)


def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as registered
    faults = [_fault(each) for each in error.errors()[:20]]
    detail = "; ".join(f"{fault['where']}: {fault['what']}" for fault in faults)
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, faults=faults)


def _fault(error: Mapping[str, Any]) -> dict[str, str]:
    """Where and what, without the value: it may be large, or no JSON (NaN)."""
    where = ".".join(str(part) for part in error["loc"])
    return {"where": where[:200], "what": str(error["msg"]).removeprefix("Value error, ")[:300]}


def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - as registered
    return problem(HTTPStatus(error.status_code), str(error.detail), error.headers)


def _unexpected(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR, "this is a fault of Lotline: see the server's log"
    )
