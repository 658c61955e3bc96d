"""The terminal summary of a run, the list of runs, and two runs compared; 80 columns wide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from itertools import groupby

from rich import box
from rich.console import Console
from rich.table import Table

from parcels.untrusted import sanitize_text
from pipeline.plurals import count_of
from pipeline.report import RunReport, formatting
from pipeline.report.area_notes import AreaRow, area_groups, area_notes, measured_in, overlap_notes
from pipeline.report.comparison import RunComparison
from pipeline.store.runs.totals import ExampleProperty, SourceCount
from pipeline.units import M2_PER_SQFT


def print_run(console: Console, report: RunReport) -> None:
    """The summary of one run; the county's other properties are in none of these numbers."""
    console.print(f"Run {report.id} of {report.county_name}: {_processed(report)}.")
    if end_note := formatting.run_end_note(report.state, report.settings):
        console.print(end_note, style="yellow")
    if report.kept_reviews:
        console.print(formatting.reviewed_note(report.kept_reviews))
    _print_states(console, report)
    if measured := measured_in(report.sources):
        console.print(measured)
    title = "This run's areas, by boundary source"
    print_areas(console, title, report.sources, report.areas, report.label_contains)
    for note in report.caveats:
        console.print(note)
    for note in report.imagery_notes:
        console.print(f"Imagery: {note}", style="yellow")
    for note in report.county_notes:
        console.print(f"Lots: {note}", style="yellow")
    _print_examples(console, "Not measured:", [e for e in report.examples if e.state != "done"])
    _print_examples(console, "To check:", [e for e in report.examples if e.state == "done"])
    _print_stages(console, report)
    _print_requests_and_faults(console, report)


