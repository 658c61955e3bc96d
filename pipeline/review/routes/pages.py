"""The page and its bundle, which are static: everything else comes from the API."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response

from pipeline.review.problems import ProblemError

router = APIRouter(include_in_schema=False)

PAGE = Path(__file__).parents[1] / "page"
# Built by `make review` and into the wheel; these are the only files that are served.
_BUNDLES = ("panel", "sheet", "dashboard")
_KINDS = {".js": "text/javascript", ".css": "text/css", ".js.map": "application/json"}
_FILES = {bundle + ending: kind for bundle in _BUNDLES for ending, kind in _KINDS.items()}
_NO_CACHE = {"Cache-Control": "no-cache"}


@router.get("/")
def index() -> Response:
    """The panel."""
    return FileResponse(PAGE / "index.html", headers=_NO_CACHE)


@router.get("/sheet")
def contact_sheet() -> Response:
    """The contact sheet."""
    return FileResponse(PAGE / "sheet.html", headers=_NO_CACHE)


@router.get("/dashboard")
def county_dashboard() -> Response:
    """The dashboard of a county."""
    return FileResponse(PAGE / "dashboard.html", headers=_NO_CACHE)


@router.get("/page/{name}")
def page_file(name: str) -> Response:
    """A file of the bundle."""
    if name not in _FILES:
        raise ProblemError(HTTPStatus.NOT_FOUND, "there is no such file")
    path = PAGE / "built" / name
    if not path.is_file():
        raise ProblemError(
            HTTPStatus.NOT_FOUND,
            "the page is not built: run `make review`, which needs Node.js and npm",
        )
    return FileResponse(path, media_type=_FILES[name], headers=_NO_CACHE)
