"""A parcel source that asks the server only for what it has not said before."""

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

# A layer that does not say when it was edited, or does not answer, is trusted for so long.
MAX_AGE = timedelta(days=30)
# Where there was no lot yesterday there may be one today: a subdivision is entered lot by lot.
MAX_AGE_NO_LOT = timedelta(days=1)
# A long-lived service asks again whether the layer was edited; sooner where nobody answered.
_CHECK_EVERY = timedelta(hours=1)
_CHECK_AGAIN = timedelta(minutes=5)
# Machines that share a cache do not agree to the second.
_CLOCKS_DIFFER = timedelta(minutes=5)
# Answers are kept in so large parts: what is lost when the process is killed.
_PART = 1_000

_Question = TypeVar("_Question", str, Point, StreetAddress)


class CacheableSource(ParcelSource, SnapshotLayer, Protocol):
    """A source that answers questions and says whether its layer was edited."""


@dataclass(frozen=True, slots=True)
class _State:
    """The state of the layer, and what was kept of it as a whole.

    A question is asked and kept in one state, whatever another thread learns meanwhile.
    """

    layer_version: LayerVersion
    copy: LayerSnapshot | None
    look_again_at: datetime


class CachedSource:
    """Answers with what is kept, and asks the inner source for the rest alone.

    Questions are exact: a lot that is kept says nothing of what else lies at another point. Only a
    copy of the whole layer answers everything, and its "none" is a true one.

    What is kept is used while the layer says that it was not edited since, and for 30 days at
    most; that there is no lot for one day. A copy whose layer says so is used however old it is.
    While the server is down, what was kept in the last state seen still counts. An outage or any
    other error is never kept.

    Several threads may use it, where they may use the inner source.

    Attributes:
        cache_hits: questions answered with what was kept, so far.
        cache_misses: questions put to the inner source, so far.
        snapshot_is_unverified: a snapshot is used, and its layer's version could not be checked.
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
        self._looking = Lock()

    def check(self) -> None:
        """See `ParcelSource`: the inner source is asked."""
        self._source.check()

    def extent(self) -> Extent | None:
        """(west, south, east, north) in degrees: of the copy, else what the inner source says."""
        copy = self._look_at_the_layer().copy
        return self._source.extent() if copy is None else copy.extent()

    def with_ids(self, parcel_ids: Sequence[str]) -> list[QueryResult | ParcelsError]:
        """See `ParcelSource`."""
        state = self._look_at_the_layer()
        if state.copy is not None:
            return self._of_copy(state.copy.with_ids(parcel_ids))
        keys = [f"id:{parcel_id}" for parcel_id in parcel_ids]
        return self._answer(state, keys, parcel_ids, self._source.with_ids)

    def at_points(self, points: Sequence[Point]) -> list[QueryResult | ParcelsError]:
        """See `ParcelSource`."""
        state = self._look_at_the_layer()
        if state.copy is not None:
            return self._of_copy(state.copy.at_points(points))
        keys = [f"point:{_exact(point)}" for point in points]
        return self._answer(state, keys, points, self._source.at_points)

    def near_points(
        self, points: Sequence[Point], distance_m: float
    ) -> list[QueryResult | ParcelsError]:
        """See `ParcelSource`."""
        state = self._look_at_the_layer()
        if state.copy is not None:
            return self._of_copy(state.copy.near_points(points, distance_m))
        keys = [f"near:{distance_m!r}:{_exact(point)}" for point in points]
        return self._answer(
            state, keys, points, lambda asked: self._source.near_points(asked, distance_m)
        )

    def with_addresses(
        self, addresses: Sequence[StreetAddress]
    ) -> list[QueryResult | ParcelsError]:
        """See `ParcelSource`."""
        state = self._look_at_the_layer()
        if state.copy is not None and state.copy.has_addresses:
            return self._of_copy(state.copy.with_addresses(addresses))
        keys = [f"address:{address!r}" for address in addresses]
        return self._answer(state, keys, addresses, self._source.with_addresses)

    def _of_copy(self, found: Sequence[QueryResult]) -> list[QueryResult | ParcelsError]:
        self.cache_hits += len(found)
        return list(found)

    def _answer(
        self,
        state: _State,
        keys: Sequence[str],
        questions: Sequence[_Question],
        ask: Callable[[Sequence[_Question]], list[QueryResult | ParcelsError]],
    ) -> list[QueryResult | ParcelsError]:
        now = self._clock()
        known: dict[str, QueryResult | ParcelsError] = {
            key: found
            for key, found in self._layer.read_results(keys, state.layer_version).items()
            if is_fresh(found.fetched_at, now, MAX_AGE if found.rows else MAX_AGE_NO_LOT)
        }
        self.cache_hits += sum(key in known for key in keys)
        missing = {k: q for k, q in zip(keys, questions, strict=True) if k not in known}
        self.cache_misses += len(missing)
        names = list(missing)
        for start in range(0, len(names), _PART):
            part = names[start : start + _PART]
            said = dict(zip(part, query_all(ask, [missing[key] for key in part]), strict=True))
            known.update(said)
            good = {key: found for key, found in said.items() if isinstance(found, QueryResult)}
            self._layer.store_results(good, state.layer_version)
        return [known[key] for key in keys]

    def _look_at_the_layer(self) -> _State:
        """Learn, once in a while, whether the layer was edited, and what of it may be used."""
        with self._looking:
            now = self._clock()
            if self._state is None or now >= self._state.look_again_at:
                self._state = self._state_at(now)
            return self._state

    def _state_at(self, now: datetime) -> _State:
        seen = self._layer.last_version()
        said = self._stamp_of_the_layer()
        if said is not None and said != seen:
            self._layer.record_version(said)
        layer_version = said or seen or LayerVersion()
        self._layer.evict_before(now - MAX_AGE)
        copy = self._usable_copy(layer_version, said, now)
        self.snapshot_is_unverified = said is None and copy is not None
        return _State(layer_version, copy, now + (_CHECK_AGAIN if said is None else _CHECK_EVERY))

    def _stamp_of_the_layer(self) -> LayerVersion | None:
        """None where the layer itself does not say, whatever an alternate of it may."""
        try:
            layer_version = self._source.layer_version()
            return layer_version if self._source.snapshot_origin == self._key.origin else None
        except ParcelsError:
            return None

    def _usable_copy(
        self, layer_version: LayerVersion, said: LayerVersion | None, now: datetime
    ) -> LayerSnapshot | None:
        copied = self._layer.snapshot_version()
        if copied is None:
            return None
        copy = self._layer.snapshot() if copied == layer_version else None
        if copy is not None and is_current(copy, said, now):
            return copy
        log.warning(
            "the copy of the parcels of %s is not used, as it is %s: the server is asked; "
            "`lotline parcels fetch --county %s` makes a new copy",
            self._key.county,
            "of an earlier state of the layer" if copied != layer_version else "too old",
            self._key.county,
        )
        return None


def is_fresh(fetched_at: datetime, now: datetime, longest: timedelta) -> bool:
    """Not too old; nor of a time to come, when a clock was ahead and it may be of any age."""
    return -_CLOCKS_DIFFER <= now - fetched_at <= longest


def is_current(copy: LayerSnapshot, said: LayerVersion | None, now: datetime) -> bool:
    """Whether a copy of the state that the layer is in is not too old.

    `said` is that state in the layer's own words. Counts do not show an edit that leaves them as
    they are: only a layer that says when it was edited makes age no matter.
    """
    is_certain = said is not None and said.last_edit_ms is not None
    return is_certain or is_fresh(copy.fetched_at, now, MAX_AGE)


def _exact(point: Point) -> str:
    return f"{point.x!r},{point.y!r}"
