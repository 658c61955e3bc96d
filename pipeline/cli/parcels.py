"""`lotline parcels`: fetch a snapshot of a county's parcel layer."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import county_option, registry_option
from pipeline.cli.output import echo, print_message
from pipeline.plurals import count_of

if TYPE_CHECKING:
    from parcels.cache import ParcelCache
    from parcels.cache.fetch_layer import FetchResult
    from parcels.cache.layer_snapshot import LayerSnapshot
    from pipeline.cli.progress import TotalProgress


@click.group()
def parcels() -> None:
    """Manage snapshots of counties' parcel layers."""


@parcels.command()
@county_option
@registry_option
@click.option(
    "--to", "folder", type=click.Path(path_type=Path, file_okay=False),
    help="Write GeoParquet to this folder, not to the database.",
)  # fmt: skip
@click.option("--again", is_flag=True, help="Fetch again even if the snapshot is current.")
def fetch(county: str, registry: Path | None, folder: Path | None, again: bool) -> None:
    """Fetch a snapshot of a county's parcel layer.

    With a snapshot, batches need not query the county's server until the county edits its parcels.
    After an interruption, the same command resumes, unless the county has edited its parcels. A
    current snapshot is not fetched again, unless the layer does not report edits.
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
    with _open_cache(folder, settings.database_url, settings.home) as cache:
        display = progress("parcels")
        pages = TotalProgress(display, entry.name)
        display.message(f"querying {entry.name}'s parcel server: {key.origin}")
        layer = cache.layer(key)
        try:
            current = None if again else current_snapshot(source, layer)
            if current is not None:
                _print_current(current, entry.name, folder)
                return
            if layer.snapshot_version() == LayerVersion():
                display.message("the layer does not report edits: fetching it again")
            fetched = fetch_layer(source, layer, pages.update)
        except SourceUnavailable as error:
            print_message(str(error), logging.ERROR)
            if not isinstance(error, IncompleteResponse):
                _print_resumable(pages)
            sys.exit(1)
        except KeyboardInterrupt:
            _print_resumable(pages)
            raise
        finally:
            pages.stop()
    _print_result(fetched, client.calls, entry.name, folder)


@contextmanager
def _open_cache(folder: Path | None, url: str | None, home: Path) -> Iterator[ParcelCache]:
    from parcels.cache import FolderCache

    if folder is not None:
        yield FolderCache(folder)
        return
    from pipeline.store.database import open_database
    from pipeline.store.parcel_cache.database_cache import DatabaseCache

    with open_database(url, home) as database:
        yield DatabaseCache(database.engine)


def _print_resumable(pages: TotalProgress) -> None:
    if pages.started:
        print_message("Fetched pages are stored; run the same command to resume.")


def _target(folder: Path | None) -> str:
    return "the database" if folder is None else str(folder)


def _print_current(snapshot: LayerSnapshot, name: str, folder: Path | None) -> None:
    echo(
        f"{name}: the snapshot of {count_of(snapshot.rows, 'parcels')} in {_target(folder)}, "
        f"fetched {snapshot.fetched_at:%Y-%m-%d}, is current; --again fetches it again."
    )


def _print_result(fetched: FetchResult, calls: int, name: str, folder: Path | None) -> None:
    echo(
        f"{name}: {count_of(fetched.rows, 'parcels')} in {_target(folder)}; "
        f"{fetched.rows - fetched.resumed_rows:,} fetched now with {count_of(calls, 'requests')} "
        f"in {fetched.seconds:.1f} s."
    )
    if fetched.without_geometry:
        echo(
            "Parcels without a usable polygon (missing, empty or not repairable), found by "
            f"parcel id only: {fetched.without_geometry:,}."
        )
    if fetched.layer_changed:
        print_message(
            "The county edited its parcels during the fetch, so batches still query its server; "
            "run the same command again."
        )
