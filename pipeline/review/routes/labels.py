"""The labels that a reviewer may choose from."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from pipeline.errors import NotStored
from pipeline.review.access import Viewer
from pipeline.review.panel_context import PanelResources
from pipeline.store.reads.corrected import labels_of
from pipeline.store.reads.property_view import has_county

router = APIRouter(prefix="/v1/review", tags=["review"])


@router.get("/labels")
def labels(
    access: Viewer,
    context: PanelResources,
    county: Annotated[str, Query(min_length=1, max_length=200)],
) -> list[str]:
    """The labels of a county: those of its registry entry, and others that it has objects of."""
    with context.engine.connect() as conn:
        if not has_county(conn, county, access.counties):
            raise NotStored(f"there is no county {county!r}")
        found = labels_of(conn, county)
    return list(dict.fromkeys([*context.outline_rules(county).labels, *found]))
