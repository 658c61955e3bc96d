"""A run's report, from its row and from what its properties came to."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from detection.timing import DurationHistogram
from pipeline.redaction import redactor
from pipeline.report.advice import what_to_do
from pipeline.report.run_report import (
    FaultCount,
    HostRequests,
    LabelArea,
    RunReport,
    StageTiming,
    StateSummary,
)
from pipeline.store.runs import lifecycle
from pipeline.store.runs.lifecycle import Run
from pipeline.store.runs.totals import AreaTotal
from pipeline.units import M2_PER_SQFT

# As a property goes through them; what is not named here comes last.
_TURNS = ("lease", "boundary", "plan", "read", "segment", "stitch", "measure", "write")


def build_report(conn: Connection, run: Run) -> RunReport:
    """What a run tells: as it was when it ended, or as it stands while it has not."""
    results, account = lifecycle.results_of(conn, run), run.metrics
    settings = redactor.mapping(run.settings)
    return RunReport(
        id=run.id,
        county=run.county,
        county_name=str(settings.pop("county_name", run.county)),
        synthetic=bool(settings.pop("synthetic", False)),
        state=run.state,
        started_at=run.started_at,
        finished_at=run.finished_at,
        last_sign_at=run.beat_at,
        took_s=run.took_s,
        segmenter=run.segmenter,
        weights_sha256=run.weights_sha256,
        settings=settings,
        properties=results.properties,
        properties_per_s=results.properties / run.took_s if run.took_s > 0 else 0.0,
        counts=tuple(
            StateSummary(
                state=count.state,
                reason=count.reason,
                properties=count.properties,
                what_to_do=what_to_do(count.state, count.reason),
            )
            for count in results.counts
        ),
        sources=results.sources,
        areas=tuple(_area(area) for area in results.areas),
        stages=tuple(
            _stage(name, account.stages[name]) for name in sorted(account.stages, key=_in_turn)
        ),
        requests=tuple(
            HostRequests(host=host, requests=count)
            for host, count in sorted(account.requests.items(), key=lambda each: -each[1])
        ),
        encoder_calls=account.encoder_calls,
        kept_reviews=account.kept_reviews,
        faults=tuple(
            FaultCount(fault=name, times=times) for name, times in sorted(account.faults.items())
        ),
        examples=tuple(
            replace(each, detail=redactor.text(each.detail)) for each in results.examples
        ),
    )


def _area(area: AreaTotal) -> LabelArea:
    return LabelArea(
        label=area.label,
        source=area.source,
        properties=area.properties,
        detections=area.detections,
        area_m2=area.area_m2,
        area_sqft=area.area_m2 / M2_PER_SQFT,
    )


def _in_turn(name: str) -> tuple[int, str]:
    return (_TURNS.index(name) if name in _TURNS else len(_TURNS), name)


def _stage(name: str, spread: DurationHistogram) -> StageTiming:
    known = bool(spread.buckets)
    return StageTiming(
        stage=name,
        calls=spread.calls,
        seconds=spread.seconds,
        p50_s=spread.quantile_s(0.5) if known else None,
        p90_s=spread.quantile_s(0.9) if known else None,
        p99_s=spread.quantile_s(0.99) if known else None,
        longest_s=spread.longest_s if known else None,
    )
