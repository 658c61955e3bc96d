"""Values and shapes in parcel files: ids, encodings, rings, curves, WKB."""

from __future__ import annotations

import json
import logging
import math
import sqlite3
import struct
from decimal import Decimal
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pytest
import shapely
from pyarrow import parquet
from shapefiles import Ring, square, write_shapefile
from shapely import Polygon, box

from parcels import Boundary, County, ParcelBoundaryService, Property
from parcels.errors import SourceMisconfigured
from parcels.files import FileSource
from parcels.files.curved_wkb import geometries_from_wkb
from parcels.files.text_encoding import TextDecoder, cpg_encoding
from parcels.files.text_values import column_texts
from parcels.files.wkt_values import geometries_from_texts
from parcels.parcel_source import ParcelRow

LOTS = [box(-90 + i * 0.001, 35, -90 + i * 0.001 + 0.0008, 35.001) for i in range(3)]
BIG = 123456789012345671


def rows_of(path: Path, **more: object) -> list[ParcelRow]:
    entry = {"key": "here", "path": str(path), **more}
    return list(FileSource(County.model_validate(entry)).all_rows())


def ids_of(path: Path, **more: object) -> list[str | None]:
    return [row.parcel_id for row in rows_of(path, **more)]


def write_parquet(path: Path, ids: pa.Array, **column: object) -> Path:
    geometry = pa.array([shapely.to_wkb(lot) for lot in LOTS], pa.binary())
    described = {"encoding": "WKB", "geometry_types": [], **column}
    geo = {"version": "1.1.0", "primary_column": "shp", "columns": {"shp": described}}
    table = pa.table({"APN": ids, "shp": geometry})
    parquet.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    return path


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (pa.array([BIG, None, BIG + 1]), [str(BIG), None, str(BIG + 1)]),
        (pa.array([2**63 + 1, None, 7], pa.uint64()), ["9223372036854775809", None, "7"]),
        (
            pa.array([Decimal("12345678901234567890"), None, Decimal(2)], pa.decimal128(38, 0)),
            ["12345678901234567890", None, "2"],
        ),
        (pa.array([Decimal("10.50"), None, Decimal(2)], pa.decimal128(9, 2)), ["10.5", None, "2"]),
        (pa.array([10.0, None, 10.5]), ["10", None, "10.5"]),
        (pa.array([10.0, math.nan, math.inf]), ["10", None, None]),
        (pa.array([0.1, None, 3.0], pa.float32()), ["0.1", None, "3"]),
        (pa.array([1e-7, None, 1e15]), ["0.0000001", None, "1000000000000000"]),
        (pa.array(["042 ", None, "b"]).dictionary_encode(), ["042 ", None, "b"]),
        (pa.array([BIG, None, 1]).dictionary_encode(), [str(BIG), None, "1"]),
        (pa.array(["a", None, "b"], pa.large_string()), ["a", None, "b"]),
        (pa.array(["a", None, "b"], pa.string_view()), ["a", None, "b"]),
        (pa.array([b"a", None, b"Pe\xf1a"]), ["a", None, "Peña"]),
        (pa.nulls(3), [None, None, None]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_ids_are_exact_texts_of_every_type(
    tmp_path: Path, ids: pa.Array, expected: list[str | None]
) -> None:
    assert column_texts(ids, TextDecoder()) == expected
    assert column_texts(pa.concat_arrays([ids, ids]).slice(3), TextDecoder()) == expected
    assert ids_of(write_parquet(tmp_path / "lots.parquet", ids)) == expected


def test_floats_that_are_not_exact_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_parquet(tmp_path / "lots.parquet", pa.array([2.0**53 - 1, float(BIG), 2.0**53]))
    with caplog.at_level(logging.WARNING):
        assert ids_of(path) == ["9007199254740991", None, None]
    assert "2 numbers have more than 15 digits" in caplog.text
    single = pa.array([2.0**24 - 1, 123456789.0, 123456790.0], pa.float32())
    assert ids_of(write_parquet(path, single)) == ["16777215", None, None]
    geojson = tmp_path / "lots.geojson"
    features = [
        {"type": "Feature", "properties": {"APN": value}, "geometry": shapely.geometry.mapping(lot)}
        for value, lot in zip([1.5, 1e20, 7], LOTS, strict=True)
    ]
    geojson.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    assert ids_of(geojson) == ["1.5", None, "7"]


@pytest.mark.parametrize("ids", [["12345678901234567890", "1.10", "2e5"], ["012", "12", "13"]])
def test_gml_values_stay_as_written(tmp_path: Path, ids: list[str]) -> None:
    path = tmp_path / "in" / "lots.gml"
    path.parent.mkdir()
    gpd.GeoDataFrame({"APN": ids}, geometry=LOTS, crs=4326).to_file(path, driver="GML")
    path.with_suffix(".xsd").unlink()
    assert ids_of(path) == ids
    assert [file.name for file in path.parent.iterdir()] == ["lots.gml"]


def test_neighbours_with_18_digits_do_not_merge(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "lots.parquet", pa.array([BIG, BIG + 1, None]))
    service = ParcelBoundaryService(County.model_validate({"key": "here", "path": str(path)}))
    [boundary] = service.boundaries([Property("a", parcel_id=str(BIG))])
    assert isinstance(boundary, Boundary)
    assert boundary.area_m2 == pytest.approx(8099, rel=1e-3)


def test_wide_numbers_of_a_shapefile_keep_their_digits(tmp_path: Path) -> None:
    lots = [[list(lot.exterior.coords)] for lot in LOTS]
    fields = [("BIG", "N", 20, 0), ("SCI", "F", 19, 11), ("PART", "N", 22, 4), ("LONG", "N", 18, 0)]
    values = [
        ("12345678901234567891", "1.23400000000e+006", "123456789012345678.5", str(BIG)),
        ("12345678901234567892", "********", "7.0000", ""),
        ("", "", "", str(BIG + 1)),
    ]
    path = write_shapefile(tmp_path / "lots.shp", lots, fields, values)
    expected = {
        "BIG": ["12345678901234567891", "12345678901234567892", None],
        "SCI": ["1234000", None, None],
        "PART": ["123456789012345678.5", "7", None],
        "LONG": [str(BIG), None, str(BIG + 1)],
    }
    for column, texts in expected.items():
        assert ids_of(path, fields={"parcel_id": column}) == texts
    filtered = {"where": "LONG > 1", "fields": {"parcel_id": "BIG"}}
    assert ids_of(path, **filtered) == ["12345678901234567891", None]


def test_json_numbers_and_texts_in_one_column_stay_apart(tmp_path: Path) -> None:
    path = tmp_path / "lots.geojson"
    ids = [12345678901234567890, "012", 13.0]
    features = [
        {"type": "Feature", "properties": {"APN": value}, "geometry": shapely.geometry.mapping(lot)}
        for value, lot in zip(ids, LOTS, strict=True)
    ]
    path.write_text(json.dumps({"features": features, "type": "FeatureCollection"}))
    assert ids_of(path) == ["12345678901234567890", "012", "13"]
    assert ids_of(path, where="APN = '012'") == ["012"]


@pytest.mark.parametrize(
    ("cpg", "language_driver", "more", "expected"),
    [
        ("1252", 0, {}, "Peña"),
        ("ANSI 1252", 0, {}, "Peña"),
        ("ISO-8859-1", 0, {}, "Peña"),
        ("88591", 0, {}, "Peña"),
        (None, 0, {}, "Peña"),
        (None, 0x57, {}, "Peña"),
        (None, 0x02, {}, "Pe±a"),
        (None, 0, {"encoding": "cp850"}, "Pe±a"),
        ("UTF-8", 0, {"encoding": "latin1"}, "Peña"),
        ("OEM 850", 0, {}, "Pe±a"),
        ("UTF-8", 0, {}, "Peña"),
    ],
)
def test_the_encoding_of_a_shapefile(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    cpg: str | None,
    language_driver: int,
    more: dict[str, str],
    expected: str | None,
) -> None:
    lots = [[list(lot.exterior.coords)] for lot in LOTS]
    path = tmp_path / "lots.shp"
    values = [("1",), (b"Pe\xf1a",), ("3",)]
    fields = [("APN", "C", 6, 0)]
    write_shapefile(path, lots, fields, values, language_driver=language_driver)
    if cpg is not None:
        path.with_suffix(".cpg").write_text(f"{cpg}\n")
    with caplog.at_level(logging.WARNING):
        assert ids_of(path, **more) == ["1", expected, "3"]
    is_wrong = cpg == "UTF-8" and not more
    assert (
        "1 values are not valid utf-8; they were read as Windows-1252" in caplog.text
    ) == is_wrong
    assert ("Set 'encoding:'" in caplog.text) == is_wrong


def test_utf8_without_a_declaration_is_detected(tmp_path: Path) -> None:
    lots = [[list(lot.exterior.coords)] for lot in LOTS]
    values = [("1",), ("Peña".encode(),), (b"A\xf1o",)]
    path = write_shapefile(tmp_path / "lots.shp", lots, [("APN", "C", 6, 0)], values)
    assert ids_of(path) == ["1", "Peña", "Año"]


def test_columns_and_filters_with_letters_that_are_not_ascii(tmp_path: Path) -> None:
    lots = [[list(lot.exterior.coords)] for lot in LOTS]
    fields = [("AÑO", "C", 6, 0), ("KIND", "C", 6, 0)]
    values = [("1", "lot"), ("2", b"Pe\xf1a"), ("3", "row")]
    path = write_shapefile(tmp_path / "lots.shp", lots, fields, values)
    mapped = {"fields": {"parcel_id": "AÑO"}}
    assert ids_of(path, **mapped) == ["1", "2", "3"]
    assert ids_of(path, **mapped, where="KIND = 'Peña'") == ["2"]


def test_a_column_named_like_gdals_feature_id(tmp_path: Path) -> None:
    lots = [[list(lot.exterior.coords)] for lot in LOTS]
    fields = [("OGC_FID", "N", 9, 0), ("BIG", "N", 20, 0)]
    values = [(str(i), f"1234567890123456789{i}") for i in range(3)]
    path = write_shapefile(tmp_path / "lots.shp", lots, fields, values)
    assert ids_of(path, fields={"parcel_id": "OGC_FID"}) == ["0", "1", "2"]
    texts = ids_of(path, fields={"parcel_id": "BIG"})
    assert texts == [f"1234567890123456789{i}" for i in range(3)]


@pytest.mark.parametrize("name", ["lots.csv", "lots.geojson"])
def test_a_filter_beside_letters_in_windows_1252(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    frame = gpd.GeoDataFrame({"APN": ["1", "Peza", "3"]}, geometry=LOTS, crs=4326)
    frame.to_csv(path, index=False) if name == "lots.csv" else frame.to_file(path)
    path.write_bytes(path.read_bytes().replace(b"Peza", b"Pe\xf1a"))
    assert ids_of(path, where="APN <> '3'", crs="EPSG:4326") == ["1", "Peña"]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("UTF-8", "utf-8"), ("utf8\r\n", "utf-8"), ("65001", "utf-8"), ("1252", "cp1252"),
        ("ANSI 1252", "cp1252"), ("windows-1252", "cp1252"), ("ISO 8859-15", "iso8859-15"),
        ("LATIN1", "iso8859-1"), ("936", "gbk"), ("OEM 437", "cp437"), ("nonsense", None),
        ("base64", None), ("", None),
    ],
)  # fmt: skip
def test_names_of_encodings_in_cpg_files(text: str, encoding: str | None) -> None:
    assert cpg_encoding(text.encode()) == encoding


