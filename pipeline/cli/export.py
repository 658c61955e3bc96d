"""`lotline export`: write a county's results to files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.bbox import BBox
from pipeline.cli.batch import BBoxType
from pipeline.cli.options import county_option, registry_option
from pipeline.cli.output import echo
from pipeline.plurals import count_of

if TYPE_CHECKING:
    from pipeline.store.database import Database

_LATEST = "latest"


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
@click.option(
    "--properties", "--list", "properties", type=click.Path(path_type=Path),
    help="Only properties of this CSV, which a batch has loaded.",
)  # fmt: skip
@click.option(
    "--run", "run", metavar="ID|latest", help="Only properties last processed by this run."
)
@click.option("--bbox", type=BBoxType(), help="Only properties in this box, in degrees.")
def export(
    county: str,
    registry: Path | None,
    out: Path,
    kind: str,
    properties: Path | None,
    run: str | None,
    bbox: BBox | None,
) -> None:
    """Export a county's results to files.

    Writes a table per label, one of properties, one of errors, and a README. Properties have the
    columns of their CSV. Without --properties, --run or --bbox, the whole county; with several,
    the properties that meet all of them.
    """
    from pipeline.cli.progress import TotalProgress, progress
    from pipeline.cli.stored import find_stored_county, first_batch_hint
    from pipeline.errors import ExportError
    from pipeline.export import export_county
    from pipeline.export.export_request import ExportRequest
    from pipeline.settings import load_settings
    from pipeline.store.counties import check_county
    from pipeline.store.database import open_existing

    settings = load_settings()
    found = find_stored_county(county, registry, settings)
    entry = found.county
    shown = TotalProgress(progress("rows"), "exporting")
    with open_existing(settings.database_url, settings.home) as database:
        if database is None:
            raise ExportError(
                f"{entry.name} has nothing to export: {first_batch_hint(found)} first"
            )
        with database.engine.connect() as conn:
            check_county(conn, found)
        try:
            request = ExportRequest(properties, _run_id(database, entry.key, run), bbox)
            written = export_county(database.engine, entry, out, kind, shown.update, request)
        finally:
            shown.stop()
    for path, count in written.items():
        echo(f"{path} ({count_of(count, 'rows')})" if count is not None else str(path))


def _run_id(database: Database, county: str, run: str | None) -> int | None:
    """The number of a run; `latest` is the county's.

    Raises:
        UsageError: not a number.
        StoreError: the county has no runs.
    """
    from pipeline.errors import StoreError
    from pipeline.store.runs.lifecycle import latest_run

    if run is None:
        return None
    if run != _LATEST:
        # Longer numbers overflow the bigint column.
        if not run.isdecimal() or len(run) > 18:
            raise click.UsageError(f"{run!r} is not a run number. Pass a number, or {_LATEST}")
        return int(run)
    with database.engine.connect() as conn:
        found = latest_run(conn, county)
    if found is None:
        raise StoreError(f"{county} has no runs yet. Start one with `lotline batch`")
    return found.id
