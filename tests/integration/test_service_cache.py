"""The boundary service over a real FeatureServer and a cache: hits make no requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.koop import FeatureServer, feature_server, some_parcels

from parcels import Boundary, County, ParcelBoundaryService, Property
from parcels.arcgis import ArcGISSource
from parcels.cache import FolderCache, LayerKey
from parcels.cache.fetch_layer import fetch_layer
from parcels.registry.county import ParcelFields


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureServer]:
    """Parcels in the CRS that most counties use."""
    folder = tmp_path_factory.mktemp("server")
    with feature_server(some_parcels(), folder, wkid=102100, last_edit_ms=1) as running:
        yield running


@pytest.fixture
def county(server: FeatureServer) -> County:
    server.edited(1)
    server.mend()
    return County(
        key="some",
        url=server.url,
        layer=0,
        fields=ParcelFields(parcel_id="APN"),
        allow_private=True,
        calls_per_second=100,
        census=False,
    )


def _properties(server: FeatureServer, count: int = 250) -> list[Property]:
    lots = server.parcels[:count]
    points = [(point.x, point.y) for point in lots.representative_point()]
    by_point = [Property(f"p{i}", *point) for i, point in enumerate(points)]
    by_id = [Property(f"i{i}", parcel_id=apn) for i, apn in enumerate(lots["APN"][:20])]
    west, south, *_ = server.parcels.total_bounds
    return [
        *by_point,
        *by_id,
        Property("beside", west - 0.001, south),
        Property("no", parcel_id="-"),
    ]


def _queries(server: FeatureServer) -> int:
    return sum("/query" in call["url"] for call in server.calls)


def _found(boundaries: list[object]) -> list[object]:
    return [
        (each.version, each.parcel_ids, each.method) if isinstance(each, Boundary) else each
        for each in boundaries
    ]


def test_the_second_lookup_makes_no_query(
    server: FeatureServer, county: County, tmp_path: Path
) -> None:
    props = _properties(server)
    first = ParcelBoundaryService(county, cache=FolderCache(tmp_path)).boundaries(props)
    assert 0 < _queries(server) < 10
    server.mend()
    second = ParcelBoundaryService(county, cache=FolderCache(tmp_path)).boundaries(props)
    assert _queries(server) == 0
    assert _found(second) == _found(first)
    server.edited(2)
    server.mend()
    ParcelBoundaryService(county, cache=FolderCache(tmp_path)).boundaries(props)
    assert _queries(server) > 0, "the county edited its parcels"


def test_a_snapshot_returns_the_same_boundaries_as_the_server(
    server: FeatureServer, county: County, tmp_path: Path
) -> None:
    props = _properties(server)
    asked = ParcelBoundaryService(county).boundaries(props)
    kept = FolderCache(tmp_path).layer(LayerKey.of(county))
    fetched = fetch_layer(ArcGISSource(county), kept)
    assert fetched.rows == len(server.parcels)
    server.mend()
    copied = ParcelBoundaryService(county, cache=FolderCache(tmp_path)).boundaries(props)
    assert _queries(server) == 0
    at_points = slice(0, -22)
    assert _found(copied[at_points]) == _found(asked[at_points])
    for one, other in zip(copied, asked, strict=True):
        assert getattr(one, "version", one) == getattr(other, "version", other)
