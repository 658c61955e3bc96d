"""Outlines while they are drawn: their areas, and tools that need a second shape."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Literal

import shapely
from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from shapely import LineString, MultiPolygon, Point
from shapely.errors import GEOSException
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from parcels.measure import area_m2, polygonal
from pipeline.errors import InvalidOutline
from pipeline.review import outline_tools
from pipeline.review.access import Reviewer
from pipeline.review.json_response import json_response
from pipeline.review.panel_context import PanelResources
from pipeline.review.problems import ProblemError
from pipeline.review.routes.properties import geometry_json
from pipeline.store.reads.property_view import property_view
from pipeline.store.results.crossings import require_few_crossings

router = APIRouter(prefix="/v1/review", tags=["review"])

MAX_VERTICES = 100_000
# What shapely and numpy raise for coordinates of a wrong form, numbers of hundreds of digits, and
# lists in lists in lists.
_UNREADABLE = (
    ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError,
    GEOSException,
)  # fmt: skip


class Outline(BaseModel):
    """A GeoJSON polygon or multipolygon in degrees."""

    type: Literal["Polygon", "MultiPolygon"]
    coordinates: list[Any]


class Shape(BaseModel):
    """What a tool is used with: a drawn piece, a line, or a point; GeoJSON in degrees."""

    type: Literal["Polygon", "MultiPolygon", "LineString", "Point"]
    coordinates: list[Any]


class Change(BaseModel):
    """A change of an outline that is being drawn.

    Attributes:
        with_shape: a polygon to cut out or join, a line to split or reshape by, a point in a hole.
        property_key: whose boundary it is clipped to.
    """

    tool: Literal["cut", "join", "split", "reshape", "drop_hole", "clip"]
    outline: Outline
    with_shape: Shape | None = None
    property_key: Annotated[int, Field(ge=1, lt=2**63)] | None = None


@router.post("/areas")
def areas(body: Outline, _access: Reviewer) -> dict[str, float]:
    """The area of an outline that is being drawn, in m², as it will be stored."""
    return {"area_m2": area_m2(outline(body))}


@router.post("/outlines", response_class=JSONResponse)
def change(body: Change, access: Reviewer, context: PanelResources) -> Response:
    """Change an outline: one, or two after a split, the larger one first. Nothing is stored."""
    drawn = outline(body.outline)
    try:
        if body.tool == "clip":
            if body.property_key is None:
                raise _missing("property_key", body.tool)
            with context.engine.connect() as conn:
                boundary = property_view(conn, body.property_key, access.counties).boundary
            if boundary is None:
                raise InvalidOutline("the property has no boundary")
            require_few_crossings(drawn, boundary)
            changed = [outline_tools.clip(drawn, boundary)]
        else:
            changed = _with_shape(body, drawn)
    except GEOSException as error:
        raise InvalidOutline(f"the shape cannot be used: {error}") from error
    found = [{"outline": geometry_json(each), "area_m2": area_m2(each)} for each in changed]
    return json_response(found)


def _with_shape(body: Change, drawn: MultiPolygon) -> list[MultiPolygon]:
    if body.with_shape is None:
        raise _missing("with_shape", body.tool)
    given = _geometry(body.with_shape)
    if body.tool in ("cut", "join"):
        if not given.is_valid:
            require_few_crossings(given, given)
        piece = polygonal(given)
        require_few_crossings(drawn, piece)
        tool = outline_tools.cut_out if body.tool == "cut" else outline_tools.join
        return [tool(drawn, piece)]
    if body.tool == "drop_hole":
        if not isinstance(given, Point):
            raise InvalidOutline("drop_hole needs a point")
        return [outline_tools.drop_hole(drawn, given)]
    if not isinstance(given, LineString):
        raise InvalidOutline(f"{body.tool} needs a line")
    require_few_crossings(given, given)
    require_few_crossings(drawn, given)
    if body.tool == "split":
        return outline_tools.split(drawn, given)
    return [outline_tools.reshape(drawn, given)]


def _missing(name: str, tool: str) -> ProblemError:
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{tool} needs {name!r}")


def outline(drawn: Outline) -> MultiPolygon:
    """The geometry of a drawn outline; a valid one keeps its vertices exactly.

    Raises:
        InvalidOutline: it is no polygon on Earth, or has too many vertices.
        GeometryError: it has no area.
    """
    geometry = _geometry(drawn)
    coordinates = shapely.get_coordinates(geometry)
    if not 4 <= len(coordinates) <= MAX_VERTICES:
        raise InvalidOutline(
            f"the outline has {len(coordinates):,} vertices: draw 3 to {MAX_VERTICES:,}"
        )
    if not geometry.is_valid:
        raise _crossing(geometry)
    return polygonal(geometry)


def _crossing(geometry: BaseGeometry) -> InvalidOutline:
    """Why a geometry is not valid, in words; the place apart, as programs and maps need it."""
    reason, _, where = shapely.is_valid_reason(geometry).partition("[")
    x, _, y = where.removesuffix("]").partition(" ")
    try:
        at = float(x), float(y)
    except ValueError:
        at = None
    return InvalidOutline(
        f"the outline crosses or touches itself ({reason.strip().lower()}): move or remove the "
        "vertex there",
        at,
    )


def _geometry(drawn: Outline | Shape) -> BaseGeometry:
    try:
        # Heights say nothing here, and are not stored.
        geometry = shapely.force_2d(shape(drawn.model_dump()))
        coordinates = shapely.get_coordinates(geometry)
    except _UNREADABLE as error:
        raise InvalidOutline(f"the {drawn.type} has odd coordinates: {error}") from error
    # Not for NaN either.
    if not ((abs(coordinates[:, 0]) <= 180) & (abs(coordinates[:, 1]) <= 90)).all():
        raise InvalidOutline(
            "a vertex is not on Earth: coordinates are longitude, latitude in degrees"
        )
    if len(coordinates) > MAX_VERTICES:
        raise InvalidOutline(
            f"the {drawn.type} has {len(coordinates):,} vertices: draw at most {MAX_VERTICES:,}"
        )
    if len(coordinates) == 0:
        raise InvalidOutline(f"the {drawn.type} has no coordinates")
    return geometry
