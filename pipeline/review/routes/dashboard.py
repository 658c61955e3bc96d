"""The dashboard of a county: how far its review is, how good detections are, what is left."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel

from pipeline.errors import NotStored
from pipeline.review.access import Viewer
from pipeline.review.panel_context import PanelResources
from pipeline.store.reads.county_status import county_segmenters
from pipeline.store.reads.property_view import has_county
from pipeline.store.reads.review_pace import ReviewPace, review_pace
from pipeline.store.reads.review_progress import ReviewProgress, review_progress
from pipeline.store.reads.score_calibration import CalibrationBin, score_calibration
from pipeline.store.reviews.audit_results import AuditResults, audit_results, audited_items
from pipeline.store.reviews.audit_statistics import MIN_DECIDED

router = APIRouter(prefix="/v1/review", tags=["review"])

CountyName = Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]


class CountyDashboard(BaseModel):
    """Figures of a county.

    Attributes:
        synthetic: whether the county is generated; None where no registry says it.
        segmenters: of the last run of each finished property, with versions.
        progress: how far the review is, and what people decided by label; no error rates, because
            reviewers choose what they look at.
        undecided: detections that wait for a decision.
        audit: error rates with their intervals, from the audit's random sample alone; None before
            the first audit.
        calibration: shares of right detections by score, from the audit alone; None alike.
        pace: of the last 30 days.
        min_decided: shares of fewer detections say too little to be shown.
    """

    county: str
    generated_at: datetime
    synthetic: bool | None
    segmenters: tuple[str, ...]
    progress: ReviewProgress
    undecided: int
    audit: AuditResults | None
    calibration: tuple[CalibrationBin, ...] | None
    pace: ReviewPace
    min_decided: int


@router.get("/counties/{county}/dashboard")
def dashboard(county: CountyName, access: Viewer, context: PanelResources) -> CountyDashboard:
    """How far the review of a county is, how good its detections are, and what is left to do."""
    with context.engine.connect() as conn:
        if not has_county(conn, county, access.counties):
            raise NotStored(f"there is no county {county[:100]!r}")
    synthetic = context.is_synthetic(county)
    with context.engine.connect() as conn:
        progress = review_progress(conn, county)
        audit = audit_results(conn, county)
        calibration = None
        if audit is not None:
            calibration = score_calibration(audited_items(conn, audit.sample))
        return CountyDashboard(
            county=county,
            generated_at=datetime.now(UTC),
            synthetic=synthetic,
            segmenters=county_segmenters(conn, county),
            progress=progress,
            undecided=progress.undecided,
            audit=audit,
            calibration=calibration,
            pace=review_pace(conn, county, progress.undecided),
            min_decided=MIN_DECIDED,
        )
