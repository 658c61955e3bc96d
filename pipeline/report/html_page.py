"""A run as one self-contained HTML page: no script, no external request, every text escaped."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment

from pipeline.report import formatting, palette
from pipeline.report.advice import SYNTHETIC_NOTE
from pipeline.report.area_notes import area_groups, area_notes, measured_in
from pipeline.report.latency_chart import latency_chart
from pipeline.report.map_svg import map_drawing
from pipeline.report.page_extras import PageExtras
from pipeline.report.run_report import RunReport
from pipeline.templates import load_templates

# What one call of each stage is.
STAGE_CALLS = {
    "lease": "a chunk of lots leased from the queue",
    "boundary": "boundaries of a chunk",
    "plan": "chips planned for a chunk",
    "read": "one chip read",
    "segment": "a batch of chips segmented",
    "stitch": "chips of a mosaic stitched",
    "measure": "lots of a mosaic clipped and measured",
    "write": "a batch of lots written",
    "map": "the PNG map drawn",
}


def html_page(report: RunReport, extras: PageExtras | None = None) -> str:
    """The page as text, to be encoded in UTF-8."""
    extras = extras or PageExtras()
    run_map = extras.run_map
    template = _templates().get_template("run.html.jinja")
    return template.render(
        report=report,
        caveats=[note for note in report.caveats if note != SYNTHETIC_NOTE],
        end_note=formatting.run_end_note(report.state, report.settings),
        area_groups=[
            (source, group)
            for source in formatting.SOURCES
            for group in area_groups(report.areas_of(source))
        ],
        area_notes=area_notes(report.sources, report.areas, report.label_contains),
        measured_in=measured_in(report.sources),
        map=None if run_map is None else map_drawing(run_map, report.properties, extras.imagery),
        latency=latency_chart(report.stages),
        settings={**report.settings, "weights (SHA-256)": report.weights_sha256 or "-"},
        without_result=extras.without_result,
        stage_calls=STAGE_CALLS,
        palette=palette,
    )


@cache
def _templates() -> Environment:
    return load_templates(
        "pipeline.report",
        {
            "area": formatting.area,
            "duration": formatting.duration,
            "duration_or_dash": formatting.duration_or_dash,
            "rate": formatting.rate,
            "reviewed_note": formatting.reviewed_note,
            "setting_value": formatting.setting_value,
            "source_name": formatting.source_name,
            "timestamp_utc": formatting.timestamp_utc,
        },
    )
