"""A run's report as tables in the terminal, 80 columns wide."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC
from itertools import groupby

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.plurals import count_of
from pipeline.report import RunReport, formatting
from pipeline.report.caveats import found_by
from pipeline.report.comparison import RunComparison
from pipeline.store.runs.totals import ExampleProperty


def print_run(console: Console, report: RunReport) -> None:
    """What a run alone did: the county's other properties are in none of these numbers."""
    console.print(f"Run {report.id} of {report.county_name}: {_answered(report)}.")
    if ended := formatting.ended(report.state, report.settings):
        console.print(ended, style="yellow")
    if report.kept_reviews:
        console.print(formatting.reviewed(report.kept_reviews))
    _print_counts(console, report)
    _print_areas(console, report)
    for sentence in found_by([report.segmenter]):
        console.print(sentence)
    _print_examples(console, "Not measured:", [e for e in report.examples if e.state != "done"])
    _print_examples(console, "To look at:", [e for e in report.examples if e.state == "done"])
    _print_stages(console, report)
    _print_calls(console, report)


def print_runs(console: Console, reports: Iterable[RunReport]) -> None:
    """A line for each run."""
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
            formatting.known(report.took_s or None),
            f"{report.properties:,}",
            formatting.rate(report.properties_per_s),
            f"{report.properties_in('failed', 'deferred'):,}",
        )
    console.print(table)


def print_comparison(console: Console, told: RunComparison) -> None:
    """Two runs side by side."""
    a, b = told.a, told.b
    for name, run in (("A", a), ("B", b)):
        console.print(f"{name}: run {run.id} of {run.county_name}, {run.state}: {_answered(run)}.")
    if told.settings:
        settings = table_of("Settings that differ", ("setting", "A", "B"), ())
        for each in told.settings:
            settings.add_row(each.setting, formatting.setting(each.a), formatting.setting(each.b))
        console.print(settings)
    counts = table_of("Properties", ("state", "reason"), ("A", "B"))
    for count in told.counts:
        counts.add_row(count.state, count.reason, f"{count.a:,}", f"{count.b:,}")
    console.print(counts)
    _print_changes(console, told)
    stages = table_of("Stages", ("stage",), ("A median", "B median", "A 99 in 100", "B 99 in 100"))
    for stage in told.stages:
        both = (stage.a, stage.b)
        times = [None if one is None else one.p50_s for one in both]
        times += [None if one is None else one.p99_s for one in both]
        stages.add_row(stage.stage, *map(formatting.known, times))
    console.print(stages)


def _print_changes(console: Console, told: RunComparison) -> None:
    if not told.common_properties:
        console.print("There is no property that both measured.")
        return
    title = f"Areas of the {count_of(told.common_properties, 'properties')} that both measured"
    areas = table_of(title, ("label", "boundary"), ("A m²", "B m²", "more m²", "%"))
    for area in told.areas:
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


def table_of(title: str, texts: Sequence[str], numbers: Sequence[str]) -> Table:
    """An empty table: columns of texts first, then columns of numbers."""
    made = Table(title=title, title_justify="left")
    for heading in texts:
        made.add_column(heading, overflow="fold")
    for heading in numbers:
        made.add_column(heading, justify="right")
    return made


def _answered(report: RunReport) -> str:
    return formatting.answered(report.properties, report.took_s, report.properties_per_s)


def _print_counts(console: Console, report: RunReport) -> None:
    if not report.counts:
        return
    states = table_of("This run's properties", ("state", "reason"), ("properties",))
    for count in report.counts:
        states.add_row(count.state, count.reason, f"{count.properties:,}")
    console.print(states)
    sources = [
        f"{source.properties:,} in a {formatting.SOURCES.get(source.source, source.source)}"
        for source in report.sources
    ]
    if sources:
        console.print(f"Measured: {', '.join(sources)}.")


def _print_areas(console: Console, report: RunReport) -> None:
    if not report.areas:
        return
    numbers = ("properties", "detections", "m²", "sq ft")
    areas = table_of("This run's areas, by boundary source", ("label", "boundary"), numbers)
    for area in report.areas:
        areas.add_row(
            area.label,
            area.source,
            f"{area.properties:,}",
            f"{area.detections:,}",
            formatting.area(area.area_m2),
            formatting.area(area.area_sqft),
        )
    console.print(areas)


def _print_examples(console: Console, title: str, examples: Iterable[ExampleProperty]) -> None:
    groups = [list(group) for _, group in groupby(examples, key=lambda e: (e.state, e.reason))]
    if groups:
        console.print(title, style="yellow")
    for group in groups:
        for each in group:
            state = "" if each.state == "done" else f"{each.state} ({each.reason}) - "
            console.print(Text(f"  {each.property_id}: {state}{each.detail}"))
        if (more := group[0].told - len(group)) > 0:
            console.print(f"  and {more:,} more like these")


def _print_stages(console: Console, report: RunReport) -> None:
    if not report.stages:
        return
    numbers = ("calls", "in all", "median", "9 in 10", "99 in 100", "longest")
    stages = table_of("Stages; they overlap", ("stage",), numbers)
    for stage in report.stages:
        times = (stage.p50_s, stage.p90_s, stage.p99_s, stage.longest_s)
        known = map(formatting.known, times)
        stages.add_row(stage.stage, f"{stage.calls:,}", formatting.duration(stage.seconds), *known)
    console.print(stages)


def _print_calls(console: Console, report: RunReport) -> None:
    console.print(f"Chips shown to the segmenter: {report.encoder_calls:,}.")
    if report.requests:
        hosts = ", ".join(f"{each.requests:,} to {each.host}" for each in report.requests)
        console.print(f"Requests: {hosts}.")
    if report.faults:
        faults = ", ".join(f"{each.fault} ({each.times:,})" for each in report.faults)
        console.print(f"Mended on the way: {faults}.", style="yellow")
