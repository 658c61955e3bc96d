"""`lotline doctor`: what this machine has, what fits, and what to do about the rest."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import registry_option
from pipeline.cli.output import echo, echo_json
from pipeline.plurals import count_of
from pipeline.redaction import redactor
from pipeline.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.doctor.checks import CheckRow


@click.command()
@click.option(
    "--county", "counties", multiple=True, metavar="NAME",
    help="Ask this county's server; by default those of the registry file. Repeatable.",
)  # fmt: skip
@registry_option
@click.option("--offline", is_flag=True, help="Ask no server but the database.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(counties: tuple[str, ...], registry: Path | None, offline: bool, as_json: bool) -> None:
    """Check what this machine has, what fits into its memory, and how to cure what is missing.

    Changes, downloads and installs nothing. Exits with 1 if something that the default needs is
    broken, or a county that was named with --county does not answer.
    """
    from pipeline.doctor.report import DoctorRequest, doctor_rows

    request = DoctorRequest(load_settings(), registry, counties, offline)
    rows: list[CheckRow] = []
    for row in doctor_rows(request):
        rows.append(row)
        if not as_json:
            _print_row(row)
    problems = sum(row.level == "problem" for row in rows)
    if as_json:
        _print_json(rows, healthy=not problems)
    else:
        warnings = sum(row.level == "warning" for row in rows)
        echo(f"{count_of(problems, 'problems')}, {count_of(warnings, 'warnings')}.")
    sys.exit(1 if problems else 0)


def _print_row(row: CheckRow) -> None:
    echo(f"{row.level:<8} {row.check}: {redactor.text(row.found)}")
    if row.cure:
        echo(f"         -> {redactor.text(row.cure)}")


def _print_json(rows: Sequence[CheckRow], *, healthy: bool) -> None:
    checks = [{name: redactor.text(value) for name, value in row.as_json().items()} for row in rows]
    echo_json(json.dumps({"healthy": healthy, "checks": checks}, indent=2, ensure_ascii=False))
