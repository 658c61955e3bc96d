"""Parcel files with garbage inside: each writes its file and returns the path to name."""

from __future__ import annotations

import datetime
import decimal
import json
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import shapely
from parcelattacks import LOTS, OWN, features, write
from pyarrow import parquet
from pyproj import CRS

Damage = Callable[[Path], Path]

WKB = [shapely.to_wkb(lot) for lot in LOTS]
DAMAGES: dict[str, Damage] = {}
# Whose rows are read, whatever becomes of the ids.
IDS: dict[str, pa.Array] = {
    "lists": pa.array([["a"], ["b", "c"], []]),
    "structs": pa.array([{"a": 1}, {"a": 2}, None]),
    "maps": pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int64())),
    "dictionaries": pa.array(OWN).dictionary_encode(),
    "binary": pa.array([b"a", b"\xff\xfe\0", b""]),
    "fixed binary": pa.array([b"ab", b"\xff\xfe", b"\0\0"], pa.binary(2)),
    "views": pa.array(OWN, pa.string_view()),
    "decimals": pa.array([decimal.Decimal("1.50"), decimal.Decimal("-3"), None]),
    "wide decimals": pa.array([decimal.Decimal(10) ** 70, None, None], pa.decimal256(76, 0)),
    "timestamps": pa.array([datetime.datetime(2020, 1, 1), None, None]),  # noqa: DTZ001
    "timestamps of a zone": pa.array([1, 2, 3], pa.timestamp("ns", "Mars/Olympus")),
    "late timestamps": pa.array([2**62, -(2**62), 0], pa.timestamp("us")),
    "late dates": pa.array([2**30, -(2**30), 0], pa.date32()),
    "times": pa.array([1, 2, 3], pa.time64("ns")),
    "durations": pa.array([2**62, 1, 2], pa.duration("s")),
    "booleans": pa.array([True, False, None]),
    "nulls": pa.nulls(3),
    "half floats": pa.array([1.5, 2, None], pa.float16()),
    "huge floats": pa.array([1e308, float("nan"), float("-inf")]),
    "unsigned": pa.array([2**64 - 1, 0, None], pa.uint64()),
    "NUL": pa.array(["a\0b", "\0", "c"]),
    "long texts": pa.array(["x" * 2_000_000, "y", "z"]),
    "surrogates": pa.Array.from_buffers(
        pa.string(),
        3,
        [None, pa.py_buffer(b"\0\0\0\0\3\0\0\0\4\0\0\0\5\0\0\0"), pa.py_buffer(b"\xed\xa0\x80ab")],
    ),
    "control characters": pa.array(["a\x1b[31m", "b\nERROR: c", "\u202ed"]),
    "list views": pa.array([[1], [2], [3]], pa.list_view(pa.int64())),
}


def write_parquet(
    path: Path,
    geo: object = None,
    ids: pa.Array | None = None,
    geometry: pa.Array | None = None,
    **more: Any,
) -> Path:
    """GeoParquet with the lots; `geo` is the metadata, as JSON or bytes."""
    table = pa.table(
        {
            "APN": pa.array(OWN) if ids is None else ids,
            "geometry": pa.array(WKB) if geometry is None else geometry,
            **more,
        }
    )
    if geo is not None:
        raw = geo if isinstance(geo, bytes) else json.dumps(geo).encode()
        table = table.replace_schema_metadata({"geo": raw})
    parquet.write_table(table, path)
    return path


def geo(crs: object = None, **more: object) -> dict[str, Any]:
    column: dict[str, Any] = {"encoding": "WKB", "geometry_types": ["Polygon"], **more}
    if crs is not None:
        column["crs"] = crs
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def _wkb_with(number: float) -> bytes:
    """A lot whose first coordinate is this number."""
    return WKB[0][:13] + struct.pack("<d", number) + WKB[0][21:]


def _nested(depth: int, key: str) -> str:
    return f'{{"{key}":' * depth + "1" + "}" * depth


def _parquet(name: str, metadata: object, **more: Any) -> None:
    DAMAGES[f"GeoParquet: {name}"] = lambda folder: write_parquet(
        folder / "lots.parquet", metadata, **more
    )


