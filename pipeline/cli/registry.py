"""`lotline registry`: which counties there are, and how to get more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import registry_option

if TYPE_CHECKING:
    from parcels import County
    from parcels.catalogue.importing import Imported


@click.group()
def registry() -> None:
    """The counties that Lotline knows."""


@registry.command("list")
@registry_option
@click.option("--state", help="The counties of one state, shipped ones too: CO.")
@click.option("--all", "everything", is_flag=True, help="Also all the US layers that are shipped.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def list_(registry: Path | None, state: str | None, everything: bool, as_json: bool) -> None:
    """List the counties of the registry file, a line each."""
    from parcels import load_registry
    from parcels.catalogue.states import states_as_written
    from pipeline.settings import load_settings

    code = states_as_written().get(state.strip().lower().replace(" ", "-")) if state else None
    if state and code is None:
        raise click.BadParameter(f"{state!r} is no state of the US; write for example CO")
    known = load_registry(registry or load_settings().registry)
    counties = [county for county in known.values() if code is None or county.state == code]
    if everything or code is not None:
        counties += known.shipped(code)
    counties.sort(key=lambda county: county.key)
    if as_json:
        click.echo(json.dumps([_facts(county, own=county.key in known) for county in counties]))
        return
    width = max((len(county.key) for county in counties), default=0)
    for county in counties:
        verified = f"  verified {county.verified}" if county.verified else ""
        click.echo(f"{county.key:<{width}}  {county.name}  {_parcels(county)}{verified}")
    if not everything and code is None:
        hidden = sum(1 for _ in known.shipped())
        click.echo(f"and {hidden:,} shipped US layers: --all, or --state CO", err=True)


def _parcels(county: County) -> str:
    return f"{county.url}/{county.layer}" if county.url else str(county.path or "synthetic")


def _facts(county: County, *, own: bool) -> dict[str, Any]:
    return {
        "key": county.key,
        "name": county.name,
        "state": county.state,
        "fips": county.fips,
        "parcels": _parcels(county),
        "fields": county.fields.model_dump(exclude_none=True),
        "verified": county.verified.isoformat() if county.verified else None,
        "shipped": not own,
    }


@registry.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, dir_okay=False),
    help="The registry file to write; a table of what was left out lies beside it.",
)  # fmt: skip
def import_(source: Path, out: Path) -> None:
    """Make a registry file of an OpenAddresses source tree, or of a table (CSV) of its layers."""
    from parcels.catalogue.importing import import_layers

    _print_import(import_layers(source, out))


def _print_import(done: Imported) -> None:
    for drop in done.dropped:
        what = drop.what if drop.what == "layer" else f"{drop.key}: {drop.what}"
        click.echo(f"{drop.source}: {what} {drop.given}: {drop.reason}")
    whole = sum(1 for drop in done.dropped if drop.what == "layer")
    parts = len(done.dropped) - whole
    click.echo(f"{len(done.keys):,} of {done.layers:,} layers are entries of {done.file}")
    click.echo(
        f"{whole:,} layers and {parts:,} of the others' codes and columns were left out: "
        f"{done.dropped_file}"
    )
