"""`lotline registry`: which counties there are."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import registry_option


@click.group()
def registry() -> None:
    """The counties that Lotline knows."""


@registry.command("list")
@registry_option
def list_(registry: Path | None) -> None:
    """List the counties, a line each."""
    from parcels import load_registry
    from pipeline.settings import load_settings

    counties = load_registry(registry or load_settings().registry)
    width = max((len(key) for key in counties), default=0)
    for key in sorted(counties):
        county = counties[key]
        place = f"{county.url}/{county.layer}" if county.url else county.path or "synthetic"
        click.echo(f"{key:<{width}}  {county.name}  {place}")
