"""Every supported format gives the same answers, read as a small file and as a large one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from shapely import MultiPolygon, Polygon, box

from parcels import County, Lot, ParcelBoundaryService, Property
from parcels.cache import FolderCache
from parcels.cache.file_snapshot import SnapshotFile, snapshot_file
from parcels.files import FileSource
from parcels.files.parcel_file import ParcelFile
from parcels.parcel_source import ParcelRow

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs" / "counties.md"
REAL = ROOT.parent / "shared" / "data" / "real" / "parcels"
WEST, SOUTH, STEP = -90.0, 35.0, 0.001

# Texts with a letter that is not ASCII; integers with 18 digits, and one missing.
TEXTS = ["01  A", "Peña 2", "3-A", "4", "5", "6"]
NUMBERS = [123456789012345671, 123456789012345672, None, 123456789012345674, 5, 6]


def _lot(i: int) -> Polygon:
    return box(WEST + i * STEP, SOUTH, WEST + (i + 0.8) * STEP, SOUTH + STEP)


LOTS = [
    _lot(0),
    _lot(1).difference(_lot(1).buffer(-STEP / 4)),
    MultiPolygon([_lot(2), _lot(7)]),
    _lot(3).segmentize(STEP / 3),
    Polygon([(-89.9, 35), (-89.89, 35.01), (-89.89, 35), (-89.9, 35.01)]),  # a bow tie
    _lot(5),
]


def _frame() -> gpd.GeoDataFrame:
    numbers = pd.array(NUMBERS, dtype="Int64")
    return gpd.GeoDataFrame({"APN": TEXTS, "NUM": numbers}, geometry=LOTS, crs=4326)


def _by_gdal(driver: str, **options: str) -> Callable[[Path], None]:
    """GDAL writes integers from a masked array only through Arrow, so that they stay exact."""

    def write(path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame = _frame()
            if driver == "ESRI Shapefile":
                options["encoding"] = "cp1252"
            frame.to_file(path, driver=driver, use_arrow=driver != "ESRI Shapefile", **options)

    return write


def _write_shapefile(path: Path) -> None:
    from shapefiles import write_shapefile

    rings = [
        [list(ring.coords) for part in shapely.get_parts(lot) for ring in shapely.get_rings(part)]
        for lot in (shapely.orient_polygons(lot, exterior_cw=True) for lot in LOTS)
    ]
    rows = [
        (text.encode("cp1252"), "" if number is None else str(number))
        for text, number in zip(TEXTS, NUMBERS, strict=True)
    ]
    write_shapefile(path, rings, [("APN", "C", 10, 0), ("NUM", "N", 19, 0)], rows)


def _write_zip(path: Path) -> None:
    shape = path.parent / "Lots.shp"
    _write_shapefile(shape)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in sorted(path.parent.glob("Lots.*")):
            packed.write(file, f"Parcels 2026/{file.name}")
        packed.writestr("__MACOSX/Parcels 2026/._Lots.shp", b"\0\5\x16\7")
        packed.writestr("Parcels 2026/readme.txt", "parcels")


def _kml_polygon(polygon: Polygon) -> str:
    names = ["outerBoundaryIs"] + ["innerBoundaryIs"] * len(polygon.interiors)
    rings = [
        f"<{name}><LinearRing><coordinates>"
        + " ".join(f"{x},{y},0" for x, y in ring.coords)
        + f"</coordinates></LinearRing></{name}>"
        for name, ring in zip(names, [polygon.exterior, *polygon.interiors], strict=True)
    ]
    return f"<Polygon>{''.join(rings)}</Polygon>"


def _write_kml(path: Path) -> None:
    marks = []
    for text, number, lot in zip(TEXTS, NUMBERS, LOTS, strict=True):
        values = {"APN": text} if number is None else {"APN": text, "NUM": number}
        data = "".join(f'<SimpleData name="{k}">{v}</SimpleData>' for k, v in values.items())
        polygons = "".join(map(_kml_polygon, shapely.get_parts(lot)))
        marks.append(
            f'<Placemark><ExtendedData><SchemaData schemaUrl="#s">{data}</SchemaData>'
            f"</ExtendedData><MultiGeometry>{polygons}</MultiGeometry></Placemark>"
        )
    schema = '<Schema name="s" id="s"><SimpleField name="APN" type="string"/>'
    schema += '<SimpleField name="NUM" type="string"/></Schema>'
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?><kml xmlns="http://www.opengis.net/kml/2.2">'
        f"<Document>{schema}<Folder><name>lots</name>{''.join(marks)}</Folder></Document></kml>",
        encoding="utf-8",
    )


def _write_csv(path: Path) -> None:
    rows = [
        f'"{text}";{"" if number is None else number};"{lot.wkt}"'
        for text, number, lot in zip(TEXTS, NUMBERS, LOTS, strict=True)
    ]
    path.write_bytes("\r\n".join(["APN;NUM;Shape", *rows]).encode("cp1252"))


def _features() -> list[dict[str, object]]:
    return [
        {
            "type": "Feature",
            "properties": {"APN": text, "NUM": number},
            "geometry": shapely.geometry.mapping(lot),
        }
        for text, number, lot in zip(TEXTS, NUMBERS, LOTS, strict=True)
    ]


def _write_geojson(path: Path) -> None:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": _features()}))


def _write_lines(path: Path) -> None:
    text = "\n".join(json.dumps(each, ensure_ascii=False) for each in _features())
    path.write_bytes(text.encode("cp1252"))


def _write_esri(path: Path) -> None:
    features = [
        {
            "attributes": {"APN": text, "NUM": number},
            "geometry": {
                "rings": [
                    [list(point) for point in ring.coords]
                    for part in shapely.get_parts(lot)
                    for ring in shapely.get_rings(part)
                ]
            },
        }
        for text, number, lot in zip(TEXTS, NUMBERS, LOTS, strict=True)
    ]
    answer = {"geometryType": "esriGeometryPolygon", "spatialReference": {"wkid": 4326}}
    path.write_text(json.dumps({**answer, "features": features}))


def _write_parquet(path: Path) -> None:
    _frame().to_parquet(path, row_group_size=2)


def _write_native(path: Path) -> None:
    """The native encoding has one geometry type."""
    frame = _frame()
    frame.geometry = [MultiPolygon(list(shapely.get_parts(lot))) for lot in LOTS]
    frame.to_parquet(path, geometry_encoding="geoarrow")


def _write_parts(path: Path) -> None:
    path.mkdir()
    _frame().iloc[:2].to_parquet(path / "part-0.parquet")
    _frame().iloc[2:].to_parquet(path / "part-1.parquet")


# Format as in docs/counties.md -> file name, writer, and the entry's other keys.
FORMATS: dict[str, tuple[str, Callable[[Path], None], dict[str, object]]] = {
    "shapefile": ("lots.shp", _write_shapefile, {}),
    "zip with a shapefile": ("lots.ZIP", _write_zip, {}),
    "GeoPackage": ("lots.gpkg", _by_gdal("GPKG"), {}),
    "file geodatabase": (
        "lots.gdb",
        _by_gdal(
            "OpenFileGDB",
            TARGET_ARCGIS_VERSION="ARCGIS_PRO_3_2_OR_LATER",
            geometry_type="MultiPolygon",
            promote_to_multi="YES",
        ),
        {},
    ),
    "FlatGeobuf": ("lots.fgb", _by_gdal("FlatGeobuf", SPATIAL_INDEX="NO"), {}),
    "KML": ("lots.kml", _write_kml, {"fields": {"parcel_id": "APN"}}),
    "GML": ("lots.gml", _by_gdal("GML"), {}),
    "GeoJSON": ("lots.geojson", _write_geojson, {}),
    "newline GeoJSON": ("lots.geojsonl", _write_lines, {}),
    "saved Esri JSON": ("lots.json", _write_esri, {}),
    "GeoParquet": ("lots.parquet", _write_parquet, {}),
    "GeoParquet, native encoding": ("native.parquet", _write_native, {}),
    "folder of GeoParquet": ("lots", _write_parts, {}),
    "CSV with WKT": ("lots.csv", _write_csv, {"crs": "EPSG:4326"}),
}


@pytest.fixture(params=["short", "long"])
def reader(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Callable[[County], FileSource | SnapshotFile]:
    """The reader of a small file, and that of a large one."""

    def open_file(county: County) -> FileSource | SnapshotFile:
        if request.param == "short":
            return FileSource(county)
        copy = snapshot_file(county, FolderCache(tmp_path / "kept"), min_rows=1)
        assert copy is not None
        return copy

    return open_file


def county(path: Path, **more: object) -> County:
    return County.model_validate({"key": "here", "path": str(path), **more})


def _expected() -> list[tuple[str, MultiPolygon]]:
    with_even_odd = [shapely.make_valid(lot) for lot in LOTS]
    return [
        (text, MultiPolygon(list(shapely.get_parts(lot))))
        for text, lot in zip(TEXTS, with_even_odd, strict=True)
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_lots(
    reader: Callable[[County], FileSource | SnapshotFile], tmp_path: Path, name: str
) -> None:
    file, write, more = FORMATS[name]
    path = tmp_path / file
    write(path)
    rows: list[ParcelRow] = list(reader(county(path, **more)).all_rows())
    assert [row.parcel_id for row in rows] == TEXTS
    assert [row.object_id for row in rows] == [1, 2, 3, 4, 5, 6]
    for row, (_, lot) in zip(rows, _expected(), strict=True):
        assert row.geometry is not None
        # KML and GML are written with fewer digits.
        assert shapely.symmetric_difference(row.geometry, lot).area < 1e-12


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_keeps_the_digits_of_ids(
    reader: Callable[[County], FileSource | SnapshotFile], tmp_path: Path, name: str
) -> None:
    file, write, more = FORMATS[name]
    path = tmp_path / file
    write(path)
    source = reader(county(path, **{**more, "fields": {"parcel_id": "NUM"}}))
    expected = [None if number is None else str(number) for number in NUMBERS]
    assert [row.parcel_id for row in source.all_rows()] == expected
    service = ParcelBoundaryService(county(path, **more), source)
    answer = service.look_up(Property("a", parcel_id="123456789012345671"))
    assert isinstance(answer, Lot)
    assert answer.boundary.parcel_ids == ("123456789012345671",)


def test_the_table_of_formats_is_complete() -> None:
    text = DOCS.read_text(encoding="utf-8")
    table = text.split("| format |", 1)[1].split("\n\n", 1)[0]
    assert re.findall(r"^\| ([^|]+?) \|", table, re.MULTILINE)[1:] == list(FORMATS)


DOWNLOADED = sorted([*REAL.glob("*.geojson"), *REAL.glob("*.zip")]) or [REAL]
REAL_FILES = [path for path in DOWNLOADED if path.suffix != ".zip"]


@pytest.mark.parametrize("path", DOWNLOADED, ids=lambda path: path.stem)
def test_real_downloads_are_the_same_small_and_large(tmp_path: Path, path: Path) -> None:
    if not path.is_file():
        pytest.skip("real parcels are not here (../shared/data/real/parcels)")
    small = FileSource(county(path))
    copy = snapshot_file(county(path), FolderCache(tmp_path), min_rows=1)
    assert copy is not None
    rows = list(small.all_rows())
    assert len(rows) > 100
    assert list(copy.all_rows()) == rows
    assert copy.extent() == small.extent()
    assert copy.warnings == small.warnings == ()
    ids = [row.parcel_id for row in rows if row.parcel_id]
    if ids:
        assert copy.with_ids(ids) == small.with_ids(ids)
    inside = [row.geometry.representative_point() for row in rows if row.geometry]
    assert copy.at_points(inside) == small.at_points(inside)


@pytest.mark.parametrize("path", REAL_FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("suffix", [".geojson", ".parquet", ".shp", ".gpkg"])
def test_real_lots_are_the_same_in_small_and_large_files(
    tmp_path: Path, path: Path, suffix: str
) -> None:
    if not path.is_file():
        pytest.skip("real parcels are not here (../shared/data/real/parcels)")
    file = path
    if suffix != ".geojson":
        file = tmp_path / f"lots{suffix}"
        frame = gpd.read_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame.to_parquet(file) if suffix == ".parquet" else frame.to_file(file)
    entry = county(file)
    small = list(FileSource(entry).all_rows())
    copy = snapshot_file(entry, FolderCache(tmp_path / "kept"), min_rows=1)
    assert copy is not None
    assert list(copy.all_rows()) == small
    original = list(FileSource(county(path)).all_rows())
    assert [row.parcel_id for row in original] == [row.parcel_id for row in small]
    same = [
        a.geometry is None or shapely.equals_exact(a.geometry, b.geometry, 1e-9)
        for a, b in zip(original, small, strict=True)
    ]
    # Invalid lots are repaired differently from rings and from polygons.
    assert np.mean(same) > 0.99


@pytest.mark.parametrize("name", FORMATS)
def test_reading_resumes_after_any_row(tmp_path: Path, name: str) -> None:
    file, write, more = FORMATS[name]
    write(tmp_path / file)
    opened = ParcelFile(county(tmp_path / file, **more))
    for after in (0, 1, 3, 5, 6, 9):
        found = [row for batch in opened.batches(2, after) for row in batch.all_rows()]
        assert [row.parcel_id for row in found] == TEXTS[after:]
        assert [row.object_id for row in found] == list(range(after + 1, 7))
    assert opened.count() == 6


@pytest.mark.parametrize("name", ["GeoJSON", "newline GeoJSON", "saved Esri JSON"])
@pytest.mark.parametrize("indent", [None, 1])
def test_large_json_is_read_in_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, indent: int | None
) -> None:
    file, write, more = FORMATS[name]
    path = tmp_path / file
    write(path)
    if indent and name != "newline GeoJSON":
        path.write_text(json.dumps(json.loads(path.read_text()), indent=indent))
    whole = list(FileSource(county(path, **more)).all_rows())
    monkeypatch.setattr("parcels.files.json_table._MAX_KEPT_BYTES", 0)
    monkeypatch.setattr("parcels.files.json_stream._MAX_LINE", 10)
    for size in (1, 7, 64, 1000):
        monkeypatch.setattr("parcels.files.json_stream._CHUNK", size)
        assert list(FileSource(county(path, **more)).all_rows()) == whole


def test_files_are_read_without_geopandas_and_pandas(tmp_path: Path) -> None:
    files = ["GeoParquet", "shapefile", "GeoPackage", "GeoJSON", "CSV with WKT"]
    paths = []
    for name in files:
        file, write, _ = FORMATS[name]
        write(tmp_path / file)
        paths.append(str(tmp_path / file))
    code = (
        "import sys\n"
        "for name in ('geopandas', 'pandas'):\n"
        "    sys.modules[name] = None\n"
        "from parcels import County\n"
        "from parcels.files import FileSource\n"
        f"for path in {paths!r}:\n"
        "    county = County(key='here', path=path, crs='EPSG:4326')\n"
        "    print(len(list(FileSource(county).all_rows())))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["6"] * len(files), done.stderr
