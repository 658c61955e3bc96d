"""CachedSource: a parcel source with a cache in front of it; only misses reach the server."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Protocol, TypeVar

from shapely import Point

from parcels.addresses.street_address import StreetAddress
from parcels.cache.interface import LayerKey, ParcelCache, SnapshotLayer
from parcels.cache.layer_snapshot import LayerSnapshot
from parcels.errors import ParcelsError
from parcels.parcel_source import Extent, LayerVersion, ParcelSource, QueryResult, query_all

log = logging.getLogger(__name__)

# TTL of results and snapshots if the layer reports no edit date, or is unavailable.
MAX_AGE = timedelta(days=30)
# TTL of "no lot": new subdivisions are entered lot by lot.
MAX_AGE_NO_LOT = timedelta(days=1)
# How often the layer's version is checked, and how soon after a failed check.
_CHECK_INTERVAL = timedelta(hours=1)
_RECHECK_INTERVAL = timedelta(minutes=5)
# Tolerated clock skew between machines that share a cache.
_CLOCK_SKEW = timedelta(minutes=5)
# Results are stored in batches of this size: the most that is lost when the process is killed.
_STORE_BATCH = 1_000

_Query = TypeVar("_Query", str, Point, StreetAddress)


class CacheableSource(ParcelSource, SnapshotLayer, Protocol):
    """A source that can be cached: it reports the version of its layer."""


@dataclass(frozen=True, slots=True)
class _State:
    """The layer's version and its snapshot at one moment.

    A query uses one state from lookup to storing, even if another thread refreshes it.
    """

    layer_version: LayerVersion
    snapshot: LayerSnapshot | None
    check_at: datetime


class CachedSource:
    """Returns cached results, and queries the inner source for misses only.

    Cache keys are exact: a cached lot says nothing about another point. Only a snapshot of the
    complete layer answers every query, and its "no lot" is definite.

    A result is used while the layer's version is unchanged, for at most 30 days (`MAX_AGE`); "no
    lot" for one day. A snapshot does not expire if the layer reports its edit date and that is
    unchanged. While the server is down, results of the last known version are used. An error is
    never cached.

    Thread-safe if the inner source is.

    Attributes:
        cache_hits: queries answered from the cache so far.
        cache_misses: queries sent to the inner source so far.
        snapshot_is_unverified: a snapshot is used whose layer version could not be checked.
    """

    def __init__(
        self,
        source: CacheableSource,
        cache: ParcelCache,
        key: LayerKey,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.cache_hits = 0
        self.cache_misses = 0
        self.snapshot_is_unverified = False
        self._source = source
        self._layer = cache.layer(key)
        self._key = key
        self._clock = clock
        self._state: _State | None = None
        self._state_lock = Lock()

    def check(self) -> None:
        """See `ParcelSource`: checks the inner source."""
        self._source.check()

    def extent(self) -> Extent | None:
        """(west, south, east, north) in degrees: of the snapshot, else of the inner source."""
        snapshot = self._current_state().snapshot
        return self._source.extent() if snapshot is None else snapshot.extent()

    def with_ids(self, parcel_ids: Sequence[str]) -> list[QueryResult | ParcelsError]:
        """See `ParcelSource`."""
        state = self._current_state()
        if state.snapshot is not None:
            return self._count_hits(state.snapshot.with_ids(parcel_ids))
        keys = [f"id:{parcel_id}" for parcel_id in parcel_ids]
        return self._query_cached(state, keys, parcel_ids, self._source.with_ids)

    def at_points(self, points: Sequence[Point]) -> list[QueryResult | ParcelsError]:
        """See `ParcelSource`."""
        state = self._current_state()
        if state.snapshot is not None:
            return self._count_hits(state.snapshot.at_points(points))
        keys = [f"point:{_point_key(point)}" for point in points]
        return self._query_cached(state, keys, points, self._source.at_points)

    def near_points(
        self, points: Sequence[Point], distance_m: float
    ) -> list[QueryResult | ParcelsError]:
        """See `ParcelSource`."""
        state = self._current_state()
        if state.snapshot is not None:
            return self._count_hits(state.snapshot.near_points(points, distance_m))
        keys = [f"near:{distance_m!r}:{_point_key(point)}" for point in points]
        return self._query_cached(
            state, keys, points, lambda missing: self._source.near_points(missing, distance_m)
        )

    def with_addresses(
        self, addresses: Sequence[StreetAddress]
    ) -> list[QueryResult | ParcelsError]:
        """See `ParcelSource`."""
        state = self._current_state()
        if state.snapshot is not None and state.snapshot.has_addresses:
            return self._count_hits(state.snapshot.with_addresses(addresses))
        keys = [f"address:{address!r}" for address in addresses]
        return self._query_cached(state, keys, addresses, self._source.with_addresses)

    def _count_hits(self, results: Sequence[QueryResult]) -> list[QueryResult | ParcelsError]:
        self.cache_hits += len(results)
        return list(results)

    def _query_cached(
        self,
        state: _State,
        keys: Sequence[str],
        queries: Sequence[_Query],
        query_source: Callable[[Sequence[_Query]], list[QueryResult | ParcelsError]],
    ) -> list[QueryResult | ParcelsError]:
        now = self._clock()
        known: dict[str, QueryResult | ParcelsError] = {
            key: result
            for key, result in self._layer.read_results(keys, state.layer_version).items()
            if is_fresh(result.fetched_at, now, MAX_AGE if result.rows else MAX_AGE_NO_LOT)
        }
        self.cache_hits += sum(key in known for key in keys)
        missing = {k: q for k, q in zip(keys, queries, strict=True) if k not in known}
        self.cache_misses += len(missing)
        missing_keys = list(missing)
        for start in range(0, len(missing_keys), _STORE_BATCH):
            batch = missing_keys[start : start + _STORE_BATCH]
            fetched = query_all(query_source, [missing[key] for key in batch])
            results = dict(zip(batch, fetched, strict=True))
            known.update(results)
            good = {k: result for k, result in results.items() if isinstance(result, QueryResult)}
            self._layer.store_results(good, state.layer_version)
        return [known[key] for key in keys]

    def _current_state(self) -> _State:
        """The state of the layer; its version is checked again when the interval is over."""
        with self._state_lock:
            now = self._clock()
            if self._state is None or now >= self._state.check_at:
                self._state = self._check_layer(now)
            return self._state

    def _check_layer(self, now: datetime) -> _State:
        recorded = self._layer.last_version()
        reported = self._reported_version()
        if reported is not None and reported != recorded:
            self._layer.record_version(reported)
        layer_version = reported or recorded or LayerVersion()
        self._layer.evict_before(now - MAX_AGE)
        snapshot = self._usable_snapshot(layer_version, reported, now)
        self.snapshot_is_unverified = reported is None and snapshot is not None
        interval = _RECHECK_INTERVAL if reported is None else _CHECK_INTERVAL
        return _State(layer_version, snapshot, now + interval)

    def _reported_version(self) -> LayerVersion | None:
        """The version reported by the layer itself, not by an alternate; None if unavailable."""
        try:
            layer_version = self._source.layer_version()
            return layer_version if self._source.snapshot_origin == self._key.origin else None
        except ParcelsError:
            return None

    def _usable_snapshot(
        self, layer_version: LayerVersion, reported: LayerVersion | None, now: datetime
    ) -> LayerSnapshot | None:
        snapshot_version = self._layer.snapshot_version()
        if snapshot_version is None:
            return None
        snapshot = self._layer.snapshot() if snapshot_version == layer_version else None
        if snapshot is not None and is_current(snapshot, reported, now):
            return snapshot
        log.warning(
            "the snapshot of the parcels of %s is %s and is not used; parcels are queried from the "
            "server; `lotline parcels fetch --county %s` makes a new snapshot",
            self._key.county,
            "of an earlier version of the layer"
            if snapshot_version != layer_version
            else "too old",
            self._key.county,
        )
        return None


def is_fresh(fetched_at: datetime, now: datetime, max_age: timedelta) -> bool:
    """Whether the age is within `max_age`; a time in the future (a wrong clock) is not fresh."""
    return -_CLOCK_SKEW <= now - fetched_at <= max_age


def is_current(snapshot: LayerSnapshot, reported: LayerVersion | None, now: datetime) -> bool:
    """Whether a snapshot of the current layer version may still be used.

    `reported` is the version that the layer reports now. It has no age limit if that includes the
    edit date; equal row counts alone could hide an edit.
    """
    has_edit_date = reported is not None and reported.last_edit_ms is not None
    return has_edit_date or is_fresh(snapshot.fetched_at, now, MAX_AGE)


def _point_key(point: Point) -> str:
    return f"{point.x!r},{point.y!r}"
