"""A run's report as files: JSON for programs, a page for people."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.report.html_page import html_page
from pipeline.report.run_report import RunReport
from pipeline.store.runs.map_data import RunMap

PAGE, DATA = "report.html", "report.json"


def as_json(report: RunReport) -> str:
    """The report as JSON, with a line break at its end."""
    return report.model_dump_json(indent=2) + "\n"


def write_files(report: RunReport, run_map: RunMap | None, folder: Path) -> Path:
    """Write report.html and report.json into a folder that is there; the page's path.

    Raises:
        PipelineError: they cannot be written.
    """
    write_text(folder / DATA, as_json(report))
    return write_page(report, run_map, folder / PAGE)


def write_page(report: RunReport, run_map: RunMap | None, path: Path) -> Path:
    """Write the page.

    Raises:
        PipelineError: it cannot be written.
    """
    write_text(path, html_page(report, run_map))
    return path


def write_text(path: Path, text: str) -> None:
    """Write all of a file or leave what was there.

    Raises:
        PipelineError: it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        # Command arguments may hold what is no text (a lone surrogate): it is shown as "?".
        part.write_text(text, encoding="utf-8", errors="replace")
        part.replace(path)
    except OSError as error:
        raise PipelineError(
            f"{path} cannot be written ({error.strerror}): name another place for it"
        ) from error
