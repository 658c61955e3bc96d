"""`lotline runs`: list, show and compare runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.output import echo, echo_json

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pipeline.store.runs.lifecycle import Run

_LATEST = "latest"

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def runs() -> None:
    """List, show and compare runs: settings, results, faults and timings of each batch."""


@runs.command("list")
@click.option("--county", help="Only runs of this county.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Maximum number of runs.",
)
@as_json_option
def list_(county: str | None, limit: int, as_json: bool) -> None:
    """List runs, newest first."""
    from pipeline.cli.console import console
    from pipeline.cli.summary_tables import print_runs
    from pipeline.report import build_report
    from pipeline.store.runs.lifecycle import recent_runs

    with _connection() as conn:
        found = recent_runs(conn, county, limit)
        if county is not None and not found:
            found = recent_runs(conn, _county_key(county), limit)
        reports = [build_report(conn, run) for run in found]
    if as_json:
        echo_json(
            json.dumps([_summary(report.model_dump(mode="json")) for report in reports], indent=2)
        )
    elif reports:
        print_runs(console(), reports)
    else:
        echo(f"No runs of {county} yet." if county else "No runs yet.")


@runs.command()
@click.argument("run_id", metavar="[ID|latest]", default=_LATEST)
@as_json_option
@click.option(
    "--html", "page", type=click.Path(path_type=Path, dir_okay=False),
    help="Write the HTML report to this file.",
)  # fmt: skip
def show(run_id: str, as_json: bool, page: Path | None) -> None:
    """Show a run's results; of a running or killed run, the results so far."""
    from pipeline.cli.console import console
    from pipeline.cli.summary_tables import print_run
    from pipeline.report import build_report
    from pipeline.report.write_report import as_json as json_of
    from pipeline.report.write_report import write_page

    with _connection() as conn:
        run = _find(conn, run_id)
        report = build_report(conn, run)
        if page is not None:
            from pipeline.report.map_imagery import imagery_of_run
            from pipeline.report.page_extras import load_extras

            extras = load_extras(conn, run, imagery_of_run(run.settings))
            write_page(report, extras, page)
    if as_json:
        echo_json(json_of(report))
    elif page is not None:
        echo(str(page))
    else:
        if understood := report.settings.get("properties_understood"):
            console().print(f"{understood}.")
        print_run(console(), report)


@runs.command()
@click.argument("a")
@click.argument("b")
@as_json_option
def compare(a: str, b: str, as_json: bool) -> None:
    """Compare two runs; areas on the properties that both measured."""
    from pipeline.cli.console import console
    from pipeline.cli.summary_tables import print_comparison
    from pipeline.report.comparison import compare_runs

    with _connection() as conn:
        comparison = compare_runs(conn, _find(conn, a), _find(conn, b))
    if as_json:
        echo_json(comparison.model_dump_json(indent=2))
    else:
        print_comparison(console(), comparison)


@contextmanager
def _connection() -> Iterator[Connection]:
    """A connection with one snapshot for all queries, because a batch may be writing."""
    from pipeline.settings import load_settings
    from pipeline.store.database import open_database

    settings = load_settings()
    with (
        open_database(settings.database_url, settings.home) as database,
        database.engine.connect().execution_options(isolation_level="REPEATABLE READ") as conn,
    ):
        yield conn


def _county_key(county: str) -> str:
    """The key of a registry county.

    Raises:
        RegistryError: no county has that key or name.
    """
    from detection.registry.county import DetectionCounty
    from parcels import load_registry
    from pipeline.settings import load_settings

    return load_registry(load_settings().registry, DetectionCounty).key_of(county)


def _find(conn: Connection, run_id: str) -> Run:
    from pipeline.errors import StoreError
    from pipeline.store.runs.lifecycle import get_run, recent_runs

    if run_id == _LATEST:
        for run in recent_runs(conn):
            return run
        raise StoreError("no runs yet. Start one with `lotline batch`")
    # Longer numbers overflow the bigint column.
    if not run_id.isdecimal() or len(run_id) > 18:
        raise click.UsageError(f"{run_id!r} is not a run number. Pass a number, or {_LATEST}")
    return get_run(conn, int(run_id))


def _summary(run: dict[str, object]) -> dict[str, object]:
    """The fields that `runs list --json` prints."""
    names = (
        "id", "county", "county_name", "synthetic", "state", "started_at", "finished_at", "took_s",
        "segmenter", "properties", "properties_per_s", "counts",
    )  # fmt: skip
    return {name: run[name] for name in names}
