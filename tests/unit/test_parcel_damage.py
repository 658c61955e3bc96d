"""Parcel files that are damaged, cut, or changed by a spreadsheet."""

from __future__ import annotations

import json
import logging
import math
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from shapefiles import write_shapefile
from shapely import box
from shapely.geometry import mapping

from parcels import County
from parcels.errors import ParcelsError, SourceMisconfigured
from parcels.files import FileSource

LOTS = [box(-90 + i * 0.001, 35, -90 + i * 0.001 + 0.0008, 35.001) for i in range(6)]
IDS = ["A1", "A2", "A3", "A4", "A5", "A6"]


def frame(count: int = 6) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"PIN": IDS[:count]}, geometry=LOTS[:count], crs=4326)


def source(path: Path, **more: object) -> FileSource:
    return FileSource(County.model_validate({"key": "here", "path": str(path), **more}))


def ids_of(path: Path, **more: object) -> list[str | None]:
    return [row.parcel_id for row in source(path, **more).all_rows()]


def refused(path: Path, **more: object) -> str:
    with pytest.raises(SourceMisconfigured) as error:
        source(path, **more).check()
    return str(error.value)


def _cut(suffix: str, count: int) -> Callable[[Path, Path], None]:
    def cut(lots: Path, _other: Path) -> None:
        file = lots.with_suffix(suffix)
        file.write_bytes(file.read_bytes()[:-count])

    return cut


def _swap(*suffixes: str) -> Callable[[Path, Path], None]:
    def swap(lots: Path, other: Path) -> None:
        for suffix in suffixes:
            shutil.copy(other.with_suffix(suffix), lots.with_suffix(suffix))

    return swap


SHAPEFILES: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "other dbf": (_swap(".dbf"), "lots.shp has 6 records, lots.shx has 6 records, lots.dbf has 3"),
    "other shp": (_swap(".shp"), "lots.shp has 3 records, lots.shx has 6"),
    "other shx": (_swap(".shx"), "lots.shp has 6 records, lots.shx has 3"),
    "other shx and dbf": (_swap(".shx", ".dbf"), "lots.shp has 6 records"),
    "half a dbf": (_cut(".dbf", 300), "lots.dbf has"),
    "cut shp": (_cut(".shp", 60), "lots.shp has"),
    "cut shx": (_cut(".shx", 8), "lots.shx has"),
    "short shx": (_cut(".shx", 148), "lots.shx has 0 bytes of 100"),
}


@pytest.mark.parametrize("name", SHAPEFILES)
@pytest.mark.parametrize("kind", ["file", "folder", "zip"])
def test_a_damaged_shapefile_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / "in" / "lots.shp"
    path.parent.mkdir()
    (tmp_path / "out").mkdir()
    frame().to_file(path)
    frame(3).to_file(tmp_path / "out" / "lots.shp")
    damage, said = SHAPEFILES[name]
    damage(path, tmp_path / "out" / "lots.shp")
    where = {"file": path, "folder": path.parent, "zip": tmp_path / "lots.zip"}[kind]
    if kind == "folder":
        frame().to_file(path.with_name("blocks.shp"))
    with zipfile.ZipFile(tmp_path / "lots.zip", "w") as packed:
        for file in path.parent.iterdir():
            packed.write(file, f"a/{file.name}")
    message = refused(where)
    assert "damaged or mixed from two downloads" in message
    assert "download it again" in message
    assert said in message


def test_a_shapefile_with_more_bytes_than_it_needs_is_read(tmp_path: Path) -> None:
    path = tmp_path / "lots.shp"
    frame().to_file(path)
    for suffix, more in ((".shp", bytes(512)), (".shx", bytes(8)), (".dbf", b"\x1a\0\0")):
        file = path.with_suffix(suffix)
        file.write_bytes(file.read_bytes() + more)
    assert ids_of(path) == IDS
    table = path.with_suffix(".dbf")
    table.write_bytes(table.read_bytes().rstrip(b"\x1a\0"))
    assert ids_of(path) == IDS


