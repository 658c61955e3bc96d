"""Truncated pages, unstable order, repeated object ids: all rows come, or an error."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from arcgissource import source_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers.koop import FeatureServer, feature_server, some_parcels

from parcels.errors import IncompleteResponse, SourceError
from parcels.parcel_source import Page, ParcelRow, QueryResult

PAGE = 100
DISTORTIONS = ["cut_page", "unstable_order", "repeated_ids"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureServer]:
    folder = tmp_path_factory.mktemp("koop")
    with feature_server(some_parcels(), folder, max_record_count=PAGE) as server:
        yield server


@pytest.fixture
def server(running: FeatureServer) -> FeatureServer:
    running.mend()
    return running


def rows_of(pages: list[Page]) -> list[ParcelRow]:
    return [parcel for page in pages for parcel in page.rows]


@pytest.mark.parametrize("fault", [*DISTORTIONS, "no_paging", "old"])
def test_a_harvest_has_every_row_once(server: FeatureServer, fault: str) -> None:
    server.fail(fault)
    harvested = rows_of(list(source_of(server.url).harvest()))
    assert [parcel.object_id for parcel in harvested] == list(server.parcels.OBJECTID)
    assert [parcel.parcel_id for parcel in harvested] == list(server.parcels.APN)


@pytest.mark.parametrize("fault", ["empty_page", "nothing"])
def test_empty_pages_are_an_error(server: FeatureServer, fault: str) -> None:
    arcgis_source = source_of(server.url)
    arcgis_source.check()
    # Ids and count are correct.
    server.fail(fault, on="returnGeometry=true")
    with pytest.raises(IncompleteResponse, match=f"{PAGE} of {PAGE} rows but does not send"):
        list(arcgis_source.harvest())


def test_rows_that_are_counted_but_withheld_are_an_error(server: FeatureServer) -> None:
    # Neither the pages nor the check for deleted rows gets a correct response.
    server.fail("nothing", on="OBJECTID")
    with pytest.raises(IncompleteResponse, match=r"counts \d+ rows but withholds"):
        list(source_of(server.url).harvest())


def test_truncated_ids_are_an_error(server: FeatureServer) -> None:
    server.fail("cut_ids")
    with pytest.raises(IncompleteResponse, match=r"counts \d+ rows but lists 50 object ids"):
        list(source_of(server.url).harvest())


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    kind=st.sampled_from([*DISTORTIONS, "empty_page", "nothing", "refused", "http500", "close"]),
    share=st.floats(0.05, 0.6),
    seed=st.integers(0, 2**31),
)
def test_the_rows_equal_the_count_or_an_error(
    server: FeatureServer, kind: str, share: float, seed: int
) -> None:
    arcgis_source = source_of(server.url)
    server.mend()
    arcgis_source.check()
    server.fail(kind, share=share, seed=seed)
    try:
        harvested = rows_of(list(arcgis_source.harvest()))
    except SourceError:
        return
    assert [parcel.object_id for parcel in harvested] == list(server.parcels.OBJECTID)


@pytest.mark.parametrize("fault", DISTORTIONS)
def test_no_lot_is_lost_at_a_point(server: FeatureServer, fault: str) -> None:
    # Not the first one, a stack of two among the synthetic lots.
    points = list(server.parcels.geometry.iloc[1:60].representative_point())
    arcgis_source = source_of(server.url)
    before = arcgis_source.at_points(points)
    server.fail(fault)
    after = arcgis_source.at_points(points)
    for expected, answer in zip(before, after, strict=True):
        assert isinstance(expected, QueryResult)
        assert isinstance(answer, QueryResult)
        assert answer.rows
        if fault != "cut_page":  # a missing row among several at a point cannot be detected
            assert set(answer.rows) == set(expected.rows)


@pytest.mark.parametrize("fault", DISTORTIONS)
def test_no_lot_is_lost_by_its_id(server: FeatureServer, fault: str) -> None:
    known = list(dict.fromkeys(server.parcels.APN))[:60]
    arcgis_source = source_of(server.url)
    arcgis_source.check()
    server.fail(fault)
    for parcel_id, answer in zip(known, arcgis_source.with_ids(known), strict=True):
        assert isinstance(answer, QueryResult)
        assert {parcel.parcel_id for parcel in answer.rows} == {parcel_id}