@pytest.mark.parametrize("name", ["lots.gpkg", "lots.fgb", "lots.kml", "lots.geojson"])
def test_a_bad_byte_affects_its_own_row_only(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    frame = gpd.GeoDataFrame({"APN": ["1", "Peza", "3"]}, geometry=LOTS, crs=4326)
    options = {"SPATIAL_INDEX": "NO"} if name == "lots.fgb" else {}
    frame.to_file(path, **({"driver": "LIBKML"} if name == "lots.kml" else options))
    path.write_bytes(path.read_bytes().replace(b"Peza", b"Pe\xf1a"))
    assert ids_of(path, fields={"parcel_id": "APN"}) == ["1", "Peña", "3"]
    path.write_bytes(path.read_bytes().replace(b"Pe\xf1a", b"Pe\x81a"))
    assert ids_of(path, fields={"parcel_id": "APN"})[::2] == ["1", "3"]


# Rings -> area of the lot, whatever their winding and order.
RINGS: dict[str, tuple[list[Ring], float]] = {
    "reversed": ([square(0, 0, 9, clockwise=False)], 81),
    "all reversed": ([square(0, 0, 9, clockwise=False), square(1, 1, 2)], 77),
    "hole wound like its shell": ([square(0, 0, 9), square(1, 1, 2)], 77),
    "both anticlockwise": (
        [square(0, 0, 9, clockwise=False), square(1, 1, 2, clockwise=False)],
        77,
    ),
    "hole before its shell": ([square(1, 1, 2, clockwise=False), square(0, 0, 9)], 77),
    "island in a hole": ([square(0, 0, 9), square(1, 1, 6, clockwise=False), square(2, 2, 3)], 54),
    "island, all clockwise": ([square(0, 0, 9), square(1, 1, 6), square(2, 2, 3)], 54),
    "island first": ([square(2, 2, 3), square(1, 1, 6, clockwise=False), square(0, 0, 9)], 54),
    "two parts, all reversed": (
        [square(0, 0, 3, clockwise=False), square(5, 5, 3, clockwise=False), square(1, 1, 1)],
        17,
    ),
    "repeated ring": ([square(0, 0, 3), square(0, 0, 3)], 9),
    "a spike as second ring": ([square(0, 0, 3), [(7, 7), (7, 8), (7, 7)]], 9),
}


@pytest.mark.parametrize("name", RINGS)
def test_shapefile_rings_follow_the_even_odd_rule(tmp_path: Path, name: str) -> None:
    rings, area = RINGS[name]
    path = write_shapefile(tmp_path / "lots.shp", [rings, None], [("APN", "C", 3, 0)], ["1", "2"])
    lot, nothing = rows_of(path)
    assert lot.geometry is not None
    assert lot.geometry.area == pytest.approx(area)
    assert nothing.geometry is None


def _wkb(kind: int, *parts: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}BII", order == "<", kind, len(parts)) + b"".join(parts)


def _points(*points: tuple[float, ...], order: str = "<") -> list[bytes]:
    return [struct.pack(f"{order}{len(point)}d", *point) for point in points]


def _circle(order: str = "<", more: int = 0, tail: tuple[float, ...] = ()) -> bytes:
    """A circle of radius 100 around the origin."""
    points = [(-100, 0), (0, 100), (100, 0), (0, -100), (-100, 0)]
    string = _wkb(8 + more, *_points(*((*p, *tail) for p in points), order=order), order=order)
    return _wkb(10 + more, string, order=order)


def _half_disc() -> bytes:
    arc = _wkb(8, *_points((-100, 0), (0, 100), (100, 0)))
    line = _wkb(2, *_points((100, 0), (-100, 0)))
    return _wkb(10, _wkb(9, arc, line))


@pytest.mark.parametrize(
    ("wkb", "area"),
    [
        (_circle(), math.pi * 100**2),
        (_circle(">"), math.pi * 100**2),
        (_circle(more=1000, tail=(5,)), math.pi * 100**2),
        (_circle(more=3000, tail=(5, 6)), math.pi * 100**2),
        (_circle(more=0x80000000, tail=(5,)), math.pi * 100**2),
        (_wkb(12, _circle(), shapely.to_wkb(box(200, 0, 210, 10))), math.pi * 100**2 + 100),
        (_half_disc(), math.pi * 100**2 / 2),
        (_wkb(7, _half_disc()), math.pi * 100**2 / 2),
        (_wkb(7, shapely.to_wkb(shapely.Point(0, 0, 5)), _half_disc()), math.pi * 100**2 / 2),
        (
            _wkb(7, _wkb(11, _wkb(9, _wkb(8, *_points((0, 0), (1, 1), (2, 0))))), _half_disc()),
            math.pi * 100**2 / 2,
        ),
        (_wkb(16, _wkb(17, _wkb(0, *_points((0, 0), (0, 2), (2, 0), (0, 0)))[5:])), 2),
    ],
)
def test_curves_are_within_a_centimetre(wkb: bytes, area: float) -> None:
    [lot] = geometries_from_wkb([wkb], 0.001)
    # A chord error of 1 mm along a circle of 628 m costs less than 0.5 m².
    assert lot.area == pytest.approx(area, abs=0.5)
    assert lot.is_valid


def test_an_arc_is_approximated_within_a_centimetre(tmp_path: Path) -> None:
    path = tmp_path / "lots.gpkg"
    gpd.GeoDataFrame({"APN": ["a"]}, geometry=[box(0, 0, 1, 1)], crs=32616).to_file(path)
    around = [(500_000 + x, 3_900_000 + y) for x, y in ((-100, 0), (0, 100), (100, 0), (0, -100))]
    wkb = _wkb(12, _wkb(10, _wkb(8, *_points(*around, around[0]))))
    with sqlite3.connect(path) as database:
        triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        for (name,) in database.execute(triggers).fetchall():
            database.execute(f'DROP TRIGGER "{name}"')
        database.execute("UPDATE lots SET geom = ?", (b"GP\0\1" + struct.pack("<i", 32616) + wkb,))
        database.execute("UPDATE gpkg_geometry_columns SET geometry_type_name = 'MULTISURFACE'")
    database.close()
    [row] = rows_of(path)
    assert row.geometry is not None
    lot = gpd.GeoSeries([row.geometry], crs=4326).to_crs(32616).iloc[0]
    radii = np.hypot(*(shapely.get_coordinates(lot.segmentize(0.5)) - (500_000, 3_900_000)).T)
    assert np.abs(radii - 100).max() < 0.01


@pytest.mark.parametrize(
    "wkb",
    [b"", b"\x01", b"junk and more junk", _circle()[:-3], struct.pack("<BII", 1, 10, 2**31),
     shapely.to_wkb(shapely.Point(0, 0)), _wkb(12, shapely.to_wkb(shapely.Point(0, 0)))],
)  # fmt: skip
def test_damaged_wkb_leaves_out_its_row_only(wkb: bytes) -> None:
    found = geometries_from_wkb([wkb, shapely.to_wkb(LOTS[0]), None], 0.001)
    assert found.tolist() == [None, LOTS[0], None]


def test_geometry_as_text() -> None:
    with_srid = shapely.to_wkb(shapely.set_srid(LOTS[1], 4326), hex=True, include_srid=True)
    texts: list[Any] = [
        LOTS[0].wkt, f"SRID=4326;{LOTS[0].wkt}", with_srid, with_srid.lower(), f"\\x{with_srid}",
        "CURVEPOLYGON (CIRCULARSTRING (0 0, 1 1, 2 0, 1 -1, 0 0))",
        "MULTISURFACE Z (((0 0 1, 0 1 1, 1 1 1, 0 0 1)), CURVEPOLYGON (COMPOUNDCURVE ("
        "CIRCULARSTRING (5 0, 6 1, 7 0), (7 0, 5 0))))",
        "POLYGON ((0 0, 0 1, 1 1))", "POLYGON EMPTY", "POINT (0 0)", "words", "", None,
    ]  # fmt: skip
    found = geometries_from_texts(texts, 0.001)
    assert found[:5].tolist() == [LOTS[0], LOTS[0], LOTS[1], LOTS[1], LOTS[1]]
    areas = [0 if lot is None else lot.area for lot in found[5:]]
    expected = [math.pi, 0.5 + math.pi / 2, 0.5, 0, 0, 0, 0, 0]
    assert areas == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("name", ["lots.gpkg", "lots.fgb", "lots.parquet", "lots.geojson",
                                  "lots.csv"])  # fmt: skip
def test_points_and_lines_beside_a_lot_are_left_out(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    others = [
        shapely.MultiPoint([(-90, 35), (-89, 35)]),
        shapely.MultiLineString([[(-90, 35), (-89, 35)]]),
        shapely.GeometryCollection([shapely.Point(-90, 35), shapely.Point()]),
    ]
    frame = gpd.GeoDataFrame(
        {"APN": ["a", "b", "c"]},
        geometry=[
            shapely.GeometryCollection([lot.centroid, other, lot, other])
            for lot, other in zip(LOTS, others, strict=True)
        ],
        crs=4326,
    )
    if name.endswith("csv"):
        frame.to_wkt().to_csv(path, index=False)
    elif name.endswith("parquet"):
        frame.to_parquet(path)
    else:
        frame.to_file(path)
    rows = sorted(rows_of(path, crs="EPSG:4326"), key=lambda row: row.parcel_id or "")
    assert [row.parcel_id for row in rows] == ["a", "b", "c"]
    for row, lot in zip(rows, LOTS, strict=True):
        assert row.geometry is not None
        assert row.geometry.equals(lot)


def test_a_kml_with_labels_beside_its_lots(tmp_path: Path) -> None:
    path = tmp_path / "lots.kml"
    points = [f"{x},{y},0" for x, y in LOTS[0].exterior.coords]
    path.write_text(
        '<kml xmlns="http://www.opengis.net/kml/2.2"><Document><Placemark><name>a</name>'
        "<MultiGeometry><Point><coordinates>-90,35</coordinates></Point><Polygon><outerBoundaryIs>"
        f"<LinearRing><coordinates>{' '.join(points)}</coordinates></LinearRing></outerBoundaryIs>"
        "</Polygon></MultiGeometry></Placemark></Document></kml>"
    )
    [row] = rows_of(path, fields={"parcel_id": "name"})
    assert row.geometry is not None
    assert row.geometry.equals(LOTS[0])


def test_parquet_of_other_writers(tmp_path: Path) -> None:
    path = tmp_path / "lots.parquet"
    ids = pa.array(["a", "b", "c"])
    wkt = gpd.GeoSeries(LOTS, crs=4326).crs.to_wkt()
    assert ids_of(write_parquet(path, ids, crs=wkt)) == ["a", "b", "c"]
    write_parquet(path, ids, crs=None)
    with pytest.raises(Exception, match="has no CRS; set 'crs:'"):
        ids_of(path)
    assert ids_of(path, crs="EPSG:4326") == ["a", "b", "c"]
    for name, values in (
        ("geometry", [shapely.to_wkb(lot) for lot in LOTS]),
        ("wkt", [lot.wkt for lot in LOTS]),
    ):
        parquet.write_table(pa.table({"APN": ids, name: values}), path)
        found = rows_of(path, crs="EPSG:4326")
        assert [row.parcel_id for row in found] == ["a", "b", "c"]
        assert all(
            isinstance(row.geometry.geoms[0], Polygon) for row in found if row.geometry is not None
        )


def test_parquet_columns_with_dots_and_structs(tmp_path: Path) -> None:
    path = tmp_path / "lots.parquet"
    boxes = [{"xmin": 1.0, "ymin": 2.0}] * 3
    table = pa.table(
        {
            "bbox": boxes,
            "PARCELS.PIN": ["a", "b", "c"],
            "geometry": [shapely.to_wkb(lot) for lot in LOTS],
        }
    )
    geo = {"primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB"}}}
    parquet.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    assert ids_of(path, fields={"parcel_id": "PARCELS.PIN"}) == ["a", "b", "c"]