def test_rows_without_a_usable_polygon_are_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "lots.csv"
    texts = [lot.wkt for lot in LOTS]
    texts[1] = texts[1].replace("-89.999", "nan", 1)
    texts[3] = texts[3][:40]
    rows = "".join(f'{pin},"{wkt}"\n' for pin, wkt in zip(IDS, texts, strict=True))
    path.write_text(f"PIN,WKT\n{rows}")
    with caplog.at_level(logging.WARNING):
        found = list(source(path, crs="EPSG:4326").all_rows())
    assert [row.parcel_id for row in found if row.geometry is None] == ["A2", "A4"]
    assert caplog.text.count("2 of 6 rows have no usable polygon") == 1
    assert "for example row 2, parcel id 'A2'" in caplog.text


@pytest.mark.parametrize("error", [SystemError("Negative size"), OverflowError, RecursionError])
def test_faults_of_readers_are_a_damaged_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    path = tmp_path / "lots.fgb"
    frame().to_file(path)

    def fail(*_args: object) -> None:
        raise error

    monkeypatch.setattr("parcels.files.gdal_table._next", fail)
    assert "cannot be read as parcels: it is damaged" in refused(path)


def test_a_damaged_flatgeobuf_never_ends_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "lots.fgb"
    frame().to_file(path)
    whole = bytearray(path.read_bytes())
    random = np.random.default_rng(1)
    for _ in range(40):
        damaged = whole.copy()
        for at in random.integers(12, len(whole), 3):
            damaged[at] = random.integers(256)
        path.write_bytes(damaged)
        try:
            source(path).check()
        except ParcelsError:
            continue


def test_a_wrong_filter_names_its_layer_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "lots.shp"
    frame().to_file(path)
    assert "Invalid SQL query for layer 'lots'" in refused(path, where="NOPE = 1")


def _collection(**more: object) -> str:
    features = [
        {"type": "Feature", "properties": {"PIN": pin}, "geometry": mapping(lot)}
        for pin, lot in zip(IDS, LOTS, strict=True)
    ]
    return json.dumps({"type": "FeatureCollection", "features": features, **more})


def test_a_page_that_names_the_next_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lots.geojson"
    following = {"links": [{"rel": "self", "href": "x"}, {"rel": "next", "href": "y"}]}
    path.write_text(_collection(**following))
    assert "it is cut: it is one page" in refused(path)
    path.write_text(_collection(numberMatched="12", numberReturned="6"))
    assert "it has 6 of 12 lots" in refused(path)
    path.write_text(_collection(**following) + "\n" + _collection(links=[{"rel": "self"}]))
    assert ids_of(path) == IDS * 2


def _esri(path: Path, fields: list[dict[str, object]], **more: object) -> Path:
    features = [
        {
            "attributes": {"NUM": pin, "PARCEL_TYPE": 7 if pin == "A1" else 8.0},
            "geometry": {"rings": [list(lot.exterior.coords)]},
        }
        for pin, lot in zip(IDS, LOTS, strict=True)
    ]
    answer = {"geometryType": "esriGeometryPolygon", "spatialReference": {"wkid": 4326},
              "fields": fields, "features": features, **more}  # fmt: skip
    path.write_text(json.dumps(answer))
    return path


@pytest.mark.parametrize("of_field", [True, False])
def test_aliases_and_coded_values_of_a_saved_answer(tmp_path: Path, of_field: bool) -> None:
    codes = [{"code": 7.0, "name": "Right of Way"}, {"code": 9, "name": "Lot"}]
    domain = {"type": "codedValue", "codedValues": codes}
    alias: dict[str, object] = {"alias": "Parcel Number"} if of_field else {}
    fields = [{"name": "NUM", **alias}, {"name": "PARCEL_TYPE", "domain": domain}]
    more = {} if of_field else {"fieldAliases": {"NUM": "Parcel Number"}}
    path = _esri(tmp_path / "lots.json", fields, **more)
    first, second, *_ = source(path, fields={"parcel_id": "parcel number"}).all_rows()
    assert (first.parcel_id, first.parcel_type) == ("A1", "Right of Way")
    assert (second.parcel_id, second.parcel_type) == ("A2", "8")


