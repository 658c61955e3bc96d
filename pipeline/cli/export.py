"""`lotline export`: write a county's results to files."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.options import county_option, registry_option
from pipeline.plurals import count_of


@click.command()
@county_option
@registry_option
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, file_okay=False),
    help="Output folder.",
)  # fmt: skip
@click.option(
    "--format", "kind", type=click.Choice(["geoparquet", "geojson", "csv"]),
    default="geoparquet", show_default=True, help="File format.",
)  # fmt: skip
def export(county: str, registry: Path | None, out: Path, kind: str) -> None:
    """Export a county's results to files.

    Writes a table per label, one of properties, one of errors, and a README.
    """
    from detection.registry.county import DetectionCounty
    from parcels import load_registry
    from pipeline.cli.progress import TotalProgress, progress
    from pipeline.export import export_county
    from pipeline.settings import load_settings
    from pipeline.store.database import open_database

    settings = load_settings()
    entry = load_registry(registry or settings.registry, DetectionCounty).county(county)
    shown = TotalProgress(progress("rows"), "exporting")
    with open_database(settings.database_url, settings.home) as database:
        try:
            written = export_county(database.engine, entry, out, kind, shown.update)
        finally:
            shown.stop()
    for path, count in written.items():
        click.echo(f"{path} ({count_of(count, 'rows')})" if count is not None else str(path))
