"""Build a run's report from its database row and the outcomes of its properties."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from detection.labels import contained_labels
from detection.timing import DurationHistogram
from pipeline.redaction import redactor
from pipeline.report.advice import caveats, what_to_do
from pipeline.report.run_report import (
    FaultCount,
    HostRequests,
    LabelArea,
    RejectedRow,
    RunReport,
    StageTiming,
    StateSummary,
)
from pipeline.store.runs import lifecycle
from pipeline.store.runs.area_totals import AreaTotal
from pipeline.store.runs.concurrent import SHARED_SETTINGS
from pipeline.store.runs.lifecycle import Run
from pipeline.units import M2_PER_SQFT

# In the order in which a property passes them; other stages come last.
_STAGE_ORDER = ("lease", "boundary", "plan", "read", "segment", "stitch", "measure", "write")


def build_report(conn: Connection, run: Run) -> RunReport:
    """The report of a run as stored at its end, or a snapshot while it is running."""
    results, metrics = lifecycle.results_of(conn, run), run.metrics
    settings = redactor.mapping(run.settings)
    contains = settings.pop("label_contains", None)
    synthetic = bool(settings.pop("synthetic", False))
    labels, prompts = run.settings.get("labels") or (), run.settings.get("prompts") or {}
    settings.pop("rejected_rows", None)  # a field of its own
    settings.pop(SHARED_SETTINGS, None)  # hashes of others, for batches beside this one
    rejected = run.settings.get("rejected_rows") or ()
    return RunReport(
        id=run.id,
        county=run.county,
        county_name=str(settings.pop("county_name", run.county)),
        synthetic=synthetic,
        state=run.state,
        started_at=run.started_at,
        finished_at=run.finished_at,
        last_sign_at=run.beat_at,
        took_s=run.took_s,
        segmenter=run.segmenter,
        weights_sha256=run.weights_sha256,
        imagery_notes=_notes(settings.pop("imagery_notes", None)),
        county_notes=_notes(settings.pop("county_notes", None)),
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
        areas=tuple(_label_area(area, run) for area in results.areas),
        stages=tuple(
            _stage_timing(name, metrics.stages[name])
            for name in sorted(metrics.stages, key=_stage_order)
        ),
        requests=tuple(
            HostRequests(host=host, requests=count)
            for host, count in sorted(metrics.requests.items(), key=lambda item: -item[1])
        ),
        encoder_calls=metrics.encoder_calls,
        kept_reviews=metrics.kept_reviews,
        faults=tuple(
            FaultCount(fault=name, times=times) for name, times in sorted(metrics.faults.items())
        ),
        examples=tuple(
            replace(example, detail=redactor.text(example.detail)) for example in results.examples
        ),
        caveats=tuple(caveats([run.segmenter], labels, prompts, synthetic=synthetic)),
        label_contains=contained_labels() if contains is None else contains,
        rejected_rows=tuple(
            RejectedRow(line=line, problem=redactor.text(problem)) for line, problem in rejected
        ),
    )


def _notes(stored: object) -> tuple[str, ...]:
    """Notes from a run's settings; runs of earlier versions have none."""
    return tuple(str(note) for note in stored) if isinstance(stored, list) else ()


def _label_area(area: AreaTotal, run: Run) -> LabelArea:
    return LabelArea(
        label=area.label,
        source=area.source,
        properties=area.properties,
        detections=area.detections,
        area_m2=area.area_m2,
        area_sqft=area.area_m2 / M2_PER_SQFT,
        # Earlier versions stored no segmenter with the areas: it is the run's.
        segmenter=area.segmenter or run.segmenter,
        weights_sha256=area.weights_sha256 if area.segmenter else run.weights_sha256,
        partly_imaged=area.partly_imaged,
        boundaries=area.boundaries,
        repeated_m2=area.repeated_m2,
    )


def _stage_order(name: str) -> tuple[int, str]:
    known = name in _STAGE_ORDER
    return (_STAGE_ORDER.index(name) if known else len(_STAGE_ORDER), name)


def _stage_timing(name: str, latencies: DurationHistogram) -> StageTiming:
    known = bool(latencies.buckets)
    return StageTiming(
        stage=name,
        calls=latencies.calls,
        seconds=latencies.seconds,
        p50_s=latencies.quantile_s(0.5) if known else None,
        p90_s=latencies.quantile_s(0.9) if known else None,
        p99_s=latencies.quantile_s(0.99) if known else None,
        longest_s=latencies.longest_s if known else None,
    )
