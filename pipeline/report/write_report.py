"""Write a run's report as files: report.json for programs, report.html for people."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.report.html_page import html_page
from pipeline.report.page_extras import PageExtras
from pipeline.report.run_report import RunReport

PAGE_NAME, JSON_NAME = "report.html", "report.json"


def as_json(report: RunReport) -> str:
    """The report as JSON, with a line break at the end."""
    return report.model_dump_json(indent=2) + "\n"


def write_files(report: RunReport, extras: PageExtras, folder: Path) -> Path:
    """Write report.html and report.json into an existing folder; returns the page's path.

    Raises:
        PipelineError: a file cannot be written.
    """
    write_text(folder / JSON_NAME, as_json(report))
    return write_page(report, extras, folder / PAGE_NAME)


def write_page(report: RunReport, extras: PageExtras, path: Path) -> Path:
    """Write the page.

    Raises:
        PipelineError: the file cannot be written.
    """
    write_text(path, html_page(report, extras))
    return path


def write_text(path: Path, text: str) -> None:
    """Replace a file atomically: on an error the old one stays.

    Raises:
        PipelineError: the file cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        # Command arguments may contain lone surrogates, which UTF-8 cannot encode: write "?".
        part.write_text(text, encoding="utf-8", errors="replace")
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise PipelineError(
            f"{path} cannot be written ({error.strerror}). Choose another path"
        ) from error
