"""`lotline runs`: list, show and compare runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import PositiveInt, registry_option
from pipeline.cli.output import echo, echo_json
from pipeline.settings import MAX_COUNT

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pipeline.store.runs.lifecycle import Run

_LATEST = "latest"
_NO_RUNS = "no runs yet. Start one with `lotline batch`"

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def runs() -> None:
    """List, show and compare runs: settings, results, faults and timings of each batch."""


@runs.command("list")
@click.option("--county", help="Only runs of this county.")
@registry_option
@click.option(
    "--limit",
    type=PositiveInt(min=1, max=MAX_COUNT),
    default=50,
    show_default=True,
    help="Maximum number of runs.",
)
@as_json_option
def list_(county: str | None, registry: Path | None, limit: int, as_json: bool) -> None:
    """List runs, newest first."""
    from pipeline.cli.console import console
    from pipeline.cli.stored import stored_results
    from pipeline.cli.summary_tables import print_runs
    from pipeline.report import build_report
    from pipeline.settings import load_settings
    from pipeline.store.runs.lifecycle import recent_runs

    with stored_results(load_settings()) as conn:
        if county is not None:
            found = _runs_of(conn, county, registry, limit)
        else:
            found = [] if conn is None else recent_runs(conn, None, limit)
        reports = [] if conn is None else [build_report(conn, run) for run in found]
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
    from pipeline.cli.stored import stored_results
    from pipeline.errors import StoreError
    from pipeline.settings import load_settings

    with stored_results(load_settings()) as conn:
        if conn is None:
            raise StoreError(_NO_RUNS)
        yield conn


def _runs_of(conn: Connection | None, county: str, registry: Path | None, limit: int) -> list[Run]:
    """The newest runs of a county, by its key, or by its name in the registry.

    Raises:
        RegistryError: no county has that key or name, in the database or in the registry.
        CountyMismatch: the runs of that key are those of another county.
    """
    from parcels.errors import RegistryError
    from pipeline.county_entry import find_county
    from pipeline.settings import load_settings
    from pipeline.store.counties import check_county
    from pipeline.store.runs.lifecycle import recent_runs

    found = [] if conn is None else recent_runs(conn, county, limit)
    try:
        entry = find_county(county, registry or load_settings().registry)
    except RegistryError:
        if not found:  # of a county that is in no registry now
            raise
        return found
    if conn is None or (found and entry.key != county):
        return found
    check_county(conn, entry)
    return found or recent_runs(conn, entry.key, limit)


def _find(conn: Connection, run_id: str) -> Run:
    from pipeline.errors import StoreError
    from pipeline.store.runs.lifecycle import get_run, recent_runs

    if run_id == _LATEST:
        for run in recent_runs(conn):
            return run
        raise StoreError(_NO_RUNS)
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
