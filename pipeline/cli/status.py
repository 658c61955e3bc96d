"""`lotline status`: a county's properties by state, and its measured areas."""

from __future__ import annotations

import json
from pathlib import Path

import click

from parcels.untrusted import sanitize_text
from pipeline.cli.options import county_option, registry_option
from pipeline.cli.output import echo_json
from pipeline.plurals import count_of


@click.command()
@county_option
@registry_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(county: str, registry: Path | None, as_json: bool) -> None:
    """Show a county's properties by state, and its measured areas."""
    from detection.registry.county import DetectionCounty
    from parcels import load_registry
    from pipeline.cli.batch_result import print_status
    from pipeline.cli.console import console
    from pipeline.open_county import display_name
    from pipeline.report.advice import county_caveats
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
        caveats = county_caveats(now, synthetic=synthetic)
        document = {**now.as_json(), "synthetic": synthetic, "caveats": caveats}
        echo_json(json.dumps({**document, "unanswered": open_}, indent=2))
        return
    out = console()
    print_status(out, now, name, synthetic=synthetic)
    if now.parcel_snapshot is not None:
        day = now.parcel_snapshot["fetched_at"][:10]
        parcels = count_of(now.parcel_snapshot["rows"], "parcels")
        out.print(f"Parcel snapshot: {parcels}, fetched {day}.")
    for prop in open_:
        why = f"{prop['state']} ({prop['reason']}) - {prop['detail']}"
        out.print(f"  {sanitize_text(prop['property_id'])}: {sanitize_text(why, 1000)}")