def test_a_crs_text_that_could_name_a_file_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "lots.parquet"
    write_parquet(path, pa.array(["a", "b", "c"]), crs="+proj=longlat +nadgrids=/etc/passwd")
    with pytest.raises(Exception, match="has no CRS; set 'crs:'"):
        ids_of(path)


def test_texts_in_a_number_column_of_a_geopackage(tmp_path: Path) -> None:
    path = tmp_path / "lots.gpkg"
    gpd.GeoDataFrame({"APN": [1, 2, 3]}, geometry=LOTS, crs=4326).to_file(path)
    with sqlite3.connect(path) as database:
        triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        for (name,) in database.execute(triggers).fetchall():
            database.execute(f'DROP TRIGGER "{name}"')
        database.execute("UPDATE lots SET APN = '012-' || APN WHERE APN > 1")
    database.close()
    assert ids_of(path) == ["1", "012-2", "012-3"]


def test_parquet_with_its_own_geometry_type(tmp_path: Path) -> None:
    class Wkb(pa.ExtensionType):
        def __init__(self) -> None:
            super().__init__(pa.binary(), "geoarrow.wkb")

        def __arrow_ext_serialize__(self) -> bytes:
            return b'{"crs": "EPSG:4326"}'

        @classmethod
        def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> Wkb:
            return cls()

    path = tmp_path / "lots.parquet"
    pa.register_extension_type(Wkb())
    try:
        storage = pa.array([shapely.to_wkb(lot) for lot in LOTS], pa.binary())
        lots = pa.ExtensionArray.from_storage(Wkb(), storage)
        table = pa.table({"APN": ["a", "b", "c"], "g": lots})
        parquet.write_table(table, path, store_schema=False)
        assert ids_of(path) == ["a", "b", "c"]
    finally:
        pa.unregister_extension_type("geoarrow.wkb")
    assert ids_of(path) == ["a", "b", "c"]


