"""Both caches, folder and database, give the same guarantees."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
import shapely
from recordingsource import ORIGIN, SOUTH, STEP, WEST, RecordingSource, inside, synthetic_rows
from sentstatements import sent_statements
from shapely import MultiPolygon, Point
from sqlalchemy import text

from parcels.addresses.site import SiteAddress
from parcels.addresses.street_address import StreetAddress
from parcels.cache import CachedLayer, CachedSource, LayerKey, ParcelCache
from parcels.cache.fetch_layer import current_snapshot, fetch_layer
from parcels.errors import (
    CacheError,
    IncompleteResponse,
    ParcelsError,
    SourceMisconfigured,
    SourceUnavailable,
)
from parcels.parcel_source import LayerVersion, Page, ParcelRow, QueryResult
from pipeline.store.database import Database
from pipeline.store.parcel_cache.database_cache import DatabaseCache
from pipeline.store.reads.county_status import county_status

KEY = LayerKey("synthetic", ORIGIN, "a" * 32)
STAMP = LayerVersion(last_edit_ms=1)
NOW = datetime.now(UTC).replace(microsecond=123_456)


@pytest.fixture
def layer(cache: ParcelCache) -> CachedLayer:
    return cache.layer(KEY)


def _odd_rows() -> tuple[ParcelRow, ...]:
    """Rows with every value that a layer can have, and with none."""
    hole = shapely.box(-90, 35, -89.999, 35.001) - shapely.box(-89.9995, 35.0002, -89.9994, 35.0003)
    geometry = shapely.normalize(
        MultiPolygon([hole, shapely.box(-89.99, 35, -89.98, 35.1 + 1e-13)])
    )
    site = SiteAddress("1 O'Brien St", "1", "O'Brien St", "B", "Ünder, \\N", "00000")
    return (
        ParcelRow("042035  00007", geometry, 7, site),
        ParcelRow("", None, 2**40, SiteAddress()),
        ParcelRow(None, geometry, None, None),
        ParcelRow(None, geometry, 8, None, "PRIV_ROW", lacks_id=True),
    )


def test_results_are_read_back_as_stored(cache: ParcelCache, layer: CachedLayer) -> None:
    kept = {
        "point:1,2": QueryResult(_odd_rows(), ORIGIN, NOW),
        "id:" + "long" * 5_000: QueryResult((), "another layer", NOW - timedelta(days=3)),
        "id:'\"{}\\": QueryResult(_odd_rows()[:1], ORIGIN, NOW),
    }
    layer.store_results(kept, STAMP)
    for reader in (layer, cache.layer(KEY)):
        found = reader.read_results([*kept, "id:unknown"], STAMP)
        assert found == kept
        assert {q: f.fetched_at for q, f in found.items()} == {
            q: f.fetched_at for q, f in kept.items()
        }
        versions = [row.geometry.wkb for row in found["point:1,2"].rows if row.geometry]
        assert versions == [row.geometry.wkb for row in _odd_rows() if row.geometry]


def test_results_belong_to_one_version_of_one_layer(cache: ParcelCache, layer: CachedLayer) -> None:
    layer.store_results({"id:1": QueryResult((), ORIGIN, NOW)}, STAMP)
    assert not layer.read_results(["id:1"], LayerVersion(last_edit_ms=2))
    assert not layer.read_results(["id:1"], LayerVersion(count=1))
    assert not cache.layer(LayerKey("synthetic", ORIGIN, "b" * 32)).read_results(["id:1"], STAMP)
    assert not cache.layer(LayerKey("another", ORIGIN, "a" * 32)).read_results(["id:1"], STAMP)
    assert layer.read_results(["id:1"], STAMP)


def test_the_newest_result_counts(cache: ParcelCache, layer: CachedLayer) -> None:
    layer.store_results({"id:1": QueryResult(_odd_rows(), ORIGIN, NOW - timedelta(hours=1))}, STAMP)
    layer.store_results({"id:1": QueryResult(_odd_rows()[:1], ORIGIN, NOW)}, STAMP)
    for reader in (layer, cache.layer(KEY)):
        assert reader.read_results(["id:1"], STAMP)["id:1"].rows == _odd_rows()[:1]


def test_old_results_are_evicted(cache: ParcelCache, layer: CachedLayer) -> None:
    for days in (40, 20):
        found = QueryResult(_odd_rows(), ORIGIN, NOW - timedelta(days=days))
        layer.store_results({f"id:{days}": found}, STAMP)
    layer.evict_before(NOW - timedelta(days=30))
    assert set(cache.layer(KEY).read_results(["id:40", "id:20"], STAMP)) == {"id:20"}


def test_unused_data_of_a_changed_entry_is_evicted(cache: ParcelCache, layer: CachedLayer) -> None:
    others = [LayerKey("synthetic", ORIGIN, "b" * 32), LayerKey("another", ORIGIN, "b" * 32)]
    for key in (KEY, *others):
        fetch_layer(RecordingSource(), cache.layer(key))
        cache.layer(key).store_results(
            {"id:1": QueryResult((), ORIGIN, NOW + timedelta(days=9))}, STAMP
        )
    layer.evict_before(NOW - timedelta(days=30))
    assert [cache.layer(key).snapshot_version() for key in others] == [STAMP, STAMP]
    layer.evict_before(datetime.now(UTC) + timedelta(days=1))
    assert [cache.layer(key).snapshot_version() for key in (KEY, *others)] == [STAMP, None, STAMP]
    assert [len(cache.layer(key).read_results(["id:1"], STAMP)) for key in (KEY, *others)] == [
        1,
        0,
        1,
    ]
    assert fetch_layer(RecordingSource(), cache.layer(others[0])).rows == 20, (
        "the entry may be changed back"
    )


def test_concurrent_stores_do_not_block_each_other(database: Database) -> None:
    layer = DatabaseCache(database.engine).layer(KEY)
    old = NOW - timedelta(days=40)
    layer.store_results(
        {"id:1": QueryResult((), ORIGIN, old), "id:2": QueryResult((), ORIGIN, old)}, STAMP
    )
    with database.engine.begin() as other, ThreadPoolExecutor(1) as pool:
        # As another batch does that keeps many, in an order of its own.
        other.execute(text("SELECT 1 FROM lotline.parcel_answer ORDER BY id LIMIT 1 FOR UPDATE"))
        done = pool.submit(layer.evict_before, NOW - timedelta(days=30))
        try:
            done.result(timeout=60)
        finally:
            other.rollback()
    assert len(layer.read_results(["id:1", "id:2"], STAMP)) == 1


def test_unstorable_results_are_lost_without_an_error(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    layer = DatabaseCache(database.engine).layer(KEY)
    layer.store_results({"id:1": QueryResult((ParcelRow("no\0text", None, 1),), ORIGIN)}, STAMP)
    assert layer.read_results(["id:1"], STAMP) == {}
    with database.engine.begin() as conn:
        conn.execute(text("DELETE FROM lotline.parcel_layer"))  # nobody used it for long
    layer.store_results({"id:1": QueryResult((), ORIGIN)}, STAMP)
    assert caplog.text.count("1 parcel results were not cached") == 2


def test_status_reports_the_snapshot_that_batches_use(database: Database) -> None:
    cache = DatabaseCache(database.engine)
    fetch_layer(RecordingSource(), cache.layer(KEY))
    with database.engine.connect() as conn:
        copy = county_status(conn, "synthetic").parcel_snapshot
        assert copy is not None
        assert copy["rows"] == 20
    cache.layer(LayerKey("synthetic", ORIGIN, "b" * 32))  # the entry was changed
    with database.engine.connect() as conn:
        assert county_status(conn, "synthetic").parcel_snapshot is None


@pytest.mark.parametrize(
    "layer_version", [LayerVersion(), STAMP, LayerVersion(None, 3, 9), LayerVersion(0, 0, 0)]
)
def test_the_last_version_is_recorded(
    cache: ParcelCache, layer: CachedLayer, layer_version: LayerVersion
) -> None:
    assert layer.last_version() is None
    layer.record_version(LayerVersion(last_edit_ms=7))
    layer.record_version(layer_version)
    assert cache.layer(KEY).last_version() == layer_version


def test_a_snapshot_returns_the_same_rows_as_the_layer(
    cache: ParcelCache, layer: CachedLayer
) -> None:
    stacked = ParcelRow(
        "002  twin", synthetic_rows()[1].geometry, 30, SiteAddress(line="104 OBRIEN ST")
    )
    source = RecordingSource([*synthetic_rows(), stacked])
    fetch_layer(source, layer)
    copy = cache.layer(KEY).snapshot()
    assert copy is not None
    assert (copy.rows, copy.has_addresses, copy.origin) == (21, True, ORIGIN)
    corner = Point(WEST + STEP, SOUTH)
    nowhere = Point(WEST - 1, SOUTH)
    at = [inside(2), nowhere, corner, inside(19)]
    assert copy.at_points(at) == source.at_points(at)
    assert copy.at_points([]) == []
    for distance_m in (0.5, 30.0, 100.0):
        assert copy.near_points(at, distance_m) == source.near_points(at, distance_m)
    ids = ["003  00007", "003 00007", "lost", "002  twin"]
    assert copy.with_ids(ids) == source.with_ids(ids)
    wanted = [StreetAddress(n, "OBRIEN ST", "OBRIEN") for n in ("104", "138", "105")]
    wanted.append(StreetAddress("104", "MAIN ST", "MAIN"))
    found = copy.with_addresses(wanted)
    assert [[row.object_id for row in each.rows] for each in found] == [[2, 30], [19], [], []]
    assert copy.extent() == pytest.approx((WEST + STEP, SOUTH, WEST + 19.8 * STEP, SOUTH + STEP))


def test_a_snapshot_has_every_row_of_a_joined_layer(cache: ParcelCache, layer: CachedLayer) -> None:
    first, second = synthetic_rows()[:2]
    accounts = [
        ParcelRow(f"account {n}", first.geometry, 1, first.site, "FEE", lacks_id=False)
        for n in range(3)
    ]
    way = ParcelRow(None, second.geometry, 2, None, "ROW", lacks_id=True)
    source = RecordingSource([*accounts, way])
    assert fetch_layer(source, layer).rows == 4
    copy = cache.layer(KEY).snapshot()
    assert copy is not None
    assert copy.rows == 4
    assert copy.with_ids(["account 2", "account 0"]) == source.with_ids(["account 2", "account 0"])
    assert copy.at_points([inside(1), inside(2)]) == source.at_points([inside(1), inside(2)])
    assert sorted(copy.all_rows(), key=repr) == sorted(source.rows, key=repr)


def test_a_snapshot_without_addresses_or_lots(cache: ParcelCache, layer: CachedLayer) -> None:
    with layer.begin_snapshot(STAMP, ORIGIN) as begin_snapshot:
        begin_snapshot.add(Page((ParcelRow("1", None, 1),), 1, 1, 1))
        begin_snapshot.finish()
    copy = layer.snapshot()
    assert copy is not None
    assert (copy.rows, copy.has_addresses, copy.extent()) == (1, False, None)
    assert copy.at_points([inside(1)])[0].rows == ()
    with layer.begin_snapshot(STAMP, ORIGIN) as begin_snapshot:
        begin_snapshot.finish()
    empty = cache.layer(KEY).snapshot()
    assert empty is not None
    assert empty.with_ids(["1"])[0].rows == ()


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ([], IncompleteResponse),
        ([ParcelRow("1", None, 1)], SourceMisconfigured),
        (
            [*synthetic_rows(21)[:20], *(ParcelRow("b", None, n) for n in range(21, 32))],
            SourceMisconfigured,
        ),
    ],
)
def test_a_snapshot_that_would_hide_lots_is_refused(
    cache: ParcelCache, layer: CachedLayer, rows: list[ParcelRow], error: type[ParcelsError]
) -> None:
    fetch_layer(RecordingSource(), layer)
    with pytest.raises(error, match=r"reports zero rows|no valid polygon"):
        fetch_layer(RecordingSource(rows), layer)
    kept = cache.layer(KEY).snapshot()
    assert kept is not None
    assert kept.rows == 20, "the previous snapshot stays"


def test_ten_rows_without_geometry_are_accepted(layer: CachedLayer) -> None:
    some = [*synthetic_rows(12)[:11], *(ParcelRow("b", None, n) for n in range(12, 22))]
    assert fetch_layer(RecordingSource(some), layer).without_geometry == 10


class Stops(RecordingSource):
    """A source that fails after some pages of a harvest."""

    pages = 2

    def harvest(self, after_object_id: int | None = None) -> Iterator[Page]:
        yield from islice(super().harvest(after_object_id), self.pages)
        raise SourceUnavailable("down")


def test_an_interrupted_snapshot_resumes_after_its_last_page(
    cache: ParcelCache, layer: CachedLayer
) -> None:
    with pytest.raises(SourceUnavailable):
        fetch_layer(Stops(), layer)
    assert layer.snapshot_version() is None
    assert layer.snapshot() is None, "an incomplete snapshot is not used"
    source, progress = RecordingSource(), []
    fetched = fetch_layer(
        source, cache.layer(KEY), lambda rows, total: progress.append((rows, total))
    )
    assert source.after == [12]
    assert progress == [(18, 20), (20, 20)]
    assert (fetched.rows, fetched.resumed_rows, fetched.without_geometry) == (20, 12, 1)
    copy = layer.snapshot()
    assert copy is not None
    assert [len(found.rows) for found in copy.at_points([inside(n) for n in range(1, 20)])] == (
        [1] * 19
    )


@pytest.mark.parametrize(
    ("layer_version", "days", "is_current"),
    [
        (STAMP, 0, True),
        (STAMP, 400, True),
        (LayerVersion(None, 20, 20), 0, True),
        (LayerVersion(None, 20, 20), 31, False),
        (LayerVersion(), 0, False),
    ],
)
def test_a_snapshot_is_current_as_long_as_batches_use_it(
    cache: ParcelCache, layer: CachedLayer, layer_version: LayerVersion, days: int, is_current: bool
) -> None:
    source = RecordingSource()
    source.last_version = layer_version
    assert current_snapshot(source, layer) is None
    fetch_layer(source, layer)
    then = datetime.now(UTC) + timedelta(days=days)
    copy = current_snapshot(source, cache.layer(KEY), then)
    assert (copy is not None) == is_current
    assert copy is None or copy.rows == 20
    source.snapshot_origin = "https://gis.example.gov/arcgis/rest/services/Another/FeatureServer/0"
    assert current_snapshot(source, layer) is None
    source.snapshot_origin, source.last_version = ORIGIN, LayerVersion(last_edit_ms=2)
    assert current_snapshot(source, layer) is None


def test_another_layer_version_starts_a_new_snapshot(
    cache: ParcelCache, layer: CachedLayer
) -> None:
    with pytest.raises(SourceUnavailable):
        fetch_layer(Stops(), layer)
    source = RecordingSource()
    source.last_version = LayerVersion(last_edit_ms=2)
    assert fetch_layer(source, layer).resumed_rows == 0
    assert source.after == [None]
    assert cache.layer(KEY).snapshot_version() == source.last_version


def test_the_old_snapshot_stays_until_the_new_one_is_complete(
    cache: ParcelCache, layer: CachedLayer
) -> None:
    fetch_layer(RecordingSource(), layer)
    held = layer.snapshot()
    shrunk = Stops(synthetic_rows()[:13])
    shrunk.last_version = LayerVersion(last_edit_ms=2)
    with pytest.raises(SourceUnavailable):
        fetch_layer(shrunk, layer)
    assert layer.snapshot_version() == STAMP
    copy = cache.layer(KEY).snapshot()
    assert copy is not None
    assert copy.rows == 20
    shrunk.pages = 99
    with pytest.raises(SourceUnavailable):
        fetch_layer(shrunk, layer)
    fresh = RecordingSource(synthetic_rows()[:13])
    fresh.last_version = LayerVersion(last_edit_ms=2)
    fetch_layer(fresh, layer)
    assert layer.snapshot_version() == fresh.last_version
    # A reader of the old snapshot still gets its lots.
    assert held is not None
    assert len(held.at_points([inside(1)])[0].rows) == 1


def test_fewer_rows_than_announced_are_refused(layer: CachedLayer) -> None:
    class Short(RecordingSource):
        def harvest(self, after_object_id: int | None = None) -> Iterator[Page]:
            for page in super().harvest(after_object_id):
                yield Page(page.rows[1:], page.last_object_id, page.done, page.total)

    with pytest.raises(IncompleteResponse, match=r"announced 20 rows and sent 16"):
        fetch_layer(Short(), layer)
    assert layer.snapshot() is None
    assert fetch_layer(RecordingSource(), layer).rows == 20, (
        "a new snapshot starts from the beginning"
    )


def test_a_layer_edited_during_the_download_is_reported(layer: CachedLayer) -> None:
    class Edited(RecordingSource):
        def harvest(self, after_object_id: int | None = None) -> Iterator[Page]:
            yield from super().harvest(after_object_id)
            self.last_version = LayerVersion(last_edit_ms=2)

    assert fetch_layer(Edited(), layer).layer_changed
    assert layer.snapshot_version() == STAMP


def test_one_process_at_a_time_makes_a_snapshot(cache: ParcelCache, layer: CachedLayer) -> None:
    with (
        layer.begin_snapshot(STAMP, ORIGIN) as copy,
        pytest.raises(CacheError, match=r"another process (copies|downloads)"),
        cache.layer(KEY).begin_snapshot(STAMP, ORIGIN),
    ):
        pass
    assert copy.rows == 0
    assert fetch_layer(RecordingSource(), layer).rows == 20


def test_a_cached_source_queries_once(cache: ParcelCache, caplog: pytest.LogCaptureFixture) -> None:
    source = RecordingSource()
    points = [inside(n % 19 + 1) for n in range(1_200)]
    for _ in range(2):
        found = CachedSource(source, cache, KEY).at_points(points)
        assert [f.rows[0].object_id for f in found if isinstance(f, QueryResult)] == [
            n % 19 + 1 for n in range(1_200)
        ]
    assert len(source.queries) == 19
    with caplog.at_level(logging.WARNING):
        CachedSource(source, cache, KEY).at_points(points)
    assert not caplog.records


# 40,000 synthetic lots in a grid, of another county, beside those of the layer.
MANY = """
INSERT INTO lotline.parcel (copy_fk, object_id, parcel_id, site, house_keys, geom)
SELECT id, n, 'lot ' || n, '{}', ARRAY[(id << 32) | (n / 10)],
    ST_Multi(ST_MakeEnvelope(-80 + n % 200 * 0.001, 35 + n / 200 * 0.001,
        -80 + n % 200 * 0.001 + 0.0009, 35 + n / 200 * 0.001 + 0.0009, 4326))