def print_runs(console: Console, reports: Iterable[RunReport]) -> None:
    """One line per run."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0), show_edge=False)
    for heading in ("run", "county", "started (UTC)", "state", "segmenter"):
        table.add_column(heading, overflow="fold", no_wrap=heading not in ("county", "segmenter"))
    for heading in ("took", "lots", "lots/s", "failed"):
        table.add_column(heading, justify="right", no_wrap=True)
    for report in reports:
        table.add_row(
            str(report.id),
            report.county,
            f"{report.started_at.astimezone(UTC):%Y-%m-%d %H:%M}",
            report.state,
            report.segmenter,
            formatting.duration_or_dash(report.took_s or None),
            f"{report.properties:,}",
            formatting.rate(report.properties_per_s),
            f"{report.properties_in('failed', 'deferred'):,}",
        )
    console.print(table)


def print_comparison(console: Console, comparison: RunComparison) -> None:
    """Two runs side by side."""
    a, b = comparison.a, comparison.b
    for name, run in (("A", a), ("B", b)):
        console.print(f"{name}: run {run.id} of {run.county_name}, {run.state}: {_processed(run)}.")
    if comparison.settings:
        settings = table_of("Settings that differ", ("setting", "A", "B"), ())
        for each in comparison.settings:
            a_value, b_value = map(formatting.setting_value, (each.a, each.b))
            settings.add_row(each.setting, a_value, b_value)
        console.print(settings)
    counts = table_of("Properties", ("state", "reason"), ("A", "B"))
    for count in comparison.counts:
        counts.add_row(count.state, count.reason, f"{count.a:,}", f"{count.b:,}")
    console.print(counts)
    _print_area_changes(console, comparison)
    stages = table_of("Stages", ("stage",), ("A p50", "B p50", "A p99", "B p99"))
    for stage in comparison.stages:
        both = (stage.a, stage.b)
        times = [None if one is None else one.p50_s for one in both]
        times += [None if one is None else one.p99_s for one in both]
        stages.add_row(stage.stage, *map(formatting.duration_or_dash, times))
    console.print(stages)


def _print_area_changes(console: Console, comparison: RunComparison) -> None:
    if not comparison.common_properties:
        console.print("The runs have no measured property in common.")
        return
    title = f"Areas of {count_of(comparison.common_properties, 'properties')} measured by both"
    areas = table_of(title, ("label", "boundary"), ("A m²", "B m²", "B - A m²", "%"))
    for area in comparison.areas:
        percent = area.difference_percent
        areas.add_row(
            area.label,
            area.source,
            formatting.area(area.a_m2),
            formatting.area(area.b_m2),
            f"{area.difference_m2:+z,.1f}",
            "-" if percent is None else f"{percent:+z.1f}",
        )
    console.print(areas)
    partly = max((max(a.a_partly_imaged, a.b_partly_imaged) for a in comparison.areas), default=0)
    if partly:
        properties = count_of(partly, "properties")
        console.print(f"Includes {properties} imaged only in part.")
    labels = {area.label for area in comparison.areas}
    contains = {**comparison.a.label_contains, **comparison.b.label_contains}
    caveats = dict.fromkeys([*comparison.a.caveats, *comparison.b.caveats])
    for note in [*_review_notes(comparison), *overlap_notes(labels, contains), *caveats]:
        console.print(note)


def _review_notes(comparison: RunComparison) -> list[str]:
    """What people decided is in the areas too, so that a difference may be theirs."""
    kept = [(n, r.kept_reviews) for n, r in (("A", comparison.a), ("B", comparison.b))]
    notes = [f"{name}: {formatting.reviewed_note(count)}" for name, count in kept if count]
    if notes:
        notes.append("Areas include what people decided: a difference may be their corrections.")
    return notes


def table_of(title: str, texts: Sequence[str], numbers: Sequence[str]) -> Table:
    """An empty table: text columns first, then right-aligned number columns."""
    table = Table(title=title, title_justify="left")
    for heading in texts:
        table.add_column(heading, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right")
    return table


def print_areas(
    console: Console,
    title: str,
    sources: Sequence[SourceCount],
    areas: Sequence[AreaRow],
    contains: Mapping[str, Sequence[str]],
) -> None:
    """The measured areas, a table for each group that is not added to others, with notes."""
    for group in area_groups(areas):
        heading = f"{title}; {group.heading}" if group.heading else title
        console.print(areas_table(heading, group.rows))
    for note in area_notes(sources, areas, contains):
        console.print(note)


def areas_table(title: str, areas: Iterable[AreaRow]) -> Table:
    """The measured areas by label and boundary source."""
    numbers = ("properties", "detections", "m²", "sq ft")
    table = table_of(title, ("label", "boundary"), numbers)
    for area in areas:
        table.add_row(
            area.label,
            area.source,
            f"{area.properties:,}",
            f"{area.detections:,}",
            formatting.area(area.area_m2),
            formatting.area(area.area_m2 / M2_PER_SQFT),
        )
    return table


def _processed(report: RunReport) -> str:
    return formatting.processed_summary(report.properties, report.took_s, report.properties_per_s)


def _print_states(console: Console, report: RunReport) -> None:
    if not report.counts:
        return
    states = table_of("This run's properties", ("state", "reason"), ("properties",))
    for count in report.counts:
        states.add_row(count.state, count.reason, f"{count.properties:,}")
    console.print(states)


def _print_examples(console: Console, title: str, examples: Iterable[ExampleProperty]) -> None:
    groups = [list(group) for _, group in groupby(examples, key=lambda e: (e.state, e.reason))]
    if groups:
        console.print(title, style="yellow")
    for group in groups:
        for example in group:
            state = "" if example.state == "done" else f"{example.state} ({example.reason}) - "
            line = f"{example.property_id}: {state}{example.detail}"
            console.print(f"  {sanitize_text(line, 1000)}")
        if (more := group[0].told - len(group)) > 0:
            console.print(f"  and {more:,} more of this kind")


def _print_stages(console: Console, report: RunReport) -> None:
    if not report.stages:
        return
    numbers = ("calls", "total", "p50", "p90", "p99", "longest")
    stages = table_of("Stages (they overlap)", ("stage",), numbers)
    for stage in report.stages:
        times = (stage.p50_s, stage.p90_s, stage.p99_s, stage.longest_s)
        latencies = map(formatting.duration_or_dash, times)
        total = formatting.duration(stage.seconds)
        stages.add_row(stage.stage, f"{stage.calls:,}", total, *latencies)
    console.print(stages)


def _print_requests_and_faults(console: Console, report: RunReport) -> None:
    console.print(f"Chips segmented: {report.encoder_calls:,}.")
    if report.requests:
        hosts = ", ".join(f"{each.requests:,} to {each.host}" for each in report.requests)
        console.print(f"Requests: {hosts}.")
    if report.faults:
        faults = ", ".join(f"{each.fault} ({each.times:,})" for each in report.faults)
        console.print(f"Recovered faults: {faults}.", style="yellow")