def test_columns_that_differ_in_case_from_row_to_row_are_one_column(tmp_path: Path) -> None:
    path = tmp_path / "lots.geojson"
    features = [
        {"type": "Feature", "properties": {name: str(i)}, "geometry": shapely.geometry.mapping(lot)}
        for i, (name, lot) in enumerate(zip(["PIN", "pin", "Pin"], LOTS, strict=True), start=1)
    ]
    path.write_text(json.dumps({"features": features, "type": "FeatureCollection"}))
    for more in ({}, {"fields": {"parcel_id": "pin"}}, {"fields": {"parcel_id": "PIN"}}):
        assert ids_of(path, **more) == ["1", "2", "3"]


def test_a_mapped_id_column_that_is_empty_everywhere_is_an_error(tmp_path: Path) -> None:
    lots = [[list(lot.exterior.coords)] for lot in LOTS]
    fields = [("APN", "C", 6, 0), ("PIN", "C", 6, 0)]
    values = [("", "1"), ("", "2"), ("", "3")]
    path = write_shapefile(tmp_path / "lots.shp", lots, fields, values)
    with pytest.raises(SourceMisconfigured, match="column 'APN' has no parcel id"):
        ids_of(path, fields={"parcel_id": "APN"})
    assert ids_of(path) == ["1", "2", "3"], "a guess takes the column that has values"


