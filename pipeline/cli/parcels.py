"""`lotline parcels`: a county's parcels as a whole, copied when a person asks for it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import county_option, registry_option
from pipeline.cli.output import print_message
from pipeline.plurals import count_of, is_or_are

if TYPE_CHECKING:
    from parcels.cache import ParcelCache
    from parcels.cache.fetch_layer import FetchResult
    from parcels.cache.layer_snapshot import LayerSnapshot
    from pipeline.cli.progress import TotalProgress


@click.group()
def parcels() -> None:
    """Copies of counties' parcels."""


@parcels.command()
@county_option
@registry_option
@click.option(
    "--to", "folder", type=click.Path(path_type=Path, file_okay=False),
    help="A folder for GeoParquet; without it the copy goes into the database.",
)  # fmt: skip
@click.option("--again", is_flag=True, help="Also where the copy that is kept is current.")
def fetch(county: str, registry: Path | None, folder: Path | None, again: bool) -> None:
    """Copy every parcel of a county, so that batches need not ask its server.

    Stopped in any way, the same command goes on where it was, as long as the county has not edited
    its parcels meanwhile. The copy is used when it is whole, until the county edits its parcels. A
    copy that is current is not fetched again; where the layer does not say whether it was edited,
    it is.
    """
    from detection.registry.county import DetectionCounty
    from parcels import load_registry
    from parcels.arcgis import ArcGISSource
    from parcels.arcgis.http.client import ArcGISClient
    from parcels.cache import LayerKey
    from parcels.cache.fetch_layer import current_snapshot, fetch_layer
    from parcels.errors import IncompleteResponse, SourceUnavailable
    from parcels.parcel_source import LayerVersion
    from pipeline.cli.progress import TotalProgress, progress
    from pipeline.open_county import register_secrets
    from pipeline.settings import load_settings

    settings = load_settings()
    entry = load_registry(registry or settings.registry, DetectionCounty).county(county)
    register_secrets(entry)
    key = LayerKey.of(entry)
    client = ArcGISClient.for_county(entry)
    source = ArcGISSource(entry, client)
    with _kept(folder, settings.database_url, settings.home) as cache:
        shown = progress("parcels")
        pages = TotalProgress(shown, entry.name)
        shown.message(f"asking {entry.name}'s parcel server: {key.origin}")
        kept = cache.layer(key)
        try:
            current = None if again else current_snapshot(source, kept)
            if current is not None:
                _report_current(current, entry.name, folder)
                return
            if kept.snapshot_version() == LayerVersion():
                shown.message("its layer does not say whether it was edited: it is copied anew")
            fetched = fetch_layer(source, kept, pages.update)
        except SourceUnavailable as error:
            print_message(str(error), logging.ERROR)
            if not isinstance(error, IncompleteResponse):
                _say_kept(pages)
            sys.exit(1)
        except KeyboardInterrupt:
            _say_kept(pages)
            raise
        finally:
            pages.stop()
    _report(fetched, client.calls, entry.name, folder)


@contextmanager
def _kept(folder: Path | None, url: str | None, home: Path) -> Iterator[ParcelCache]:
    from parcels.cache import FolderCache

    if folder is not None:
        yield FolderCache(folder)
        return
    from pipeline.store.database import open_database
    from pipeline.store.parcel_cache.database_cache import DatabaseCache

    with open_database(url, home) as database:
        yield DatabaseCache(database.engine)


def _say_kept(pages: TotalProgress) -> None:
    if pages.started:
        print_message("What was fetched is kept: the same command goes on from there.")


def _place(folder: Path | None) -> str:
    return "the database" if folder is None else str(folder)


def _report_current(copy: LayerSnapshot, name: str, folder: Path | None) -> None:
    click.echo(
        f"{name}: the copy of {count_of(copy.rows, 'parcels')} in {_place(folder)}, of "
        f"{copy.fetched_at:%Y-%m-%d}, is current; nothing fetched (--again copies them anew)."
    )


def _report(fetched: FetchResult, calls: int, name: str, folder: Path | None) -> None:
    parcels = f"{count_of(fetched.rows, 'parcels')} {is_or_are(fetched.rows)}"
    click.echo(
        f"{name}: {parcels} in {_place(folder)}, "
        f"{fetched.rows - fetched.resumed_rows:,} of them fetched now with "
        f"{count_of(calls, 'requests')} "
        f"in {fetched.seconds:.1f} s."
    )
    if fetched.without_geometry:
        click.echo(
            "Without a polygon that can be used (missing, empty or beyond repair), so that only "
            f"their id finds them: {fetched.without_geometry:,}."
        )
    if fetched.layer_changed:
        print_message(
            "The county edited its parcels meanwhile: batches ask its server until the same "
            "command is run again."
        )
