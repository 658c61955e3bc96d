"""README.md and DATA_DICTIONARY.md of an export, from the Markdown templates of this package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment

from pipeline.export.columns import Column
from pipeline.export.export_folder import MARK
from pipeline.report.area_notes import area_groups, area_notes, measured_in, segmenter_name
from pipeline.store.reads.county_status import CountyStatus
from pipeline.store.runs.area_totals import AreaTotal
from pipeline.templates import load_templates
from pipeline.units import M2_PER_SQFT


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file of an export: its content as text, its rows and its size."""

    what: str
    rows: int
    size_bytes: int


def render_readme(
    title: str,
    notes: Sequence[str],
    files: Mapping[str, ExportedFile],
    status: CountyStatus,
    format_name: str,
    text_columns: Sequence[str] = (),
) -> str:
    """The README: the files, the totals, and how to read the format.

    Args:
        notes: what holds for all files, as Markdown.
        status: of the county in the snapshot that is exported.
        text_columns: the ids and the customer's own columns of the properties table.
    """
    return (
        _templates()
        .get_template("README.md.jinja")
        .render(
            title=title,
            mark=MARK,
            notes=notes,
            files=files,
            status=status,
            measured_in=measured_in(status.sources),
            area_groups=area_groups(status.areas),
            area_notes=area_notes(status.sources, status.areas, status.label_contains),
            format=format_name,
            m2_per_sqft=M2_PER_SQFT,
            text_columns="{" + ", ".join(f"{name!r}: str" for name in text_columns) + "}",
        )
    )


def render_data_dictionary(
    title: str, notes: Sequence[str], files: Mapping[str, Sequence[Column]]
) -> str:
    """The meaning of each column of each file; files with the same columns share a table."""
    tables: dict[tuple[Column, ...], list[str]] = {}
    for name, columns in files.items():
        tables.setdefault(tuple(columns), []).append(name)
    template = _templates().get_template("data_dictionary.md.jinja")
    return template.render(title=title, notes=notes, tables=tables)


@cache
def _templates() -> Environment:
    return load_templates("pipeline.export", {"cell": table_cell, "segmenter": _segmenter})


def _segmenter(area: AreaTotal) -> str:
    return segmenter_name(area.segmenter, area.weights_sha256)


def table_cell(text: str) -> str:
    """Text that cannot end its Markdown table cell or row: one line, with pipes escaped."""
    return " ".join(text.split()).replace("|", "\\|")