@pytest.mark.parametrize("useless", ["0", "N/A", " ", None, "0042"])
@pytest.mark.parametrize("filled", [0, 1])
def test_a_guessed_id_column_has_ids(tmp_path: Path, useless: str | None, filled: int) -> None:
    lots = [box(-90 + i * 0.001, 35, -90 + i * 0.001 + 0.0008, 35.001) for i in range(12)]
    features = [
        {
            "type": "Feature",
            "properties": {"PARCEL_ID": "x" if i < filled else useless, "PIN": str(i)},
            "geometry": shapely.geometry.mapping(lot),
        }
        for i, lot in enumerate(lots)
    ]
    path = tmp_path / "lots.geojson"
    path.write_text(json.dumps({"features": features, "type": "FeatureCollection"}))
    assert ids_of(path) == [str(i) for i in range(12)]


@pytest.mark.parametrize(
    ("driver", "encoding", "letters"),
    [(0x04, "mac_roman", "Ñé"), (0x08, "cp865", "Øå"), (0x19, "cp437", "Ñé"), (0x37, "cp850", "Ñé"),
     (0x6A, "cp737", "Ω"), (0xCC, "cp1257", "š"), (0x57, "cp1252", "Ñé"), (0, "cp1252", "Ñé")],
)  # fmt: skip
@pytest.mark.parametrize("in_cpg", [False, True])
def test_the_language_driver_of_a_shapefile(
    tmp_path: Path, driver: int, encoding: str, letters: str, in_cpg: bool
) -> None:
    lots = [[list(lot.exterior.coords)] for lot in LOTS]
    values = [(letters.encode(encoding),), (b"b",), (b"c",)]
    fields = [("APN", "C", 9, 0)]
    in_dbf = 0 if in_cpg else driver
    path = write_shapefile(tmp_path / "a.shp", lots, fields, values, language_driver=in_dbf)
    if in_cpg:
        path.with_suffix(".cpg").write_text(f"LDID/{driver}")
    assert ids_of(path) == [letters, "b", "c"]


