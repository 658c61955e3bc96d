"""One HTML page of a run: it holds all that it shows, asks for nothing, and runs no script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

from pipeline.report import formatting
from pipeline.report.caveats import found_by
from pipeline.report.html import Column, Raw, bar, element, joined, made, number, table
from pipeline.report.latency_chart import latency_chart
from pipeline.report.map_svg import colour_of, map_svg
from pipeline.report.run_report import LabelArea, RunReport
from pipeline.store.runs.map_data import RunMap

# A browser that keeps to it loads nothing from anywhere and runs no script, whatever a text says.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

_CALLS = {
    "lease": "lots taken from the queue together",
    "boundary": "boundaries of those",
    "plan": "their chips chosen",
    "read": "one chip read",
    "segment": "chips shown together",
    "stitch": "chips of one scene joined",
    "measure": "a scene's lots clipped and measured",
    "write": "lots written together",
    "map": "the picture of the run",
}


def html_page(report: RunReport, run_map: RunMap | None) -> str:
    """The page, as text to be written in UTF-8."""
    css = files("pipeline.report").joinpath("page.css").read_text(encoding="utf-8")
    title = f"Run {report.id}: {report.county_name}"
    sections: Sequence[tuple[str, Callable[[RunReport], Raw]]] = (
        ("Properties of this run", _counts),
        ("Measured areas", _areas),
        ("Where they lie", lambda _: _places(report, run_map)),
        ("To look at", _examples),
        ("How long each stage took", _stages),
        ("Requests and faults", _requests),
        ("Settings", _settings),
    )
    parts = [_head(report)]
    for heading, content in sections:
        made_of = content(report)
        if made_of:
            parts.append(element("section", joined([element("h2", heading), made_of])))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{made(title)}</title>\n<style>\n{css}</style></head>\n"
        f"<body>\n{joined(parts)}\n</body></html>\n"
    )


def _head(report: RunReport) -> Raw:
    took = f", {formatting.duration(report.took_s)}" if report.took_s else ""
    started = f"Started {formatting.moment(report.started_at)}{took}."
    title = [f"Run {report.id}: {report.county_name} ", _badge(report.state)]
    lines: list[Raw] = [
        element("h1", joined(title)),
        element("p", f"{started} {' '.join(found_by([report.segmenter]))}", class_="soft"),
    ]
    if report.synthetic:
        lines.append(element("p", "Synthetic imagery and lots, not a real place.", class_="told"))
    if ended := formatting.ended(report.state, report.settings):
        last = f" Last sign of life: {formatting.moment(report.last_sign_at)}."
        said = ended + (last if report.state == "killed" else "")
        lines.append(element("p", said, class_="told"))
    if left_out := report.settings.get("rows_left_out"):
        said = (
            f"Rows of its CSV that are no properties, and in none of these numbers: {left_out:,}."
        )
        lines.append(element("p", said, class_="told"))
    return joined([*lines, _tiles(report)])


def _badge(state: str) -> Raw:
    return element("span", state, class_=f"badge {state}")


def _tiles(report: RunReport) -> Raw:
    told = [
        (f"{report.properties:,}", "properties answered"),
        (f"{report.properties_in('done'):,}", "done"),
        (f"{report.properties_in('no_imagery'):,}", "without imagery"),
        (f"{report.properties_in('deferred', 'failed'):,}", "deferred or failed"),
        (formatting.rate(report.properties_per_s), "properties a second"),
        (f"{report.encoder_calls:,}", "chips shown to the segmenter"),
    ]
    tiles = [
        element("div", joined([element("b", figure), element("span", what)]), class_="tile")
        for figure, what in told
    ]
    return element("div", joined(tiles), class_="tiles")


def _counts(report: RunReport) -> Raw:
    if not report.counts:
        return element("p", "It answered none.")
    columns = [Column("state"), Column("reason"), number("properties"), Column("", "bar")]
    rows = [
        [
            count.state.replace("_", " "),
            count.reason.replace("_", " "),
            f"{count.properties:,}",
            bar(count.properties / max(report.properties, 1), count.state),
        ]
        for count in report.counts
    ]
    if any(count.what_to_do for count in report.counts):
        columns.append(Column("what to do", "text"))
        for row, count in zip(rows, report.counts, strict=True):
            row.append(count.what_to_do)
    sources = ", ".join(
        f"{source.properties:,} in a {formatting.SOURCES.get(source.source, source.source)}"
        for source in report.sources
    )
    said = element("p", f"Measured: {sources}.") if sources else Raw()
    reviews = (
        element("p", formatting.reviewed(report.kept_reviews)) if report.kept_reviews else Raw()
    )
    return joined([table(columns, rows), said, reviews])


def _areas(report: RunReport) -> Raw:
    lots, buffers = report.areas_of("lot"), report.areas_of("buffer_30m")
    parts = []
    if lots:
        parts += [element("h3", "In lots"), _area_table(lots)]
    if buffers:
        said = (
            "Circles of 30 m round properties without a lot. They are no lots: never add them up."
        )
        parts += [element("h3", "In 30 m buffers"), element("p", said, class_="soft")]
        parts.append(_area_table(buffers))
    return joined(parts)


def _area_table(areas: Sequence[LabelArea]) -> Raw:
    columns = (
        Column("label"), number("properties"), number("detections"), number("m²"),
        number("sq ft"), Column("", "bar"),
    )  # fmt: skip
    most_m2 = max(area.area_m2 for area in areas) or 1.0
    rows = [
        (
            area.label,
            f"{area.properties:,}",
            f"{area.detections:,}",
            formatting.area(area.area_m2),
            formatting.area(area.area_sqft),
            bar(area.area_m2 / most_m2, colour=colour_of(area.label)),
        )
        for area in areas
    ]
    return table(columns, rows)


def _places(report: RunReport, run_map: RunMap | None) -> Raw:
    if run_map is not None:
        return map_svg(run_map, report.properties)
    if not report.properties:
        return Raw()
    return element("p", "It is not known where they are, or a later run worked on them again.")


def _examples(report: RunReport) -> Raw:
    if not report.examples:
        return Raw()
    columns = (Column("property", "text"), Column("state"), Column("why", "text"))
    rows = [
        (
            each.property_id,
            f"{each.state} ({each.reason})".replace("_", " "),
            each.detail or "-",
        )
        for each in report.examples
    ]
    said = "At most five of each state and reason; lotline export writes all of them."
    return joined([element("p", said, class_="soft"), table(columns, rows)])


def _stages(report: RunReport) -> Raw:
    if not report.stages:
        return Raw()
    columns = (
        Column("stage"), Column("a call is", "aside"), number("calls"), number("in all"),
        number("median"), number("9 in 10"), number("99 in 100"), number("longest"),
    )  # fmt: skip
    rows = [
        (
            stage.stage,
            _CALLS.get(stage.stage, ""),
            f"{stage.calls:,}",
            formatting.duration(stage.seconds),
            formatting.known(stage.p50_s),
            formatting.known(stage.p90_s),
            formatting.known(stage.p99_s),
            formatting.known(stage.longest_s),
        )
        for stage in report.stages
    ]
    said = "Stages overlap, in several threads or machines: together they are more than the run."
    return joined(
        [element("p", said, class_="soft"), latency_chart(report.stages), table(columns, rows)]
    )


def _requests(report: RunReport) -> Raw:
    hosts = [(each.host, f"{each.requests:,}") for each in report.requests]
    faults = [(each.fault, f"{each.times:,}") for each in report.faults]
    return joined(
        [
            table((Column("host", "text"), number("requests")), hosts)
            if hosts
            else element("p", "No host was asked for anything."),
            table((Column("fault, mended", "text"), number("times")), faults)
            if faults
            else element("p", "Nothing went wrong that had to be mended."),
        ]
    )


def _settings(report: RunReport) -> Raw:
    kept: dict[str, Any] = {**report.settings, "weights (SHA-256)": report.weights_sha256 or "-"}
    rows = [(name.replace("_", " "), formatting.setting(value)) for name, value in kept.items()]
    listed = table((Column("setting"), Column("value", "text")), rows)
    return element("details", joined([element("summary", "What it was asked to do"), listed]))
