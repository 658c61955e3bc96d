"""Many points, ids and addresses in few calls, against a FeatureServer (Koop)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from arcgissource import source_of
from servers.koop import (
    FeatureServer,
    feature_server,
    malibu_parcels,
    some_parcels,
    synthetic_lots,
    with_synthetic_addresses,
)
from shapely import Point

from parcels import Boundary, County, ParcelBoundaryService, Property
from parcels.addresses.street_address import StreetAddress, try_parse_address
from parcels.cache import CachedSource, FolderCache, LayerKey
from parcels.errors import AuthenticationRequired, ParcelsError, QueryRefused
from parcels.measure import buffer_m
from parcels.parcel_source import QueryResult, lot_geometry

FIELDS = {
    "parcel_id": "APN",
    "house_number": "NUMBER",
    "street": ["PREDIR", "STREET", "SUFFIX"],
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureServer]:
    parcels = with_synthetic_addresses(some_parcels())
    with feature_server(parcels, tmp_path_factory.mktemp("koop")) as server:
        yield server


@pytest.fixture
def server(running: FeatureServer) -> FeatureServer:
    running.mend()
    return running


def points_in(parcels: gpd.GeoDataFrame, rows: np.ndarray | range) -> list[Point]:
    return list(parcels.geometry.iloc[rows].representative_point())


def ids(found: QueryResult | ParcelsError) -> set[str | None]:
    assert isinstance(found, QueryResult), found
    return {parcel.parcel_id for parcel in found.rows}


@pytest.mark.parametrize(
    ("wkid", "count", "most_calls"), [(2274, 5000, 60), (102100, 500, 12), (3435, 500, 12)]
)
def test_five_thousand_points_take_at_most_sixty_calls(
    tmp_path: Path, wkid: int, count: int, most_calls: int
) -> None:
    parcels = malibu_parcels()
    rows = np.random.default_rng(wkid).integers(0, len(parcels), count)
    # A tenth is about 30 m off, in a street or in another lot.
    shift = np.where(np.arange(count) % 10 == 0, 0.0003, 0.0)
    points = [Point(p.x + dx, p.y) for p, dx in zip(points_in(parcels, rows), shift, strict=True)]
    lots = [lot_geometry(geometry) for geometry in parcels.geometry]
    # Holes outside of their shells: Koop disagrees about the inside of such a lot.
    broken = set(parcels.APN[~parcels.geometry.is_valid])
    assert len(broken) == 94
    point, row = shapely.STRtree(lots).query(points, "dwithin", 1e-8)
    expected: list[set[str]] = [set() for _ in points]
    for i, j in zip(point, row, strict=True):
        expected[i].add(parcels.APN.iloc[j])
    with feature_server(parcels, tmp_path, wkid=wkid) as server:
        answers = source_of(server.map_url).at_points(points)
        assert len(server.calls) <= most_calls
        assert server.most_in_flight <= 2
        assert [ids(answer) - broken for answer in answers] == [own - broken for own in expected]
        # The geometry is not simplified, shifted or rewound.
        for answer in answers[:500]:
            assert isinstance(answer, QueryResult)
            for parcel in answer.rows:
                assert parcel.geometry is not None
                assert parcel.object_id is not None
                own = lots[parcel.object_id - 1]
                assert shapely.hausdorff_distance(parcel.geometry, own) < 1e-9


def test_points_off_the_lots_have_no_rows(server: FeatureServer) -> None:
    west, _, _, north = (float(edge) for edge in server.parcels.total_bounds)
    off = [Point(west - 0.01 - i / 1000, north + 0.01) for i in range(10)]
    on = points_in(server.parcels, range(10))
    answers = source_of(server.url).at_points([*off, *on])
    assert [len(ids(answer)) for answer in answers[:10]] == [0] * 10
    assert all(ids(answer) for answer in answers[10:])


def test_a_point_on_an_edge_touches_the_lots_of_both_sides(tmp_path: Path) -> None:
    left, right = shapely.box(-90, 35, -89.999, 35.001), shapely.box(-89.999, 35, -89.998, 35.001)
    pair = gpd.GeoDataFrame({"APN": ["left", "right"]}, geometry=[left, right], crs="EPSG:4326")
    with feature_server(pair, tmp_path) as server:
        on_edge, inside = source_of(server.url).at_points(
            [Point(-89.999, 35.0005), Point(-89.9985, 35.0005)]
        )
        assert ids(on_edge) == {"left", "right"}
        assert ids(inside) == {"right"}


def test_a_refused_batch_is_split_down_to_the_bad_point(server: FeatureServer) -> None:
    points = points_in(server.parcels, range(100))
    arcgis_source = source_of(server.url)
    server.fail("refused", on=repr(points[37].x))
    answers = arcgis_source.at_points(points)
    assert [i for i, answer in enumerate(answers) if not isinstance(answer, QueryResult)] == [37]
    assert isinstance(answers[37], QueryRefused)
    assert len(server.calls) <= 1 + 2 * 8  # the metadata; then two halves, seven times


def test_a_batch_that_crashes_the_server_is_split_while_the_layer_works(
    server: FeatureServer,
) -> None:
    points = points_in(server.parcels, range(40))
    server.fail("close", on=repr(points[5].x))
    answers = source_of(server.url).at_points(points)
    assert [i for i, answer in enumerate(answers) if not isinstance(answer, QueryResult)] == [5]


def test_a_batch_is_not_split_if_every_query_is_refused(server: FeatureServer) -> None:
    arcgis_source = source_of(server.url)
    arcgis_source.check()
    server.fail("token")
    answers = arcgis_source.at_points(points_in(server.parcels, range(100)))
    assert {type(answer) for answer in answers} == {AuthenticationRequired}
    assert len(server.calls) == 1


def test_points_are_queried_singly_if_multipoints_are_refused(server: FeatureServer) -> None:
    points = points_in(server.parcels, range(60))
    arcgis_source = source_of(server.url)
    server.fail("refused", on="esriGeometryMultipoint")
    first = arcgis_source.at_points(points)
    assert all(ids(answer) for answer in first)
    server.fail("refused", on="esriGeometryMultipoint")
    again = arcgis_source.at_points(points)
    assert [ids(answer) for answer in again] == [ids(answer) for answer in first]
    assert len(server.calls) == len(points)  # multipoints are not tried again


def test_points_are_queried_singly_if_multipoints_return_nothing(
    server: FeatureServer,
) -> None:
    points = points_in(server.parcels, range(20))
    server.fail("nothing", on="esriGeometryMultipoint")
    assert all(ids(answer) for answer in source_of(server.url).at_points(points))


def test_a_stack_larger_than_a_page_is_complete(tmp_path: Path) -> None:
    lot = synthetic_lots().geometry.iloc[0]
    names = [f"UNIT {number}" for number in range(25)]
    stack = gpd.GeoDataFrame({"APN": names}, geometry=[lot] * 25, crs="EPSG:4326")
    points = [lot.centroid, Point(lot.centroid.x + 0.0001, lot.centroid.y)]
    for fault in ("", "no_paging", "old", "no_ids"):
        with feature_server(stack, tmp_path, max_record_count=10) as server:
            server.fail(fault)
            for answer in source_of(server.url).at_points(points):
                assert ids(answer) == set(names), fault


def test_near_points_uses_metres(server: FeatureServer) -> None:
    points = points_in(server.parcels, range(0, min(300, len(server.parcels)), 3))
    arcgis_source = source_of(server.url)
    arcgis_source.check()
    server.mend()
    answers = arcgis_source.near_points(points, 40.0)
    assert len(server.calls) == 1
    assert server.calls[0]["method"] == "POST"
    tree = shapely.STRtree(server.parcels.geometry)
    for point, answer in zip(points, answers, strict=True):
        near = tree.query(buffer_m(point, 40.0), "intersects")
        assert ids(answer) == set(server.parcels.APN.iloc[near])
    assert sum(len(ids(answer)) for answer in answers) > 2 * len(points)


def test_five_thousand_lots_take_at_most_sixty_calls(tmp_path: Path) -> None:
    parcels = malibu_parcels()
    rows = np.random.default_rng(7).permutation(len(parcels))[:5000]
    points = points_in(parcels, rows)
    with feature_server(parcels, tmp_path, wkid=2274) as server:
        county = County.model_validate(
            {"key": "malibu", "url": server.map_url, "layer": 0, "fields": {"parcel_id": "APN"}}
        )
        source = source_of(server.map_url)
        kept = CachedSource(source, FolderCache(tmp_path / "kept"), LayerKey.of(county))
        lookup_service = ParcelBoundaryService(county, kept)
        at_points = lookup_service.boundaries([Property(str(p), p.x, p.y) for p in points])
        assert len(server.calls) <= 60
        named = [b for b in at_points if isinstance(b, Boundary) and b.parcel_ids][:1000]
        by_id = lookup_service.boundaries(
            [Property(b.version, parcel_id=b.parcel_ids[-1]) for b in named]
        )
    assert len(named) == 1000
    assert [b.version for b in by_id if isinstance(b, Boundary)] == [b.version for b in named]
    assert [b.parcel_ids for b in by_id if isinstance(b, Boundary)] == [b.parcel_ids for b in named]


def test_ids_are_queried_in_batches(server: FeatureServer) -> None:
    known = list(dict.fromkeys(server.parcels.APN))
    parcel_ids = [*known[:100], "no such id", known[0].lower() + " ", "x' OR 'a' = 'a"]
    arcgis_source = source_of(server.url)
    arcgis_source.check()
    server.mend()
    answers = arcgis_source.with_ids(parcel_ids)
    assert len(server.calls) <= 3  # a batch, and its rows beyond a page
    assert [ids(answer) for answer in answers[:100]] == [{parcel_id} for parcel_id in known[:100]]
    assert [ids(answer) for answer in answers[100:]] == [set()] * 3


@pytest.mark.parametrize(
    "fields", [FIELDS, {"parcel_id": "APN", "address": "LINE"}], ids=["columns", "line"]
)
def test_addresses_are_queried_in_batches(server: FeatureServer, fields: dict[str, Any]) -> None:
    arcgis_source = source_of(server.url, fields=fields)
    arcgis_source.check()
    server.mend()
    rows = list(range(40))
    answers = arcgis_source.with_addresses([address(server.parcels.LINE.iloc[row]) for row in rows])
    assert [len(ids(answer)) for answer in answers] == [1] * 40
    assert [ids(answer) for answer in answers] == [{server.parcels.APN.iloc[row]} for row in rows]
    assert len(server.calls) <= 4
    [nowhere] = arcgis_source.with_addresses([address("99999 N Main St")])
    assert ids(nowhere) == set()


@pytest.mark.parametrize(
    "fields", [{"house_number": "NO", "street": "ST"}, {"address": "LINE"}], ids=["columns", "line"]
)
def test_a_house_number_is_found_in_a_range(tmp_path: Path, fields: dict[str, Any]) -> None:
    numbers = ["101-105", "107", "1201-1209", "1301-1309"]
    lots = synthetic_lots().head(4).assign(NO=numbers, ST="O'Brien St", ZIP="38103-0001")
    lots["APN"], lots["LINE"] = numbers, [f"{number} O'Brien St 38103-0001" for number in numbers]
    with feature_server(lots, tmp_path) as server:
        arcgis_source = source_of(server.url, fields={"parcel_id": "APN", **fields})
        answers = arcgis_source.with_addresses(
            [address(f"{n} OBrien St") for n in (103, 107, 1205, 1207)]
        )
        assert [ids(answer) for answer in answers] == [{n} for n in numbers[:3]] + [{numbers[2]}]
        assert ids(arcgis_source.with_addresses([address("104 OBrien St")])[0]) == set()


def test_rows_have_their_address_and_object_id(server: FeatureServer) -> None:
    [answer] = source_of(server.url, fields=FIELDS).at_points(
        points_in(server.parcels, range(2, 3))
    )
    assert isinstance(answer, QueryResult)
    parcel = next(parcel for parcel in answer.rows if parcel.object_id == 3)
    assert parcel.site is not None
    assert (parcel.site.house_number, parcel.site.street) == ("100", "S ST JOHNS AVE")


def test_only_mapped_columns_and_full_geometry_are_requested(server: FeatureServer) -> None:
    source_of(server.url).at_points(points_in(server.parcels, range(3)))
    [_, query] = server.calls
    params = {**query["form"], "url": query["url"]}
    assert "outFields=OBJECTID%2CAPN&" in params["url"]
    assert "returnTrueCurves=false&f=json" in params["url"]
    for lossy in ("maxAllowableOffset", "geometryPrecision", "outSR"):
        assert lossy not in params["url"]


def test_an_alternate_gets_what_the_first_layer_did_not_find(server: FeatureServer) -> None:
    points = points_in(server.parcels, range(60))
    arcgis_source = source_of(server.url, alternates=[{"url": server.map_url, "layer": 0}])
    arcgis_source.check()
    server.fail("refused", on="FeatureServer")
    answers = arcgis_source.at_points(points)
    origins = {answer.origin for answer in answers if isinstance(answer, QueryResult)}
    assert origins == {f"{server.map_url}/0"}
    assert all(ids(answer) for answer in answers)


def address(text: str) -> StreetAddress:
    parsed = try_parse_address(text)
    assert parsed is not None, text
    return parsed
