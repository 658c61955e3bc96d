"""What other services read: OGC API Features (part 1) under /v1, GeoJSON in CRS84."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from shapely.geometry import mapping

from pipeline.bbox import parse_bbox
from pipeline.errors import NotStored, SettingsError
from pipeline.review.access import Viewer
from pipeline.review.json_response import json_text
from pipeline.review.panel_context import PanelResources
from pipeline.review.problems import ProblemError
from pipeline.store.reads.feature_pages import (
    COLLECTIONS,
    Bbox,
    Collection,
    FeatureRow,
    feature,
    feature_page,
)

router = APIRouter(prefix="/v1", tags=["OGC API Features"])

GEOJSON = "application/geo+json"
CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
_CONFORMS_TO = [
    f"http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/{part}"
    for part in ("core", "geojson", "oas30")
]
MAX_LIMIT = 1_000
_PAGING = frozenset(("limit", "after", "bbox", "f"))


@router.get("/")
def landing(request: Request, _: Viewer) -> dict[str, Any]:
    """What this API offers."""
    base = _base(request)
    return {
        "title": "Lotline",
        "description": "Lots, properties, detections and measurements",
        "links": [
            _link("self", f"{base}/", "application/json"),
            _link("service-desc", str(request.url_for("openapi")), "application/json"),
            _link("conformance", f"{base}/conformance", "application/json"),
            _link("data", f"{base}/collections", "application/json"),
        ],
    }


@router.get("/conformance")
def conformance(_: Viewer) -> dict[str, Any]:
    """The conformance classes."""
    return {"conformsTo": _CONFORMS_TO}


@router.get("/collections")
def collections(request: Request, _: Viewer) -> dict[str, Any]:
    """The collections."""
    base = _base(request)
    return {
        "links": [_link("self", f"{base}/collections", "application/json")],
        "collections": [_describe(base, each) for each in COLLECTIONS.values()],
    }


@router.get("/collections/{name}")
def collection(name: str, request: Request, _: Viewer) -> dict[str, Any]:
    """One collection."""
    return _describe(_base(request), _collection(name))


@router.get("/collections/{name}/items", response_class=JSONResponse)
def items(
    name: str,
    request: Request,
    access: Viewer,
    context: PanelResources,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 100,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    bbox: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """A page of features; `after` is the key of the last one of the page before.

    Filters are the collection's own: see `filters` of the collection.
    """
    wanted = _collection(name)
    filters = {k: v for k, v in request.query_params.items() if k not in _PAGING}
    unknown = sorted(filters.keys() - wanted.filters.keys())
    if unknown:
        raise ProblemError(
            HTTPStatus.BAD_REQUEST,
            f"unknown parameter {unknown[0][:100]!r}: {name} has {', '.join(wanted.filters)}, and "
            "bbox, limit, after",
        )
    with context.engine.connect() as conn:
        rows, has_more = feature_page(
            conn, wanted, limit, after=after, bbox=_bbox(bbox), filters=filters,
            counties=access.counties,
        )  # fmt: skip
    here = f"{_base(request)}/collections/{name}/items"
    links = [_link("self", _with_query(here, request, {}), GEOJSON)]
    if has_more:
        links.append(_link("next", _with_query(here, request, {"after": rows[-1].key}), GEOJSON))
    document = {
        "type": "FeatureCollection",
        "numberReturned": len(rows),
        "features": [feature_json(row) for row in rows],
        "links": links,
    }
    return _tagged(request, document, timeStamp=datetime.now(UTC).isoformat())


@router.get("/collections/{name}/items/{key}", response_class=JSONResponse)
def item(
    name: str, key: str, request: Request, access: Viewer, context: PanelResources
) -> Response:
    """One feature."""
    wanted = _collection(name)
    if not (key.isascii() and key.isdecimal()) or int(key) >= 2**63:
        raise NotStored(f"{name} has no item {key[:100]!r}")
    with context.engine.connect() as conn:
        found = feature(conn, wanted, int(key), access.counties)
    here = f"{_base(request)}/collections/{name}"
    links = [
        _link("self", f"{here}/items/{found.key}", GEOJSON),
        _link("collection", here, "application/json"),
    ]
    return _tagged(request, {**feature_json(found), "links": links})


def feature_json(row: FeatureRow) -> dict[str, Any]:
    """A GeoJSON feature."""
    return {
        "type": "Feature",
        "id": row.key,
        "geometry": None if row.geometry is None else mapping(row.geometry),
        "properties": row.properties,
    }


def _tagged(request: Request, document: Mapping[str, Any], **untagged: object) -> Response:
    """The document with an ETag, or "not modified". What is `untagged` changes at each request."""
    body = json_text(document)
    tag = f'"{hashlib.sha256(body.encode()).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if tag in (each.strip() for each in request.headers.get("if-none-match", "").split(",")):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    if untagged:
        body = json_text({**document, **untagged})
    return Response(body, media_type=GEOJSON, headers=headers)


def _collection(name: str) -> Collection:
    if name not in COLLECTIONS:
        raise NotStored(
            f"there is no collection {name[:100]!r}: the collections are {', '.join(COLLECTIONS)}"
        )
    return COLLECTIONS[name]


def _bbox(text: str | None) -> Bbox | None:
    if text is None:
        return None
    try:
        return parse_bbox(text)
    except (ValueError, SettingsError) as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"bbox: {error}") from error


def _describe(base: str, collection: Collection) -> dict[str, Any]:
    here = f"{base}/collections/{collection.name}"
    return {
        "id": collection.name,
        "title": collection.title,
        "itemType": "feature",
        "crs": [CRS84],
        "filters": list(collection.filters),
        "links": [
            _link("self", here, "application/json"),
            _link("items", f"{here}/items", GEOJSON),
        ],
    }


def _base(request: Request) -> str:
    return f"{str(request.base_url).rstrip('/')}/v1"


def _with_query(address: str, request: Request, change: Mapping[str, object]) -> str:
    query = {**request.query_params, **change}
    return f"{address}?{urlencode(query)}" if query else address


def _link(rel: str, href: str, media_type: str) -> dict[str, str]:
    return {"rel": rel, "href": href, "type": media_type}
