"""`lotline parcels`: a county's parcels as a whole, copied when a person asks for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import county_option, registry_option

if TYPE_CHECKING:
    from parcels.cache import ParcelCache
    from parcels.cache.fetch import Fetched
    from pipeline.cli.progress import Pages


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
def fetch(county: str, registry: Path | None, folder: Path | None) -> None:
    """Copy every parcel of a county, so that batches need not ask its server.

    Stopped in any way, the same command goes on where it was, as long as the county has not edited
    its parcels meanwhile. The copy is used when it is whole, until the county edits its parcels.
    """
    from parcels import load_registry
    from parcels.arcgis import ArcGISSource
    from parcels.arcgis.client import ArcGISClient
    from parcels.cache import LayerKey
    from parcels.cache.fetch import fetch_layer
    from parcels.errors import IncompleteAnswer, SourceUnavailable
    from pipeline.cli.progress import Pages, progress
    from pipeline.settings import load_settings

    settings = load_settings()
    entry = load_registry(registry or settings.registry).county(county)
    key = LayerKey.of(entry)
    client = ArcGISClient.of(entry)
    source = ArcGISSource(entry, client)
    with _kept(folder, settings.database_url, settings.home) as cache:
        shown = progress("parcels")
        pages = Pages(shown, entry.name)
        shown.say(f"asking {entry.name}'s parcel server: {key.origin}")
        try:
            fetched = fetch_layer(source, cache.layer(key), pages.reached)
        except SourceUnavailable as error:
            click.echo(f"error: {error}", err=True)
            if not isinstance(error, IncompleteAnswer):
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
    from pipeline.store.parcels import DatabaseCache

    with open_database(url, home) as database:
        yield DatabaseCache(database.engine)


def _say_kept(pages: Pages) -> None:
    if pages.came:
        click.echo("What was fetched is kept: the same command goes on from there.", err=True)


def _report(fetched: Fetched, calls: int, name: str, folder: Path | None) -> None:
    place = "the database" if folder is None else str(folder)
    click.echo(
        f"{name}: {fetched.rows:,} parcels are in {place}, "
        f"{fetched.rows - fetched.earlier:,} of them fetched now with {calls:,} requests in "
        f"{fetched.seconds:.1f} s."
    )
    if fetched.without_geometry:
        click.echo(
            f"{fetched.without_geometry:,} have no polygon that can be used (missing, empty or "
            "beyond repair): they are found by their id only."
        )
    if fetched.was_edited:
        click.echo(
            "The county edited its parcels meanwhile: batches ask its server until the same "
            "command is run again.",
            err=True,
        )
