"""A point in the street gets the fallback buffer of 30 m, recorded as such."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import shapely
from pyproj import Geod
from servers.koop import FeatureServer, feature_server, some_parcels
from shapely import Point

from parcels import Boundary, County, Located, ParcelBoundaryService, Property
from parcels.arcgis import ArcGISSource
from parcels.arcgis.http.client import ArcGISClient
from parcels.lot_selection import distances_m

CIRCLE_M2 = math.pi * 30**2
GEOD = Geod(ellps="WGS84")
# Its addresses are synthetic; the lots are real ones where they lie.
STREET = "SYNTHETIC ST"


@pytest.fixture(scope="module")
def lots() -> gpd.GeoDataFrame:
    parcels = some_parcels()
    # Some are drawn twice, and a house number is that of one lot.
    parcels = parcels[~parcels.normalize().to_wkb().duplicated()].reset_index(drop=True)
    return parcels.assign(ADDR=[f"{STREET} {101 + 2 * i}" for i in range(len(parcels))])


@pytest.fixture(scope="module")
def astray(lots: gpd.GeoDataFrame) -> list[tuple[int, Point]]:
    """25 rows, each with a point 5 to 20 m from its lot and outside every lot."""
    tree = shapely.STRtree(lots.geometry.to_numpy())
    found: list[tuple[int, Point]] = []
    for row, lot in enumerate(lots.geometry):
        west, south, east, north = lot.bounds
        corners = [(west, south), (east, south), (east, north), (west, north)]
        outward = (225, 135, 45, 315)
        ends = [GEOD.fwd(*xy, azimuth, 8)[:2] for xy, azimuth in zip(corners, outward, strict=True)]
        off = [
            point
            for point in map(Point, ends)
            if not len(tree.query(point, predicate="intersects"))
            and 5 < distances_m(point, [lot])[0] < 20
        ]
        found += [(row, point) for point in off[:1]]
    assert len(found) >= 25
    return found[:25]


@pytest.fixture(scope="module")
def koop(
    lots: gpd.GeoDataFrame, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FeatureServer]:
    with feature_server(lots, tmp_path_factory.mktemp("koop")) as server:
        yield server


@pytest.fixture(params=["file", "arcgis"])
def service(
    request: pytest.FixtureRequest, lots: gpd.GeoDataFrame, koop: FeatureServer, tmp_path: Path
) -> ParcelBoundaryService:
    entry: dict[str, Any] = {"key": "test", "fields": {"parcel_id": "APN", "address": "ADDR"}}
    if request.param == "file":
        lots.to_file(tmp_path / "lots.gpkg")
        return ParcelBoundaryService(
            County.model_validate({**entry, "path": str(tmp_path / "lots.gpkg")})
        )
    county = County.model_validate({**entry, "url": koop.url, "layer": 0, "allow_private": True})
    client = ArcGISClient(sleep=lambda _: None, allow_private=True, calls_per_second=100)
    return ParcelBoundaryService(county, ArcGISSource(county, client))


def test_a_point_in_the_street_gets_the_30_m_buffer(
    service: ParcelBoundaryService, astray: list[tuple[int, Point]]
) -> None:
    props = [Property(str(row), point.x, point.y) for row, point in astray]
    for (_, point), circle in zip(astray, service.boundaries(props), strict=True):
        assert isinstance(circle, Boundary)
        assert (circle.source, circle.method) == ("buffer_30m", "no_lot")
        assert circle.parcel_ids == ()
        assert circle.located == Located(point.x, point.y)
        assert circle.area_m2 == pytest.approx(CIRCLE_M2, rel=0.005)
        by_geod_m2 = abs(GEOD.geometry_area_perimeter(circle.geometry)[0])
        assert circle.area_m2 == pytest.approx(by_geod_m2, rel=1e-4)


def test_the_house_number_finds_the_nearby_lot(
    service: ParcelBoundaryService, lots: gpd.GeoDataFrame, astray: list[tuple[int, Point]]
) -> None:
    props = [
        Property(str(row), point.x, point.y, address=f"{101 + 2 * row} Synthetic Street")
        for row, point in astray
    ]
    for (row, point), found in zip(astray, service.boundaries(props), strict=True):
        assert isinstance(found, Boundary)
        assert (found.source, found.method) == ("lot", "house_number")
        assert found.parcel_ids == (lots.APN.iloc[row],)
        assert found.located == Located(point.x, point.y)
        assert found.geometry.symmetric_difference(lots.geometry.iloc[row]).area < 1e-12


def test_an_unknown_house_number_gets_the_buffer(
    service: ParcelBoundaryService, astray: list[tuple[int, Point]]
) -> None:
    props = [Property("even", p.x, p.y, address="100 Synthetic St") for _, p in astray]
    found = service.boundaries(props)
    assert {b.source for b in found if isinstance(b, Boundary)} == {"buffer_30m"}
    assert len(found) == len(astray)
