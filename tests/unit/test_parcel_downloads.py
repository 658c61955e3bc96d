"""Parcels as people download them: zips, folders, layers, server answers, and dead ends."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import shapely
from shapely import Point, box

from parcels import County, ParcelBoundaryService, Property, load_registry
from parcels.cache import LayerKey
from parcels.errors import AddressRefused, SourceMisconfigured
from parcels.files import FileSource

LOTS = [box(-90 + i * 0.001, 35, -90 + i * 0.001 + 0.0008, 35.001) for i in range(3)]
IDS = ["a", "b", "c"]
JUNK = {
    "__MACOSX/Parcels/._Lots.shp": b"\0\5\x16\7",
    "Parcels/.DS_Store": b"Bud1",
    "Parcels/Thumbs.db": b"\xd0\xcf\x11\xe0",
    "desktop.ini": b"[.ShellClassInfo]",
    "Parcels/readme.txt": b"read, me",
    "Parcels/metadata.xml": b"<metadata/>",
    "Parcels/dictionary.pdf": b"%PDF-1.7",
}


def frame(ids: list[str] = IDS) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"APN": ids}, geometry=LOTS, crs=4326)


def county(path: Path, **more: object) -> County:
    return County.model_validate({"key": "here", "path": str(path), **more})


def ids_of(path: Path, **more: object) -> list[str | None]:
    return [row.parcel_id for row in FileSource(county(path, **more)).all_rows()]


def refused(path: Path, **more: object) -> str:
    with pytest.raises(SourceMisconfigured) as error:
        FileSource(county(path, **more)).check()
    assert "GDAL" not in str(error.value)
    return str(error.value)


def pack(path: Path, files: dict[str, Path | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            if isinstance(content, bytes):
                packed.writestr(name, content)
            else:
                packed.write(content, name)
    return path


@pytest.fixture
def shape(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "made"
    folder.mkdir()
    frame().to_file(folder / "Lots.shp")
    return sorted(folder.iterdir())


@pytest.mark.parametrize("name", ["lots.zip", "LOTS.ZIP", "lots.download", "lots"])
def test_a_zip_with_folders_and_what_others_add(
    tmp_path: Path, shape: list[Path], name: str
) -> None:
    inside = {f"Parcels/2026 (a)/{file.name}": file for file in shape}
    name = "lots.bin" if name.endswith(".download") else name
    assert ids_of(pack(tmp_path / name, {**JUNK, **inside})) == IDS


def test_a_zip_with_upper_case_names(tmp_path: Path, shape: list[Path]) -> None:
    assert ids_of(pack(tmp_path / "a.zip", {file.name.upper(): file for file in shape})) == IDS


def test_a_zip_with_windows_paths(tmp_path: Path, shape: list[Path]) -> None:
    path = pack(tmp_path / "a.zip", {f"Parcels/{file.name}": file for file in shape})
    path.write_bytes(path.read_bytes().replace(b"Parcels/Lots", b"Parcels\\Lots"))
    assert ids_of(path) == IDS


def test_kml_folders_without_polygons_do_not_count(tmp_path: Path) -> None:
    ring = " ".join(f"{x},{y}" for x, y in LOTS[0].exterior.coords)
    shell = f"<LinearRing><coordinates>{ring}</coordinates></LinearRing>"
    folders = {
        "Points": "<Point><coordinates>-90,35</coordinates></Point>",
        "Lots": f"<Polygon><outerBoundaryIs>{shell}</outerBoundaryIs></Polygon>",
        "Lines": "<LineString><coordinates>-90,35 -91,35</coordinates></LineString>",
    }
    marks = "".join(
        f"<Folder><name>{name}</name><Placemark><name>a</name>{shape}</Placemark></Folder>"
        for name, shape in folders.items()
    )
    path = tmp_path / "lots.kml"
    path.write_text(
        f'<kml xmlns="http://www.opengis.net/kml/2.2"><Document>{marks}</Document></kml>'
    )
    assert ids_of(path, fields={"parcel_id": "Name"}) == ["a"]


FILES: dict[str, Callable[[Path], None]] = {
    "lots.gpkg": lambda path: frame().to_file(path),
    "lots.fgb": lambda path: frame().to_file(path, SPATIAL_INDEX="NO"),
    "lots.geojson": lambda path: frame().to_file(path),
    "lots.json": lambda path: frame().to_file(path, driver="GeoJSON"),
    "lots.kml": lambda path: frame().to_file(path, driver="LIBKML"),
    "lots.parquet": lambda path: frame().to_parquet(path),
    "lots.csv": lambda path: frame().to_csv(path),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_any_format_in_a_zip_or_a_folder(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    FILES[name](path)
    more = {"crs": "EPSG:4326"} if name == "lots.csv" else {}
    more |= {"fields": {"parcel_id": "APN"}}
    if kind == "zip":
        assert ids_of(pack(tmp_path / "a.zip", {**JUNK, f"in/{name}": path}), **more) == IDS
        return
    folder = tmp_path / "unpacked"
    for junk, content in JUNK.items():
        (folder / junk).parent.mkdir(parents=True, exist_ok=True)
        (folder / junk).write_bytes(content)
    shutil.copy(path, folder / "Parcels" / name)
    assert ids_of(folder, **more) == IDS


@pytest.mark.parametrize("prefix", ["Parcels.gdb/", "out/Parcels.gdb/", "", "no suffix/"])
def test_a_geodatabase_in_a_zip(tmp_path: Path, prefix: str) -> None:
    made = tmp_path / "made.gdb"
    frame().to_file(made, driver="OpenFileGDB")
    inside = {f"{prefix}{file.name}": file for file in made.iterdir()}
    assert ids_of(pack(tmp_path / "Parcels.gdb.zip", {**inside, "readme.txt": b"x"})) == IDS
    assert ids_of(made) == IDS
    (tmp_path / "folder").mkdir()
    shutil.move(made, tmp_path / "folder" / "Parcels.gdb")
    assert ids_of(tmp_path / "folder") == IDS


def test_layers_by_name_and_number(tmp_path: Path) -> None:
    path = tmp_path / "lots.gpkg"
    gpd.GeoDataFrame(geometry=[Point(0, 0)], crs=4326).to_file(path, layer="trees")
    frame().to_file(path, layer="Parcels")
    frame(["x", "y", "z"]).to_file(path, layer="2020")
    assert "2 polygon layers (Parcels, 2020); set 'layer:'" in refused(path)
    assert ids_of(path, layer="parcels") == IDS
    assert ids_of(path, layer=1) == IDS
    assert ids_of(path, layer="1") == IDS
    assert ids_of(path, layer="2020") == ids_of(path, layer=2) == ["x", "y", "z"]
    assert "layer 'trees' has no polygons" in refused(path, layer=0)
    said = refused(path, layer="lots of land")
    assert "has no layer 'lots of land'" in said
    assert "one of: 0: trees, 1: Parcels, 2: 2020" in said
    assert LayerKey.of_file(county(path, layer=1)) != LayerKey.of_file(county(path, layer=2))


def test_several_files_are_layers(tmp_path: Path, shape: list[Path]) -> None:
    other = tmp_path / "other.geojson"
    frame(["x", "y", "z"]).to_file(other)
    inside = {f"a/Parcels{file.suffix}": file for file in shape}
    inside |= {f"b/Blocks{file.suffix}": file for file in shape}
    path = pack(tmp_path / "a.zip", {**inside, "other.geojson": other})
    assert "3 polygon layers (Parcels, Blocks, other)" in refused(path)
    for layer in ("Parcels", "parcels.shp", "a/Parcels.shp", 0):
        assert ids_of(path, layer=layer) == IDS
    assert ids_of(path, layer="other") == ids_of(path, layer=2) == ["x", "y", "z"]


def test_an_entry_with_all_keys_of_a_file(tmp_path: Path) -> None:
    from shapefiles import write_shapefile

    lots = frame().to_crs(2274)
    rings = [[list(lot.exterior.coords)] for lot in lots.geometry]
    values = [("1",), (b"Pe\xf1a",), ("3",)]
    shape = write_shapefile(tmp_path / "P.shp", rings, [("PIN", "C", 8, 0)], values, prj=None)
    parts = [file for file in tmp_path.iterdir() if file.stem == shape.stem]
    inside = {f"x/Parcels{file.suffix}": file for file in parts}
    inside |= {f"x/Zoning{file.suffix}": file for file in parts}
    pack(tmp_path / "x.zip", inside)
    registry = tmp_path / "registry.yaml"
    registry.write_text(
        "counties:\n  here: {path: x.zip, layer: Parcels, crs: EPSG:2274, encoding: cp1252, "
        "fields: {parcel_id: PIN}}\n"
    )
    service = ParcelBoundaryService(load_registry(registry).county("here"))
    [boundary] = service.boundaries([Property("a", parcel_id="Peña")])
    assert shapely.hausdorff_distance(boundary.geometry, LOTS[1]) < 1e-8  # type: ignore[union-attr]


def test_a_folder_of_shapefiles(tmp_path: Path, shape: list[Path]) -> None:
    assert ids_of(shape[0].parent) == IDS
    for file in shape:
        shutil.copy(file, file.with_stem("Other"))
    assert ids_of(shape[0].parent, layer="Lots") == IDS
    (shape[0].parent / "broken.gpkg").write_text("nothing")
    assert ids_of(shape[0].parent, layer="Lots") == IDS


def _bomb(path: Path) -> None:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
        packed.open("l.shp", "w") as file,
    ):
        for _ in range(600):
            file.write(bytes(2**20))


def _encrypted(path: Path) -> None:
    pack(path, {"lots.gpkg": b"x" * 50})
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.rindex(b"PK\1\2") + 8] |= 1
    path.write_bytes(bytes(content))


BAD_ZIPS: dict[str, tuple[Callable[[Path], object], str]] = {
    "bomb": (_bomb, "unpack to"),
    "encrypted": (_encrypted, "protected by a password"),
    "outside": (lambda path: pack(path, {"../lots.gpkg": b"x"}), "outside of itself"),
    "absolute": (lambda path: pack(path, {"/etc/lots.gpkg": b"x"}), "outside of itself"),
    "nested": (lambda path: pack(path, {"in.zip": b"PK\3\4"}), "a zip in a zip; unpack it"),
    "empty": (lambda path: pack(path, {}), "contains no parcels"),
    "documents": (lambda path: pack(path, {"a.txt": b"x"}), "contains no parcels, but a.txt"),
    "damaged": (lambda path: path.write_bytes(b"PK\3\4" + b"x" * 99), "the zip cannot be used"),
    "kmz": (lambda path: pack(path, {"in/lots.kmz": b"PK"}), "it is a KMZ"),
    "no shx": (lambda path: pack(path, {"l.shp": b"x", "l.dbf": b"x"}), "l.shx is missing"),
}


@pytest.mark.parametrize("name", BAD_ZIPS)
def test_zips_that_cannot_be_used(tmp_path: Path, name: str) -> None:
    make, said = BAD_ZIPS[name]
    make(tmp_path / "lots.zip")
    assert said in refused(tmp_path / "lots.zip")


@pytest.mark.parametrize(
    ("name", "content", "remedy"),
    [
        ("lots.kmz", b"PK\3\4", "rename it to .zip, unpack it"),
        ("lots.rar", b"Rar!", "unpack it"),
        ("lots.geojson.gz", b"\x1f\x8b", "unpack it"),
        ("lots.7z", b"7z\xbc\xaf\x27\x1c", "unpack it"),
        ("lots.sid", b"msid", "it is a picture"),
        ("lots.gpkg", b"II*\0", "it is a picture"),
        ("lots.jp2", b"\0\0\0\x0cjP  ", "it is a picture"),
        ("lots.pdf", b"%PDF", "download the parcels as vector data"),
        ("lots.dwg", b"AC1032", "CAD drawing"),
        ("lots.dxf", b"0\nSECTION", "CAD drawing"),
        ("lots.mdb", b"\0\1\0\0Standard Jet DB", "export the parcels as a GeoPackage"),
        ("lots.xlsx", b"PK\3\4", "spreadsheet"),
        ("lots.lyrx", b"{}", "export the parcels as a GeoPackage"),
        ("lots.aprx", b"PK\3\4", "export the parcels as a GeoPackage"),
        ("lots.mbtiles", b"SQLite format 3\0", "cut and simplify the lots"),
        ("lots.dbf", b"\3x", "set 'path' to lots.shp"),
        ("lots.SHX", b"\0\0\x27\x0a", "set 'path' to lots.shp"),
        ("lots.shp.xml", b"<x/>", "set 'path' to lots.shp"),
        ("lots.gpkg", b"", "it is empty; download it again"),
        ("lots.zip", b"", "it is empty; download it again"),
        ("lots.zip", b"\n<!DOCTYPE html><html>Log in", "it is a web page"),
        ("lots.json", b"<html><body>", "it is a web page"),
        ("lots.gpkg", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("lots.zip.crdownload", b"PK\3\4", "download it again"),
        ("lots.shp", b"\0\0\x27\x0a", "lots.shx is missing"),
        ("lots.gpkg", b"SQLite format 3\0", "not recognized, or it is damaged"),
        ("lots.xyz", b"words", "not recognized, or it is damaged"),
        ("lots.json", b'{"error": {"message": "Token Required"}}', "Token Required"),
        ("lots.json", b'{"objectIds": [1, 2]}', "only ids"),
        ("lots.json", b'{"currentVersion": 11}', "lotline registry add"),
        ("lots.json", b'{"a": 1}', "it has no polygons"),
        ("lots.json", b'{"features": [{"type": "Feature"', "or ends too early"),
        ("lots.csv", b"a,b\n1,2\n", "a CSV needs a column of WKT polygons"),
    ],
)
def test_dead_ends_say_what_to_do(tmp_path: Path, name: str, content: bytes, remedy: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert remedy in refused(tmp_path / name)


def test_one_file_of_a_geodatabase_and_a_compressed_one(tmp_path: Path) -> None:
    path = tmp_path / "lots.gdb"
    gpd.GeoDataFrame({"a": ["x"]}, geometry=[Point(0, 0)], crs=4326).to_file(
        path, driver="OpenFileGDB"
    )
    assert "set 'path' to the whole folder" in refused(path / "a00000001.gdbtable")
    (path / "a00000009.cdf").write_bytes(b"x")
    assert "uncompress it in ArcGIS" in refused(path)
    inside = {f"lots.gdb/{file.name}": file for file in path.iterdir()}
    assert "uncompress it in ArcGIS" in refused(pack(tmp_path / "a.zip", inside))


def _collection(**more: object) -> dict[str, Any]:
    features = json.loads(frame().to_json(drop_id=True))["features"]
    return {"type": "FeatureCollection", "features": features, **more}


def _esri(**more: object) -> dict[str, Any]:
    features = [
        {"attributes": {"APN": apn}, "geometry": {"rings": [list(lot.exterior.coords)]}}
        for apn, lot in zip(IDS, LOTS, strict=True)
    ]
    reference = {"wkid": 102100, "latestWkid": 4326}
    return {
        "geometryType": "esriGeometryPolygon",
        "fields": [{"name": "APN", "type": "esriFieldTypeString", "alias": "APN"}],
        "features": features, "spatialReference": reference, **more,
    }  # fmt: skip


@pytest.mark.parametrize("answer", [_collection, _esri])
@pytest.mark.parametrize("first", [False, True])
def test_a_cut_answer_of_a_server_is_refused(
    tmp_path: Path, answer: Callable[..., dict[str, Any]], first: bool
) -> None:
    path = tmp_path / "answer.json"
    cut = {"exceededTransferLimit": True}
    whole = answer()
    for extra in (cut, {"properties": cut}):
        content = {**extra, **whole} if first else {**whole, **extra}
        for text in (json.dumps(content), json.dumps(content, indent=1)):
            path.write_text(text)
            assert "it is cut" in refused(path)
            assert "lotline registry add" in refused(path)
    path.write_text(json.dumps({**whole, "exceededTransferLimit": False}))
    assert ids_of(path) == IDS


def test_answers_of_several_pages_and_other_layouts(tmp_path: Path) -> None:
    path = tmp_path / "lots.json"
    features = _collection()["features"]
    lines = [json.dumps(each) for each in features]
    for text in (
        "\n".join(lines),
        "".join(f"\x1e{line}\n" for line in lines),
        json.dumps(features, indent=1),
        "\n".join(json.dumps(each, indent=1) for each in features),
        json.dumps(_collection(), indent=1),
    ):
        for encoding in ("utf-8", "utf-8-sig", "utf-16"):
            path.write_text(text, encoding=encoding)
            assert ids_of(path) == IDS
    path.write_text("\n".join([json.dumps(_esri()), json.dumps(_esri())]))
    assert ids_of(path) == IDS * 2


def test_esri_rings_and_filters(tmp_path: Path) -> None:
    path = tmp_path / "lots.json"
    answer = _esri()
    outer = [(0, 0), (0, 0.001), (0.001, 0.001), (0.001, 0), (0, 0)]
    inner = [(x / 2 + 0.0001, y / 2 + 0.0001) for x, y in outer]
    answer["features"][0]["geometry"] = {"rings": [inner, outer]}
    answer["features"][1]["geometry"] = {"rings": []}
    path.write_text(json.dumps(answer))
    first, second, third = FileSource(county(path)).all_rows()
    assert first.geometry is not None
    assert first.geometry.area == pytest.approx(0.75e-6)
    assert second.geometry is None
    assert third.geometry is not None
    assert ids_of(path, where="APN <> 'c'") == ["a", "b"]


@pytest.mark.parametrize("name", ["lots.shp", "lots.fgb", "lots.gdb", "lots.gpkg", "lots.kml",
                                  "lots.geojson", "lots.csv"])  # fmt: skip
def test_a_filter_on_a_column_that_is_not_mapped(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    lots = frame().assign(kind=["ROW", "lot", "lot"])
    if name == "lots.csv":
        lots.to_csv(path, index=False)
    else:
        drivers = {".gdb": "OpenFileGDB", ".kml": "LIBKML"}
        driver = drivers.get(path.suffix)
        lots.to_file(path, **({"driver": driver} if driver else {}))
    more: dict[str, object] = {"fields": {"parcel_id": "APN"}, "crs": "EPSG:4326"}
    assert sorted(map(str, ids_of(path, where="kind <> 'ROW'", **more))) == ["b", "c"]


def test_references_to_other_data_are_refused_in_folders_too(tmp_path: Path) -> None:
    folder = tmp_path / "lots"
    folder.mkdir()
    (folder / "lots.kml").write_text("<OGRVRTDataSource><OGRVRTLayer name='a'/></OGRVRTDataSource>")
    with pytest.raises(AddressRefused, match="refers to other data"):
        FileSource(county(folder)).check()
