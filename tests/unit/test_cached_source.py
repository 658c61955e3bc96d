"""A cached source queries misses only, and never caches an outage."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from recordingsource import ORIGIN, SOUTH, WEST, RecordingSource, inside
from shapely import Point

from parcels.addresses.street_address import StreetAddress
from parcels.cache import CachedSource, FolderCache, LayerKey
from parcels.cache.fetch_layer import fetch_layer
from parcels.errors import AuthenticationRequired, CacheError, ParcelsError, SourceUnavailable
from parcels.parcel_source import LayerVersion, QueryResult

KEY = LayerKey("synthetic", ORIGIN, "a" * 32)
NOWHERE = Point(WEST - 1, SOUTH)
OAK = StreetAddress("106", "OBRIEN ST", "OBRIEN")


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def wait(self, **time: float) -> None:
        self.now += timedelta(**time)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source(clock: Clock) -> RecordingSource:
    source = RecordingSource()
    source.clock = clock
    return source


@pytest.fixture
def cached(source: RecordingSource, tmp_path: Path, clock: Clock) -> CachedSource:
    return CachedSource(source, FolderCache(tmp_path), KEY, clock)


def _again(source: RecordingSource, tmp_path: Path, clock: Clock) -> CachedSource:
    """A new source over the same cache, as in another process."""
    source.queries.clear()
    return CachedSource(source, FolderCache(tmp_path), KEY, clock)


def test_cached_results_are_not_requested_again(
    source: RecordingSource, cached: CachedSource, tmp_path: Path, clock: Clock
) -> None:
    def everything(of: CachedSource) -> list[object]:
        return [
            of.at_points([inside(1), inside(2), inside(1)]),
            of.with_ids(["003  00007", "003 00007"]),
            of.near_points([inside(4)], 20.0),
            of.with_addresses([OAK]),
        ]

    first = everything(cached)
    assert source.queries == [inside(1), inside(2), "003  00007", "003 00007", inside(4), OAK]
    points, ids, near, addresses = first
    assert [[hit.object_id for hit in found.rows] for found in points] == [[1], [2], [1]]
    assert [len(found.rows) for found in (*ids, *near, *addresses)] == [1, 0, 1, 1]
    for later in (cached, _again(source, tmp_path, clock)):
        source.queries.clear()
        said = everything(later)
        assert said == first
        assert source.queries == []
        assert said[0][0].fetched_at == points[0].fetched_at
    assert (cached.cache_misses, cached.cache_hits) == (6, 7)


def test_only_misses_reach_the_source(source: RecordingSource, cached: CachedSource) -> None:
    cached.at_points([inside(1)])
    source.queries.clear()
    found = cached.at_points([inside(2), inside(1), inside(3)])
    assert [one.rows[0].object_id for one in found if isinstance(one, QueryResult)] == [2, 1, 3]
    assert source.queries == [inside(2), inside(3)]


def test_a_cached_lot_does_not_answer_another_point_in_it(
    source: RecordingSource, cached: CachedSource
) -> None:
    cached.at_points([inside(1)])
    near_by = Point(inside(1).x + 1e-9, inside(1).y)
    cached.at_points([near_by])
    assert source.queries == [inside(1), near_by]


def test_another_distance_is_another_cache_key(
    source: RecordingSource, cached: CachedSource
) -> None:
    cached.near_points([inside(1)], 40.0)
    cached.near_points([inside(1)], 41.0)
    assert len(source.queries) == 2


def test_an_outage_is_never_cached(
    source: RecordingSource, cached: CachedSource, tmp_path: Path, clock: Clock
) -> None:
    source.broken = {inside(2)}
    one, other = cached.at_points([inside(1), inside(2)])
    assert isinstance(one, QueryResult)
    assert isinstance(other, SourceUnavailable)
    source.broken = set()
    [mended] = _again(source, tmp_path, clock).at_points([inside(2)])
    assert isinstance(mended, QueryResult)
    assert source.queries == [inside(2)]


@pytest.mark.parametrize("error", [SourceUnavailable("down"), AuthenticationRequired("token")])
def test_cached_results_are_used_while_the_server_is_down(
    source: RecordingSource, cached: CachedSource, tmp_path: Path, clock: Clock, error: Exception
) -> None:
    known = cached.at_points([inside(1), NOWHERE])
    source.down = error
    later = _again(source, tmp_path, clock)
    assert later.at_points([inside(1), inside(2), NOWHERE]) == [known[0], error, known[1]]
    clock.wait(days=2)
    assert later.at_points([inside(1), NOWHERE]) == [known[0], error]
    clock.wait(days=29)
    assert later.at_points([inside(1)]) == [error]


def test_the_ttl_is_30_days_for_lots_and_one_day_for_no_lot(
    source: RecordingSource, cached: CachedSource, clock: Clock
) -> None:
    asked = []
    for wait_days in (0, 0.9, 0.2, 0.9, 27.9, 0.2):
        clock.wait(days=wait_days)
        source.queries.clear()
        cached.at_points([inside(1), NOWHERE])
        asked.append(list(source.queries))
    assert asked == [[inside(1), NOWHERE], [], [NOWHERE], [], [NOWHERE], [inside(1)]]


def test_results_from_the_future_are_not_fresh(
    source: RecordingSource, cached: CachedSource, tmp_path: Path, clock: Clock
) -> None:
    source.last_version = LayerVersion()
    clock.wait(days=400)
    cached.at_points([inside(1), NOWHERE])
    clock.wait(minutes=-3)
    _again(source, tmp_path, clock).at_points([inside(1), NOWHERE])
    assert source.queries == [], "clock skew between machines is tolerated"
    clock.wait(days=-400)
    _again(source, tmp_path, clock).at_points([inside(1), NOWHERE])
    assert source.queries == [inside(1), NOWHERE]


def test_an_edited_layer_invalidates_its_results(
    source: RecordingSource, cached: CachedSource, clock: Clock
) -> None:
    cached.at_points([inside(1)])
    source.last_version = LayerVersion(last_edit_ms=2)
    source.queries.clear()
    cached.at_points([inside(1)])
    assert source.queries == [], "the version is not checked for every query"
    clock.wait(hours=2)
    cached.at_points([inside(1)])
    assert source.queries == [inside(1)]
    assert source.version_checks == 2


@pytest.mark.parametrize("layer_version", [LayerVersion(), LayerVersion(count=20, highest_id=20)])
def test_a_layer_without_an_edit_date_is_cached_too(
    source: RecordingSource,
    cached: CachedSource,
    tmp_path: Path,
    clock: Clock,
    layer_version: LayerVersion,
) -> None:
    source.last_version = layer_version
    cached.at_points([inside(1)])
    _again(source, tmp_path, clock).at_points([inside(1)])
    assert source.queries == []
    fetch_layer(source, FolderCache(tmp_path).layer(KEY))
    clock.wait(days=31)
    _again(source, tmp_path, clock).at_points([inside(1)])
    assert source.queries == [inside(1)], "without an edit date a snapshot expires after 30 days"


def test_another_layer_of_the_county_has_its_own_results(
    source: RecordingSource, cached: CachedSource, tmp_path: Path, clock: Clock
) -> None:
    cached.at_points([inside(1)])
    other = LayerKey("synthetic", ORIGIN, "b" * 32)
    source.queries.clear()
    CachedSource(source, FolderCache(tmp_path), other, clock).at_points([inside(1)])
    assert source.queries == [inside(1)]


def test_a_snapshot_answers_every_query_including_no_lot(
    source: RecordingSource, tmp_path: Path, clock: Clock
) -> None:
    fetched = fetch_layer(source, FolderCache(tmp_path).layer(KEY))
    assert (fetched.rows, fetched.without_geometry, fetched.layer_changed) == (20, 1, False)
    cached = _again(source, tmp_path, clock)
    lot, none = cached.at_points([inside(1), NOWHERE])
    assert isinstance(lot, QueryResult)
    assert isinstance(none, QueryResult)
    assert (lot.rows, none.rows) == ((source.rows[0],), ())
    assert lot.origin == ORIGIN
    by_id = cached.with_ids(["lost", "001  00007", "nobody"])
    assert [[hit.object_id for hit in found.rows] for found in by_id] == [[20], [1], []]
    [near] = cached.near_points([inside(2)], 100.0)
    assert [hit.object_id for hit in near.rows] == [1, 2, 3]
    [found] = cached.with_addresses([OAK])
    assert [hit.object_id for hit in found.rows] == [3]
    assert cached.extent() == pytest.approx((WEST + 0.001, SOUTH, WEST + 0.0198, SOUTH + 0.001))
    assert source.queries == []
    source.down = SourceUnavailable("down")
    assert _again(source, tmp_path, clock).at_points([inside(1)]) == [lot]
    clock.wait(days=400)
    source.down = None
    assert _again(source, tmp_path, clock).at_points([inside(1)]) == [lot], "not edited since"


def test_a_snapshot_of_an_edited_layer_is_not_used(
    source: RecordingSource, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    fetch_layer(source, FolderCache(tmp_path).layer(KEY))
    source.last_version = LayerVersion(last_edit_ms=2)
    with caplog.at_level(logging.WARNING):
        _again(source, tmp_path, clock).at_points([inside(1)])
    assert source.queries == [inside(1)]
    assert "lotline parcels fetch --county synthetic" in caplog.text


def test_an_unverified_snapshot_is_reported(
    source: RecordingSource, cached: CachedSource, tmp_path: Path, clock: Clock
) -> None:
    fetch_layer(source, FolderCache(tmp_path).layer(KEY))
    cached.at_points([inside(1)])
    assert not cached.snapshot_is_unverified
    source.down = SourceUnavailable("down")
    clock.wait(hours=2)
    cached.at_points([inside(1)])
    assert cached.snapshot_is_unverified
    source.down = None
    clock.wait(hours=2)
    cached.at_points([inside(1)])
    assert not cached.snapshot_is_unverified


def test_a_result_is_stored_under_the_version_it_was_requested_in(
    tmp_path: Path, clock: Clock
) -> None:
    class Edited(RecordingSource):
        def at_points(self, points: Sequence[Point]) -> list[QueryResult | ParcelsError]:
            found = super().at_points(points)
            if points == [inside(1)] and self.version_checks == 1:
                self.last_version = LayerVersion(last_edit_ms=2)
                clock.wait(hours=2)
                cached.at_points([inside(2)])  # of another thread, which learns of the edit
            return found

    source = Edited()
    cached = CachedSource(source, FolderCache(tmp_path), KEY, clock)
    cached.at_points([inside(1)])
    source.queries.clear()
    cached.at_points([inside(1), inside(2)])
    assert source.queries == [inside(1)]


@pytest.mark.parametrize("county", ["../elsewhere", "/etc", "a/b", ".."])
def test_a_cache_key_cannot_leave_the_folder(tmp_path: Path, county: str) -> None:
    with pytest.raises(CacheError, match="cannot be a folder name"):
        FolderCache(tmp_path).layer(LayerKey(county, ORIGIN, "a" * 32))


def test_an_alternate_does_not_report_the_version_of_the_layer(
    source: RecordingSource, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    fetch_layer(source, FolderCache(tmp_path).layer(KEY))
    source.snapshot_origin, source.last_version = "an alternate", LayerVersion(last_edit_ms=99)
    cached = _again(source, tmp_path, clock)
    with caplog.at_level(logging.WARNING):
        cached.at_points([inside(1)])
    assert source.queries == []
    assert not caplog.records
    source.snapshot_origin, source.last_version = ORIGIN, LayerVersion(last_edit_ms=1)
    clock.wait(hours=2)
    cached.at_points([inside(1)])
    assert source.queries == [], "the layer is back, unchanged"
