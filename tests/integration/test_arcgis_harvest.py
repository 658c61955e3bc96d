"""Harvests of a FeatureServer (Koop) with and without the features of ArcGIS servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import geopandas as gpd
import pytest
import shapely
from arcgissource import source_of
from servers.koop import FeatureServer, feature_server, malibu_parcels, synthetic_lots

from parcels.errors import IncompleteResponse, SourceUnavailable
from parcels.parcel_source import LayerVersion, Page, lot_geometry

PAGE = 10


def lots_with_gaps() -> gpd.GeoDataFrame:
    """121 synthetic lots, whose object ids skip every third number and start at 3345100."""
    lots = synthetic_lots()
    return lots.assign(OBJECTID=[3345100 + i + i // 2 for i in range(len(lots))])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureServer]:
    folder = tmp_path_factory.mktemp("koop")
    with feature_server(lots_with_gaps(), folder, wkid=3435, max_record_count=PAGE) as server:
        yield server


@pytest.fixture
def server(running: FeatureServer) -> FeatureServer:
    running.mend()
    return running


def object_ids(pages: list[Page]) -> list[int | None]:
    return [parcel.object_id for page in pages for parcel in page.rows]


def test_every_row_comes_once_in_order_of_object_id(server: FeatureServer) -> None:
    pages = list(source_of(server.url).harvest())
    assert object_ids(pages) == list(server.parcels.OBJECTID)
    parcels = [parcel for page in pages for parcel in page.rows]
    assert [parcel.parcel_id for parcel in parcels] == list(server.parcels.APN)
    for parcel, lot in zip(parcels, server.parcels.geometry, strict=True):
        assert parcel.geometry is not None
        assert shapely.hausdorff_distance(parcel.geometry, lot_geometry(lot)) < 1e-9
    lasts = [*range(9, 120, 10), 120]
    assert [page.last_object_id for page in pages] == list(server.parcels.OBJECTID.iloc[lasts])
    assert [(page.done, page.total) for page in pages] == [
        (min(done, 121), 121) for done in range(10, 131, 10)
    ]
    # The metadata, the ids, the count, and a call for each page; no statistics, which may be wrong.
    assert len(server.calls) == 3 + 13
    assert not any("outStatistics" in call["url"] for call in server.calls)


def test_two_pages_are_in_flight(server: FeatureServer) -> None:
    server.slow(30)
    assert len(object_ids(list(source_of(server.url, calls_per_second=100).harvest()))) == 121
    assert server.most_in_flight == 2


def test_a_harvest_resumes_after_an_object_id(server: FeatureServer) -> None:
    first = source_of(server.url).harvest()
    before = [next(first) for _ in range(5)]
    first.close()
    server.mend()
    after = list(source_of(server.url).harvest(after_object_id=before[-1].last_object_id))
    assert object_ids(before) + object_ids(after) == list(server.parcels.OBJECTID)
    assert (after[0].done, after[-1].done, after[-1].total) == (60, 121, 121)
    assert len(server.calls) == 3 + 8


def test_a_harvest_after_the_last_row_is_empty(server: FeatureServer) -> None:
    last = int(server.parcels.OBJECTID.iloc[-1])
    assert list(source_of(server.url).harvest(after_object_id=last)) == []


@pytest.mark.parametrize(
    "cannot",
    ["no_paging", "ignore_count", "no_ids", "old", "ancient", "unstable_order", "cut_page"],
)
def test_a_harvest_is_complete_despite_missing_server_features(
    server: FeatureServer, cannot: str
) -> None:
    server.fail(cannot)
    assert object_ids(list(source_of(server.url).harvest())) == list(server.parcels.OBJECTID)


def test_five_percent_failed_calls_lose_no_rows(tmp_path: Path) -> None:
    parcels = malibu_parcels()
    with feature_server(parcels, tmp_path, wkid=2274, max_record_count=100) as server:
        for seed, kind in enumerate(("http503", "reset")):
            server.fail(kind, share=0.05, seed=seed, retryAfter="0")
            pages = list(source_of(server.url).harvest())
            assert object_ids(pages) == list(range(1, len(parcels) + 1)), kind
            assert len(server.calls) > 3 + 87  # some calls failed
            assert server.most_in_flight <= 2


def test_a_row_that_makes_the_server_fail_comes_without_geometry(server: FeatureServer) -> None:
    bad = int(server.parcels.OBJECTID.iloc[42])
    server.fail("choke", on="returnGeometry=true", value=bad)
    pages = list(source_of(server.url).harvest())
    assert object_ids(pages) == list(server.parcels.OBJECTID)
    without = [parcel for page in pages for parcel in page.rows if parcel.geometry is None]
    assert [(parcel.object_id, parcel.parcel_id) for parcel in without] == [
        (bad, server.parcels.APN.iloc[42])
    ]


def test_rows_deleted_during_the_harvest_are_accepted(server: FeatureServer) -> None:
    gone = int(server.parcels.OBJECTID.iloc[115])
    pages = source_of(server.url).harvest()
    first = next(pages)
    server.fail("deleted", value=gone)
    rest = list(pages)
    assert object_ids([first, *rest]) == [i for i in server.parcels.OBJECTID if i != gone]
    assert (rest[-1].done, rest[-1].total) == (120, 120)


def test_a_withheld_row_is_an_error(server: FeatureServer) -> None:
    withheld = int(server.parcels.OBJECTID.iloc[55])
    server.fail("withheld", value=withheld)
    with pytest.raises(IncompleteResponse, match=f"1 of 10 rows but .*OBJECTID {withheld}"):
        list(source_of(server.url).harvest())


def test_yielded_pages_stay_valid_when_the_server_goes_down(server: FeatureServer) -> None:
    pages = source_of(server.url).harvest()
    some = [next(pages) for _ in range(3)]
    server.fail("http500")
    with pytest.raises(SourceUnavailable):
        some += pages
    assert object_ids(some) == list(server.parcels.OBJECTID[: len(object_ids(some))])
    server.mend()
    rest = list(source_of(server.url).harvest(after_object_id=some[-1].last_object_id))
    assert object_ids(some) + object_ids(rest) == list(server.parcels.OBJECTID)


def test_a_harvest_applies_the_where_of_the_registry_entry(server: FeatureServer) -> None:
    [page] = source_of(server.url, where="APN = 'CONDO''1'").harvest()
    assert [parcel.parcel_id for parcel in page.rows] == ["CONDO'1"]
    assert (page.done, page.total) == (1, 1)


def test_the_layer_version_is_the_last_edit_or_count_and_highest_id(server: FeatureServer) -> None:
    highest = int(server.parcels.OBJECTID.max())
    arcgis_source = source_of(server.url)
    assert arcgis_source.layer_version() == LayerVersion(count=121, highest_id=highest)
    server.edited(1_700_000_000_000)
    assert arcgis_source.layer_version() == LayerVersion(last_edit_ms=1_700_000_000_000)
    server.edited(1_800_000_000_000)
    server.mend()
    assert arcgis_source.layer_version() == LayerVersion(last_edit_ms=1_800_000_000_000)
    assert len(server.calls) == 1
    server.edited(None)


@pytest.mark.parametrize(
    ("fault", "layer_version"),
    [
        ("ignore_count", LayerVersion(highest_id=3345280)),
        ("old", LayerVersion(count=121)),
        ("ancient", LayerVersion()),
    ],
)
def test_the_layer_version_uses_what_the_server_supports(
    server: FeatureServer, fault: str, layer_version: LayerVersion
) -> None:
    server.fail(fault)
    assert source_of(server.url).layer_version() == layer_version
    assert len(server.calls) <= 3 + 1


def test_the_primary_layer_is_used_again_when_it_is_back(server: FeatureServer) -> None:
    arcgis_source = source_of(server.url, alternates=[{"url": server.map_url, "layer": 0}])
    server.fail("refused", on="FeatureServer")
    assert (arcgis_source.layer_version().count, arcgis_source.snapshot_origin) == (
        121,
        f"{server.map_url}/0",
    )
    server.mend()
    assert (arcgis_source.layer_version().count, arcgis_source.snapshot_origin) == (
        121,
        f"{server.url}/0",
    )


def test_version_and_harvest_use_the_same_layer(server: FeatureServer) -> None:
    gone = f"{server.address}/nothing/rest/services/here/FeatureServer"
    arcgis_source = source_of(gone, alternates=[{"url": server.url, "layer": 0}])
    assert arcgis_source.snapshot_origin == f"{server.url}/0"
    assert arcgis_source.layer_version().count == 121
    server.fail("http500")
    with pytest.raises(SourceUnavailable, match=server.url):
        list(arcgis_source.harvest())
