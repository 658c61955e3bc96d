"""Copying a layer as a whole: only when asked for, and going on where it was stopped."""

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

# A few rows without a place are in most layers. A layer with more than both is damaged.
_MOST_BROKEN = 10
_MOST_BROKEN_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class FetchResult:
    """A copy that is whole.

    Attributes:
        rows: how many the layer has.
        earlier: how many of them an earlier call that was stopped had fetched.
        without_geometry: rows without a polygon that can be used; they are found by id only.
        layer_changed: the layer changed while it was copied, so that the copy is not used.
    """

    rows: int
    earlier: int
    without_geometry: int
    layer_changed: bool
    seconds: float


def current_snapshot(
    source: SnapshotLayer, kept: CachedLayer, now: datetime | None = None
) -> LayerSnapshot | None:
    """The copy that is kept, if the layer is still as it was then; batches use it by the same rule.

    None where there is no copy, where the layer was edited, and where it says nothing of that.

    Raises:
        SourceUnavailable, SourceMisconfigured.
    """
    layer_version = source.layer_version()
    if not layer_version.is_known or kept.snapshot_version() != layer_version:
        return None
    copy = kept.snapshot()
    if copy is None or copy.origin != source.snapshot_origin:
        return None
    return copy if is_current(copy, layer_version, now or datetime.now(UTC)) else None


def fetch_layer(
    source: SnapshotLayer,
    kept: CachedLayer,
    progress: Callable[[int, int], None] = lambda _rows, _total: None,
) -> FetchResult:
    """Copy a layer; `progress` is told the rows so far and their total after each page.

    Stopped, however that comes about, the next call goes on after the last page that was kept, as
    long as the layer was not edited. The copy takes the place of an older one when it is whole.

    Raises:
        SourceUnavailable: the server does not answer; what was kept is good.
        IncompleteResponse: the rows do not agree with what the server says that it has, or it
            says that it has none.
        SourceMisconfigured: the layer cannot be copied, or its geometry cannot be used.
        CacheError: another process copies it, or it cannot be kept.
    """
    started = time.perf_counter()
    layer_version = source.layer_version()
    with kept.begin_snapshot(layer_version, source.snapshot_origin) as copy:
        earlier = copy.rows
        try:
            _add_pages(source, copy, progress)
        except IncompleteResponse:
            # Something is missing, and nobody knows where: to go on at the end would hide it.
            copy.discard()
            raise
        if not copy.rows or _is_mostly_broken(copy):
            copy.discard()
            raise _useless(source.snapshot_origin, copy)
        after: LayerVersion = source.layer_version()
        copy.finish()
        kept.record_version(after)
        return FetchResult(
            copy.rows,
            earlier,
            copy.without_geometry,
            after != layer_version,
            time.perf_counter() - started,
        )


def _is_mostly_broken(copy: SnapshotInProgress) -> bool:
    """Whether so many rows have no place that "no lot there" would be said of many lots."""
    broken = copy.without_geometry
    return broken == copy.rows or broken > max(_MOST_BROKEN, _MOST_BROKEN_SHARE * copy.rows)


def _useless(origin: str, copy: SnapshotInProgress) -> SourceUnavailable | SourceMisconfigured:
    if not copy.rows:
        return IncompleteResponse(
            f"{origin}: the layer says that it is empty; the copy is not used: try again later, "
            "or correct 'where' in the registry entry if there is one"
        )
    return SourceMisconfigured(
        f"{origin}: {copy.without_geometry:,} of {copy.rows:,} rows have no polygon that can be "
        "used: the copy is not used, as those lots would be missing from it; report it to the "
        "county, or name another layer in the registry entry"
    )


def _add_pages(
    source: SnapshotLayer, copy: SnapshotInProgress, progress: Callable[[int, int], None]
) -> None:
    expected = copy.rows
    for page in source.harvest(copy.after_object_id):
        copy.add(page)
        expected = page.done
        progress(copy.rows, page.total)
    if copy.rows != expected:
        raise IncompleteResponse(
            f"{expected:,} rows were announced and {copy.rows:,} came: the copy is not used; "
            "run the same command again"
        )
