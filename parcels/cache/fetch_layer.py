"""Downloads a snapshot of a complete layer on request, and resumes an interrupted download."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from parcels.cache.cached_source import is_current
from parcels.cache.interface import CachedLayer, SnapshotInProgress, SnapshotLayer
from parcels.cache.layer_snapshot import LayerSnapshot
from parcels.errors import IncompleteResponse, SourceMisconfigured, SourceUnavailable
from parcels.parcel_source import LayerVersion

# Most layers have a few rows without a valid geometry. A layer above both limits is damaged.
_MAX_WITHOUT_GEOMETRY = 10
_MAX_WITHOUT_GEOMETRY_FRACTION = 0.05


@dataclass(frozen=True, slots=True)
class FetchResult:
    """A complete snapshot.

    Attributes:
        rows: number of rows of the layer.
        resumed_rows: how many of them an earlier, interrupted call had fetched.
        without_geometry: rows without a valid polygon; they are found by id only.
        layer_changed: the layer was edited during the download, so the snapshot is not used.
    """

    rows: int
    resumed_rows: int
    without_geometry: int
    layer_changed: bool
    seconds: float


def current_snapshot(
    source: SnapshotLayer, cached: CachedLayer, now: datetime | None = None
) -> LayerSnapshot | None:
    """The stored snapshot if its layer is unchanged, by the rule that batches use.

    None without a snapshot, if the layer was edited, or if it reports no version.

    Raises:
        SourceUnavailable, SourceMisconfigured.
    """
    layer_version = source.layer_version()
    if not layer_version.is_known or cached.snapshot_version() != layer_version:
        return None
    snapshot = cached.snapshot()
    if snapshot is None or snapshot.origin != source.snapshot_origin:
        return None
    return snapshot if is_current(snapshot, layer_version, now or datetime.now(UTC)) else None


def fetch_layer(
    source: SnapshotLayer,
    cached: CachedLayer,
    progress: Callable[[int, int], None] = lambda _rows, _total: None,
) -> FetchResult:
    """Download a snapshot; `progress` gets the rows so far and the total after each page.

    After an interruption, even kill -9, the next call resumes after the last stored page, unless
    the layer was edited. A complete snapshot replaces the older one atomically.

    Raises:
        SourceUnavailable: the server is unavailable; the stored pages stay.
        IncompleteResponse: the rows do not agree with the count that the server reports, or it
            reports zero.
        SourceMisconfigured: the layer cannot be downloaded, or its geometry cannot be used.
        CacheError: another process downloads it, or it cannot be stored.
    """
    started = time.perf_counter()
    layer_version = source.layer_version()
    with cached.begin_snapshot(layer_version, source.snapshot_origin) as snapshot:
        resumed_rows = snapshot.rows
        try:
            _add_pages(source, snapshot, progress)
        except IncompleteResponse:
            # Rows are missing at an unknown place; resuming at the end would hide that.
            snapshot.discard()
            raise
        if not snapshot.rows or _is_damaged(snapshot):
            snapshot.discard()
            raise _unusable(source.snapshot_origin, snapshot)
        after: LayerVersion = source.layer_version()
        snapshot.finish()
        cached.record_version(after)
        return FetchResult(
            snapshot.rows,
            resumed_rows,
            snapshot.without_geometry,
            after != layer_version,
            time.perf_counter() - started,
        )


def _is_damaged(snapshot: SnapshotInProgress) -> bool:
    """Whether so many rows lack a geometry that "no lot" would be wrong for many lots."""
    missing, rows = snapshot.without_geometry, snapshot.rows
    limit = max(_MAX_WITHOUT_GEOMETRY, _MAX_WITHOUT_GEOMETRY_FRACTION * rows)
    return missing == rows or missing > limit


def _unusable(origin: str, snapshot: SnapshotInProgress) -> SourceUnavailable | SourceMisconfigured:
    if not snapshot.rows:
        return IncompleteResponse(
            f"{origin}: the layer reports zero rows, so the snapshot is not used; try again later, "
            "or correct 'where' in the registry entry"
        )
    return SourceMisconfigured(
        f"{origin}: {snapshot.without_geometry:,} of {snapshot.rows:,} rows have no valid polygon, "
        "so the snapshot is not used: those lots would be missing; report it to the county, or "
        "use another layer in the registry entry"
    )


def _add_pages(
    source: SnapshotLayer, snapshot: SnapshotInProgress, progress: Callable[[int, int], None]
) -> None:
    expected = snapshot.rows
    for page in source.harvest(snapshot.after_object_id):
        snapshot.add(page)
        expected = page.done
        progress(snapshot.rows, page.total)
    if snapshot.rows != expected:
        raise IncompleteResponse(
            f"the server announced {expected:,} rows and sent {snapshot.rows:,}; the snapshot is "
            "not used; run the same command again"
        )
