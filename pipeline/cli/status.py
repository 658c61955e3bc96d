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
    from pipeline.cli.batch_result import print_status
    from pipeline.cli.console import console
    from pipeline.cli.stored import find_stored_county, first_batch_hint, stored_results
    from pipeline.open_county import display_name
    from pipeline.report.advice import county_caveats
    from pipeline.settings import load_settings
    from pipeline.store.reads.county_status import (
        county_status,
        empty_status,
        list_without_result,
    )

    settings = load_settings()
    found = find_stored_county(county, registry, settings)
    entry = found.county
    with stored_results(settings, found) as conn:
        now = empty_status(entry.key) if conn is None else county_status(conn, entry.key)
        open_ = [] if conn is None else list_without_result(conn, entry.key)
    synthetic = entry.synthetic is not None
    name = display_name(entry.name, synthetic=synthetic)
    if as_json:
        caveats = county_caveats(now, synthetic=synthetic)
        document = {**now.as_json(), "synthetic": synthetic, "caveats": caveats}
        echo_json(json.dumps({**document, "unanswered": open_}, indent=2))
        return
    out = console()
    if now.by_state:
        print_status(out, now, name, synthetic=synthetic)
    else:
        out.print(f"{name} has no properties yet: {first_batch_hint(found)}.")
    if now.parcel_snapshot is not None:
        day = now.parcel_snapshot["fetched_at"][:10]
        parcels = count_of(now.parcel_snapshot["rows"], "parcels")
        out.print(f"Parcel snapshot: {parcels}, fetched {day}.")
    for prop in open_:
        why = f"{prop['state']} ({prop['reason']}) - {prop['detail']}"
        out.print(f"  {sanitize_text(prop['property_id'])}: {sanitize_text(why, 1000)}")
