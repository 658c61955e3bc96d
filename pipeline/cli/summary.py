"""A batch's report and a county's status as tables in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.batch.report import BatchReport, found_by
from pipeline.store.status import CountyStatus

SQFT_PER_M2 = 10.763_910_4  # international foot
MAX_LISTED = 20


def console() -> Console:
    """Standard output; text is shown as it is, for ids and paths may hold brackets."""
    return Console(highlight=False, markup=False, soft_wrap=True)


def print_report(report: BatchReport) -> None:
    """What the run did, what the county has now, what went wrong, and where the map is."""
    out = console()
    print_bad_rows(out, report)
    if report.run_id is None:
        _print_nothing_to_do(out, report)
        return
    done = f"{_properties(report.done)} in {report.wall_s:.1f} s"
    out.print(f"Run {report.run_id} of {report.county}: {done}.")
    if report.interrupted:
        out.print("Interrupted. What was written is kept; the same command goes on from there.")
    _print_held(out, report)
    if report.kept_reviews:
        out.print(f"{report.kept_reviews:,} findings gave way to what a person had decided.")
    print_status(out, report.status, report.county)
    _print_problems(out, report)
    _print_notes(out, report)
    _print_stages(out, report)
    _print_questions(out, report)
    _print_truth(out, report)
    if report.map_path:
        out.print(f"Map: {_short(report.map_path)}")


def _print_nothing_to_do(console: Console, report: BatchReport) -> None:
    closed = sum(report.asked.values()) - _print_held(console, report)
    if closed:
        console.print(
            f"Nothing to do: {_properties(closed)} of {report.county} {_are(closed)} processed "
            f"by {', '.join(report.status.segmenters) or 'earlier runs'} (--again or AGAIN=1 runs "
            "them again, with the segmenter that is named)."
        )
    open_ = {k: n for k, n in report.asked.items() if k[0] in ("failed", "deferred")}
    if open_:
        console.print(f"Without an answer: {_counts(open_)} (lotline status lists them).")


def _print_held(console: Console, report: BatchReport) -> int:
    """Say how many properties another batch works on; that number."""
    held = sum(count for (state, _), count in report.asked.items() if state == "leased")
    if held:
        console.print(f"{_properties(held)} {_are(held)} being worked on by another batch.")
    return held


def print_status(console: Console, status: CountyStatus, county: str) -> None:
    """The queue by state and reason, and the measured areas, lots and buffers apart."""
    states = Table(title=f"{county}: properties", title_justify="left")
    for heading in ("state", "reason"):
        states.add_column(heading)
    states.add_column("properties", justify="right")
    for (state, reason), count in sorted(status.by_state.items()):
        states.add_row(state, reason, f"{count:,}")
    console.print(states)
    if not status.areas:
        return
    areas = Table(title="Measured, by boundary source", title_justify="left")
    for heading in ("label", "boundary"):
        areas.add_column(heading)
    for heading in ("properties", "detections", "m²", "sq ft"):
        areas.add_column(heading, justify="right")
    for area in status.areas:
        areas.add_row(
            area.label,
            area.source,
            f"{area.properties:,}",
            f"{area.detections:,}",
            f"{area.area_m2:,.0f}",
            f"{area.area_m2 * SQFT_PER_M2:,.0f}",
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
    rows = "1 row" if count == 1 else f"{count:,} rows"
    were = "was" if count == 1 else "were"
    console.print(f"{rows} of {file} {were} left out:", style="yellow")
    for row in report.bad_rows.examples[:MAX_LISTED]:
        console.print(Text(f"  line {row.line}: {row.problem}"))
    _print_more(console, count)


def _print_problems(console: Console, report: BatchReport) -> None:
    if not report.problems:
        return
    console.print("Not measured:", style="yellow")
    for problem in report.problems[:MAX_LISTED]:
        state = f"{problem.state} ({problem.reason})"
        console.print(Text(f"  {problem.property_id}: {state} - {problem.detail}"))
    _print_more(console, len(report.problems))


def _print_notes(console: Console, report: BatchReport) -> None:
    if not report.notes:
        return
    console.print("To look at:", style="yellow")
    for note in report.notes[:MAX_LISTED]:
        console.print(Text(f"  {note.property_id}: {note.detail}"))
    _print_more(console, len(report.notes))


def _print_more(console: Console, count: int) -> None:
    if count > MAX_LISTED:
        console.print(f"  and {count - MAX_LISTED:,} more")


def _print_stages(console: Console, report: BatchReport) -> None:
    if report.clock is None:
        return
    stages = ", ".join(f"{name} {s:.1f} s" for name, s in report.clock.seconds.items())
    console.print(f"Time: {stages}.")


def _print_questions(console: Console, report: BatchReport) -> None:
    if not report.questions_kept and not report.questions_asked:
        return
    console.print(
        f"Parcels: {report.questions_kept:,} questions answered with what is kept, "
        f"{report.questions_asked:,} put to the county's server."
    )
    if report.copy_is_unchecked:
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
        f"Lawns against the truth of the synthetic county, {truth.lots} whole lots: "
        f"measured {truth.measured_m2:,.0f} m², true {truth.true_m2:,.0f} m² "
        f"({truth.total_percent:+.1f} %); median error of a lot "
        f"{truth.median_absolute_percent:.1f} %."
    )
    worst = truth.worst[0]
    console.print(
        f"Furthest off: {worst.parcel_id}, {worst.measured_m2:,.0f} m² for {worst.true_m2:,.0f} m²."
    )


def _properties(count: int) -> str:
    return "1 property" if count == 1 else f"{count:,} properties"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _counts(counts: Mapping[tuple[str, str], int]) -> str:
    return ", ".join(f"{n:,} {state} ({reason})" for (state, reason), n in sorted(counts.items()))


def _short(path: Path) -> str:
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
