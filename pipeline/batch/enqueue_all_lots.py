"""`--all-lots`: make every lot of a county's parcel layer a property."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice

import shapely
from shapely import MultiPolygon

from parcels import County
from parcels.addresses.matching import has_house_number
from parcels.arcgis import ArcGISSource
from parcels.cache import LayerKey
from parcels.cache.fetch_layer import current_snapshot, fetch_layer
from parcels.cache.file_snapshot import SnapshotFile
from parcels.cache.layer_snapshot import LayerSnapshot
from parcels.files import FileSource
from parcels.not_a_lot import not_a_lot_reason
from parcels.parcel_source import ParcelRow, QueryResult
from parcels.placeholders import is_placeholder
from parcels.street_shape import NEIGHBOUR_RADIUS_M, Elongated, elongated, street_reason
from pipeline.batch.cached_parcels import large_file_snapshot
from pipeline.batch.request import ConfirmLots, Progress
from pipeline.errors import PipelineError
from pipeline.open_county import OpenCounty
from pipeline.store.database import Database
from pipeline.store.parcel_cache.database_cache import DatabaseCache
from pipeline.store.queue import all_lots
from pipeline.store.queue.all_lots import LotPart

WholeLayer = FileSource | SnapshotFile | LayerSnapshot
_ROWS_PER_CHECK = 1_000


def add_all_lots(
    database: Database, opened: OpenCounty, progress: Progress, confirm: ConfirmLots
) -> int:
    """Add every lot of a county to its queue; return how many are new.

    A lot's property is named by its parcel id, and looked up by that and by a point in the lot. A
    lot without an id is named by that point, so its name is stable as long as its outline is. Rows
    with the same id are one property; so are several ids with the same outline (flats above each
    other), named by the first id in text order. Rights of way and rows without a usable polygon
    are skipped. Existing properties stay unchanged.

    An ArcGIS layer is read from the database's snapshot, which is fetched first if it is missing
    or outdated.

    Raises:
        SourceUnavailable: the county's server does not respond; rows fetched so far are kept.
        SourceMisconfigured, GeometryError: the registry entry must be corrected.
        CacheError: another process is fetching the layer.
        PipelineError: the layer has no lots.
    """
    county = opened.county
    is_confirmed = False
    if county.source == "arcgis":
        is_confirmed = _fetch_snapshot(database, opened, progress, confirm)
    progress.message(f"listing the lots of {opened.name}")
    with database.engine.begin() as conn:
        layer = _layer(database, county, progress)
        found = all_lots.stage(conn, county.key, _lot_parts(layer))
        if not found.count:
            raise PipelineError(f"{opened.name} has no lots: check its layer in the registry entry")
        if not found.new:
            progress.message(f"all {found.count:,} lots of {opened.name} are properties already")
            return 0
        if not is_confirmed:
            confirm(
                f"Every lot of {opened.name} becomes a property: {found.count:,} lots, "
                f"{found.new:,} of them new."
            )
        added = all_lots.add(conn, county.key)
    progress.message(f"{added:,} of the {found.count:,} lots of {opened.name} are new properties")
    return added


def _fetch_snapshot(
    database: Database, opened: OpenCounty, progress: Progress, confirm: ConfirmLots
) -> bool:
    """Ensure a current snapshot of an ArcGIS layer; whether it was fetched, after `confirm`."""
    source = ArcGISSource(opened.county)
    layer = DatabaseCache(database.engine).layer(LayerKey.of(opened.county))
    progress.message(f"querying {opened.county.name}'s parcel server")
    if current_snapshot(source, layer) is not None:
        return False
    rows = source.row_count()
    number = "an unknown number of lots" if rows is None else f"{rows:,} lots"
    confirm(f"Every lot of {opened.name} becomes a property: {number}, which are fetched first.")
    fetched = 0

    def show_progress(done: int, total: int) -> None:
        nonlocal fetched
        if not fetched:
            progress.start(total, f"{opened.name}: parcels")
        progress.advance(done - fetched)
        fetched = done

    try:
        fetch_layer(source, layer, show_progress)
    finally:
        if fetched:
            progress.stop()
    return True


def _layer(database: Database, county: County, progress: Progress) -> WholeLayer:
    if county.source == "file":
        return large_file_snapshot(county, database, progress) or FileSource(county)
    snapshot = DatabaseCache(database.engine).layer(LayerKey.of(county)).snapshot()
    if snapshot is None:
        raise PipelineError(
            f"the snapshot of {county.name}'s parcels was removed: run the command again"
        )
    return snapshot


def _lot_parts(layer: WholeLayer) -> Iterator[LotPart]:
    """Each row that a lookup takes for a lot, or for a piece of one."""
    rows = iter(layer.all_rows())
    while some := list(islice(rows, _ROWS_PER_CHECK)):
        lots = [
            (row, row.geometry)
            for row in some
            if row.geometry is not None and not not_a_lot_reason(row)
        ]
        shapes = elongated([geometry for _, geometry in lots])
        for (row, geometry), shape in zip(lots, shapes, strict=True):
            if shape is None or not _is_street(row, shape, layer):
                yield _lot_part(row, geometry)


def _lot_part(row: ParcelRow, geometry: MultiPolygon) -> LotPart:
    is_id = row.parcel_id is not None and not is_placeholder(row.parcel_id)
    parcel_id = row.parcel_id if is_id else None
    inside = shapely.point_on_surface(geometry)
    return LotPart(
        parcel_id or f"lot@{inside.x:.6f}_{inside.y:.6f}",
        parcel_id,
        inside.x,
        inside.y,
        geometry.area,
        hashlib.blake2b(shapely.to_wkb(geometry), digest_size=16).digest(),
    )


def _is_street(row: ParcelRow, shape: Elongated, layer: WholeLayer) -> bool:
    if has_house_number(row.site):
        return False
    found = layer.near_points(shape.places, NEIGHBOUR_RADIUS_M)
    near = [each for result in found if isinstance(result, QueryResult) for each in result.rows]
    return bool(street_reason(shape, near))
