"""Every lot of a county's layer becomes a property."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import shapely

from parcels import County
from parcels.addresses.matching import is_numbered
from parcels.arcgis import ArcGISSource
from parcels.cache import LayerKey
from parcels.cache.fetch_layer import current_snapshot, fetch_layer
from parcels.files import FileSource
from parcels.lot_selection import is_placeholder
from parcels.parcel_source import ParcelRow
from pipeline.batch.request import ConfirmLots, Progress
from pipeline.batch.run_context import is_large_file
from pipeline.errors import PipelineError
from pipeline.open_county import OpenCounty
from pipeline.store.database import Database
from pipeline.store.parcel_cache.database_cache import DatabaseCache
from pipeline.store.queue import all_lots
from pipeline.store.queue.all_lots import LotPart


def add_all_lots(
    database: Database, opened: OpenCounty, progress: Progress, confirm: ConfirmLots
) -> int:
    """Put every lot of a county into its queue; how many were new.

    A lot's property is named by its parcel id, and asked about by that and by a point in the lot.
    Where it has none, its name is made of that point, and stays the same as long as its outline
    does. Rows of one id are one property, and so are several ids of one outline (flats above
    each other): the first id, in the order of text, is its name. Rights of way and rows without a
    polygon that can be used are left out. What is a property already stays as it is.

    Of an ArcGIS layer the database's copy is read; where there is none that is current, it is
    fetched.

    Raises:
        SourceUnavailable: the county's server does not answer; what was fetched is kept.
        SourceMisconfigured, GeometryError: the registry entry must be mended.
        CacheError: another process copies the layer.
        PipelineError: the layer has no lots.
    """
    county = opened.county
    is_asked = False
    if county.source == "arcgis":
        is_asked = _fetch(database, opened, progress, confirm)
    progress.message(f"listing the lots of {opened.name}")
    with database.engine.begin() as conn:
        found = all_lots.stage(conn, county.key, _pieces(county, _hits(database, county, progress)))
        if not found.count:
            raise PipelineError(f"{opened.name} has no lots: check its layer in the registry entry")
        if not found.new:
            progress.message(f"all {found.count:,} lots of {opened.name} are properties already")
            return 0
        if not is_asked:
            confirm(
                f"Every lot of {opened.name} becomes a property: {found.count:,} lots, "
                f"{found.new:,} of them new."
            )
        added = all_lots.add(conn, county.key)
    progress.message(f"{added:,} of the {found.count:,} lots of {opened.name} are new properties")
    return added


def _fetch(
    database: Database, opened: OpenCounty, progress: Progress, confirm: ConfirmLots
) -> bool:
    """Have a current copy of an ArcGIS layer; whether it had to be fetched, and was asked for."""
    source = ArcGISSource(opened.county)
    kept = DatabaseCache(database.engine).layer(LayerKey.of(opened.county))
    progress.message(f"asking {opened.county.name}'s parcel server")
    if current_snapshot(source, kept) is not None:
        return False
    rows = source.row_count()
    number = "an unknown number of lots" if rows is None else f"{rows:,} lots"
    confirm(f"Every lot of {opened.name} becomes a property: {number}, which are fetched first.")
    reached = 0

    def tell(done: int, total: int) -> None:
        nonlocal reached
        if not reached:
            progress.start(total, f"{opened.name}: parcels")
        progress.advance(done - reached)
        reached = done

    try:
        fetch_layer(source, kept, tell)
    finally:
        if reached:
            progress.stop()
    return True


def _hits(database: Database, county: County, progress: Progress) -> Iterator[ParcelRow]:
    if county.source == "file":
        return (is_large_file(county, database, progress) or FileSource(county)).every_hit()
    copy = DatabaseCache(database.engine).layer(LayerKey.of(county)).copy()
    if copy is None:
        raise PipelineError(f"the copy of {county.name}'s parcels is gone: run this again")
    return copy.every_hit()


def _pieces(county: County, hits: Iterable[ParcelRow]) -> Iterator[LotPart]:
    has_ids = county.fields.parcel_id is not None
    for hit in hits:
        parcel_id = hit.parcel_id
        if parcel_id is not None and is_placeholder(parcel_id):
            parcel_id = None
        # A right of way is no lot when it is looked up, either.
        if hit.geometry is None or (has_ids and parcel_id is None and not is_numbered(hit.site)):
            continue
        inside = shapely.point_on_surface(hit.geometry)
        yield LotPart(
            parcel_id or f"lot@{inside.x:.6f}_{inside.y:.6f}",
            parcel_id,
            inside.x,
            inside.y,
            hit.geometry.area,
            hashlib.blake2b(shapely.to_wkb(hit.geometry), digest_size=16).digest(),
        )