_PROJJSON = CRS.from_epsg(4326).to_json_dict()
for _name, _crs in {
    "a word": "garbage",
    "an empty text": "",
    "a list": [1, 2],
    "an empty list": [],
    "a number": 4326,
    "a float": 1e999,
    "true": True,
    "an empty object": {},
    "an object": {"a": 1},
    "a nested null": {"type": "GeographicCRS", "name": None, "datum": None},
    "a type only": {"type": "ProjectedCRS"},
    "a wrong type": {**_PROJJSON, "type": "Spaceship"},
    "a wrong system": {**_PROJJSON, "coordinate_system": {"subtype": "ellipsoidal", "axis": 7}},
    "a wrong datum": {**_PROJJSON, "datum_ensemble": [[[[]]]]},
    "wrong numbers": {**_PROJJSON, "id": {"authority": 1, "code": [2]}},
    "NUL": "EPSG:4326\0",
    "a long text": "x" * 3_000_000,
    "brackets": "[" * 50_000,
    "WKT brackets": "GEOGCS[" * 20_000,
    "an engineering CRS": 'LOCAL_CS["x",UNIT["m",1]]',
    "a vertical CRS": "EPSG:5703",
    "a temporal CRS": {"type": "TemporalCRS", "name": "x"},
    "an unknown code": "EPSG:999999",
    "a negative code": "EPSG:-1",
    "escape sequences": "\x1b[31mx",
    "PROJ": "+proj=longlat",
    "a pipeline": "+proj=pipeline +step +proj=utm +zone=16",
}.items():
    _parquet(f"crs is {_name}", geo(_crs))
for _depth in (100, 900, 5_000, 200_000):
    _raw = json.dumps(geo("@")).replace('"@"', _nested(_depth, "base_crs")).encode()
    _parquet(f"crs nested {_depth:,} deep", _raw)
    _raw = json.dumps(geo("@")).replace('"@"', "[" * _depth + "]" * _depth).encode()
    _parquet(f"crs of {_depth:,} lists", _raw)

for _name, _geo in {
    "no JSON": b"{",
    "not UTF-8": b"\xff\xfe{}",
    "empty": b"",
    "null": b"null",
    "a list": b"[]",
    "a number": b"7",
    "a text": b'"geo"',
    "an empty object": b"{}",
    "NaN": b'{"primary_column": NaN}',
    "deep": _nested(100_000, "columns").encode(),
    "columns as a list": {"primary_column": "geometry", "columns": ["geometry"]},
    "columns null": {"primary_column": "geometry", "columns": None},
    "a column null": {"primary_column": "geometry", "columns": {"geometry": None}},
    "a column as text": {"primary_column": "geometry", "columns": {"geometry": "WKB"}},
    "another column": {"primary_column": "shape", "columns": {"shape": {"encoding": "WKB"}}},
    "another primary": {"primary_column": "shape", "columns": {"geometry": {"encoding": "WKB"}}},
    "primary a list": {
        "primary_column": ["geometry"],
        "columns": {"geometry": {"encoding": "WKB"}},
    },
    "primary the id": {"primary_column": "APN", "columns": {"APN": {"encoding": "WKB"}}},
    "encoding null": geo(encoding=None),
    "encoding a list": geo(encoding=["WKB"]),
    "an unknown encoding": geo(encoding="GML"),
    "encoding polygon": geo(encoding="polygon"),
    "encoding multipolygon": geo(encoding="multipolygon"),
    "encoding wkt": geo(encoding="WKT"),
    "types null": geo(geometry_types=None),
    "types numbers": geo(geometry_types=[7]),
    "types an object": geo(geometry_types={"a": 1}),
    "types empty texts": geo(geometry_types=[""]),
}.items():
    _parquet(f"metadata {_name}", _geo)

for _name, _column in {
    "numbers": pa.array([1, 2, 3]),
    "nulls": pa.nulls(3),
    "texts": pa.array(["a", "b", "c"]),
    "lists": pa.array([[1.0], [], None]),
    "nested lists": pa.array([[[[[1.0]]]], [], None]),
    "structs": pa.array([{"x": 1.0, "y": 2.0}] * 3),
    "structs of text": pa.array([{"x": "a"}] * 3),
    "lists of structs": pa.array([[[{"x": 1.0, "y": 2.0}]]] * 3),
    "lists of structs of text": pa.array([[[{"x": "a", "y": "b"}]]] * 3),
    "lists of three": pa.array([[[[1.0, 2.0, 3.0]]]] * 3),
    "open rings": pa.array([[[{"x": 1.0, "y": 2.0}, {"x": 2.0, "y": 2.0}]]] * 3),
    "garbage": pa.array([b"\1\3", b"\1\3\0\0\0\xff\xff\xff\xff", b"x" * 100]),
    "huge counts": pa.array([b"\1\6\0\0\0\xff\xff\xff\x7f" + WKB[0]] * 3),
    "nested collections": pa.array([b"\1\7\0\0\0\1\0\0\0" * 50_000 + WKB[0]] * 3),
    "NaN": pa.array([_wkb_with(float("nan"))] * 3),
    "infinite": pa.array([_wkb_with(float("inf"))] * 3),
    "huge": pa.array([_wkb_with(1e300)] * 3),
    "dictionaries": pa.array(WKB).dictionary_encode(),
    "views": pa.array(WKB, pa.binary_view()),
    "timestamps": pa.array([1, 2, 3], pa.timestamp("s")),
}.items():
    for _encoding in ("WKB", "polygon", "multipolygon", "WKT"):
        _parquet(f"{_encoding} of {_name}", geo(encoding=_encoding), geometry=_column)
    _parquet(f"no metadata, geometry of {_name}", None, geometry=_column)
