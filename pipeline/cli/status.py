"""`lotline status`: a county's properties by state, and its measured areas."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pipeline.cli.options import county_option, registry_option
from pipeline.plurals import count_of


@click.command()
@county_option
@registry_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(county: str, registry: Path | None, as_json: bool) -> None:
    """Show a county's properties by state, and its measured areas."""
    from detection.registry.county import DetectionCounty
    from parcels import load_registry
    from pipeline.cli.batch_result import console, print_status
    from pipeline.open_county import display_name
    from pipeline.settings import load_settings
    from pipeline.store.database import open_database
    from pipeline.store.reads.county_status import county_status, list_without_result

    settings = load_settings()
    entry = load_registry(registry or settings.registry, DetectionCounty).county(county)
    with (
        open_database(settings.database_url, settings.home) as database,
        database.engine.connect() as conn,
    ):
        now = county_status(conn, entry.key)
        open_ = list_without_result(conn, entry.key)
    synthetic = entry.synthetic is not None
    name = display_name(entry.name, synthetic=synthetic)
    if as_json:
        click.echo(
            json.dumps({**now.as_json(), "synthetic": synthetic, "unanswered": open_}, indent=2)
        )
        return
    out = console()
    print_status(out, now, name)
    if now.parcel_snapshot is not None:
        day = now.parcel_snapshot["fetched_at"][:10]
        parcels = count_of(now.parcel_snapshot["rows"], "parcels")
        out.print(f"Parcel snapshot: {parcels}, fetched {day}.")
    for prop in open_:
        out.print(f"  {prop['property_id']}: {prop['state']} ({prop['reason']}) - {prop['detail']}")