def test_the_column_with_the_polygons_of_geoparquet(tmp_path: Path) -> None:
    path = tmp_path / "lots.parquet"
    frame = gpd.GeoDataFrame({"APN": ["a", "b", "c"]}, geometry=LOTS, crs=4326)
    frame["label"] = frame.geometry.to_crs(3857).centroid.to_crs(4326)
    frame.set_geometry("label").to_parquet(path)
    rows = rows_of(path)
    assert [row.parcel_id for row in rows] == ["a", "b", "c"]
    assert [row.geometry is not None for row in rows] == [True] * 3
    # Of two columns with polygons, the writer says which.
    frame["roof"] = frame.geometry.scale(0.5, 0.5)
    frame.set_geometry("roof").to_parquet(path)
    assert rows_of(path)[0].geometry.area == pytest.approx(LOTS[0].area / 4)  # type: ignore[union-attr]


def test_two_columns_of_a_csv_with_one_name(tmp_path: Path) -> None:
    path = tmp_path / "lots.csv"
    lines = [f'{i},{i},"{lot.wkt}"' for i, lot in enumerate(LOTS, 1)]
    path.write_text("\n".join(["APN,APN,wkt", *lines]))
    assert ids_of(path, crs="EPSG:4326") == ["1", "2", "3"]
    path.write_text("\n".join(["APN,APN,wkt", *lines[:2], lines[2].replace("3", "4", 1)]))
    with pytest.raises(SourceMisconfigured, match="2 different columns named 'APN'; rename one"):
        ids_of(path, crs="EPSG:4326")


def test_what_no_database_stores_is_not_in_an_id(tmp_path: Path) -> None:
    path = tmp_path / "lots.geojson"
    frame = gpd.GeoDataFrame({"apn": ["one", "two", "three"]}, geometry=LOTS, crs=4326)
    text = frame.to_json().replace('"two"', r'"t\u0000wo"').replace('"three"', r'"thr\ud800ee"')
    path.write_text(text)
    assert ids_of(path) == ["one", "two", "thr?ee"]