FROM lotline.parcel_copy, generate_series(1, 40000) AS n WHERE state = 'copying'
"""


def test_no_query_scans_a_complete_snapshot(database: Database) -> None:
    cache = DatabaseCache(database.engine)
    with cache.layer(LayerKey("another", ORIGIN, "c" * 32)).begin_snapshot(STAMP, ORIGIN) as other:
        with database.engine.begin() as conn:
            conn.execute(text(MANY))
        other.finish()
    layer = cache.layer(KEY)
    fetch_layer(RecordingSource(), layer)
    copy = layer.snapshot()
    assert copy is not None
    points = [inside(1), inside(2)] * 5
    with sent_statements(database.engine) as asked:
        copy.at_points(points)
        copy.near_points(points, 40.0)
        copy.with_ids(["001  00007"] * 10)
        copy.with_addresses([StreetAddress("104", "OBRIEN ST", "OBRIEN")] * 10)
    with database.engine.connect() as conn:
        for statement, values in asked:
            rows = conn.exec_driver_sql(f"EXPLAIN (ANALYZE) {statement}", values).scalars()
            plan = "\n".join(rows)
            assert "Seq Scan on parcel p" not in plan, plan
            assert "Removed by Filter" not in plan, "rows of other counties were read"
    assert len(asked) == 4
