"""Tiles of the map: the imagery that the segmenter saw, and vector tiles of a county."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from detection.errors import NoImagery
from pipeline.errors import NotStored
from pipeline.review import imagery_tiles
from pipeline.review.access import Viewer
from pipeline.review.imagery_threads import in_imagery_thread
from pipeline.review.panel_context import PanelContext, PanelResources
from pipeline.review.problems import ProblemError
from pipeline.store.reads import vector_tiles
from pipeline.store.reads.property_view import has_county
from pipeline.store.reviews.tokens import Access

router = APIRouter(prefix="/tiles", tags=["tiles"])

TileZoom = Annotated[int, Path(ge=0, le=30)]
Index = Annotated[int, Path(ge=0, lt=2**30)]
_MVT = "application/vnd.mapbox-vector-tile"
# Imagery files do not change while the panel runs; what people decide does.
_KEEP = {"Cache-Control": "private, max-age=3600"}


@router.get("/imagery/{county}/{zoom}/{column}/{row}.webp", response_class=Response)
async def imagery(
    county: str,
    zoom: TileZoom,
    column: Index,
    row: Index,
    request: Request,
    access: Viewer,
    context: PanelResources,
) -> Response:
    """The imagery of a county; 204 where there is none."""
    _check(zoom, column, row, imagery_tiles.MIN_ZOOM, imagery_tiles.MAX_ZOOM)
    read = partial(_imagery, county, zoom, column, row, access, context)
    return await in_imagery_thread(request, read)


def _imagery(
    county: str, zoom: int, column: int, row: int, access: Access, context: PanelContext
) -> Response:
    with context.engine.connect() as conn:
        if not has_county(conn, county, access.counties):
            raise NotStored(f"there is no county {county[:100]!r}")
    try:
        picture = imagery_tiles.imagery_tile(context.imagery(county), zoom, column, row)
    except NoImagery:
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=_KEEP)
    return Response(picture, media_type="image/webp", headers=_KEEP)


@router.get("/county/{county}/{zoom}/{column}/{row}.mvt", response_class=Response)
def county_tile(
    county: str, zoom: TileZoom, column: Index, row: Index, access: Viewer, context: PanelResources
) -> Response:
    """The boundaries and detections of a county."""
    _check(zoom, column, row, vector_tiles.MIN_ZOOM, vector_tiles.MAX_ZOOM)
    with context.engine.connect() as conn:
        tile = vector_tiles.vector_tile(conn, county, zoom, column, row, access.counties)
    return Response(tile, media_type=_MVT)


def _check(zoom: int, column: int, row: int, lowest: int, highest: int) -> None:
    if not lowest <= zoom <= highest or max(column, row) >= 2**zoom:
        raise ProblemError(
            HTTPStatus.NOT_FOUND, f"there is no such tile: zoom levels are {lowest} to {highest}"
        )