for _name, _ids in IDS.items():
    _parquet(f"ids are {_name}", geo(), ids=_ids)


def _bytes_of(folder: Path, **options: Any) -> bytes:
    path = write_parquet(folder / "whole.parquet", geo(), **options)
    content = path.read_bytes()
    path.unlink()
    return content


def _cut(share: float) -> Damage:
    def damage(folder: Path) -> Path:
        content = _bytes_of(folder)
        (folder / "lots.parquet").write_bytes(content[: int(len(content) * share)])
        return folder / "lots.parquet"

    return damage


def _flipped(start: int, count: int) -> Damage:
    def damage(folder: Path) -> Path:
        content = bytearray(_bytes_of(folder))
        start_at = start if start >= 0 else len(content) + start
        for at in range(start_at, start_at + count):
            content[at] ^= 0xFF
        (folder / "lots.parquet").write_bytes(content)
        return folder / "lots.parquet"

    return damage


for _share in (0.01, 0.3, 0.7, 0.99):
    DAMAGES[f"GeoParquet: cut at {_share:.0%}"] = _cut(_share)
for _start, _count in ((4, 60), (40, 8), (120, 200), (-8, 4), (-40, 20), (-300, 100), (-900, 500)):
    DAMAGES[f"GeoParquet: {_count} bytes wrong at {_start}"] = _flipped(_start, _count)


def _no_rows(folder: Path) -> Path:
    return write_parquet(
        folder / "lots.parquet",
        geo(),
        ids=pa.array([], pa.string()),
        geometry=pa.array([], pa.binary()),
    )


def _two_names(folder: Path) -> Path:
    table = pa.Table.from_arrays(
        [pa.array(OWN), pa.array(OWN), pa.array(WKB), pa.array(WKB)],
        names=["APN", "APN", "geometry", "geometry"],
    )
    path = folder / "lots.parquet"
    parquet.write_table(table.replace_schema_metadata({"geo": json.dumps(geo())}), path)
    return path


DAMAGES["GeoParquet: no rows"] = _no_rows
DAMAGES["GeoParquet: two columns of one name"] = _two_names


# GeoJSON.
def _geojson(name: str, content: str | bytes, file: str = "lots.geojson") -> None:
    def damage(folder: Path) -> Path:
        raw = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
        (folder / file).write_bytes(raw)
        return folder / file

    DAMAGES[f"{file}: {name}"] = damage


def _collection(features: str) -> str:
    return f'{{"type": "FeatureCollection", "features": [{features}]}}'


def _feature(coordinates: str, properties: str = '{"APN": "a"}', kind: str = "Polygon") -> str:
    return (
        f'{{"type": "Feature", "properties": {properties}, "geometry": {{"type": "{kind}", '
        f'"coordinates": {coordinates}}}}}'
    )


_GOOD = json.dumps(features()[0]["geometry"]["coordinates"])
for _file in ("lots.geojson", "lots.topojson", "lots.json", "lots.geojsonl"):
    for _depth in (900, 100_000, 3_000_000):
        _geojson(f"{_depth:,} brackets", "[" * _depth, _file)
        _geojson(f"{_depth:,} objects", '{"a":' * _depth, _file)
for _depth in (900, 100_000):
    _deep = "[" * _depth + "]" * _depth
    _geojson(f"coordinates {_depth:,} deep", _collection(_feature(_deep)))
    _geojson(f"properties {_depth:,} deep", _collection(_feature(_GOOD, f'{{"APN": {_deep}}}')))
    _geojson(
        f"topology {_depth:,} deep", f'{{"type": "Topology", "arcs": {_deep}}}', "lots.topojson"
    )
    _geojson(f"crs {_depth:,} deep", '{"type": "FeatureCollection", "crs": ' + _deep + "}")
