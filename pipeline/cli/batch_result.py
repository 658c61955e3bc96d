"""What a batch prints when it ends, and the status tables of a county."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from parcels.untrusted import sanitize_text
from pipeline.batch.result import BatchReport
from pipeline.cli.console import console
from pipeline.cli.summary_tables import print_areas, print_run, table_of
from pipeline.plurals import count_of, is_or_are
from pipeline.report.advice import county_caveats
from pipeline.report.area_notes import measured_in
from pipeline.store.reads.county_status import CountyStatus

MAX_BAD_ROWS_LISTED = 20


def print_report(report: BatchReport) -> None:
    """The run, the rest of the county, and the paths of the map and the page."""
    out = console()
    if report.understood:
        out.print(f"{report.understood}.")
    print_bad_rows(out, report)
    if report.run is None:
        _print_nothing_to_do(out, report)
        return
    if report.run.state == "finished" and not report.run.properties:
        out.print(f"Nothing to do: other batches of {report.county} took all pending properties.")
        _print_leased(out, report)
        return
    print_run(out, report.run)
    _print_leased(out, report)
    if sum(report.status.by_state.values()) > report.run.properties:
        print_status(out, report.status, report.county, synthetic=report.synthetic)
    _print_parcel_lookups(out, report)
    _print_lawn_errors(out, report)
    if report.map_path:
        out.print(f"Map: {_relative(report.map_path)}")
    if report.page_path:
        out.print(f"Report: {_relative(report.page_path)} (lotline runs show {report.run.id})")


def _print_nothing_to_do(console: Console, report: BatchReport) -> None:
    if not report.selected_by_state:
        file = _relative(report.properties_file) if report.properties_file else "the queue"
        what = "valid rows" if report.bad_rows.count else "properties"
        console.print(f"Nothing to do: {file} has no {what}.")
    leased = _print_leased(console, report)
    retryable = {
        k: n
        for k, n in report.selected_by_state.items()
        if k[0] in ("failed", "deferred", "no_imagery")
    }
    processed = sum(report.selected_by_state.values()) - leased - sum(retryable.values())
    if processed:
        console.print(
            f"Nothing to do: {count_of(processed, 'properties')} of {report.county} "
            f"{is_or_are(processed)} processed {_by_whom(report.status)} (--again or AGAIN=1 "
            "reprocesses them with the chosen segmenter; nothing else replaces what was measured)."
        )
    elif retryable:
        tried = sum(retryable.values())
        were, have = ("was", "has") if tried == 1 else ("were", "have")
        console.print(
            f"Nothing to do: {count_of(tried, 'properties')} of {report.county} {were} tried "
            f"before and {have} no result, and the CSV and the registry have not changed since."
        )
    if retryable:
        console.print(
            f"Without a result: {_counts(retryable)} (lotline status shows why; --retry-failed or "
            "RETRY_FAILED=1 retries them)."
        )


def _by_whom(status: CountyStatus) -> str:
    """Which segmenter processed them last; how many each where they are several."""
    if len(status.processed_by) <= 1:
        return f"by {', '.join(status.segmenters) or 'earlier runs'}"
    return ", ".join(f"{count:,} by {name}" for name, count in status.processed_by.items())


def _print_leased(console: Console, report: BatchReport) -> int:
    """Print how many properties another batch has leased; returns that number."""
    leased = sum(
        count for (state, _), count in report.selected_by_state.items() if state == "leased"
    )
    if leased:
        properties = f"{count_of(leased, 'properties')} {is_or_are(leased)}"
        console.print(f"{properties} being processed by another batch.")
    return leased


def print_status(console: Console, status: CountyStatus, county: str, *, synthetic: bool) -> None:
    """The queue by state and reason, and the measured areas by boundary source."""
    states = table_of(f"{county}: all its properties", ("state", "reason"), ("properties",))
    for (state, reason), count in sorted(status.by_state.items()):
        states.add_row(state, reason, f"{count:,}")
    console.print(states)
    if not status.areas:
        return
    if measured := measured_in(status.sources):
        console.print(measured)
    title = "All measured areas, by boundary source"
    print_areas(console, title, status.sources, status.areas, status.label_contains)
    for note in county_caveats(status, synthetic=synthetic):
        console.print(note)


def print_bad_rows(console: Console, report: BatchReport) -> None:
    """The invalid rows of the CSV, which the batch skipped."""
    if not report.bad_rows.count:
        return
    file = _relative(report.properties_file) if report.properties_file else "the CSV"
    count = report.bad_rows.count
    were = "was" if count == 1 else "were"
    console.print(f"{count_of(count, 'rows')} of {file} {were} skipped:", style="yellow")
    for row in report.bad_rows.examples[:MAX_BAD_ROWS_LISTED]:
        console.print(f"  line {row.line}: {sanitize_text(row.problem, 1000)}")
    _print_more(console, count)
    if report.rejected_path is not None:
        rejected = _relative(report.rejected_path)
        console.print(
            f"All skipped rows are in {rejected}: correct them there, then run the batch with "
            f"PROPERTIES={shlex.quote(rejected)}."
        )


def _print_more(console: Console, count: int) -> None:
    if count > MAX_BAD_ROWS_LISTED:
        console.print(f"  and {count - MAX_BAD_ROWS_LISTED:,} more")


def _print_parcel_lookups(console: Console, report: BatchReport) -> None:
    if not report.parcel_cache_hits and not report.parcel_requests:
        return
    console.print(
        f"Parcels: {count_of(report.parcel_cache_hits, 'lookups')} from the cache, "
        f"{report.parcel_requests:,} from the county server."
    )
    if report.snapshot_is_unverified:
        console.print(
            "The county server did not respond. The parcel snapshot was used, and could not be "
            "checked for updates.",
            style="yellow",
        )


def _print_lawn_errors(console: Console, report: BatchReport) -> None:
    truth = report.truth
    if truth is None:
        return
    console.print(
        f"Lawns against the truth of the synthetic county, {count_of(truth.lots, 'full lots')}: "
        f"measured {truth.measured_m2:,.0f} m², true {truth.true_m2:,.0f} m² "
        f"({truth.total_percent:+.1f} %); median error per lot "
        f"{truth.median_absolute_percent:.1f} %."
    )
    worst = truth.worst[0]
    console.print(
        f"Largest error: {worst.parcel_id}, measured {worst.measured_m2:,.0f} m², "
        f"true {worst.true_m2:,.0f} m²."
    )
    console.print("The imagery is synthetic: on real imagery the errors are others.")


def _counts(counts: Mapping[tuple[str, str], int]) -> str:
    return ", ".join(f"{n:,} {state} ({reason})" for (state, reason), n in sorted(counts.items()))


def _relative(path: Path) -> str:
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
