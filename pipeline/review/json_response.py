"""JSON of large documents: FastAPI's own encoder walks every vertex of a polygon."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import datetime
from http import HTTPStatus

from fastapi.responses import Response


def json_response(
    document: object,
    status: HTTPStatus = HTTPStatus.OK,
    *,
    headers: Mapping[str, str] | None = None,
    media_type: str = "application/json",
) -> Response:
    """A response with this document."""
    return Response(json_text(document), status, dict(headers or {}), media_type)


def json_text(document: object) -> str:
    """The document as JSON; times are ISO 8601."""
    return json.dumps(document, allow_nan=False, separators=(",", ":"), default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"JSON has no {type(value).__name__}")