@pytest.mark.parametrize("separator", ["sep=;", '"sep=;"', ""])
def test_what_excel_adds_to_a_csv(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "lots.csv"
    cells = ['="A1"', '"=""A2"""', "A3", "A4", "A5", "A6"]
    rows = "".join(f"{cell};{lot.wkt}\n" for cell, lot in zip(cells, LOTS, strict=True))
    path.write_text(f"{separator}\n".lstrip() + f"PIN;WKT\n{rows}")
    assert ids_of(path, crs="EPSG:4326") == IDS


def test_what_excel_loses_in_a_csv_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "lots.csv"
    ids = ["1.23E+11", "#N/A", "2E5", "A4", "A5", "A6"]
    texts = [lot.wkt for lot in LOTS]
    texts[4] = ("POLYGON((" + "-90.123456 35.123456," * 2_000)[:32_767]
    rows = "".join(f'{pin},"{wkt}"\n' for pin, wkt in zip(ids, texts, strict=True))
    path.write_text(f"PIN,WKT\n{rows}")
    with caplog.at_level(logging.WARNING):
        source(path, crs="EPSG:4326").check()
    assert "2 values of column 'PIN', such as '1.23E+11', were changed by Excel" in caplog.text
    assert "1 polygons end where Excel cuts a cell" in caplog.text


def test_parts_of_geoparquet_that_spell_columns_differently(tmp_path: Path) -> None:
    folder = tmp_path / "lots"
    folder.mkdir()
    frame(3).to_parquet(folder / "a.parquet")
    rest = frame()[3:]
    rest.rename(columns={"PIN": "pin"}).rename_geometry("shape").to_parquet(folder / "b.parquet")
    assert ids_of(folder) == IDS
    rest.rename(columns={"PIN": "ID"}).to_parquet(folder / "b.parquet")
    assert "b.parquet has no column 'PIN'" in refused(folder)
    rest.to_crs(2274).to_parquet(folder / "b.parquet")
    said = refused(folder)
    assert "b.parquet is in another CRS (NAD83 / Tennessee (ftUS))" in said
    assert "convert all of them" in said


def test_leading_blanks_of_ids_in_a_shapefile(tmp_path: Path) -> None:
    rings = [[list(lot.exterior.coords)] for lot in LOTS[:4]]
    values = [(" A1", "  A1"), ("A2 ", "A2"), ("  A 3", " ñ"), ("", " ")]
    encoded = [tuple(value.encode("cp1252") for value in row) for row in values]
    path = write_shapefile(
        tmp_path / "lots.shp", rings, [("PIN", "C", 8, 0)], [row[:1] for row in encoded]
    )
    assert ids_of(path) == [" A1", "A2", "  A 3", None]
    write_shapefile(path, rings, [("APN", "C", 8, 0)], [row[1:] for row in encoded])
    assert ids_of(path) == ["  A1", "A2", " ñ", None]
    assert ids_of(path, where="APN = 'A2'") == ["A2"]


def test_a_compressed_geodatabase_that_is_damaged_too(tmp_path: Path) -> None:
    path = tmp_path / "lots.gdb"
    path.mkdir()
    (path / "a00000001.gdbtable").write_bytes(b"\3\0\0\0")
    (path / "a00000009.cdf").write_bytes(b"x")
    assert "uncompress it in ArcGIS" in refused(path)
    with zipfile.ZipFile(tmp_path / "lots.zip", "w") as packed:
        for file in path.iterdir():
            packed.write(file, f"lots.gdb/{file.name}")
    assert "uncompress it in ArcGIS" in refused(tmp_path / "lots.zip")
    assert "uncompress it in ArcGIS" in refused(path, layer="Parcels")


def test_coordinates_that_are_not_numbers_affect_their_row_only(tmp_path: Path) -> None:
    x = struct.pack("<d", LOTS[0].exterior.coords[0][0])
    for damaged in (
        LOTS[0].wkb.replace(x, struct.pack("<d", math.nan)),
        LOTS[0].wkb.replace(x, struct.pack("<d", math.nan), 1),
    ):
        path = tmp_path / "lots.csv"
        path.write_text(f"PIN,WKB\nA1,{damaged.hex()}\nA2,{LOTS[1].wkb.hex()}\n")
        first, second = source(path, crs="EPSG:4326").all_rows()
        assert first.geometry is None
        assert second.geometry is not None
    path = tmp_path / "lots.geojson"
    path.write_text(_collection().replace("-89.9992", "NaN", 1))
    assert [row.geometry is None for row in source(path).all_rows()] == [True, *[False] * 5]
