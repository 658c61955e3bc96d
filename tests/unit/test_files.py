"""Parcel files: formats, CRS, ids, repairs, and the real neighbourhoods."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import geopandas as gpd
import pyarrow
import pytest
import shapely
from pyarrow import parquet
from shapely import MultiPolygon, Point, Polygon, box

from parcels import Boundary, County, Lot, NoLot, ParcelBoundaryService, Property, load_registry
from parcels.addresses.site import SiteAddress
from parcels.addresses.street_address import parse_address
from parcels.boundary import Unavailable
from parcels.errors import GeometryError, SourceMisconfigured
from parcels.files import FileSource
from parcels.parcel_source import QueryResult

LOTS = [box(-90 + i * 0.001, 35, -90 + i * 0.001 + 0.0008, 35.001) for i in range(5)]


def frame(**columns: list[object]) -> gpd.GeoDataFrame:
    named = columns or {"APN": [f"0{i}  A" for i in range(len(LOTS))]}
    return gpd.GeoDataFrame(named, geometry=LOTS, crs="EPSG:4326")


def county(path: Path, **more: object) -> County:
    return County.model_validate({"key": "here", "path": str(path), **more})


def ids_at(path: Path, lon: float = -89.9995, lat: float = 35.0005, **more: object) -> object:
    answer = ParcelBoundaryService(county(path, **more)).look_up(Property("a", lon, lat))
    assert isinstance(answer, Lot), answer
    assert answer.boundary.geometry.equals(LOTS[0])
    assert answer.boundary.origin == str(path)
    return answer.boundary.parcel_ids


@pytest.mark.parametrize("name", ["lots.gpkg", "lots.geojson", "lots.shp", "lots.fgb"])
def test_vector_formats_of_gdal(tmp_path: Path, name: str) -> None:
    frame().to_file(tmp_path / name)
    assert ids_at(tmp_path / name) == ("00  A",)


def test_a_zipped_shapefile(tmp_path: Path) -> None:
    folder = tmp_path / "lots"
    folder.mkdir()
    frame().to_file(folder / "lots.shp")
    with zipfile.ZipFile(tmp_path / "lots.zip", "w") as packed:
        for file in folder.iterdir():
            packed.write(file, file.name)
    assert ids_at(tmp_path / "lots.zip") == ("00  A",)


def test_geoparquet(tmp_path: Path) -> None:
    renamed = frame().rename_geometry("shape")
    renamed.to_parquet(tmp_path / "lots.parquet")
    assert ids_at(tmp_path / "lots.parquet") == ("00  A",)
    with pytest.raises(SourceMisconfigured, match="'where' does not work with GeoParquet"):
        FileSource(county(tmp_path / "lots.parquet", where="APN = 'x'")).check()


def test_projected_coordinates_in_feet_become_degrees(tmp_path: Path) -> None:
    path = tmp_path / "lots.gpkg"
    frame().to_crs(2274).to_file(path)
    answer = ParcelBoundaryService(county(path)).look_up(Property("a", -89.9995, 35.0005))
    assert isinstance(answer, Lot)
    assert shapely.hausdorff_distance(answer.boundary.geometry, LOTS[0]) < 1e-9
    west, south, east, north = FileSource(county(path)).extent() or (0, 0, 0, 0)
    assert (west, south, east, north) == pytest.approx((-90, 35, -89.9952, 35.001), abs=1e-6)


def test_a_file_without_a_crs_needs_one_in_the_entry(tmp_path: Path) -> None:
    path = tmp_path / "lots.shp"
    frame().to_file(path)
    path.with_suffix(".prj").unlink()
    with pytest.raises(GeometryError, match="has no CRS; set 'crs:' of county 'here'"):
        FileSource(county(path)).check()
    assert ids_at(path, crs="EPSG:4326") == ("00  A",)


@pytest.mark.parametrize(
    ("values", "asked", "found"),
    [
        ([10, 11, 12, 13, 14], "10", True),
        ([10.0, 11.0, 12.5, 13.0, None], "10", True),
        ([10.0, 11.0, 12.5, 13.0, None], "10.00", True),  # with a note: see test_lost_zeros
        ([10.0, 11.0, 12.5, 13.0, None], "12.50", False),
        (["042  7", "b", "c", "d", None], "042  7", True),
        (["042  7", "b", "c", "d", None], "042 7", False),
        (["042  7", "b", "c", "d", ""], " 042  7", False),
    ],
)
def test_ids_are_compared_exactly_as_text(
    tmp_path: Path, values: list[object], asked: str, found: bool
) -> None:
    path = tmp_path / "lots.gpkg"
    frame(parcel_id=values).to_file(path)
    answer = ParcelBoundaryService(county(path)).look_up(Property("a", parcel_id=asked))
    assert isinstance(answer, Lot) == found


def test_the_id_column_is_mapped_or_guessed_or_none(tmp_path: Path) -> None:
    path = tmp_path / "lots.gpkg"
    texts = [[f"{letter}{i}" for i in range(5)] for letter in "abc"]
    frame(PIN=texts[0], Parcel_ID=texts[1], other=texts[2]).to_file(path)
    assert ids_at(path) == ("b0",)
    assert ids_at(path, fields={"parcel_id": "OTHER"}) == ("c0",)
    with pytest.raises(SourceMisconfigured, match="'lot' does not exist; the columns are PIN"):
        FileSource(county(path, fields={"parcel_id": "lot"})).check()
    nameless = tmp_path / "nameless.gpkg"
    frame(other=texts[2]).to_file(nameless)
    assert ids_at(nameless) == ()


@pytest.mark.parametrize("name", ["lots.gpkg", "lots.parquet"])
def test_a_lookup_by_id_without_an_id_column_is_misconfigured(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    lots = frame(other=["a", "b", "c", "d", "e"], more=[1, 2, 3, 4, 5])
    lots.to_parquet(path) if name.endswith("parquet") else lots.to_file(path)
    props = [Property("a", parcel_id="a"), Property("b", -89.9995, 35.0005, parcel_id="a")]
    for answer in ParcelBoundaryService(county(path)).look_up_many(props):
        assert isinstance(answer, Unavailable)
        assert answer.reason == "misconfigured"
        assert "set fields: {parcel_id: …}" in answer.detail
        assert "the columns are other, more" in answer.detail
    assert ids_at(path) == ()
    assert ids_at(path, fields={"parcel_id": "other"}) == ("a",)


def test_a_lookup_by_id_returns_the_stacked_ids(tmp_path: Path) -> None:
    path = tmp_path / "lots.gpkg"
    stacked = gpd.GeoDataFrame(
        {"apn": ["1", "2", "3"]}, geometry=[LOTS[0], LOTS[0].reverse(), LOTS[1]], crs=4326
    )
    stacked.to_file(path)
    service = ParcelBoundaryService(county(path))
    by_id = service.look_up(Property("a", parcel_id="2"))
    by_point = service.look_up(Property("a", -89.9995, 35.0005))
    assert isinstance(by_id, Lot)
    assert isinstance(by_point, Lot)
    assert by_id.boundary.parcel_ids == by_point.boundary.parcel_ids == ("1", "2")
    assert by_id.boundary.version == by_point.boundary.version


def test_where_filters_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "lots.gpkg"
    frame(apn=list("abcde"), kind=["ROW", "LOT", "LOT", "LOT", "LOT"]).to_file(path)
    service = ParcelBoundaryService(county(path, where="kind <> 'ROW'"))
    assert isinstance(service.look_up(Property("a", -89.9995, 35.0005)), NoLot)
    assert isinstance(service.look_up(Property("b", -89.9985, 35.0005)), Lot)
    with pytest.raises(SourceMisconfigured, match="cannot be read as parcels"):
        FileSource(county(path, where="no such column = 1")).check()


def test_invalid_geometries_are_repaired_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "lots.gpkg"
    bow_tie = Polygon([(-90, 35), (-89.999, 35.001), (-89.999, 35), (-90, 35.001)])
    flat = Polygon([(-90, 35), (-89.999, 35), (-89.998, 35)])
    rows = [bow_tie, flat, None, MultiPolygon([LOTS[2], LOTS[3]])]
    gpd.GeoDataFrame({"apn": list("abcd")}, geometry=rows, crs=4326).to_file(path)
    source = FileSource(county(path))
    source.check()
    assert (source.repaired, source.dropped) == (1, 2)
    service = ParcelBoundaryService(county(path))
    mended, lost, none, parts = service.look_up_many(
        [Property(i, parcel_id=i) for i in ("a", "b", "c", "d")]
    )
    assert isinstance(mended, Lot)
    assert mended.boundary.geometry.is_valid
    assert len(mended.boundary.geometry.geoms) == 2
    assert isinstance(parts, Lot)
    for answer in (lost, none):
        assert isinstance(answer, Unavailable)
        assert answer.reason == "bad_geometry"


def test_a_missing_file_or_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceMisconfigured, match="no such file; correct 'path'"):
        FileSource(county(tmp_path / "no.gpkg")).check()
    for name in ("text.gpkg", "text.parquet", "text.zip"):
        (tmp_path / name).write_text("this is no file of parcels")
        with pytest.raises(SourceMisconfigured, match="cannot be read as parcels"):
            FileSource(county(tmp_path / name)).check()
    (tmp_path / "table.csv").write_text("apn,owner\n1,x\n")
    with pytest.raises(SourceMisconfigured, match="0 polygon layers"):
        FileSource(county(tmp_path / "table.csv")).check()


def test_a_file_with_two_polygon_layers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lots.gpkg"
    frame().to_file(path, layer="lots")
    gpd.GeoDataFrame(geometry=[Point(0, 0)], crs=4326).to_file(path, layer="trees")
    assert ids_at(path) == ("00  A",)
    frame().to_file(path, layer="blocks")
    with pytest.raises(SourceMisconfigured, match=r"2 polygon layers \(lots, blocks\)"):
        FileSource(county(path)).check()


def test_a_file_without_polygons_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lots.gpkg"
    frame().iloc[:0].to_file(path)
    with pytest.raises(SourceMisconfigured, match="it has no polygons"):
        FileSource(county(path)).check()
    frame().to_file(path)
    with pytest.raises(SourceMisconfigured, match="check 'path' and 'where'"):
        FileSource(county(path, where="APN = 'none'")).check()


@pytest.mark.parametrize(
    "geo",
    [
        "null", "[]", "7", "{", '"x"', "{}", '{"primary_column": null, "columns": {}}',
        '{"primary_column": "geometry"}', '{"primary_column": "gone", "columns": {}}',
        '{"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": 7}}',
        '{"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": {}}}',
    ],
)  # fmt: skip
def test_invalid_geoparquet_metadata_are_refused(tmp_path: Path, geo: str) -> None:
    path = tmp_path / "lots.parquet"
    table = pyarrow.table({"apn": ["a"], "geometry": [shapely.to_wkb(LOTS[0])]})
    parquet.write_table(table.replace_schema_metadata({"geo": geo}), path)
    with pytest.raises(SourceMisconfigured, match="cannot be read as parcels"):
        FileSource(county(path)).check()


def test_invalid_geometry_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "lots.parquet"
    frame().to_parquet(path)
    metadata = parquet.read_schema(path).metadata
    for junk in (b"\x01\x03\x00", b"not a geometry at all", b""):
        table = pyarrow.table({"APN": ["a"], "geometry": [junk]})
        parquet.write_table(table.replace_schema_metadata(metadata), path)
        with pytest.raises(SourceMisconfigured, match="cannot be read as parcels"):
            FileSource(county(path)).check()


def test_the_lots_within_a_distance(tmp_path: Path) -> None:
    path = tmp_path / "lots.gpkg"
    frame().to_file(path)
    source = FileSource(county(path))
    # Between the first two lots, which are 18 m apart; the third is 110 m away.
    found = source.near_points([Point(-89.9991, 35.0005), Point(-89.9991, 35.01)], 40)
    assert [[hit.parcel_id for hit in f.rows] for f in found if isinstance(f, QueryResult)] == [
        ["00  A", "01  A"], [],
    ]  # fmt: skip
    assert source.near_points([], 40) == []
    [touching] = source.near_points([Point(-89.9992, 35.0005)], 0)
    assert isinstance(touching, QueryResult)
    assert [hit.parcel_id for hit in touching.rows] == ["00  A"]


def test_addresses_are_read_from_the_mapped_columns_only(tmp_path: Path) -> None:
    path = tmp_path / "lots.gpkg"
    frame(
        apn=list("abcde"),
        No=[101.0, 103.0, None, 0.0, 105.0],
        Dir=["N", " ", None, None, None],
        Name=["MAIN", "O'BRIEN", "MAIN", "MAIN", "CENTER"],
        Kind=["ST", "AVE", "ST", "ST", "HILL DR"],
        owner=["x"] * 5,
    ).to_file(path)
    fields = {"house_number": "no", "street": ["dir", "name", "kind"]}
    source = FileSource(county(path, fields=fields))
    asked = ["101 North Main Street", "103 OBrien Ave", "1 Main St", "105 Ctr Hill Drive"]
    found = source.with_addresses([parse_address(text) for text in asked])
    hits = [f.rows for f in found if isinstance(f, QueryResult)]
    assert [[hit.parcel_id for hit in rows] for rows in hits] == [["a"], ["b"], [], ["e"]]
    assert hits[0][0].site == SiteAddress(house_number="101", street="N MAIN ST")
    with pytest.raises(SourceMisconfigured, match="no address columns are mapped"):
        FileSource(county(path)).with_addresses([parse_address("1 Main St")])
    with pytest.raises(SourceMisconfigured, match="'No2' does not exist"):
        FileSource(county(path, fields={"house_number": "No2", "street": "Name"})).check()


@pytest.mark.parametrize("key", ["claremont", "long_beach", "riverside"])
def test_the_real_neighbourhoods_have_the_expected_lots(real_registry: Path, key: str) -> None:
    real = load_registry(real_registry).county(key)
    assert real.properties is not None
    with real.properties.open() as file:
        rows = list(csv.DictReader(file))
    points = [Property(r["property_id"], float(r["longitude"]), float(r["latitude"])) for r in rows]
    expected = ["lot" if r["expect"].startswith("parcel") else "buffer_30m" for r in rows]
    service = ParcelBoundaryService(real)
    found = service.boundaries(points)
    assert [b.source for b in found if isinstance(b, Boundary)] == expected
    for row, boundary in zip(rows, found, strict=True):
        assert isinstance(boundary, Boundary)
        if row["parcel_id"]:
            assert row["parcel_id"] in boundary.parcel_ids
            by_id = service.look_up(Property("a", parcel_id=row["parcel_id"]))
            assert isinstance(by_id, Lot)
            assert by_id.boundary.version == boundary.version
