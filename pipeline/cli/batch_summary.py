"""A batch's report and a county's status as tables in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.text import Text

from pipeline.batch.result import BatchReport
from pipeline.cli.run_tables import print_run, table_of
from pipeline.plurals import count_of, is_or_are
from pipeline.report import formatting
from pipeline.report.caveats import found_by
from pipeline.store.reads.county_status import CountyStatus
from pipeline.units import M2_PER_SQFT

MAX_LISTED = 20


def console() -> Console:
    """Standard output; text is shown as it is, for ids and paths may hold brackets."""
    return Console(highlight=False, markup=False, soft_wrap=True)


def print_report(report: BatchReport) -> None:
    """What the run did, what the county has beside, and where the map and the page are."""
    out = console()
    print_bad_rows(out, report)
    if report.run is None:
        _print_nothing_to_do(out, report)
        return
    if report.run.state == "finished" and not report.run.properties:
        out.print(f"Other batches of {report.county} took all that waited: nothing was left to do.")
        _print_held(out, report)
        return
    print_run(out, report.run)
    _print_held(out, report)
    if sum(report.status.by_state.values()) > report.run.properties:
        print_status(out, report.status, report.county)
    _print_questions(out, report)
    _print_truth(out, report)
    if report.map_path:
        out.print(f"Map: {_short(report.map_path)}")
    if report.page_path:
        out.print(f"Report: {_short(report.page_path)} (lotline runs show {report.run.id})")


def _print_nothing_to_do(console: Console, report: BatchReport) -> None:
    if not report.selected_by_state:
        file = _short(report.properties_file) if report.properties_file else "the queue"
        console.print(f"Nothing to do: {file} names no property.")
    held = _print_held(console, report)
    without_result = ("failed", "deferred", "no_imagery")
    open_ = {k: n for k, n in report.selected_by_state.items() if k[0] in without_result}
    closed = sum(report.selected_by_state.values()) - held - sum(open_.values())
    if closed:
        console.print(
            f"Nothing to do: {count_of(closed, 'properties')} of {report.county} "
            f"{is_or_are(closed)} processed by "
            f"{', '.join(report.status.segmenters) or 'earlier runs'} (--again or "
            "AGAIN=1 runs them again, with the segmenter that is named)."
        )
    elif open_:
        tried = sum(open_.values())
        were, have = ("was", "has") if tried == 1 else ("were", "have")
        console.print(
            f"Nothing to do: {count_of(tried, 'properties')} of {report.county} {were} tried "
            "before "
            f"and {have} no result, and nothing was mended since (in the CSV or the registry)."
        )
    if open_:
        console.print(
            f"Without a result: {_counts(open_)} (lotline status says why; --retry-failed or "
            "RETRY_FAILED=1 tries them once more)."
        )


def _print_held(console: Console, report: BatchReport) -> int:
    """Say how many properties another batch works on; that number."""
    held = sum(count for (state, _), count in report.selected_by_state.items() if state == "leased")
    if held:
        what = f"{count_of(held, 'properties')} {is_or_are(held)}"
        console.print(f"{what} being worked on by another batch.")
    return held


def print_status(console: Console, status: CountyStatus, county: str) -> None:
    """The queue by state and reason, and the measured areas, lots and buffers apart."""
    states = table_of(f"{county}: all its properties", ("state", "reason"), ("properties",))
    for (state, reason), count in sorted(status.by_state.items()):
        states.add_row(state, reason, f"{count:,}")
    console.print(states)
    if not status.areas:
        return
    numbers = ("properties", "detections", "m²", "sq ft")
    areas = table_of("All that is measured, by boundary source", ("label", "boundary"), numbers)
    for area in status.areas:
        areas.add_row(
            area.label,
            area.source,
            f"{area.properties:,}",
            f"{area.detections:,}",
            formatting.area(area.area_m2),
            formatting.area(area.area_m2 / M2_PER_SQFT),
        )
    console.print(areas)
    for sentence in found_by(status.segmenters):
        console.print(sentence)


def print_bad_rows(console: Console, report: BatchReport) -> None:
    """The rows of the CSV that are no properties."""
    if not report.bad_rows.count:
        return
    file = _short(report.properties_file) if report.properties_file else "the CSV"
    count = report.bad_rows.count
    were = "was" if count == 1 else "were"
    console.print(f"{count_of(count, 'rows')} of {file} {were} left out:", style="yellow")
    for row in report.bad_rows.examples[:MAX_LISTED]:
        console.print(Text(f"  line {row.line}: {row.problem}"))
    _print_more(console, count)


def _print_more(console: Console, count: int) -> None:
    if count > MAX_LISTED:
        console.print(f"  and {count - MAX_LISTED:,} more")


def _print_questions(console: Console, report: BatchReport) -> None:
    if not report.parcel_cache_hits and not report.parcel_requests:
        return
    console.print(
        f"Parcels: {count_of(report.parcel_cache_hits, 'questions')} answered with what is kept, "
        f"{report.parcel_requests:,} put to the county's server."
    )
    if report.snapshot_is_unverified:
        console.print(
            "The county's server did not answer: the copy of its parcels was used, and could not "
            "be checked against it.",
            style="yellow",
        )


def _print_truth(console: Console, report: BatchReport) -> None:
    truth = report.truth
    if truth is None:
        return
    console.print(
        f"Lawns against the truth of the synthetic county, {count_of(truth.lots, 'whole lots')}: "
        f"measured {truth.measured_m2:,.0f} m², true {truth.true_m2:,.0f} m² "
        f"({truth.total_percent:+.1f} %); median error of a lot "
        f"{truth.median_absolute_percent:.1f} %."
    )
    worst = truth.worst[0]
    console.print(
        f"Furthest off: {worst.parcel_id}, {worst.measured_m2:,.0f} m² for {worst.true_m2:,.0f} m²."
    )


def _counts(counts: Mapping[tuple[str, str], int]) -> str:
    return ", ".join(f"{n:,} {state} ({reason})" for (state, reason), n in sorted(counts.items()))


def _short(path: Path) -> str:
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