for _name, _coordinates in {
    "NaN": "[[[NaN, 1], [1, 1], [1, 0], [NaN, 1]]]",
    "infinite": "[[[Infinity, 1], [1, 1], [1, 0]]]",
    "1e400": "[[[1e400, 1], [1, 1], [1, 0], [1e400, 1]]]",
    "texts": '[[["a", "b"], ["c"]]]',
    "null": "null",
    "numbers": "[1, 2]",
    "nulls": "[[[null, null], [null], []]]",
    "true": "true",
    "objects": '[[{"x": 1}]]',
    "ragged": "[[[1, 2], [3], [4, 5, 6], []]]",
    "1e300": "[[[1e300, 1e300], [2e300, 1e300], [2e300, 2e300], [1e300, 1e300]]]",
    "long numbers": "[[[" + "1" * 100_000 + ", 1], [1, 1], [1, 0]]]",
}.items():
    for _kind in ("Polygon", "MultiPolygon", "GeometryCollection", "Spaceship"):
        _geojson(f"{_kind} of {_name}", _collection(_feature(_coordinates, kind=_kind)))
for _name, _value in {
    "a huge integer": "1" * 5_000,
    "an integer of 10,000 digits": "9" * 10_000,
    "1e999": "1e999",
    "a list": "[1]",
    "an object": '{"a": 1}',
    "NaN": "NaN",
    "NUL": '"a\\u0000b"',
    "a surrogate": '"\\ud800"',
    "true": "true",
    "null": "null",
    "-0": "-0",
    "a long text": f'"{"x" * 999_999}"',
}.items():
    _geojson(f"id is {_name}", _collection(_feature(_GOOD, f'{{"APN": {_value}}}')))
for _name, _content in {
    "features null": '{"type": "FeatureCollection", "features": null}',
    "one word": "null",
    "features numbers": _collection("1, 2"),
    "NUL bytes": b"\0" * 5_000,
    "a feature null": _collection("null"),
    "properties a list": _collection(_feature(_GOOD, "[1]")),
    "random": bytes(range(256)) * 40,
    "crs null": '{"type": "FeatureCollection", "crs": null, "features": []}',
    "crs a number": '{"type": "FeatureCollection", "crs": 7, "features": ['
    + _feature(_GOOD)
    + "]}",
}.items():
    _geojson(_name, _content)


# GeoPackage.
def _database(name: str, change: Callable[[Path], None]) -> None:
    def damage(folder: Path) -> Path:
        path = write(folder / "lots.gpkg", layer="lots")
        change(path)
        return path

    DAMAGES[f"GeoPackage: {name}"] = damage


def _patched(start: int, content: bytes) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        raw = bytearray(path.read_bytes())
        raw[start : start + len(content)] = content
        path.write_bytes(raw)

    return change


def _executed(*statements: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA writable_schema = ON")
            for statement in statements:
                database.execute(statement)
            database.commit()

    return change


for _start, _content in {
    0: b"\0" * 16,
    16: b"\0\1",
    18: b"\7\7",
    28: b"\xff" * 4,
    56: b"\0\0\0\2",
    68: b"JUNK",
    100: b"\xff" * 60,
    4096: b"\xff" * 400,
    8192: b"\0" * 4096,
    20_000: b"\xaa" * 3000,
}.items():
    _database(f"{len(_content)} bytes wrong at {_start}", _patched(_start, _content))
for _size in (20, 100, 1_000, 5_000, 50_000):
    _database(
        f"cut to {_size:,} bytes", lambda path, s=_size: path.write_bytes(path.read_bytes()[:s])
    )
_no_triggers = "DELETE FROM sqlite_master WHERE type = 'trigger'"
_database("no contents", _executed("DELETE FROM gpkg_contents"))
_database("no table of contents", _executed("DROP TABLE gpkg_contents"))
_database("no CRS", _executed("DELETE FROM gpkg_spatial_ref_sys"))
_database(
    "a CRS that is garbage",
    _executed("UPDATE gpkg_spatial_ref_sys SET definition = x'ff00ff', organization = 'x'"),
)
_database(
    "a schema that is garbage",
    _executed("UPDATE sqlite_master SET sql = 'CREATE TABLE lots (((' WHERE name = 'lots'"),
)
